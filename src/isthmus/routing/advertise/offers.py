"""What one VPC is offered, read from its exposures: public ranges with their translation, and CIDRs as written."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from isthmus.compile.intervals import Interval, merged
from isthmus.tables.address import BITS, MASK128, Family, Prefix, range_prefixes, step
from isthmus.tables.entries import Candidate, Exposure, PathKind, SideKey
from isthmus.tables.learned import prefix_key

Span = TypeVar("Span")


class Segment(NamedTuple):
    """Public addresses first..last of one side, which are low..high in private."""

    side: SideKey
    metric: int
    first: int
    last: int
    low: int
    high: int


@dataclass(slots=True, eq=False)
class Piece:
    """A CIDR of a summary. ``low``..``high`` are its private addresses.

    ``witness``: key of a route that is alive below or above it; 0: none is. A stateful side needs none.
    """

    key: int
    side: SideKey
    metric: int
    low: int
    high: int
    stateful: bool
    witness: int = 0

    @property
    def alive(self) -> bool:
        """True if it is told."""
        return self.stateful or self.witness != 0


@dataclass(slots=True)
class Offer:
    """All that one side offers in one family. ``blocks``: its public CIDRs as written."""

    side: SideKey
    kind: PathKind
    metric: int
    spans: list[tuple[int, int, int]] = field(default_factory=list)
    blocks: dict[Prefix, None] = field(default_factory=dict)

    def segments(self) -> list[Segment]:
        """Its ranges; those that touch and are translated alike are one."""
        return [
            Segment(self.side, self.metric, first, last, first + delta & MASK128, last + delta & MASK128)
            for first, last, delta in self.spans
        ]

    def pieces(self, family: Family) -> Iterator[Piece]:
        """Its CIDRs as written, without holes."""
        firsts = [first for first, _, _ in self.spans]
        for block in self.blocks:
            for first, last, delta in self.spans[max(0, bisect_right(firsts, block.first) - 1) :]:
                if first > block.last:
                    break
                low, high = max(first, block.first), min(last, block.last)
                for prefix in range_prefixes(family, low, high) if low <= high else ():
                    inside = prefix.first + delta & MASK128, prefix.last + delta & MASK128
                    stateful = self.kind is PathKind.STATEFUL
                    yield Piece(prefix_key(prefix), self.side, self.metric, *inside, stateful)


def offers(family: Family, exposures: Iterable[Exposure]) -> tuple[dict[SideKey, Offer], list[Interval]]:
    """By side what a VPC is offered in one family, and the VPC's own addresses.

    Its own subnets cut a hole into no plain CIDR around them: who has them looks there first, and a default route
    stays one.
    """
    found: dict[SideKey, Offer] = {}
    own: list[Interval] = []
    for exposure in exposures:
        for candidate in exposure.candidates:
            if candidate.kind is PathKind.SAME_VPC:
                own.append((exposure.first, exposure.last))
            elif candidate.kind is not PathKind.HOLE:
                _add(found, family, exposure, candidate)
    unit = step(family)
    own = merged(own, unit)
    for offer in found.values():
        if offer.kind is PathKind.PLAIN:
            offer.spans += [(low, high, 0) for low, high in _inside(own, offer.blocks)]
        offer.spans = _joined(offer.spans, unit)
    return found, own


def _add(found: dict[SideKey, Offer], family: Family, exposure: Exposure, candidate: Candidate) -> None:
    assert candidate.there is not None
    offer = found.get(candidate.there)
    if offer is None:
        offer = found[candidate.there] = Offer(candidate.there, candidate.kind, candidate.metric)
    offer.spans.append((exposure.first, exposure.last, candidate.delta))
    mask = Prefix(family, 0, candidate.length).mask
    offer.blocks[Prefix(family, exposure.first & mask, candidate.length)] = None


def _inside(own: list[Interval], blocks: Iterable[Prefix]) -> Iterator[Interval]:
    """What of some ranges (sorted, disjoint) is in the blocks."""
    for block in blocks:
        for first, last in own[max(0, bisect_right(own, (block.first, 0)) - 1) :]:
            if first > block.last:
                break
            if last >= block.first:
                yield max(first, block.first), min(last, block.last)


def _joined(spans: list[tuple[int, int, int]], unit: int) -> list[tuple[int, int, int]]:
    """Sorted; ranges that touch or overlap and have the same delta are one. None wraps round in private addresses."""
    by_delta: dict[int, list[Interval]] = defaultdict(list)
    for first, last, delta in spans:
        by_delta[delta].append((first, last))
    found = []
    for delta, some in by_delta.items():
        wrap = MASK128 + 1 - delta  # the public address of private address 0
        for first, last in merged(some, unit):
            if first < wrap <= last:
                found += [(first, wrap - unit, delta), (wrap, last, delta)]
            else:
                found.append((first, last, delta))
    return sorted(found)


class Cover(Generic[Span]):
    """Which of many ranges, overlapping or not, hold an address: one binary search."""

    def __init__(self, family: Family, spans: Iterable[tuple[int, int, Span]]) -> None:
        unit = step(family)
        opens: dict[int, list[int]] = defaultdict(list)
        closes: dict[int, list[int]] = defaultdict(list)
        values = []
        for index, (first, last, span) in enumerate(spans):
            values.append(span)
            opens[first].append(index)
            closes[last + unit].append(index)
        active: dict[int, Span] = {}
        self._starts = sorted({*opens, *closes})
        self._spans: list[tuple[Span, ...]] = []
        for edge in self._starts:
            for index in closes.get(edge, ()):
                del active[index]
            active.update((index, values[index]) for index in opens.get(edge, ()))
            self._spans.append(tuple(active.values()))

    def at(self, address: int) -> tuple[Span, ...]:
        """Those that hold an address."""
        index = bisect_right(self._starts, address)
        return self._spans[index - 1] if index else ()

    def overlapping(self, first: int, last: int) -> tuple[Span, ...]:
        """Those that hold an address of first..last."""
        index = bisect_right(self._starts, first)
        found = self._spans[index - 1] if index else ()
        if index == len(self._starts) or self._starts[index] > last:
            return found
        every = dict.fromkeys(found)
        while index < len(self._starts) and self._starts[index] <= last:
            every.update(dict.fromkeys(self._spans[index]))
            index += 1
        return tuple(every)


def key_range(family: Family, key: int) -> tuple[int, int]:
    """First and last address of a prefix key."""
    length = key.bit_length() - 1
    first = (key ^ 1 << length) << 128 - length
    return first, first | (1 << BITS[family] - length) - 1 << 128 - BITS[family]


def covering_key(family: Family, first: int, last: int) -> int:
    """The key of the longest prefix that holds first..last."""
    length = min(BITS[family], 128 - (first ^ last).bit_length())
    return 1 << length | first >> 128 - length
