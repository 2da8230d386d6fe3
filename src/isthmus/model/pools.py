"""Shared pools: a public address that several stateful sides show one peer has to mean the same thing in each.

Peerings are entered in file order, and of two that conflict the first stays. Only VPCs that are shown a pool are
looked at; each keeps its pools as disjoint intervals, so that entering is a search and not a comparison with all.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from isthmus.model import sets
from isthmus.model.drafts import Draft, DraftSide
from isthmus.tables.address import FAMILIES, Family
from isthmus.tables.entries import Nat


class _Held(NamedTuple):
    """Addresses start..stop (excluded) and the first side that showed them."""

    start: int
    stop: int
    draft: Draft
    part: DraftSide


class _Shown:
    """What one VPC is shown in one family: pools, and everything else, each as sorted disjoint intervals."""

    def __init__(self) -> None:
        self.pools: list[_Held] = []
        self.others: list[_Held] = []

    def rival(self, part: DraftSide, public: sets.Set) -> tuple[_Held, sets.Interval] | None:
        """A side entered before that cannot share these addresses, and where they meet."""
        for held, where in _meeting(self.pools, public):
            if part.side.nat is not Nat.STATEFUL or not _same_nat(part, held.part):
                return held, where
        if part.side.nat is Nat.STATEFUL:
            return next(iter(_meeting(self.others, public)), None)
        return None

    def enter(self, draft: Draft, part: DraftSide, public: sets.Set) -> None:
        """Remember these addresses; those that are there already keep their first owner."""
        held = self.pools if part.side.nat is Nat.STATEFUL else self.others
        taken = sets.union(where for _, where in _meeting(held, public))
        for start, stop in sets.difference(public, taken):
            insort(held, _Held(start, stop, draft, part), key=lambda one: one.start)


def _meeting(held: list[_Held], public: sets.Set) -> list[tuple[_Held, sets.Interval]]:
    """All held intervals that a set meets, with what they have in common."""
    found = []
    for start, stop in public:
        index = max(bisect_right(held, start, key=lambda one: one.start) - 1, 0)
        while index < len(held) and held[index].start < stop:
            if held[index].stop > start:
                found.append((held[index], (max(start, held[index].start), min(stop, held[index].stop))))
            index += 1
    return found


def _same_nat(one: DraftSide, other: DraftSide) -> bool:
    """True if two stateful sides share a pool on the same terms, however these are written."""
    here, there = one.side, other.side
    return (here.ports, here.per_destination, here.timeouts) == (there.ports, there.per_destination, there.timeouts)


def judge_pools(drafts: Sequence[Draft]) -> None:
    """Note ``pool-conflict`` in every peering that conflicts with one before it. Broken peerings hold nothing."""
    shown: dict[tuple[str, Family], _Shown] = defaultdict(_Shown)
    pooled = {
        other.side.vpc
        for draft in drafts
        if draft.sides and not draft.broken
        for part, other in (draft.sides, draft.sides[::-1])
        if part.side.nat is Nat.STATEFUL
    }
    for draft in drafts if pooled else ():
        if draft.broken or not draft.sides:
            continue
        entries = [
            (shown[other.side.vpc, family], part, part.in_family(family).public)
            for part, other in (draft.sides, draft.sides[::-1])
            for family in FAMILIES
            if other.side.vpc in pooled
        ]
        for place, part, public in entries:
            rival = place.rival(part, public)
            if rival is not None:
                _conflict(draft, part, *rival)
        if not draft.broken:
            for place, part, public in entries:
                place.enter(draft, part, public)


def _conflict(draft: Draft, part: DraftSide, held: _Held, where: sets.Interval) -> None:
    family = next(family for family in FAMILIES if sets.meets(part.in_family(family).public, (where,)))
    text = sets.describe(family, (where,))
    offers = part.in_family(family).offers
    path = next((one.path for one in offers if one.start < where[1] and where[0] < one.stop), part.side.path)
    theirs = f"{held.draft.found.label}, {held.part.side.path} at {held.draft.found.at(held.part.side.path)}"
    both = part.side.nat is held.part.side.nat
    said = (
        "is a pool with other settings of `nat`" if both else "is shown to the same VPC as a pool and as something else"
    )
    hint = (
        f"write the same `nat` in both, or other addresses than {text}"
        if both
        else f"write other addresses than {text}"
    )
    draft.error("pool-conflict", path, f"{text} {said}: by {theirs}", hint, text)
