"""The Internet checksum, whole (RFC 1071) and by its changes (RFC 1624)."""

from __future__ import annotations

from struct import unpack


def checksum(data: bytes) -> int:
    """RFC 1071 over ``data``, an odd last byte padded with zero: the 16 bits that go into the header."""
    return ~_fold(sum(_words(data))) & 0xFFFF


def updated(old_checksum: int, old: bytes, new: bytes) -> int:
    """RFC 1624 equation 3: HC' = ~(~HC + sum(~m + m')), over the 16-bit words in which ``old`` and ``new`` differ.

    Both start at an even offset of what is summed; the shorter is taken to go on with zeros, which add nothing.
    If nothing differs the checksum stays as it is, also where it is wrong: what came corrupted leaves corrupted.
    """
    size = max(len(old), len(new))
    pairs = zip(_words(old.ljust(size, b"\0")), _words(new.ljust(size, b"\0")), strict=True)
    changes = [(~before & 0xFFFF) + after for before, after in pairs if before != after]
    if not changes:
        return old_checksum
    return ~_fold((~old_checksum & 0xFFFF) + sum(changes)) & 0xFFFF


def _words(data: bytes) -> tuple[int, ...]:
    if len(data) % 2:
        data += b"\0"
    return unpack(f">{len(data) // 2}H", data)


def _fold(total: int) -> int:
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
