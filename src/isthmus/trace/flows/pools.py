"""Addresses and ports of a pool, as ranges that are counted through."""

from __future__ import annotations

from collections.abc import Sequence

Ends = tuple[int, int]


def count(ranges: Sequence[Ends], unit: int = 1) -> int:
    """How many there are; ``unit`` is the distance between two neighbours."""
    return sum((last - first) // unit + 1 for first, last in ranges)


def nth(ranges: Sequence[Ends], index: int, unit: int = 1) -> int:
    """The one at an index below the count."""
    for first, last in ranges:
        size = (last - first) // unit + 1
        if index < size:
            return first + index * unit
        index -= size
    raise IndexError(index)


def holds(ranges: Sequence[Ends], value: int) -> bool:
    """True if one of the ranges has it."""
    return any(first <= value <= last for first, last in ranges)
