"""Frames by hand: whole IP packets with right checksums, and a reading of frames that owes nothing to twin or BPF."""

from __future__ import annotations

import struct
from typing import NamedTuple

from isthmus.tables.address import Family

TCP, UDP, GRE, ESP, SCTP = 6, 17, 47, 50, 132
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
ICMP: dict[int, int] = {4: 1, 6: 58}
REQUEST: dict[int, int] = {4: 8, 6: 128}
REPLY: dict[int, int] = {4: 0, 6: 129}
ETHERTYPE: dict[int, int] = {4: 0x0800, 6: 0x86DD}
EXTENSIONS = (0, 43, 60, 135, 139, 140)
FRAGMENT, AUTHENTICATION = 44, 51
CHECKSUM_AT = {TCP: 16, UDP: 6}
NOT_IP = 14
HOST_MAC = b"\x02\xaa\0\0\0\x01"


class Ends(NamedTuple):
    """Who talks to whom, as one side writes it: addresses of 4 or 16 bytes, ports or (identifier, 0)."""

    family: Family
    proto: int
    source: bytes
    target: bytes
    sport: int
    dport: int

    @property
    def mirror(self) -> Ends:
        """The other direction. An echo request's (identifier, 0) becomes the reply's (0, identifier)."""
        return Ends(self.family, self.proto, self.target, self.source, self.dport, self.sport)


class Read(NamedTuple):
    """An IP packet in a frame. ``at``: where its transport starts; ``offset``: in bytes, of a fragment."""

    family: Family
    proto: int
    source: bytes
    target: bytes
    ttl: int
    at: int
    end: int
    offset: int
    more: bool
    identification: int


def checksum(data: bytes) -> int:
    """RFC 1071, from the start: what remains of the number modulo 2^16 - 1, and never 0 where data is not."""
    if len(data) % 2:
        data += b"\0"
    number = int.from_bytes(data, "big")
    return ~(number % 0xFFFF or (0xFFFF if number else 0)) & 0xFFFF


def summed(family: int, source: bytes, target: bytes, proto: int, body: bytes) -> bytes:
    """A TCP, UDP or ICMP packet with its checksum; others as they are."""
    at = 2 if proto == ICMP[family] else CHECKSUM_AT.get(proto)
    if at is None or len(body) < at + 2:
        return body
    pseudo = b"" if proto == 1 else source + target + struct.pack("!II", len(body), proto)
    value = checksum(pseudo + body[:at] + b"\0\0" + body[at + 2 :])
    if value == 0 and proto == UDP:
        value = 0xFFFF
    return body[:at] + value.to_bytes(2, "big") + body[at + 2 :]


def ipv4(
    source: bytes,
    target: bytes,
    proto: int,
    body: bytes,
    ttl: int = 64,
    flags: int = 0x4000,
    identification: int = 0,
    options: bytes = b"",
    tos: int = 0,
) -> bytes:
    """A whole packet; ``flags`` with the offset in units of 8 bytes."""
    header = struct.pack(
        "!BBHHHBBH4s4s",
        0x45 + len(options) // 4,
        tos,
        20 + len(options) + len(body),
        identification,
        flags,
        ttl,
        proto,
        0,
        source,
        target,
    )
    header += options
    return header[:10] + checksum(header).to_bytes(2, "big") + header[12:] + body


def ipv6(source: bytes, target: bytes, proto: int, body: bytes, ttl: int = 64, extensions: bytes = b"") -> bytes:
    """A whole packet; ``proto`` is what follows the fixed header, ``extensions`` stand before ``body``."""
    return struct.pack("!IHBB", 6 << 28, len(extensions) + len(body), proto, ttl) + source + target + extensions + body


def packet(family: int, source: bytes, target: bytes, proto: int, body: bytes, ttl: int = 64) -> bytes:
    """A packet of either family, not to be fragmented."""
    if family == 4:
        return ipv4(source, target, proto, body, ttl)
    return ipv6(source, target, proto, body, ttl)


