"""Sorted lists of address ranges, both ends included, in left-aligned numbers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

Interval = tuple[int, int]


def merged(intervals: Iterable[Interval], step: int) -> list[Interval]:
    """Sorted and disjoint; ranges that touch become one. ``step`` is the distance of two neighbouring addresses."""
    result: list[Interval] = []
    for first, last in sorted(intervals):
        if result and first <= result[-1][1] + step:
            if last > result[-1][1]:
                result[-1] = (result[-1][0], last)
        else:
            result.append((first, last))
    return result


def cut(first: int, last: int, holes: Sequence[Interval], step: int) -> tuple[list[Interval], list[Interval]]:
    """What of first..last is outside and what is inside of the holes (sorted, disjoint, as ``merged`` gives them)."""
    outside: list[Interval] = []
    inside: list[Interval] = []
    at = first
    start = max(0, bisect_right(holes, (first, 0)) - 1)
    for low, high in holes[start:]:
        if high < at:
            continue
        if low > last:
            break
        if low > at:
            outside.append((at, low - step))
        inside.append((max(low, at), min(high, last)))
        at = high + step
        if at > last:
            break
    if at <= last:
        outside.append((at, last))
    return outside, inside
