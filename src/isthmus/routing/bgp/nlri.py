"""Prefixes as an UPDATE holds them (RFC 4271 4.3, RFC 4760 5), with path identifiers (RFC 7911 3) or without.

Where one prefix ends has to be known before the next can be read, so a walk finds where each begins, and does nothing
else, in many fields abreast; the rest is done for all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from isthmus.tables.address import BITS, FAMILIES, Family
from isthmus.tables.prefixes import Prefixes

Places = npt.NDArray[np.int64]
"""Positions in some bytes."""

PADDING: Final = bytes(24)
"""Must follow what is decoded, so that a look beyond its end is no error."""

_ID_BYTES: Final = 4
_ID: Final = Struct(">I")
_BEYOND: Final = 1 << 30  # farther than any message is long
_ROOT: Final = 64  # bits of the first of a prefix's words


def _octets(length: int) -> int:
    return (length + 7) // 8


# By family and length: how far it is to the next prefix. A length that is too long leads beyond the end, where it is
# found out.
_STEP: Final = {
    family: [1 + _octets(length) if length <= BITS[family] else _BEYOND for length in range(256)] for family in FAMILIES
}
_STEP_WITH_ID: Final = {family: [_ID_BYTES + step for step in _STEP[family]] for family in FAMILIES}

_MANY: Final = 48  # fields; for fewer, calls over arrays cost more than they save


class NotPrefixes(ValueError):
    """A field can't be read; ``index``: which."""

    def __init__(self, index: int) -> None:
        super().__init__("a prefix is too long, or goes on behind the end of its field")
        self.index = index


def words(data: bytes, at: npt.NDArray[np.int64], kind: str) -> npt.NDArray[Any]:
    """Big-endian unsigned numbers (``kind``: as numpy names them) in ``data``, wherever they stand."""
    size = np.dtype(kind).itemsize
    every = np.ndarray((len(data) - size + 1,), f">{kind}", data, strides=(1,))
    return every[at].astype(kind)


def decode(
    family: Family, data: bytes, starts: Places, ends: Places, *, with_ids: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32], Prefixes]:
    """How many prefixes are in each field, ``data`` from a start to its end, and path identifiers and prefixes of all;
    identifiers are 0 where there are none.

    ``PADDING`` must lie behind every field. Bits beyond a prefix's length are dropped (RFC 4271 4.3: their value is
    irrelevant). Raises ``NotPrefixes``.
    """
    ahead = _ID_BYTES if with_ids else 0
    step = (_STEP_WITH_ID if with_ids else _STEP)[family]
    at, each = _places(data, starts, ends, ahead, step)
    length = words(data, at + ahead, "u1")
    hi = words(data, at + ahead + 1, "u8")
    lo = words(data, at + ahead + 9, "u8") if (length > _ROOT).any() else np.zeros(len(at), np.uint64)
    ids: npt.NDArray[np.uint32] = words(data, at, "u4") if with_ids else np.zeros(len(at), np.uint32)
    return each, ids, Prefixes.cut(hi, lo, length)


def _places(data: bytes, starts: Places, ends: Places, ahead: int, step: list[int]) -> tuple[Places, Places]:
    """Where all prefixes start, and how many there are in each field."""
    if len(starts) < _MANY:
        return _walk(data, starts, ends, ahead, step)
    try:
        return _walk_abreast(data, starts, ends, ahead, step)
    except NotPrefixes:
        return _walk(data, starts, ends, ahead, step)  # which says in which field


def _walk(data: bytes, starts: Places, ends: Places, ahead: int, step: list[int]) -> tuple[Places, Places]:
    """A prefix after the other."""
    places: list[int] = []
    counts: list[int] = []
    found = places.append
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        while start < end:
            found(start)
            start += step[data[start + ahead]]
        if start != end:
            raise NotPrefixes(len(counts))
        counts.append(len(places))
    each = np.array(counts, np.int64)
    each[1:] -= each[:-1].copy()
    return np.array(places, np.int64), each


def _walk_abreast(data: bytes, starts: Places, ends: Places, ahead: int, step: list[int]) -> tuple[Places, Places]:
    """All fields at once, a prefix of each, until few are left."""
    lengths, steps = np.frombuffer(data, np.uint8)[ahead:], np.array(step, np.int64)
    each = np.zeros(len(starts), np.int64)
    walked: list[tuple[Places, Places]] = []
    on = np.flatnonzero(starts < ends)
    at, end = starts[on], ends[on]
    while len(on) >= _MANY:
        walked.append((on, at))
        at = at + steps[lengths[at]]
        if (at > end).any():
            raise NotPrefixes(0)
        each[on] += 1
        left = at < end
        on, at, end = on[left], at[left], end[left]
    rest, more = _walk(data, at, end, ahead, step)
    each[on] += more
    first = np.cumsum(each) - each
    found = np.empty(int(each.sum()), np.int64)
    for place, (which, there) in enumerate(walked):
        found[first[which] + place] = there
    begin = np.cumsum(more) - more
    found[np.repeat(first[on] + len(walked) - begin, more) + np.arange(len(rest))] = rest
    return found, each


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
