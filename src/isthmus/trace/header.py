"""The fields of an IP header that a tag shares with it: TTL, and DSCP with ECN. In frames without tags."""

from __future__ import annotations

from isthmus.tables.address import Family
from isthmus.trace.checksum import updated
from isthmus.trace.wire import ETHERNET, FAMILY_OF

SHORTEST: dict[Family, int] = {4: 20, 6: 40}
TTL_AT: dict[Family, int] = {4: ETHERNET + 8, 6: ETHERNET + 7}


def family_of(frame: bytes) -> Family | None:
    """The family of the IP header in a frame; None: there is none, or not all of it."""
    family = FAMILY_OF.get(int.from_bytes(frame[12:14], "big"))
    return family if family is not None and len(frame) >= ETHERNET + SHORTEST[family] else None


def ttl_of(frame: bytes, family: Family) -> int:
    """TTL or hop limit."""
    return frame[TTL_AT[family]]


def with_ttl(frame: bytes, family: Family, ttl: int) -> bytes:
    """The frame with this TTL, and the IPv4 header checksum that follows from it (RFC 1624)."""
    at = TTL_AT[family]
    return _mended(frame, family, frame[:at] + bytes([ttl]) + frame[at + 1 :])


def traffic_class(frame: bytes, family: Family) -> int:
    """DSCP (6 bits) and ECN (2 bits): TOS in IPv4."""
    return frame[ETHERNET + 1] if family == 4 else (frame[ETHERNET] << 4 | frame[ETHERNET + 1] >> 4) & 0xFF


def with_traffic_class(frame: bytes, family: Family, value: int) -> bytes:
    """The frame with this DSCP and ECN, and the IPv4 header checksum that follows from it (RFC 1624)."""
    first, second = frame[ETHERNET], frame[ETHERNET + 1]
    pair = bytes([first, value] if family == 4 else [first & 0xF0 | value >> 4, (value & 15) << 4 | second & 15])
    return _mended(frame, family, frame[:ETHERNET] + pair + frame[ETHERNET + 2 :])


def _mended(before: bytes, family: Family, after: bytes) -> bytes:
    if family == 6:
        return after
    header, at = slice(ETHERNET, ETHERNET + SHORTEST[4]), ETHERNET + 10
    checksum = updated(int.from_bytes(before[at : at + 2], "big"), before[header], after[header])
    return after[:at] + checksum.to_bytes(2, "big") + after[at + 2 :]
