"""Stage ``parse``: from the bytes of a frame to a packet and to where its parts stand.

RFC 791, RFC 8200 (extension headers), RFC 792 and RFC 4443 (the packet inside an error).
Verdicts: ``malformed``, ``ipv6-ext``.
"""

from __future__ import annotations

from struct import unpack
from typing import NamedTuple

from isthmus.tables.address import Family
from isthmus.tables.verdicts import Verdict
from isthmus.trace.packet import EXTENSIONS_V6, TCP, UDP, Packet

ETHERNET = 14
ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6 = 0x0806, 0x0800, 0x86DD
TAGGED = frozenset({0x8100, 0x88A8})
"""EtherTypes of VLAN tags (IEEE 802.1Q): such a frame is of no untagged attachment."""
FAMILY_OF: dict[int, Family] = {ETHERTYPE_IPV4: 4, ETHERTYPE_IPV6: 6}
QUOTE = 8
"""The packet inside an ICMP error starts this many bytes behind the start of the ICMP header."""

MORE_FRAGMENTS, DONT_FRAGMENT, OFFSET_MASK = 0x2000, 0x4000, 0x1FFF
END_OF_OPTIONS, NO_OPERATION = 0, 1
SOURCE_ROUTES = frozenset({131, 137})
"""IPv4 options: loose and strict source route (RFC 791 3.1)."""
ROUTING_HEADER, FRAGMENT_HEADER, AUTHENTICATION_HEADER = 43, 44, 51
MOST_EXTENSIONS = 6


class Layout(NamedTuple):
    """Where the parts of an IP packet stand, as offsets into the frame.

    ``end`` is behind the last byte of the packet that is there; Ethernet padding may follow.
    """

    ip: int
    transport: int
    end: int


class Parsed(NamedTuple):
    """An IP packet and where its parts stand; ``inner``: where those of the packet in an ICMP error do."""

    packet: Packet
    layout: Layout
    inner: Layout | None = None


class Frame(NamedTuple):
    """An Ethernet frame, without tags: its MACs (6 bytes each) and the IP packet in it, if it holds one."""

    destination: bytes
    source: bytes
    ethertype: int
    ip: Parsed | None = None


class _Transport(NamedTuple):
    """Of which protocol the rest of a packet is, where it starts, and what part of it is here.

    ``offset``: of a fragment, in units of 8 bytes; ``identification``: which packet it is a fragment of.
    """

    proto: int
    at: int
    fragment: bool = False
    offset: int = 0
    identification: int = 0


class _Network(NamedTuple):
    """What the IP header says. ``length`` as claimed; ``end`` as far as bytes are there."""

    src: int
    dst: int
    ttl: int
    length: int
    dont_fragment: bool
    transport: _Transport
    end: int


def parse_frame(data: bytes) -> Frame | Verdict:
    """A frame from its destination MAC on, without tags; the verdict where it can't be read."""
    if len(data) < ETHERNET:
        return Verdict.MALFORMED
    destination, source, ethertype = data[:6], data[6:12], int.from_bytes(data[12:14], "big")
    family = FAMILY_OF.get(ethertype)
    if family is None:
        return Frame(destination, source, ethertype)
    ip = parse_packet(data, family, ETHERNET, len(data), quoted=False)
    if isinstance(ip, Verdict):
        return ip
    if ip.packet.error:
        quote = parse_packet(data, family, ip.layout.transport + QUOTE, ip.layout.end, quoted=True)
        if not isinstance(quote, Verdict):
            ip = Parsed(ip.packet._replace(inner=quote.packet), ip.layout, quote.layout)
    return Frame(destination, source, ethertype, ip)


def parse_packet(data: bytes, family: Family, start: int, limit: int, *, quoted: bool) -> Parsed | Verdict:
    """The IP packet at ``start``, of which nothing may stand at ``limit`` or behind.

    ``quoted``: it stands in an ICMP error, so its length may claim more than is there, and 8 bytes of transport do.
    """
    network = (_ipv4 if family == 4 else _ipv6)(data, start, limit, quoted)
    if isinstance(network, Verdict):
        return network
    transport = network.transport
    if transport.proto == TCP and transport.offset == 1 and not quoted:
        return Verdict.MALFORMED  # it would overwrite flags that were judged (RFC 3128)
    packet = Packet(
        family=family,
        src=network.src,
        dst=network.dst,
        proto=transport.proto,
        ttl=network.ttl,
        length=network.length,
        fragment=transport.fragment,
        later_fragment=transport.offset > 0,
        dont_fragment=network.dont_fragment,
        identification=transport.identification if transport.fragment else 0,
    )
    if not packet.later_fragment:
        whole = _with_transport(packet, data[transport.at : network.end], quoted)
        if whole is None:
            return Verdict.MALFORMED
        packet = whole
    return Parsed(packet, Layout(start, transport.at, network.end))