def piece(
    family: int, source: bytes, target: bytes, proto: int, body: bytes, offset: int, more: bool, identification: int
) -> bytes:
    """A fragment; ``offset`` in bytes, a multiple of 8."""
    if family == 4:
        return ipv4(source, target, proto, body, 64, (0x2000 if more else 0) | offset // 8, identification & 0xFFFF)
    header = struct.pack("!BBHI", proto, 0, offset | more, identification)
    return ipv6(source, target, FRAGMENT, body, 64, header)


def read(frame: bytes) -> Read | None:
    """The IP packet of a frame; None where there is none that can be read."""
    kind = frame[12:14]
    if kind == b"\x08\0":
        return read_ipv4(frame, NOT_IP)
    return read_ipv6(frame, NOT_IP) if kind == b"\x86\xdd" else None


def read_ipv4(data: bytes, start: int) -> Read | None:
    """The IPv4 packet at ``start``, which may be cut short."""
    if len(data) < start + 20:
        return None
    first, _, length, identification, flags, ttl, proto, _, source, target = struct.unpack_from(
        "!BBHHHBBH4s4s", data, start
    )
    at = start + (first & 15) * 4
    return Read(
        4,
        proto,
        source,
        target,
        ttl,
        at,
        min(start + length, len(data)),
        (flags & 0x1FFF) * 8,
        bool(flags & 0x2000),
        identification,
    )


def read_ipv6(data: bytes, start: int) -> Read | None:
    """The IPv6 packet at ``start``, which may be cut short."""
    if len(data) < start + 40:
        return None
    length, header, ttl = struct.unpack_from("!HBB", data, start + 4)
    at, end = start + 40, min(start + 40 + length, len(data))
    offset, more, identification = 0, False, 0
    while header in EXTENSIONS or header in (FRAGMENT, AUTHENTICATION):
        if at + 8 > end:
            return None
        if header == FRAGMENT:
            header, _, place, identification = struct.unpack_from("!BBHI", data, at)
            offset, more = place & 0xFFF8, bool(place & 1)
            at += 8
            if offset:
                break
            continue
        units = data[at + 1]
        at, header = at + (units * 8 + 8 if header != AUTHENTICATION else units * 4 + 8), data[at]
    return Read(
        6, header, data[start + 8 : start + 24], data[start + 24 : start + 40], ttl, at, end, offset, more,
        identification,
    )  # fmt: skip


def ends(data: bytes, found: Read) -> Ends | None:
    """Who talks to whom; None for ICMP that is no echo, and for what has no ports because it is a later fragment."""
    family, proto, source, target, at = found.family, found.proto, found.source, found.target, found.at
    if proto in (TCP, UDP):
        if found.offset or len(data) < at + 4:
            return None
        return Ends(family, proto, source, target, *struct.unpack_from("!HH", data, at))
    if proto == ICMP[family]:
        if found.offset or len(data) < at + 6:
            return None
        identifier = int.from_bytes(data[at + 4 : at + 6], "big")
        if data[at] == REQUEST[family]:
            return Ends(family, proto, source, target, identifier, 0)
        return Ends(family, proto, source, target, 0, identifier) if data[at] == REPLY[family] else None
    return Ends(family, proto, source, target, 0, 0)


def is_error(data: bytes, found: Read) -> bool:
    """True for an ICMP error."""
    if found.proto != ICMP[found.family] or found.offset or found.at + 8 > found.end:
        return False
    kind = data[found.at]
    return kind in (3, 11, 12) if found.family == 4 else kind < 128


def quoted(data: bytes, found: Read) -> Ends | None:
    """Whom the packet inside an ICMP error is from and to; None where it has nothing that a flow is known by."""
    inner = (read_ipv4 if found.family == 4 else read_ipv6)(data[: found.end], found.at + 8)
    return None if inner is None else ends(data[: found.end], inner)
