"""One side of a peering: which private addresses are offered, and which public ones they are seen as.

Static translation (the k-th address of ``ips`` is the k-th of ``as``) is laid out as *segments*: ranges that
run through both spaces without a break, so that translating is one addition.
"""

from __future__ import annotations

from typing import NamedTuple

from isthmus.compile.intervals import Interval, cut, merged
from isthmus.model.types import Item, Side
from isthmus.tables.address import FAMILIES, MASK128, Family, step
from isthmus.tables.entries import Nat, Origin, Range


class Offer(NamedTuple):
    """Public addresses first..last that a side offers; ``delta`` leads to the private, ``length`` is as written."""

    first: int
    last: int
    length: int
    delta: int
    hole: bool
    origin: Origin


class Layout(NamedTuple):
    """A side in one family: ``private`` and ``holes`` sorted by private address, ``offers`` by public address."""

    private: tuple[Range, ...]
    holes: tuple[Range, ...]
    offers: tuple[Offer, ...]


def lay_out(side: Side) -> dict[Family, Layout]:
    """Every family the side speaks, laid out; families without a positive item are left out."""
    result: dict[Family, Layout] = {}
    name = f"Peering/{side.peering}"
    for family in FAMILIES:
        ips = [item for item in side.ips if item.prefix.family == family]
        if not ips:
            continue
        unit = step(family)
        private_holes = _holes(side.ips_not, family, unit)
        if side.nat is Nat.STATIC:
            shown = [item for item in side.as_ if item.prefix.family == family]
            result[family] = _static(name, ips, shown, private_holes, _holes(side.as_not, family, unit), unit)
        else:
            public = [item for item in side.as_ if item.prefix.family == family] if side.nat is Nat.STATEFUL else ips
            public_holes = _holes(side.as_not, family, unit) if side.nat is Nat.STATEFUL else private_holes
            private = _private(name, ips, private_holes, unit)
            offers = [
                Offer(low, high, item.prefix.length, 0, False, Origin(name, item.path))
                for item in public
                for low, high in cut(item.prefix.first, item.prefix.last, public_holes, unit)[0]
            ]
            result[family] = Layout(private, (), tuple(sorted(offers)))
    return result


def _holes(items: tuple[Item, ...], family: Family, unit: int) -> list[Interval]:
    return merged(((i.prefix.first, i.prefix.last) for i in items if i.prefix.family == family), unit)


def _private(name: str, ips: list[Item], holes: list[Interval], unit: int) -> tuple[Range, ...]:
    """The source ranges of a side whose addresses are not translated one to one; overlapping items are one."""
    ranges: list[Range] = []
    for item in sorted(ips, key=lambda i: (i.prefix.first, -i.prefix.last)):
        first = item.prefix.first
        if ranges and first <= ranges[-1].last:
            if item.prefix.last <= ranges[-1].last:
                continue
            first = ranges[-1].last + unit
        origin = Origin(name, item.path)
        for low, high in cut(first, item.prefix.last, holes, unit)[0]:
            ranges.append(Range(low, high, 0, origin))
    return tuple(ranges)


def _static(
    name: str,
    ips: list[Item],
    shown: list[Item],
    private_holes: list[Interval],
    public_holes: list[Interval],
    unit: int,
) -> Layout:
    """Walk both lists side by side; every stretch that both run through is a segment, then cut the holes out."""
    private: list[Range] = []
    holes: list[Range] = []
    offers: list[Offer] = []
    here = there = 0
    here_used = there_used = 0
    while here < len(ips) and there < len(shown):
        inside, outside = ips[here].prefix, shown[there].prefix
        low, public_low = inside.first + here_used, outside.first + there_used
        span = min(inside.last - low, outside.last - public_low)
        delta = (public_low - low) & MASK128
        barred = merged(
            [
                *private_holes,
                *(
                    (a - public_low + low, b - public_low + low)
                    for a, b in public_holes
                    if b >= public_low and a <= public_low + span
                ),
            ],
            unit,
        )
        kept, removed = cut(low, low + span, barred, unit)
        origin, shown_origin = Origin(name, ips[here].path), Origin(name, shown[there].path)
        back = -delta & MASK128
        for spans, ranges, hole in ((kept, private, False), (removed, holes, True)):
            for a, b in spans:
                ranges.append(Range(a, b, delta, origin))
                offers.append(
                    Offer(a - low + public_low, b - low + public_low, outside.length, back, hole, shown_origin)
                )
        here_used += span + unit
        there_used += span + unit
        if low + span == inside.last:
            here, here_used = here + 1, 0
        if public_low + span == outside.last:
            there, there_used = there + 1, 0
    return Layout(tuple(sorted(private)), tuple(sorted(holes)), tuple(sorted(offers)))