def _with_transport(packet: Packet, head: bytes, quoted: bool) -> Packet | None:
    """The packet with what its transport header says; None where that is cut short."""
    if packet.proto in (TCP, UDP):
        if len(head) < (20 if packet.proto == TCP and not quoted else 8):
            return None
        flags = head[13] if packet.proto == TCP and len(head) > 13 else 0
        sport, dport = unpack(">HH", head[:4])
        return packet._replace(sport=sport, dport=dport, tcp_flags=flags)
    if packet.icmp:
        if len(head) < 8:
            return None
        packet = packet._replace(sport=head[0], dport=head[1])
        return packet._replace(echo_id=int.from_bytes(head[4:6], "big")) if packet.echo else packet
    return packet


def _ipv4(data: bytes, start: int, limit: int, quoted: bool) -> _Network | Verdict:
    if limit - start < 20:
        return Verdict.MALFORMED
    header = (data[start] & 15) * 4
    length = int.from_bytes(data[start + 2 : start + 4], "big")
    if data[start] >> 4 != 4 or header < 20 or start + header > limit or length < header:
        return Verdict.MALFORMED
    if start + length > limit and not quoted:
        return Verdict.MALFORMED
    if _source_routed(data[start + 20 : start + header]):
        return Verdict.MALFORMED
    flags = int.from_bytes(data[start + 6 : start + 8], "big")
    return _Network(
        src=int.from_bytes(data[start + 12 : start + 16], "big") << 96,
        dst=int.from_bytes(data[start + 16 : start + 20], "big") << 96,
        ttl=data[start + 8],
        length=length,
        dont_fragment=bool(flags & DONT_FRAGMENT),
        transport=_Transport(
            proto=data[start + 9],
            at=start + header,
            fragment=bool(flags & (MORE_FRAGMENTS | OFFSET_MASK)),
            offset=flags & OFFSET_MASK,
            identification=int.from_bytes(data[start + 4 : start + 6], "big"),
        ),
        end=min(start + length, limit),
    )


def _source_routed(options: bytes) -> bool:
    """True if the sender says by which routers the packet is to go; RFC 7126 4.3: such packets are dropped."""
    at = 0
    while at + 1 < len(options) and options[at] != END_OF_OPTIONS:
        if options[at] in SOURCE_ROUTES:
            return True
        if options[at] == NO_OPERATION:
            at += 1
        elif options[at + 1] < 2:
            return False
        else:
            at += options[at + 1]
    return False


def _ipv6(data: bytes, start: int, limit: int, quoted: bool) -> _Network | Verdict:
    if limit - start < 40 or data[start] >> 4 != 6:
        return Verdict.MALFORMED
    length = 40 + int.from_bytes(data[start + 4 : start + 6], "big")
    if start + length > limit and not quoted:
        return Verdict.MALFORMED
    end = min(start + length, limit)
    transport = _extensions(data, data[start + 6], start + 40, end)
    if isinstance(transport, Verdict):
        return transport
    return _Network(
        src=int.from_bytes(data[start + 8 : start + 24], "big"),
        dst=int.from_bytes(data[start + 24 : start + 40], "big"),
        ttl=data[start + 7],
        length=length,
        dont_fragment=True,
        transport=transport,
        end=end,
    )


def _extensions(data: bytes, header: int, at: int, end: int) -> _Transport | Verdict:
    """Steps over extension headers. Of several fragment headers that make it one the last identifies the packet."""
    fragment, identification = False, 0
    count = 0
    while header in EXTENSIONS_V6:
        count += 1
        if count > MOST_EXTENSIONS:
            return Verdict.IPV6_EXT
        if at + 8 > end:  # the least that any of them is long
            return Verdict.MALFORMED
        following, size = data[at], (data[at + 1] + 1) * 8
        if header == FRAGMENT_HEADER:
            size = 8
            offset_and_more, number = unpack(">HI", data[at + 2 : at + 8])
            if offset_and_more & 0xFFF9:
                fragment, identification = True, number
            if offset_and_more & 0xFFF8:
                return _Transport(following, at + size, True, offset_and_more >> 3, number)
        elif header == AUTHENTICATION_HEADER:
            size = (data[at + 1] + 2) * 4
        if at + size > end or (header == ROUTING_HEADER and data[at + 3]):
            return Verdict.MALFORMED  # segments left: its sender routes it, past what is exposed (RFC 5095)
        header, at = following, at + size
    return _Transport(header, at, fragment, 0, identification)
