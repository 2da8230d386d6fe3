"""Prefixes as an UPDATE holds them (RFC 4271 4.3, RFC 4760 5), with path identifiers (RFC 7911 3) or without.

Most of the time that a full table takes is spent in ``decode``. Both families are read alike: the identifier, the
length and the next 64 bits in one look, of which the length says how many count. Only prefixes longer than 64 bits
are looked at again. (Reading whole chunks with numpy was measured, and is not faster: where one prefix ends has to be
known before the next can be read.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final

from isthmus.tables.address import BITS, FAMILIES, Family

PADDING: Final = bytes(24)
"""Must follow what ``decode`` reads, so that a look beyond its end is no error."""

_ID_BYTES: Final = 4
_ID: Final = Struct(">I")
_PREFIX: Final = Struct(">IBQ").unpack_from  # path identifier, length, the next 64 bits
_ONE: Final = 1 << 64  # in front of those 64 bits
_BEYOND: Final = 1 << 30  # farther than any message is long


def _octets(length: int) -> int:
    return (length + 7) // 8


# By family and length. A length that is too long for the family leads beyond the end, where it is found out.
_SHIFT: Final = {family: [64 - length for length in range(min(BITS[family], 64) + 1)] for family in FAMILIES}
_STEP: Final = {
    family: [1 + _octets(length) if length <= BITS[family] else _BEYOND for length in range(256)] for family in FAMILIES
}
_STEP_WITH_ID: Final = {family: [_ID_BYTES + step for step in _STEP[family]] for family in FAMILIES}


def decode(family: Family, data: bytes, start: int, end: int, *, with_ids: bool) -> tuple[list[int], list[int]]:
    """Path identifiers and prefix keys in ``data[start:end]``; identifiers are 0 where there are none.

    At least 4 bytes must lie before ``start``, and ``PADDING`` behind ``end``. Bits beyond a prefix's length are
    dropped (RFC 4271 4.3: their value is irrelevant). ValueError: a length is too long, or the last prefix is cut off.
    """
    shift = _SHIFT[family]
    step = (_STEP_WITH_ID if with_ids else _STEP)[family]
    if not with_ids:  # the four bytes before a length are read all the same, and forgotten
        start, end = start - _ID_BYTES, end - _ID_BYTES
    path_ids: list[int] = []
    keys: list[int] = []
    while start < end:
        path_id, length, bits = _PREFIX(data, start)
        try:
            keys.append((bits | _ONE) >> shift[length])
        except IndexError:
            keys.append(_long_key(family, length, data, start + _ID_BYTES + 1))
        path_ids.append(path_id)
        start += step[length]
    if start != end:
        raise ValueError("a prefix goes on behind the end of its field")
    return path_ids if with_ids else [0] * len(keys), keys


def _long_key(family: Family, length: int, data: bytes, start: int) -> int:
    if length > BITS[family]:
        raise ValueError(f"an IPv{family} prefix of {length} bits")
    return (1 << 128 | int.from_bytes(data[start : start + 16], "big")) >> (128 - length)


# By length: how far to move a key so that its prefix ends with a byte; what makes its leading one the length; bytes.
_PACKED: Final = [
    (_octets(length) * 8 - length, (length - 1) << _octets(length) * 8, 1 + _octets(length)) for length in range(129)
]


def encode(keys: Sequence[int], path_id: int | None, room: int) -> Iterator[bytes]:
    """The prefixes of these keys in fields of at most ``room`` bytes each; ``path_id`` before each, if there is one."""
    packed = []
    for key in keys:
        move, lead, size = _PACKED[key.bit_length() - 1]
        packed.append(((key << move) + lead).to_bytes(size, "big"))
    head = b"" if path_id is None else _ID.pack(path_id)
    longest = max(map(len, packed), default=1) + len(head)
    for start in range(0, len(packed), room // longest):
        yield head + head.join(packed[start : start + room // longest])
