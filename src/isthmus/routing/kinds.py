"""Kinds of paths, in columns: what an UPDATE says of all its prefixes is kept once, and counted by its uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from isthmus.routing.bgp.attributes import Attributes, LargeCommunities
from isthmus.routing.bgp.received import decoded, next_hop_of
from isthmus.routing.bgp.updates import Sets
from isthmus.tables.address import Family
from isthmus.tables.entries import NextHop

Rows = npt.NDArray[np.int64]
Rank = tuple[int, int, int, int]
Resolve = Callable[[Family, int, str], NextHop | None]
"""Family and left-aligned address of a next hop, and who told of it: where that is, or None."""
WhoTold = Callable[[LargeCommunities], str]
"""Which neighbour told of a path, by its address as text; "" if nobody knows."""

UNKNOWN: Final = -1
"""In place of a group: not asked for yet."""

_FIRST: Final = 1 << 10
_MOST_RECENT: Final = 1 << 12
_ONE: Final = np.int32(1)  # a number of the column's own type is added tens of times as fast as one of Python's
_ROW: Final = np.dtype(
    [
        ("med", "i8"),  # -1: none
        ("path_id", "u4"),
        ("local_pref", "u4"),
        ("via", "i4"),
        ("group", "i4"),
        ("uses", "i4"),
        ("hops", "u4"),
        ("origin", "u1"),
        ("internal", "u1"),
    ],
    align=True,
)


class Via(NamedTuple):
    """Who told of paths, and where they lead. ``hop``: None while nothing leads to the next hop."""

    peer: str
    next_hop: tuple[Family, int]
    hop: NextHop | None


class Kinds:
    """All kinds, by row."""

    def __init__(self, resolve: Resolve, who: WhoTold) -> None:
        self._resolve, self._who = resolve, who
        self.vias: list[Via] = []
        self._via: dict[tuple[str, tuple[Family, int]], int] = {}
        self._recent: dict[tuple[bytes, bytes], int] = {}
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self.rows: npt.NDArray[Any] = np.zeros(_FIRST, _ROW)
        self._bytes: npt.NDArray[Any] = np.empty((_FIRST, 2), object)  # attributes, and next hop, as they came
        self._free = np.arange(_FIRST)[::-1]

    def add(self, sets: Sets, which: Rows, path_ids: npt.NDArray[np.uint32]) -> Rows:
        """Rows for sets of attributes, each with the path's identifier; not used yet."""
        if len(which) > len(self._free):
            self._grow(len(which))
        at = len(self._free) - len(which)
        taken, self._free = self._free[at:][::-1], self._free[:at]
        rows = self.rows
        rows["path_id"][taken], rows["group"][taken], rows["uses"][taken] = path_ids, UNKNOWN, 0
        rows["internal"][taken] = sets.internal
        for name in ("med", "local_pref", "hops", "origin"):
            rows[name][taken] = getattr(sets, name)[which]
        places = which.tolist()
        raw, hops, large = sets.raw, sets.next_hop, sets.large
        recent, via = self._recent.get, self._via_of
        rows["via"][taken] = [
            via(hops[one], large[one]) if (found := recent((hops[one], large[one]))) is None else found
            for one in places
        ]
        self._bytes[taken, 0] = [raw[one] for one in places]
        self._bytes[taken, 1] = [hops[one] for one in places]
        return taken

    def use(self, rows: Rows, left: Rows) -> None:
        """Count uses: one more for each of ``rows``, one less for each of ``left``."""
        np.add.at(self.rows["uses"], rows, _ONE)
        np.subtract.at(self.rows["uses"], left, _ONE)

    def sweep(self, rows: Rows) -> None:
        """Free those of these rows that nothing uses."""
        gone = np.unique(rows[self.rows["uses"][rows] == 0])
        if len(gone):
            self._bytes[gone] = None
            self._free = np.concatenate((self._free, gone))

    def resolve_again(self) -> Rows:
        """What leads to next hops has changed: the rows that lead elsewhere now."""
        other = []
        for place, (peer, next_hop, hop) in enumerate(self.vias):
            now = self._resolve(*next_hop, peer)
            if now != hop:
                self.vias[place] = Via(peer, next_hop, now)
                other.append(place)
        rows = np.flatnonzero(np.isin(self.rows["via"], other))
        self.rows["group"][rows] = UNKNOWN
        return rows

    def told_by(self, peers: set[str]) -> npt.NDArray[np.bool_]:
        """By row: one of these neighbours told of it."""
        mine = np.array([via.peer in peers for via in self.vias], np.bool_)
        found: npt.NDArray[np.bool_] = mine[self.rows["via"]] if len(mine) else np.zeros(len(self.rows), np.bool_)
        return found

    def via(self, row: int) -> Via:
        """Who told of it, and where it leads."""
        return self.vias[int(self.rows["via"][row])]

    def rank(self, row: int) -> Rank:
        """The lowest is the best."""
        one = self.rows[row]
        return -int(one["local_pref"]), int(one["hops"]), int(one["origin"]), self.metric(row)

    def metric(self, row: int) -> int:
        """Of the route: its MED."""
        return max(int(self.rows["med"][row]), 0)

    def attributes(self, row: int) -> Attributes:
        """All that was said, spelled out."""
        raw, hop = self._bytes[row]
        return decoded(raw, hop, internal=bool(self.rows["internal"][row]))

    def unknown(self, rows: Rows) -> tuple[list[tuple[int, int]], Rows, Rows]:
        """The rows of these whose groups are not known, some perhaps twice, and which way each goes: the ways are a
        metric and the index of a via each. Returns ways, rows, and the way of each row."""
        rows = rows[self.rows["group"][rows] == UNKNOWN]
        rows = rows[np.flatnonzero(np.diff(rows, prepend=-1))]  # an UPDATE's prefixes stand side by side
        both = self.rows["via"][rows].astype(np.int64) << 32 | np.maximum(self.rows["med"][rows], 0)
        ways, which = np.unique(both, return_inverse=True)
        return [(way & 0xFFFFFFFF, way >> 32) for way in ways.tolist()], rows, which

    def _via_of(self, raw_hop: bytes, large: bytes) -> int:
        peer, next_hop = self._who(LargeCommunities(large)), next_hop_of(raw_hop)
        place = self._via.get((peer, next_hop))
        if place is None:
            place = self._via[peer, next_hop] = len(self.vias)
            self.vias.append(Via(peer, next_hop, self._resolve(*next_hop, peer)))
        if len(self._recent) >= _MOST_RECENT:
            self._recent.clear()
        self._recent[raw_hop, large] = place
        return place

    def _grow(self, more: int) -> None:
        old = len(self.rows)
        size = max(2 * old, old + more)
        rows, raw = np.zeros(size, _ROW), np.empty((size, 2), object)
        rows[:old], raw[:old] = self.rows, self._bytes
        self.rows, self._bytes = rows, raw
        self._free = np.concatenate((np.arange(size - 1, old - 1, -1), self._free))
