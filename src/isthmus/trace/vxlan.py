"""VXLAN (RFC 7348): what is in a tunnel's packet, and how one is made; DSCP and ECN follow RFC 6040 and 2983."""

from __future__ import annotations

from struct import pack
from typing import NamedTuple

from isthmus.tables.address import Family, address_bytes, address_from_bytes
from isthmus.tables.entries import Vtep
from isthmus.tables.share import address_words, weight
from isthmus.tables.verdicts import Verdict
from isthmus.trace.checksum import checksum
from isthmus.trace.header import family_of, traffic_class, with_traffic_class
from isthmus.trace.packet import UDP
from isthmus.trace.wire import DONT_FRAGMENT, ETHERNET, FAMILY_OF, MORE_FRAGMENTS, OFFSET_MASK, parse_packet

PORT = 4789
UDP_HEADER, VXLAN_HEADER = 8, 8
FLAG_I = 0x08
TTL = 64
FIRST_SOURCE_PORT, SOURCE_PORTS = 49152, 1 << 14
NOT_ECT, ECT_1, ECT_0, CE = 0, 1, 2, 3


class Underlay(NamedTuple):
    """How the packets of a tunnel leave: from our VTEP to a remote one (its address), and both MACs on the way."""

    vtep: Vtep
    remote: int
    source: bytes
    destination: bytes


class Tunnelled(NamedTuple):
    """What came through a tunnel: the VNI, the inner frame as it came, and of the outer header ECN and source."""

    vni: int
    frame: bytes
    ecn: int
    remote: int


class _Outer(NamedTuple):
    """The outer IP header: where UDP begins, whom it is from, and its ECN."""

    transport: int
    source: int
    ecn: int


def read_tunnel(frame: bytes, vtep: Vtep) -> Tunnelled | Verdict | None:
    """What an untagged frame on the VTEP's interface carries; None: it is no VXLAN to this VTEP."""
    outer = _read_outer(frame, vtep)
    if outer is None:
        return None
    at = outer.transport + UDP_HEADER
    if len(frame) < at + VXLAN_HEADER or not frame[at] & FLAG_I:
        return Verdict.MALFORMED
    vni = int.from_bytes(frame[at + 4 : at + 7], "big")
    return Tunnelled(vni, frame[at + VXLAN_HEADER :], outer.ecn, outer.source)


def _read_outer(frame: bytes, vtep: Vtep) -> _Outer | None:
    """IPv4 without options and unfragmented, or IPv6 without extension headers; UDP; to our address and port."""
    family = family_of(frame)
    if family is None or family != vtep.family:
        return None
    if family == 4:
        fragment = int.from_bytes(frame[ETHERNET + 6 : ETHERNET + 8], "big") & (MORE_FRAGMENTS | OFFSET_MASK)
        right, proto = frame[ETHERNET] == 0x45 and not fragment, frame[ETHERNET + 9]
        at, size = ETHERNET + 12, 4
    else:
        right, proto = frame[ETHERNET] >> 4 == 6, frame[ETHERNET + 6]
        at, size = ETHERNET + 8, 16
    transport = at + 2 * size
    if not right or proto != UDP or frame[at + size : transport] != address_bytes(family, vtep.address):
        return None
    if int.from_bytes(frame[transport + 2 : transport + 4], "big") != PORT:
        return None
    return _Outer(transport, address_from_bytes(frame[at : at + size])[1], traffic_class(frame, family) & 3)


def received(inner: bytes, ecn: int) -> bytes | Verdict:
    """The inner frame with the congestion that its tunnel has met (RFC 6040 4.2); DSCP stays."""
    family = family_of(inner)
    if family is None:
        return inner
    before = traffic_class(inner, family)
    own = before & 3
    if ecn == CE and own == NOT_ECT:
        return Verdict.MALFORMED  # who does not understand marks must be dropped instead
    if ecn == CE or (ecn == ECT_1 and own == ECT_0):
        return with_traffic_class(inner, family, before & ~3 | ecn)
    return inner


def put_in_tunnel(frame: bytes, vni: int, way: Underlay) -> bytes:
    """The frame in a packet to the remote VTEP, with the frame's own DSCP and ECN."""
    family = family_of(frame)
    traffic = traffic_class(frame, family) if family is not None else 0
    payload = pack(">BBHI", FLAG_I, 0, 0, vni << 8) + frame
    udp = pack(">HHHH", source_port(frame), PORT, UDP_HEADER + len(payload), 0) + payload  # RFC 6935: no checksum
    header = (_ipv4 if way.vtep.family == 4 else _ipv6)(traffic, len(udp), way)
    ethertype = next(number for number, kin in FAMILY_OF.items() if kin == way.vtep.family)
    return way.destination + way.source + pack(">H", ethertype) + header + udp


def _ipv4(traffic: int, length: int, way: Underlay) -> bytes:
    header = pack(">BBHHHBBH", 0x45, traffic, 20 + length, 0, DONT_FRAGMENT, TTL, UDP, 0) + _addresses(way)
    return header[:10] + checksum(header).to_bytes(2, "big") + header[12:]


def _ipv6(traffic: int, length: int, way: Underlay) -> bytes:
    return pack(">IHBB", 6 << 28 | traffic << 20, length, UDP, TTL) + _addresses(way)


def _addresses(way: Underlay) -> bytes:
    family: Family = way.vtep.family
    return address_bytes(family, way.vtep.address) + address_bytes(family, way.remote)


def source_port(frame: bytes) -> int:
    """A port that is the same for all packets of a conversation, so that the underlay can share them (RFC 7348 5)."""
    family = family_of(frame)
    parsed = parse_packet(frame, family, ETHERNET, len(frame), quoted=True) if family is not None else None
    if parsed is None or isinstance(parsed, Verdict):
        return FIRST_SOURCE_PORT
    packet = parsed.packet
    words = (*address_words(packet.src), *address_words(packet.dst), packet.proto << 32 | packet.port_word)
    return FIRST_SOURCE_PORT + (weight(0, *words) >> 32) % SOURCE_PORTS
