"""What the bench configures and sends.

**Static NAT**: 142 VPCs that use the same addresses, each peered with each, static NAT on every side. All VPCs have
``PRIVATE`` inside, and VPC number n is seen as the n-th /20 of ``PUBLIC``. Host k of either is host k of the other.
Peerings come in the order (1, 2), (1, 3), ... (2, 3), ..., so the first VPC has as many peers as a truncated set
allows, and it is the one that sends.

**Stateful NAT**: the same sender, its hosts behind the addresses of ``POOL``, and one peer that shows ``SERVERS`` as
they are. Each host talks to one server, from as many source ports as make the number of flows.

**Learned routes**: the same sender, plain, and one peer with BGP that offers all of IPv4: an external. Each packet is
to a host of another of its routes, in random order.
"""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations, islice
from typing import Final, NamedTuple

from isthmus.bench.internet import hosts
from isthmus.bench.tags import VTEPS, Kind, Tag

VPCS: Final = 142
PEERINGS: Final = VPCS * (VPCS - 1) // 2
DESTINATIONS: Final = 4000
SENDER: Final = 1
PEER: Final = 2  # the only one, or the first

PRIVATE: Final = IPv4Network("10.1.0.0/20")
PUBLIC: Final = IPv4Network("100.64.0.0/10")
GATEWAY: Final = IPv4Address("192.0.2.1")  # the gateway's own address on every attachment
NEXT_HOP: Final = IPv4Address("192.0.2.2")  # and the router of every VPC behind it
LINK: Final = 30  # prefix length of that link

SERVERS: Final = IPv4Network("10.2.0.0/20")  # of the peer in stateful NAT
POOL: Final = IPv4Network("100.64.0.0/24")  # what it sees of the sender's hosts
ANYWHERE: Final = IPv4Network("0.0.0.0/0")  # what an external offers
POOL_PORTS: Final = (1024, 65535)

_SOURCES: Final = 16
_SOURCE_PORT: Final = 40000
_STRIDE: Final = 1009  # a prime, so that host and server go through their networks in different orders

_VPC: Final = """\
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: VPC
metadata: {{name: {name}}}
spec:
  attachments:
    - interface: {interface}
      addresses: [{gateway}/{link}]
      {tag}
  {more}
"""
_PEERING: Final = """\
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata: {{name: {a}--{b}}}
spec:
  {a}:
    ips: [{{cidr: {private}}}]
    as: [{public_a}]
  {b}:
    ips: [{{cidr: {private}}}]
    as: [{public_b}]
"""
_STATEFUL: Final = """\
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata: {{name: {a}--{b}}}
spec:
  {a}:
    ips: [{{cidr: {private}}}]
    as: [{pool}]
    natType: stateful
  {b}:
    ips: [{{cidr: {servers}}}]
"""
_OFFERED: Final = """\
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata: {{name: {a}--{b}}}
spec:
  {a}:
    ips: [{{cidr: {private}}}]
  {b}:
    ips: [{{cidr: {anywhere}}}]
"""


class Conversation(NamedTuple):
    """Addresses and source port of one packet as it is sent: from a host of the sender, to what it dials."""

    source: IPv4Address
    dialled: IPv4Address
    port: int = _SOURCE_PORT


class Traffic(NamedTuple):
    """What is sent: every conversation from ``ports`` source ports, which count up from the conversation's own.

    ``sources`` and ``destinations`` are networks that all its packets are in; ``in_turn``: one conversation after the
    other, and not at random."""

    conversations: list[Conversation]
    sources: IPv4Network
    destinations: IPv4Network
    ports: int = 1
    tag: Tag = Tag()
    in_turn: bool = False

    @property
    def flows(self) -> int:
        """How many different packets that makes."""
        return len(self.conversations) * self.ports


def vpc_name(number: int) -> str:
    """Name of the VPC with that number, from 1."""
    return f"vpc-{number}"


def interface_name(number: int) -> str:
    """Name of the port that the VPC's attachment says, to be bound to a real interface."""
    return f"port-{number}"


def public_network(number: int) -> IPv4Network:
    """What the peers of that VPC see in the place of ``PRIVATE``."""
    return IPv4Network((int(PUBLIC.network_address) + (number << 32 - PRIVATE.prefixlen), PRIVATE.prefixlen))


def pairs(peerings: int) -> list[tuple[int, int]]:
    """The first ``peerings`` pairs of VPC numbers. Raises ``ValueError`` outside 1 to ``PEERINGS``."""
    if not 1 <= peerings <= PEERINGS:
        raise ValueError(f"{VPCS} VPCs make 1 to {PEERINGS} peerings, not {peerings}")
    return list(islice(combinations(range(1, VPCS + 1), 2), peerings))


