"""What arrives at the hosts of a VPC, seen on their links (packet(7)), whatever the kernel there makes of it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Final, NamedTuple

from isthmus.lab.plan import LabVpc
from isthmus.lab.probe.cases import Proto
from isthmus.tables.address import Family
from isthmus.tables.verdicts import Verdict
from isthmus.trace.packet import ECHO_REQUEST, TCP, TCP_ACK, TCP_SYN, UDP
from isthmus.trace.wire import parse_frame

_PROTOCOLS: Final = (0x0800, 0x86DD)  # ETH_P_IP, ETH_P_IPV6: sockets of these see what comes in alone
_FRAME_BYTES: Final = 1 << 16
_BUFFER_BYTES: Final = 1 << 22
_ID_AT: Final = 4  # in the ICMP header: the identifier of an echo request


class Sighting(NamedTuple):
    """The first packet of a case, as it arrived; ``sport`` is the identifier where it is an echo request."""

    family: Family
    proto: Proto
    sport: int
    dport: int
    source: int
    target: int


class Watch:
    """The links of one VPC's hosts. Made inside their namespace."""

    def __init__(self, vpc: LabVpc) -> None:
        self.vpc = vpc.name
        self.sockets = [_listen(link.inside, protocol) for link in vpc.links for protocol in _PROTOCOLS]

    def sightings(self, readable: socket.socket) -> Iterator[Sighting]:
        """What has arrived on one of the sockets; never waits."""
        while True:
            try:
                frame = readable.recv(_FRAME_BYTES)
            except BlockingIOError:
                return
            found = _sighting(frame)
            if found:
                yield found

    def close(self) -> None:
        """Stop watching."""
        for one in self.sockets:
            one.close()


def _listen(interface: str, protocol: int) -> socket.socket:
    found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    found.bind((interface, protocol))
    return found


def _sighting(frame: bytes) -> Sighting | None:
    parsed = parse_frame(frame)
    if isinstance(parsed, Verdict) or parsed.ip is None:
        return None
    packet, layout = parsed.ip.packet, parsed.ip.layout
    if packet.proto == TCP and packet.tcp_flags & (TCP_SYN | TCP_ACK) == TCP_SYN:
        return Sighting(packet.family, "tcp", packet.sport, packet.dport, packet.src, packet.dst)
    if packet.proto == UDP:
        return Sighting(packet.family, "udp", packet.sport, packet.dport, packet.src, packet.dst)
    if packet.icmp and packet.sport == ECHO_REQUEST[packet.family]:
        at = layout.transport + _ID_AT
        return Sighting(packet.family, "icmp", int.from_bytes(frame[at : at + 2], "big"), 0, packet.src, packet.dst)
    return None
