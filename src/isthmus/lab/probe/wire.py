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
_TCP_HEADER_AT: Final = 12  # in the TCP header: its own length in words, in the upper half of the byte
_HEADER_BYTES: Final = 8  # of UDP and of an echo request


class Sighting(NamedTuple):
    """A packet of a case, as it arrived; ``sport`` is the identifier where it is an echo request.

    ``said`` is what it holds. Of TCP it is the SYN, which holds nothing, or a packet with data.
    """

    family: Family
    proto: Proto
    sport: int
    dport: int
    source: int
    target: int
    said: bytes


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
    at, end = layout.transport, layout.end
    addresses = packet.src, packet.dst
    if packet.proto == TCP:
        said = frame[at + (frame[at + _TCP_HEADER_AT] >> 4) * 4 : end]
        if said or packet.tcp_flags & (TCP_SYN | TCP_ACK) == TCP_SYN:
            return Sighting(packet.family, "tcp", packet.sport, packet.dport, *addresses, said)
    elif packet.proto == UDP:
        return Sighting(packet.family, "udp", packet.sport, packet.dport, *addresses, frame[at + _HEADER_BYTES : end])
    elif packet.icmp and packet.sport == ECHO_REQUEST[packet.family]:
        identifier = int.from_bytes(frame[at + _ID_AT : at + _ID_AT + 2], "big")
        return Sighting(packet.family, "icmp", identifier, 0, *addresses, frame[at + _HEADER_BYTES : end])
    return None