def peers_of_sender(peerings: int) -> list[int]:
    """Numbers of the VPCs that the sender can reach with so many peerings loaded."""
    return [second for first, second in pairs(peerings) if first == SENDER]


def static_objects(peerings: int, kind: Kind = "untagged") -> str:
    """The objects as YAML: the VPCs that the first ``peerings`` peerings name, all attached so, and these peerings."""
    chosen = pairs(peerings)
    numbers = sorted({number for pair in chosen for number in pair})
    return "".join(
        [
            Tag(kind).gateway(interface_name(SENDER)),
            *(_vpc(number, PRIVATE, kind) for number in numbers),
            *(
                _PEERING.format(
                    a=vpc_name(a),
                    b=vpc_name(b),
                    private=PRIVATE,
                    public_a=public_network(a),
                    public_b=public_network(b),
                )
                for a, b in chosen
            ),
        ]
    )


def stateful_objects() -> str:
    """The objects as YAML: the sender, its peer, and their peering."""
    names = {"a": vpc_name(SENDER), "b": vpc_name(PEER)}
    peering = _STATEFUL.format(private=PRIVATE, pool=POOL, servers=SERVERS, **names)
    return _vpc(SENDER, PRIVATE) + _vpc(PEER, SERVERS) + peering


def learned_objects() -> str:
    """The objects as YAML: the sender, an external, and their peering."""
    peering = _OFFERED.format(a=vpc_name(SENDER), b=vpc_name(PEER), private=PRIVATE, anywhere=ANYWHERE)
    return _vpc(SENDER, PRIVATE) + _attached(PEER, "bgp: {asn: 65000}") + peering


def _vpc(number: int, inside: IPv4Network, kind: Kind = "untagged") -> str:
    return _attached(number, f"routes: [{{to: {inside}, via: {NEXT_HOP}}}]", kind)


def _attached(number: int, more: str, kind: Kind = "untagged") -> str:
    """A VPC with its attachment, and ``more`` in its spec."""
    return _VPC.format(
        name=vpc_name(number),
        interface=interface_name(SENDER if kind in VTEPS else number),
        tag=Tag(kind, number).attachment(NEXT_HOP),
        gateway=GATEWAY,
        link=LINK,
        more=more,
    )


def static_traffic(peerings: int, count: int = DESTINATIONS, kind: Kind = "untagged") -> Traffic:
    """``count`` different destinations, spread over all peers of the sender and over the hosts of each.

    Raises ``ValueError`` where the peers have fewer hosts than that."""
    peers = peers_of_sender(peerings)
    each = -(-count // len(peers))
    stride = (PRIVATE.num_addresses - 2) // each
    if not stride:
        raise ValueError(f"{len(peers)} peers of {PRIVATE.num_addresses - 2} hosts have not {count} destinations")
    conversations = [
        Conversation(
            source=PRIVATE[1 + number % _SOURCES],
            dialled=public_network(peers[number % len(peers)])[1 + number // len(peers) * stride],
        )
        for number in range(count)
    ]
    return Traffic(conversations, PRIVATE, PUBLIC, tag=Tag(kind, SENDER))


def stateful_traffic(flows: int) -> Traffic:
    """That many flows of up to ``DESTINATIONS`` hosts, each with one server, all with the same number of ports.

    Hosts take different parts of the pool's ports, in turn, so that most may keep theirs. Raises ``ValueError`` where
    the flows can not be dealt out evenly, or a host has too few ports."""
    hosts = min(flows, DESTINATIONS)
    ports, rest = divmod(flows, hosts)
    lowest, highest = POOL_PORTS
    parts = (highest - lowest + 1) // ports
    if rest or not parts:
        raise ValueError(f"{hosts} hosts can not have {flows} flows, all as many, from {lowest} to {highest}")
    conversations = [
        Conversation(PRIVATE[1 + number], SERVERS[1 + number * _STRIDE % hosts], lowest + number % parts * ports)
        for number in range(hosts)
    ]
    return Traffic(conversations, PRIVATE, SERVERS, ports)


def learned_traffic(keys: list[int], seed: int = 1) -> Traffic:
    """To one host inside each of these IPv4 prefixes, in their order."""
    chosen = hosts(4, keys, random.Random(seed))
    conversations = [Conversation(PRIVATE[1], IPv4Address(address >> 96)) for address in chosen]
    return Traffic(conversations, PRIVATE, ANYWHERE, in_turn=True)
