"""Many UPDATEs at once: those like nearly all are told from the others, and read, one attribute of all at a time.

*Ordinary* is an UPDATE that withdraws nothing, whose attributes are known, right and there once, whose AS path is one
sequence, and whose prefixes are in NLRI or in an MP_REACH_NLRI in front. What is wrong or rare in the least is not
ordinary, and left to who reads each by itself; so nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from isthmus.routing.bgp import attributes as a
from isthmus.routing.bgp.nlri import Places, words
from isthmus.routing.bgp.received import BOTH, RULES, Said
from isthmus.routing.bgp.wire import AFI, UNICAST
from isthmus.tables.address import Family

_Mask = npt.NDArray[np.bool_]

_MOST: Final = 16  # attributes of an ordinary UPDATE
_KINDS: Final = 256
_REACH: Final = (a.OPTIONAL | a.EXTENDED) << 8 | a.MP_REACH
_IPV6_UNICAST: Final = AFI[6] << 8 | UNICAST


def _column(values: dict[int, int]) -> Places:
    column = np.full(_KINDS, -1, np.int64)
    column[list(values)] = list(values.values())
    return column


# By type of attribute, -1: not ordinary.
_FLAGS: Final = _column({code: rule.flags for code, rule in RULES.items() if rule.size >= 0})
_SIZE: Final = _column({code: rule.size for code, rule in RULES.items() if rule.size >= 0 and not rule.many})
_PART: Final = _column({code: rule.size for code, rule in RULES.items() if rule.size >= 0 and rule.many})
_INTERNAL: Final = np.array([code in RULES and RULES[code].internal for code in range(_KINDS)])
_SIZE[a.AS_PATH] = -1


class Ordinary(NamedTuple):
    """Of each UPDATE whether it is ordinary, and then where in the data what stands; ``six``: it is of IPv6.

    Values start at ``*_at``, and end at ``*_end``; 0: there is none."""

    ok: _Mask
    six: _Mask
    raw_at: Places
    raw_end: Places
    hop_at: Places
    hop_end: Places
    prefixes_at: Places
    prefixes_end: Places
    large_at: Places
    large_end: Places
    med: Places
    local_pref: Places
    hops: Places
    origin: Places

    def fields(self, family: Family) -> tuple[Places, Places, Places]:
        """The numbers of those of a family, and where their prefixes are."""
        index = np.flatnonzero(self.ok & (self.six == (family == 6)))
        return index, self.prefixes_at[index], self.prefixes_end[index]

    def sets(
        self, data: bytes, index: Places, others: Sequence[Said]
    ) -> tuple[list[bytes], list[bytes], list[bytes], Places, Places, Places, Places]:
        """The columns of ``updates.Sets`` for these, and behind them for others."""

        def cut(first: Places, last: Places) -> list[bytes]:
            return [data[at:end] for at, end in zip(first[index].tolist(), last[index].tolist(), strict=True)]

        def numbers(mine: Places, theirs: list[int]) -> Places:
            return np.concatenate((mine[index], np.array(theirs, np.int64)))

        return (
            cut(self.raw_at, self.raw_end) + [one.raw for one in others],
            cut(self.hop_at, self.hop_end) + [one.next_hop for one in others],
            cut(self.large_at, self.large_end) + [one.large for one in others],
            numbers(self.med, [one.med for one in others]),
            numbers(self.local_pref, [one.local_pref for one in others]),
            numbers(self.hops, [one.hops for one in others]),
            numbers(self.origin, [one.origin for one in others]),
        )


def ordinary(
    data: bytes, bodies: Sequence[tuple[int, int]], families: Collection[Family], *, internal: bool
) -> Ordinary:
    """Look at UPDATEs whose bodies are ``data[start:end]``; ``nlri.PADDING`` must follow the data."""
    spans = np.array(bodies, np.int64).reshape(-1, 2)
    start, end = spans[:, 0], spans[:, 1]
    count = len(start)
    first = start + 4
    stop = first + words(data, start + 2, "u2").astype(np.int64)
    ok = (words(data, start, "u2") == 0) & (stop <= end) & (stop > first)
    reach = words(data, np.where(ok, first, 0), "u2")
    six = ok & (reach | a.EXTENDED << 8 == _REACH)
    wide = reach == _REACH
    seven = np.where(six, first + wide, 0)  # so that what follows stands at the same distance
    length = np.where(wide, words(data, seven + 1, "u2"), words(data, seven + 2, "u1")).astype(np.int64)
    hop_bytes = words(data, seven + 6, "u1").astype(np.int64)
    hop = seven + 7
    prefixes = np.where(six, hop + hop_bytes + 1, stop)
    rest = np.where(six, seven + 3 + length, first)
    unicast = words(data, seven + 3, "u2").astype(np.int64) << 8 | words(data, seven + 5, "u1")
    whole = (hop_bytes == 16) | (hop_bytes == 32)
    ok &= np.where(
        six,
        (unicast == _IPV6_UNICAST) & whole & (prefixes < rest) & (rest <= stop) & (stop == end),
        stop < end,
    )
    ok &= np.where(six, 6 in families, 4 in families)
    nothing = np.zeros(count, np.int64)
    found = Ordinary(
        ok=ok,
        six=six,
        raw_at=rest,
        raw_end=stop,
        hop_at=np.where(six, hop, 0),
        hop_end=np.where(six, hop + hop_bytes, 0),
        prefixes_at=prefixes,
        prefixes_end=np.where(six, rest, end),
        large_at=nothing.copy(),
        large_end=nothing.copy(),
        med=nothing - 1,
        local_pref=nothing + a.DEFAULT_LOCAL_PREF,
        hops=nothing.copy(),
        origin=nothing.copy(),
    )
    _walk(data, found, internal=internal)
    return found


def _walk(data: bytes, found: Ordinary, *, internal: bool) -> None:
    """Read the attributes of all, the first of each, then the second; ``ok`` is left where all is right."""
    ok, size = found.ok, len(data)
    seen = np.zeros((len(ok), a.LARGE_COMMUNITIES + 1), np.bool_)
    left = np.flatnonzero(ok)
    at = found.raw_at[left]
    for _ in range(_MOST):
        if not len(left):
            break
        flags, code = words(data, at, "u1"), words(data, at + 1, "u1").astype(np.int64)
        extended = (flags & a.EXTENDED) != 0
        length = np.where(extended, words(data, at + 2, "u2"), words(data, at + 2, "u1")).astype(np.int64)
        value = at + 3 + extended
        following = value + length
        right = (following <= found.raw_end[left]) & (code <= a.LARGE_COMMUNITIES) & ((flags & BOTH) == _FLAGS[code])
        right &= ~seen[left, np.minimum(code, a.LARGE_COMMUNITIES)]
        if not internal:
            right &= ~_INTERNAL[code]
        part = _PART[code]
        right &= (
            (length == _SIZE[code])
            | ((part > 0) & (length > 0) & (length % np.maximum(part, 1) == 0))
            | (code == a.AS_PATH)
        )
        safe = np.minimum(value, size - 8)
        right &= _values(data, found, left, code, safe, length, right)
        seen[left[right], code[right]] = True
        ok[left[~right]] = False
        more = right & (following < found.raw_end[left])
        left, at = left[more], following[more]
    ok[left] = False
    ok &= seen[:, a.ORIGIN] & seen[:, a.AS_PATH] & (seen[:, a.NEXT_HOP] | found.six)


def _values(
    data: bytes, found: Ordinary, left: Places, code: Places, value: Places, length: Places, right: _Mask
) -> _Mask:
    """Note the values of attributes, of those that are ``right`` so far; False where one is not ordinary."""
    fine = np.ones(len(left), np.bool_)
    for kind in np.unique(code[right]).tolist():
        mine = np.flatnonzero(right & (code == kind))
        who, at, size = left[mine], value[mine], length[mine]
        match kind:
            case a.ORIGIN:
                found.origin[who] = words(data, at, "u1")
                fine[mine] = found.origin[who] <= max(a.Origin)
            case a.AS_PATH:
                hops = np.where(size > 0, words(data, at + 1, "u1"), 0).astype(np.int64)
                found.hops[who] = hops
                whole = (words(data, at, "u1") == a.SEQUENCE) & (hops > 0) & (size == 2 + 4 * hops)
                fine[mine] = (size == 0) | whole
            case a.NEXT_HOP:
                four = ~found.six[who]
                found.hop_at[who[four]], found.hop_end[who[four]] = at[four], at[four] + 4
            case a.MED:
                found.med[who] = words(data, at, "u4")
            case a.LOCAL_PREF:
                found.local_pref[who] = words(data, at, "u4")
            case a.LARGE_COMMUNITIES:
                found.large_at[who], found.large_end[who] = at, at + size
    return fine


NOTHING: Final = ordinary(bytes(24), (), (), internal=True)
"""Of no UPDATEs."""
