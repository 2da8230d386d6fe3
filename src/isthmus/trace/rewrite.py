"""Writes the new addresses and TTL into the bytes, and mends the checksums over them.

Every checksum is updated incrementally (RFC 1624), innermost first, so that each outer one sees what changed inside.
"""

from __future__ import annotations

from isthmus.tables.address import address_bytes
from isthmus.trace.checksum import updated
from isthmus.trace.packet import DCCP, TCP, UDP, UDP_LITE, Packet
from isthmus.trace.wire import Layout, Parsed

CHECKSUM_AT = {TCP: 16, UDP: 6, UDP_LITE: 6, DCCP: 6}
"""Where the transport checksum stands in its header (RFC 9293, 768, 3828, 4340)."""
ICMP_CHECKSUM_AT = 2


def rewrite(data: bytes, ip: Parsed, translated: Packet) -> bytearray:
    """The frame with the addresses and the TTL of ``translated``; MACs, and all behind the IP packet, as they came."""
    packet, layout, inner = ip
    out = bytearray(data)
    was, now = b"", b""
    if inner is not None and packet.inner is not None and translated.inner is not None:
        _write_network(out, inner, translated.inner)
        _mend_transport(out, inner, packet.inner, _pseudo_header(packet.inner), _pseudo_header(translated.inner))
        quote = slice(inner.ip, layout.end)
        was, now = data[quote], bytes(out[quote])
    _write_network(out, layout, translated)
    _mend_transport(out, layout, packet, _pseudo_header(packet) + was, _pseudo_header(translated) + now)
    return out


def _write_network(out: bytearray, layout: Layout, new: Packet) -> None:
    """Addresses, TTL and, in IPv4, the header checksum."""
    at = layout.ip
    addresses = address_bytes(new.family, new.src) + address_bytes(new.family, new.dst)
    if new.family == 6:
        out[at + 7] = new.ttl
        out[at + 8 : at + 40] = addresses
        return
    before = bytes(out[at : layout.transport])
    out[at + 8] = new.ttl
    out[at + 12 : at + 20] = addresses
    mended = updated(int.from_bytes(before[10:12], "big"), before, bytes(out[at : layout.transport]))
    out[at + 10 : at + 12] = mended.to_bytes(2, "big")


def _pseudo_header(packet: Packet) -> bytes:
    """What may change in the pseudo-header, the addresses; nothing in ICMP over IPv4, which has none."""
    if packet.family == 4 and packet.icmp:
        return b""
    return address_bytes(packet.family, packet.src) + address_bytes(packet.family, packet.dst)


def _mend_transport(out: bytearray, layout: Layout, packet: Packet, was: bytes, now: bytes) -> None:
    """The transport checksum, if it is there, after what it covers changed from ``was`` to ``now``."""
    offset = ICMP_CHECKSUM_AT if packet.icmp else CHECKSUM_AT.get(packet.proto)
    if offset is None or packet.later_fragment or layout.transport + offset + 2 > layout.end:
        return
    field = slice(layout.transport + offset, layout.transport + offset + 2)
    old = int.from_bytes(out[field], "big")
    if packet.proto == UDP and old == 0:  # none was computed (RFC 768; over IPv6, RFC 6936)
        return
    new = updated(old, was, now)
    out[field] = (0xFFFF if packet.proto == UDP and new == 0 else new).to_bytes(2, "big")
