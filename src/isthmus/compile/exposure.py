"""Who offers what to one VPC: all offers cut into disjoint ranges, each with every candidate for it.

A sweep over the ends of the offers, O((n + k) log n) for n offers and k candidates in the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from isthmus.compile.sides import Offer
from isthmus.model.types import Side
from isthmus.tables.entries import Candidate, Exposure, Nat, Origin, PathKind, SideKey

KINDS = {Nat.PLAIN: PathKind.PLAIN, Nat.STATIC: PathKind.STATIC, Nat.STATEFUL: PathKind.STATEFUL}


class Own(NamedTuple):
    """Addresses of the sending VPC itself. ``yields``: only where nobody offers them (an inferred VPC)."""

    first: int
    last: int
    yields: bool
    origin: Origin


def candidates(here: Side, there: Side, offers: Sequence[Offer]) -> list[tuple[int, int, Candidate]]:
    """The offers of one side as candidates of the VPC on the other side: (first, last, candidate)."""
    sender, owner = SideKey(here.peering, here.vpc), SideKey(there.peering, there.vpc)
    kind = KINDS[there.nat]
    return [
        (
            offer.first,
            offer.last,
            Candidate(
                PathKind.HOLE if offer.hole else kind,
                sender,
                owner,
                offer.length,
                there.metric,
                offer.delta,
                offer.origin,
            ),
        )
        for offer in offers
    ]


def sweep(offered: Iterable[tuple[int, int, Candidate]], own: Iterable[Own], step: int) -> tuple[Exposure, ...]:
    """Disjoint ranges in order; neighbours with the same candidates are one range."""
    spans: list[tuple[int, int, Candidate | Own]] = [*offered, *((o.first, o.last, o) for o in own)]
    events: list[tuple[int, int, int]] = []
    for index, (first, last, _) in enumerate(spans):
        events.append((first, 1, index))
        events.append((last + step, 0, index))
    events.sort()
    active: set[int] = set()
    found: list[Exposure] = []
    for position, (edge, opens, index) in enumerate(events):
        if opens:
            active.add(index)
        else:
            active.discard(index)
        if position + 1 < len(events) and events[position + 1][0] == edge:
            continue
        if active:
            until = events[position + 1][0] - step
            chosen = _judge([spans[i][2] for i in active])
            if found and found[-1].last + step == edge and found[-1].candidates == chosen:
                found[-1] = Exposure(found[-1].first, until, chosen)
            else:
                found.append(Exposure(edge, until, chosen))
    return tuple(found)


def _judge(spans: list[Candidate | Own]) -> tuple[Candidate, ...]:
    """The candidates that count: own subnets shadow all; holes and inferred ownership speak only when nobody offers."""
    own = [span for span in spans if isinstance(span, Own)]
    offers = [span for span in spans if isinstance(span, Candidate)]
    firm = [o for o in own if not o.yields]
    real = _best_of_sides([c for c in offers if c.kind is not PathKind.HOLE])
    if firm or (own and not offers):
        origin = (firm or own)[0].origin
        return (Candidate(PathKind.SAME_VPC, None, None, 0, 0, 0, origin),)
    return tuple(real) if real else (min(offers, key=_order),)


def _best_of_sides(offers: list[Candidate]) -> list[Candidate]:
    """In order. Of several items of one plain side that hold an address only the longest counts: they are one path."""
    if len(offers) < 2:
        return offers
    best: dict[SideKey | None, Candidate] = {}
    for offer in sorted(offers, key=_order):
        best.setdefault(offer.there, offer)
    return list(best.values())


def _order(candidate: Candidate) -> tuple[SideKey, int, int, Origin]:
    assert candidate.there is not None
    return (candidate.there, -candidate.length, candidate.delta, candidate.origin)
