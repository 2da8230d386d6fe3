"""What a side offers, as sets: its private addresses, the public ones its peer sees, and how one leads to the other."""

from __future__ import annotations

from typing import NamedTuple

from isthmus.model import sets
from isthmus.model.types import Item, Side
from isthmus.tables.address import FAMILIES, Family
from isthmus.tables.entries import Nat


class Offer(NamedTuple):
    """Public addresses start..stop (excluded) of one written CIDR; ``shift`` added to them gives the private ones."""

    start: int
    stop: int
    length: int
    shift: int
    path: str


class Exposure(NamedTuple):
    """One side in one family. ``offers`` are free of holes; a stateful side's have no private counterpart."""

    private: sets.Set
    public: sets.Set
    offers: tuple[Offer, ...]


NOTHING = Exposure(sets.EMPTY, sets.EMPTY, ())


def expose(side: Side) -> dict[Family, Exposure]:
    """What a side offers in each family that it has positive items of (SPEC 4 and 6: a hole is one in both spaces)."""
    exposed = {}
    for family in FAMILIES:
        ips = _of(side.ips, family)
        shown = _of(side.as_, family) if side.nat is not Nat.PLAIN else ips
        if ips or shown:
            exposed[family] = _expose(side, family, ips, shown)
    return exposed


def _of(items: tuple[Item, ...], family: Family) -> list[Item]:
    return [item for item in items if item.prefix[0] == family]


def _holes(items: tuple[Item, ...], family: Family) -> sets.Set:
    return sets.of(item.prefix for item in items if item.prefix[0] == family) if items else sets.EMPTY


def _expose(side: Side, family: Family, ips: list[Item], shown: list[Item]) -> Exposure:
    holes = _holes(side.ips_not, family)
    if side.nat is Nat.STATIC:
        offers = _static(ips, shown, holes, _holes(side.as_not, family))
        private = sets.union((offer.start + offer.shift, offer.stop + offer.shift) for offer in offers)
        return Exposure(private, _public(offers), offers)
    private = sets.difference(sets.of(item.prefix for item in ips), holes)
    offers = _cut(shown, holes if side.nat is Nat.PLAIN else _holes(side.as_not, family))
    return Exposure(private, private if side.nat is Nat.PLAIN else _public(offers), offers)


def _public(offers: tuple[Offer, ...]) -> sets.Set:
    return sets.union((offer.start, offer.stop) for offer in offers)


def _cut(items: list[Item], holes: sets.Set) -> tuple[Offer, ...]:
    """Every item without its holes, untranslated."""
    return tuple(
        Offer(start, stop, item.prefix.length, 0, item.path)
        for item in items
        for start, stop in sets.difference((sets.interval(item.prefix),), holes)
    )


def _static(ips: list[Item], shown: list[Item], holes: sets.Set, shown_holes: sets.Set) -> tuple[Offer, ...]:
    """Both lists laid side by side; every stretch that runs through one CIDR of each is translated by one number."""
    offers = []
    here = there = used_here = used_there = 0
    while here < len(ips) and there < len(shown):
        (low, high), (start, stop) = sets.interval(ips[here].prefix), sets.interval(shown[there].prefix)
        low, start = low + used_here, start + used_there
        span, shift = min(high - low, stop - start), low - start
        kept = sets.difference(((start, start + span),), shown_holes)
        kept = sets.difference(kept, sets.shifted(holes, -shift))
        length, path = shown[there].prefix.length, shown[there].path
        offers += [Offer(first, end, length, shift, path) for first, end in kept]
        used_here, used_there = used_here + span, used_there + span
        if low + span == high:
            here, used_here = here + 1, 0
        if start + span == stop:
            there, used_there = there + 1, 0
    return tuple(offers)


def to_private(exposure: Exposure, public: sets.Set) -> sets.Set:
    """The private addresses behind public ones; those that are not offered fall away. Not for stateful sides."""
    return sets.union(
        (start + offer.shift, stop + offer.shift)
        for offer in exposure.offers
        for start, stop in sets.intersection(public, ((offer.start, offer.stop),))
    )


def to_public(exposure: Exposure, private: sets.Set) -> sets.Set:
    """The public addresses of private ones; those that are not offered fall away. Not for stateful sides."""
    return sets.union(
        (start - offer.shift, stop - offer.shift)
        for offer in exposure.offers
        for start, stop in sets.intersection(private, ((offer.start + offer.shift, offer.stop + offer.shift),))
    )
