"""One VPC that is told, in one family: what it is offered, and what is to be said of a prefix."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from isthmus.compile.intervals import merged
from isthmus.routing.advertise.announcement import Announcement, Attributes, Policy, announcement
from isthmus.routing.advertise.offers import Cover, Offer, Piece, Segment, key_range, offers
from isthmus.routing.advertise.routes import Routes, is_passed_on
from isthmus.tables.address import Family, range_prefixes, step
from isthmus.tables.entries import PathKind, SideKey, Vpc
from isthmus.tables.learned import prefix_key
from isthmus.tables.martians import MARTIANS

_MOST_REMEMBERED: Final = 1 << 18  # announcements, so that equal ones are one object


class Receiver:
    """``told``: what it has been told, by prefix key. ``summed``: by VPC that offers, whether it is told a summary."""

    def __init__(self, vpc: Vpc, family: Family, policy: Policy) -> None:
        self.vpc, self.family, self.policy = vpc.name, family, policy
        self._exposures = vpc.exposures.get(family, ())
        self.told: dict[int, Announcement] = {}
        self.summed: dict[str, bool] = {}
        self._offers: dict[str, list[Offer]] = defaultdict(list)
        by_side, own = offers(family, self._exposures)
        for side, offer in sorted(by_side.items()):
            self._offers[side.vpc].append(offer)
        martians = [(prefix.first, prefix.last) for prefix in MARTIANS[family]]
        silent = merged([*own, *martians], step(family))
        self._silent = [first for first, _ in silent], [last for _, last in silent]
        self._segments: list[Segment] = []
        self._at: Cover[Segment] = Cover(family, ())
        self._pieces: dict[int, list[Piece]] = {}
        self._said: dict[tuple[int, int], tuple[Attributes | None, Announcement]] = {}

    def is_for(self, vpc: Vpc, policy: Policy) -> bool:
        """True if this VPC is offered the same, and to be told of it in the same way."""
        return policy == self.policy and vpc.exposures.get(self.family, ()) == self._exposures

    def arrange(self, is_summed: Callable[[Receiver, str], bool], has_attachment: Callable[[str], bool]) -> None:
        """Lay out what each VPC offers, as segments of routes or as the pieces of a summary."""
        self._segments, self._pieces = [], defaultdict(list)
        for vpc, some in self._offers.items():
            self.summed[vpc] = is_summed(self, vpc)
            for offer in some:
                if offer.kind is PathKind.STATEFUL:
                    self._add_pieces(offer if has_attachment(vpc) else None)
                elif self.summed[vpc]:
                    self._add_pieces(offer)
                else:
                    self._segments += offer.segments()
        self._at = Cover(self.family, ((one.first, one.last, one) for one in self._segments))

    def _add_pieces(self, offer: Offer | None) -> None:
        for piece in offer.pieces(self.family) if offer is not None else ():
            self._pieces[piece.key].append(piece)

    def reached_from(self, vpc: str) -> Iterator[tuple[int, int, Segment | Piece]]:
        """Which private addresses of a VPC matter here: first, last, and what they are part of."""
        yield from ((one.low, one.high, one) for one in self._segments if one.side.vpc == vpc)
        for some in self._pieces.values():
            yield from ((one.low, one.high, one) for one in some if one.side.vpc == vpc)

    def piece_keys(self) -> Iterable[int]:
        """The prefix keys of summaries, those of stateful sides among them."""
        return self._pieces.keys()

    def best(self, key: int, routes: Routes) -> Announcement | None:
        """What is to be said of a prefix key: the lowest MED, of equals the first side. None: nothing."""
        first, last = key_range(self.family, key)
        firsts, lasts = self._silent
        at = bisect_right(firsts, first)
        if at and last <= lasts[at - 1]:
            return None
        found: list[tuple[int, SideKey, Attributes | None]] = []
        for segment in self._at.at(first):
            if last <= segment.last:
                shift = segment.low - segment.first
                above, heard = key, None if shift else routes.get(segment.side.vpc, self.family, key)
                if heard is None:
                    above, heard = routes.covering(segment.side.vpc, self.family, first + shift, last + shift)
                if heard is not None and is_passed_on(heard) and self._cuts_to(segment, above, key):
                    found.append((heard.metric + segment.metric, segment.side, heard.attributes))
        found += ((one.metric, one.side, None) for one in self._pieces.get(key, ()) if one.alive)
        if not found:
            return None
        med, _, attributes = found[0] if len(found) == 1 else min(found, key=lambda one: one[:2])
        return self._say(med, attributes)

    def _cuts_to(self, segment: Segment, above: int, key: int) -> bool:
        """True if the key is one of those that a route becomes which covers it: no shorter one would do."""
        if key == above and segment.first == segment.low:
            return True
        low, high = key_range(self.family, above)
        shift = segment.first - segment.low
        first, last = key_range(self.family, key >> 1)
        return first < max(low + shift, segment.first) or last > min(high + shift, segment.last)

    def _say(self, med: int, attributes: Attributes | None) -> Announcement:
        """One object for equal announcements, as a full table is many routes with few attributes."""
        known = self._said.get((med, id(attributes)))
        if known is not None:
            return known[1]
        if len(self._said) >= _MOST_REMEMBERED:
            self._said.clear()
        said = announcement(med, attributes, self.policy)
        self._said[med, id(attributes)] = attributes, said  # keeps the attributes, so that their id stays theirs
        return said


def keys_in(family: Family, segment: Segment, low: int, high: int) -> list[int]:
    """The prefix keys under which a route to the private addresses low..high is told in a segment."""
    shift = segment.first - segment.low
    first, last = max(low, segment.low) + shift, min(high, segment.high) + shift
    return [prefix_key(prefix) for prefix in range_prefixes(family, first, last)]
