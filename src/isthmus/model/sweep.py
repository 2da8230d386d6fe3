"""Where several peers show one VPC the same addresses: a sweep over the ends of all offers, n log n.

Stretches on which the same few peers meet, with the same outcome, are one cluster. Where more than ``MOST_NAMED``
meet, all such stretches with the same outcome are one, so that thousands of peers make a few clusters.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from isthmus.model import sets
from isthmus.model.drafts import Draft, DraftSide

MOST_NAMED = 4
Rank = tuple[int, int]  # (-prefix length, metric): the smallest is taken


class Shown(NamedTuple):
    """Addresses start..stop (excluded) that one VPC (``here``) is shown by a peer (``there``), and how they rank.

    ``starts``: the peer may send packets that no flow remembers, so that its replies are routed by themselves.
    """

    start: int
    stop: int
    rank: Rank
    draft: Draft
    here: DraftSide
    there: DraftSide
    path: str
    starts: bool


@dataclass(slots=True)
class Cluster:
    """Stretches that the same ``peers`` show (one offer of each, in file order).

    ``winners`` are those of best rank; ``tied``: several, who share the packets. A crowd names no winners, and its
    peers need not all meet at one place. ``astray``: replies to one of the peers may reach another.
    """

    peers: tuple[Shown, ...]
    winners: tuple[Shown, ...]
    tied: bool
    astray: bool = False
    stretches: list[sets.Interval] = field(default_factory=list)


def clusters(offers: Sequence[Shown]) -> list[Cluster]:
    """All clusters of the offers to one VPC in one family."""
    if _disjoint(offers):
        return []
    return _Sweep(offers).run()


def _disjoint(offers: Sequence[Shown]) -> bool:
    """True if no two offers overlap: the common case."""
    stop = 0
    for offer in sorted(offers, key=itemgetter(0)):
        if offer.start < stop:
            return False
        stop = offer.stop
    return True


class _Sweep:
    """What is open at the current position, by peer and by rank."""

    def __init__(self, offers: Sequence[Shown]) -> None:
        self.offers = offers
        self.peers: dict[int, list[Shown]] = {}
        self.starting: set[int] = set()
        self.ranks: defaultdict[Rank, Counter[int]] = defaultdict(Counter)
        self.queue: list[Rank] = []
        self.crowd: dict[int, Shown] = {}
        self.found: dict[object, Cluster] = {}

    def run(self) -> list[Cluster]:
        """Go through all ends; what closes at a position closes before anything opens there."""
        ends = [(offer.start, 1, number) for number, offer in enumerate(self.offers)]
        ends += [(offer.stop, 0, number) for number, offer in enumerate(self.offers)]
        before = 0
        for position, opens, number in sorted(ends):
            if before < position and len(self.peers) > 1:
                self._stretch(before, position)
            before = position
            if opens:
                self._open(self.offers[number])
            else:
                self._close(self.offers[number])
        crowd = tuple(self.crowd[order] for order in sorted(self.crowd))
        for cluster in self.found.values():
            cluster.peers = cluster.peers or crowd
        return list(self.found.values())

    def _open(self, offer: Shown) -> None:
        order = offer.draft.order
        self.peers.setdefault(order, []).append(offer)
        if offer.starts:
            self.starting.add(order)
        if not self.ranks[offer.rank]:
            heapq.heappush(self.queue, offer.rank)
        self.ranks[offer.rank][order] += 1
        if len(self.peers) == MOST_NAMED + 1:
            self.crowd.update({peer: shown[0] for peer, shown in self.peers.items()})
        elif len(self.peers) > MOST_NAMED:
            self.crowd[order] = offer

    def _close(self, offer: Shown) -> None:
        order = offer.draft.order
        self.peers[order].remove(offer)
        if not self.peers[order]:
            del self.peers[order]
            self.starting.discard(order)
        rank = self.ranks[offer.rank]
        rank[order] -= 1
        if not rank[order]:
            del rank[order]

    def _stretch(self, start: int, stop: int) -> None:
        """Enter start..stop, on which nothing opens or closes, under those who meet there."""
        while not self.ranks[self.queue[0]]:
            heapq.heappop(self.queue)
        best = self.ranks[self.queue[0]]
        tied = len(best) > 1
        named = len(self.peers) <= MOST_NAMED
        key = (tuple(sorted(self.peers)), tuple(sorted(best))) if named else tied
        cluster = self.found.get(key)
        if cluster is None:
            peers = tuple(self._best_of(order) for order in sorted(self.peers)) if named else ()
            winners = tuple(self._best_of(order) for order in sorted(best)) if named else ()
            cluster = self.found[key] = Cluster(peers, winners, tied)
        if cluster.stretches and cluster.stretches[-1][1] == start:
            cluster.stretches[-1] = (cluster.stretches[-1][0], stop)
        else:
            cluster.stretches.append((start, stop))
        safe = 0 if tied else len(self.starting.intersection(best))
        cluster.astray = cluster.astray or len(self.starting) > safe

    def _best_of(self, order: int) -> Shown:
        return min(self.peers[order], key=itemgetter(2))
