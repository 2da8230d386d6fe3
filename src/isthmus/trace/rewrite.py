"""Writes new addresses, ports, TTL and MSS into the bytes, and mends the checksums over them.

Every checksum is updated incrementally (RFC 1624), innermost first, so that each outer one sees what changed inside.
"""

from __future__ import annotations

from struct import pack

from isthmus.tables.address import address_bytes
from isthmus.trace.checksum import updated
from isthmus.trace.mss import clamp_mss
from isthmus.trace.packet import DCCP, TCP, UDP, UDP_LITE, Packet
from isthmus.trace.wire import Layout, Parsed

CHECKSUM_AT = {TCP: 16, UDP: 6, UDP_LITE: 6, DCCP: 6}
"""Where the transport checksum stands in its header (RFC 9293, 768, 3828, 4340)."""
ICMP_CHECKSUM_AT, ECHO_ID_AT = 2, 4


def rewrite(data: bytes, ip: Parsed, translated: Packet, mss: int | None = None) -> bytearray:
    """The frame with the addresses, ports and TTL of ``translated``; MACs, and all behind the packet, as they came.

    ``mss``: the largest segment that a TCP SYN may ask for; None: any.
    """
    packet, layout, inner = ip
    out = bytearray(data)
    if inner is not None and packet.inner is not None and translated.inner is not None:
        _write(out, data, inner, packet.inner, translated.inner)
    if mss is not None:
        clamp_mss(out, layout, packet, mss)
    _write(out, data, layout, packet, translated)
    return out


def _write(out: bytearray, data: bytes, layout: Layout, old: Packet, new: Packet) -> None:
    """One IP packet, and what changed in it before: by how ``out`` differs from ``data``, checksums are mended."""
    _write_network(out, layout, new)
    if not new.later_fragment:
        _write_transport(out, layout, new)
        _mend_transport(out, data, layout, old, new)


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


def _write_transport(out: bytearray, layout: Layout, new: Packet) -> None:
    """Ports of TCP and UDP, the identifier of an echo."""
    at = layout.transport
    if new.proto in (TCP, UDP):
        out[at : at + 4] = pack(">HH", new.sport, new.dport)
    elif new.echo:
        out[at + ECHO_ID_AT : at + ECHO_ID_AT + 2] = new.echo_id.to_bytes(2, "big")


def _mend_transport(out: bytearray, data: bytes, layout: Layout, old: Packet, new: Packet) -> None:
    """The transport checksum, if it is among the bytes that are there."""
    offset = ICMP_CHECKSUM_AT if old.icmp else CHECKSUM_AT.get(old.proto)
    if offset is None or layout.transport + offset + 2 > layout.end:
        return
    field = slice(layout.transport + offset, layout.transport + offset + 2)
    before = int.from_bytes(data[field], "big")
    if old.proto == UDP and before == 0:  # none was computed (RFC 768; over IPv6, RFC 6936)
        return
    rest = slice(layout.transport, layout.end)
    after = updated(before, _pseudo_header(old) + data[rest], _pseudo_header(new) + bytes(out[rest]))
    out[field] = (0xFFFF if old.proto == UDP and after == 0 else after).to_bytes(2, "big")


def _pseudo_header(packet: Packet) -> bytes:
    """What may change in the pseudo-header, the addresses; nothing in ICMP over IPv4, which has none."""
    if packet.family == 4 and packet.icmp:
        return b""
    return address_bytes(packet.family, packet.src) + address_bytes(packet.family, packet.dst)
