"""The records of the flow table: keys, flows, mappings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from isthmus.tables.address import Family
from isthmus.tables.entries import NextHop, Route, SideKey, Timeouts
from isthmus.trace.packet import ECHO_REQUEST, TCP, UDP, Packet


class Key(NamedTuple):
    """What the packets of one direction of a flow have in common, as their sender writes them; VPCs by name.

    An echo request has its identifier as ``sport``, a reply as ``dport``; the other one, and both in protocols without
    ports, is 0.
    """

    vpc: str
    family: Family
    proto: int
    src: int
    dst: int
    sport: int
    dport: int

    @property
    def mirrored(self) -> Key:
        """With both ends swapped; the VPC stays that of the sender here."""
        return self._replace(src=self.dst, dst=self.src, sport=self.dport, dport=self.sport)

    @property
    def identifier(self) -> int:
        """That of an echo request or reply."""
        return self.sport or self.dport

    @property
    def port_word(self) -> int:
        """Both ports as they go into the share of next hops; also where the packet at hand is a fragment."""
        return self.sport << 16 | self.dport if self.proto in (TCP, UDP) else 0


def key_of(vpc: str, packet: Packet) -> Key | None:
    """The key that a packet would have in a flow; None: what tells it apart is not in it, or it is of no flow."""
    if packet.lacks_ports:
        return None
    sport, dport = packet.sport, packet.dport
    if packet.icmp:
        if not packet.echo:
            return None
        sport, dport = (packet.echo_id, 0) if sport == ECHO_REQUEST[packet.family] else (0, packet.echo_id)
    return Key(vpc, packet.family, packet.proto, packet.src, packet.dst, sport, dport)


class PrivateKey(NamedTuple):
    """Who asks for a mapping, toward whom. ``remote``: private address and port there, None: everybody there."""

    vpc: str
    peer: str
    family: Family
    proto: int
    address: int
    port: int
    remote: tuple[int, int] | None


class PublicKey(NamedTuple):
    """What a mapping takes: an address and port toward a peer (and a remote), which has one owner."""

    peer: str
    family: Family
    proto: int
    address: int
    port: int
    remote: tuple[int, int] | None


@dataclass(slots=True, eq=False)
class Mapping:
    """``flows``: how many use it, counted until they are swept. ``over``: it is found no more, and its port is its own
    as long as a flow uses it, or it is held. ``freed``: no longer.

    ``deadline``: until then it is held, though it has no flows.
    """

    private: PrivateKey
    public: PublicKey
    flows: int = 0
    over: bool = False
    deadline: int = 0
    freed: bool = False


class Way(NamedTuple):
    """The way out of one direction: the route in the receiver's VPC, and which of its next hops."""

    route: Route
    hop: NextHop | None


@dataclass(slots=True, eq=False)
class Flow:
    """One conversation. Index 0 is the initiator's direction, 1 that of the answers.

    ``revision``: of configuration and learned routes, when it was last judged. ``sides``: the initiator's and the
    other. ``ways[1]`` None: there is no route to the initiator, or it is the gateway itself. ``code``: of the echo
    request that opened it. ``bits``: see ``flows.tcp``. ``over``: it never matches again, and waits for the sweep.
    """

    keys: tuple[Key, Key]
    sides: tuple[SideKey, SideKey]
    ways: tuple[Way, Way | None]
    timeouts: Timeouts
    mapping: Mapping | None
    code: int
    revision: tuple[int, int]
    bits: int = 0
    deadline: int = 0
    over: bool = False

    @property
    def first_packet(self) -> Packet:
        """The packet that opened it, as far as rules ask."""
        key = self.keys[0]
        icmp = Packet(key.family, key.src, key.dst, key.proto).icmp
        sport, dport = (ECHO_REQUEST[key.family], self.code) if icmp else (key.sport, key.dport)
        return Packet(key.family, key.src, key.dst, key.proto, sport, dport)

    def translated(self, direction: int, packet: Packet) -> Packet:
        """A packet of this direction as it leaves: what the receiver's answers to it are the mirror of."""
        return written(packet, self.keys[1 - direction].mirrored)


def written(packet: Packet, key: Key) -> Packet:
    """The packet with the addresses of a key, and the ports or the identifier where the packet has them."""
    packet = packet._replace(src=key.src, dst=key.dst)
    if packet.later_fragment:
        return packet
    if packet.icmp:
        return packet._replace(echo_id=key.identifier)
    return packet._replace(sport=key.sport, dport=key.dport)
