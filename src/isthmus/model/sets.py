"""Sets of addresses: sorted, disjoint, non-adjacent intervals ``(start, stop)``, the stop excluded.

Numbers are left-aligned as in ``tables.address``, so a prefix of length n spans ``2**(128-n)`` in both families and
neighbours touch without a step. One set holds one family.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from isthmus.tables.address import BITS, Family, Prefix, format_address, range_prefixes, step

Interval = tuple[int, int]
Set = tuple[Interval, ...]
EMPTY: Set = ()


def interval(prefix: Prefix) -> Interval:
    """The addresses of a prefix."""
    return prefix.first, prefix.first + (1 << (128 - prefix.length))


def union(intervals: Iterable[Interval]) -> Set:
    """The set of all addresses in any of the intervals, which may overlap and come in any order."""
    ordered = sorted(intervals)
    if len(ordered) == 1:
        return (ordered[0],) if ordered[0][0] < ordered[0][1] else EMPTY
    merged: list[Interval] = []
    for start, stop in ordered:
        if merged and start <= merged[-1][1]:
            if stop > merged[-1][1]:
                merged[-1] = (merged[-1][0], stop)
        elif start < stop:
            merged.append((start, stop))
    return tuple(merged)


def of(prefixes: Iterable[Prefix]) -> Set:
    """The addresses of some prefixes of one family."""
    return union([interval(prefix) for prefix in prefixes])


def intersection(one: Set, other: Set) -> Set:
    """What is in both."""
    found = []
    left = right = 0
    while left < len(one) and right < len(other):
        start = max(one[left][0], other[right][0])
        stop = min(one[left][1], other[right][1])
        if start < stop:
            found.append((start, stop))
        if one[left][1] < other[right][1]:
            left += 1
        else:
            right += 1
    return tuple(found)


def difference(one: Set, other: Set) -> Set:
    """What is in the first and not in the second."""
    if not one or not other:
        return one
    left = []
    index = max(bisect_right(other, (one[0][0],)) - 1, 0)
    for start, stop in one:
        while index < len(other) and other[index][1] <= start:
            index += 1
        at = index
        while at < len(other) and other[at][0] < stop:
            if start < other[at][0]:
                left.append((start, other[at][0]))
            start = max(start, other[at][1])
            at += 1
        if start < stop:
            left.append((start, stop))
    return tuple(left)


def meets(one: Set, other: Set) -> bool:
    """True if they have an address in common."""
    return bool(intersection(one, other))


def shifted(addresses: Set, by: int) -> Set:
    """Every address moved by a number, which may be negative and must not wrap."""
    return tuple((start + by, stop + by) for start, stop in addresses)


def describe(family: Family, addresses: Set, most: int = 12) -> str:
    """A set in few words, and exact: CIDRs, or CIDRs ``except`` others. Beyond ``most`` it says how many follow."""
    plain = _prefixes(family, addresses)
    if len(plain) > 3:
        hull = _prefixes(family, ((addresses[0][0], addresses[-1][1]),))
        holes = _prefixes(family, difference(of(hull), addresses))
        if len(hull) + len(holes) < len(plain):
            return f"{_listed(hull, most)} except {_listed(holes, most)}"
    return _listed(plain, most)


def _listed(prefixes: list[Prefix], most: int) -> str:
    text = ", ".join(_short(prefix) for prefix in prefixes[:most])
    return text if len(prefixes) <= most else f"{text} and {len(prefixes) - most} more"


def _short(prefix: Prefix) -> str:
    """A prefix; a single address without its length."""
    single = prefix.length == BITS[prefix.family]
    return format_address(prefix.family, prefix.first) if single else str(prefix)


def _prefixes(family: Family, addresses: Set) -> list[Prefix]:
    unit = step(family)
    return [prefix for start, stop in addresses for prefix in range_prefixes(family, start, stop - unit)]
