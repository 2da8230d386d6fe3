"""The routes of the VPCs that offer: the tables' own and the learned ones, found as the packet path finds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain

from isthmus.routing.advertise.announcement import KEPT_BACK, Heard
from isthmus.routing.advertise.offers import Cover, Piece, covering_key, key_range
from isthmus.tables.address import FAMILIES, Family
from isthmus.tables.entries import Route, Tables
from isthmus.tables.learned import Down, is_down, prefix_key

Learned = Mapping[str, Mapping[Family, Mapping[int, Heard]]]
"""By VPC, family and prefix key. Read when it is needed, so it may change; ``update`` must then be told what did."""


_NONE: Mapping[int, Heard] = {}


class Routes:
    """What every VPC routes. Of one prefix the own route counts, whatever the metrics."""

    def __init__(self, tables: Tables, learned: Learned, down: frozenset[Down]) -> None:
        self._tables, self._learned, self._down = tables, learned, down
        self._own: dict[tuple[str, Family], dict[int, Heard]] = {}
        self._read()

    def of(self, vpc: str, family: Family) -> tuple[Mapping[int, Heard], Mapping[int, Heard]]:
        """The own and the learned routes of a VPC in one family."""
        learned = self._learned.get(vpc)
        return self._own[vpc, family], learned.get(family, _NONE) if learned is not None else _NONE

    def size(self, vpc: str) -> int:
        """How many routes a VPC has, in both families."""
        return sum(len(table) for family in FAMILIES for table in self.of(vpc, family))

    def set_down(self, down: frozenset[Down]) -> dict[tuple[str, Family], list[int]]:
        """Of the own routes those that go down or come up, by VPC and family."""
        self._down = down
        return self._read()

    def follow(self, tables: Tables) -> dict[tuple[str, Family], list[int]]:
        """Other tables: of the own routes those that came, went or are different, by VPC and family."""
        self._tables = tables
        return self._read()

    def covering(self, vpc: str, family: Family, low: int, high: int) -> tuple[int, Heard | None]:
        """The longest route that holds all of low..high, and its key; (0, None) if there is none."""
        own, learned = self.of(vpc, family)
        key = covering_key(family, low, high)
        while key:
            heard = own.get(key)
            if heard is None:
                heard = learned.get(key)
            if heard is not None:
                return key, heard
            key >>= 1
        return 0, None

    def get(self, vpc: str, family: Family, key: int) -> Heard | None:
        """The route of exactly this prefix key."""
        own, learned = self.of(vpc, family)
        heard = own.get(key) if own else None
        return learned.get(key) if heard is None else heard

    def passed_on(self, vpc: str, family: Family, key: int) -> bool:
        """True if there is such a route, and others may hear of it."""
        heard = self.get(vpc, family, key)
        return heard is not None and is_passed_on(heard)

    def watch(self, piece: Piece, family: Family, key: int) -> bool:
        """A route that overlaps a piece may have changed: see whether the piece lives on.

        False: its witness is gone, and another can only be found among all routes below it (``find_witnesses``).
        """
        vpc = piece.side.vpc
        if _below(family, key, piece) and self.passed_on(vpc, family, key):
            piece.witness = key
            return True
        if piece.witness not in (0, key) and _below(family, piece.witness, piece):
            return True
        lost = piece.witness
        return self.has_cover(piece, family) or not lost

    def has_cover(self, piece: Piece, family: Family) -> bool:
        """True if the longest route around a piece keeps it alive; else it has no witness from now on."""
        above, heard = self.covering(piece.side.vpc, family, piece.low, piece.high)
        piece.witness = above if heard is not None and is_passed_on(heard) else 0
        return piece.witness != 0

    def find_witnesses(self, vpc: str, family: Family, pieces: Iterable[Piece]) -> None:
        """Look for a route below each of some pieces of a VPC that have none: one pass over its routes."""
        wanted = dict.fromkeys(pieces)
        cover = Cover(family, ((piece.low, piece.high, piece) for piece in wanted))
        own, learned = self.of(vpc, family)
        for key, heard in chain(own.items(), learned.items()):
            if not wanted:
                return
            if is_passed_on(own.get(key, heard)):
                for piece in cover.overlapping(*key_range(family, key)):
                    if piece in wanted and _below(family, key, piece):
                        piece.witness = key
                        del wanted[piece]

    def _read(self) -> dict[tuple[str, Family], list[int]]:
        """Read the own routes from the tables; which are other than before."""
        before, self._own, changed = self._own, {}, {}
        for name, vpc in self._tables.vpcs.items():
            for family in FAMILIES:
                was, now = before.get((name, family), {}), _own(vpc.routes.get(family, ()), self._down)
                self._own[name, family] = now
                if now != was:
                    changed[name, family] = [key for key in {**was, **now} if now.get(key) != was.get(key)]
        return changed


def is_passed_on(heard: Heard) -> bool:
    """True if a route is alive, and whoever told it did not ask to keep it back (RFC 1997)."""
    return heard.alive and (heard.attributes is None or KEPT_BACK.isdisjoint(heard.attributes.communities.values))


def _below(family: Family, key: int, piece: Piece) -> bool:
    first, last = key_range(family, key)
    return piece.low <= first and last <= piece.high


def _own(routes: Iterable[Route], down: frozenset[Down]) -> dict[int, Heard]:
    """The routes of the tables by prefix key. The gateway's own addresses are there too, and have no next hop."""
    return {
        prefix_key(route.prefix): Heard(route.metric, any(not is_down(hop, down) for hop in route.next_hops))
        for route in routes
    }
