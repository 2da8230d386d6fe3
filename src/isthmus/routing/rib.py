"""The routes that one VPC has learned: all paths of each prefix, and which of them carry packets.

BGP's own decision (RFC 4271 9.1.2.2): highest local preference, shortest AS path, lowest origin, lowest MED (of all
neighbours, not of one AS alone); what is equal so far shares. Paths are few kinds and many prefixes: a prefix has the
number of its path's kind, and nearly all have one path, so a batch of them is noted at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from isthmus.datapath.fib.exact import NONE, Column, Exact, Slots
from isthmus.datapath.store import TableFull
from isthmus.routing.bgp.attributes import Attributes
from isthmus.routing.bgp.updates import Batch
from isthmus.routing.kinds import Kinds, Rank, Resolve, Rows, WhoTold
from isthmus.tables.address import FAMILIES, Family
from isthmus.tables.entries import NextHop
from isthmus.tables.layout import MAX_HOPS
from isthmus.tables.prefixes import Prefixes

AT_ONCE: Final = 1 << 15
"""Prefixes that are written in one go: some tens of milliseconds."""
_FLOOD: Final = 4096  # prefixes at once, behind which there are more
_SEVERAL: Final = -2  # numbers from here downwards are of prefixes with several paths
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0  # after the table was full

_log = logging.getLogger(__name__)


class Path(NamedTuple):
    """A path as one neighbour tells it. ``number``: its identifier in the session; ``hop``: None while nothing leads to
    its next hop."""

    number: int
    peer: str
    hop: NextHop | None
    rank: Rank
    metric: int
    row: int
    kinds: Kinds

    @property
    def attributes(self) -> Attributes:
        """All that was said of it."""
        return self.kinds.attributes(self.row)


Paths = tuple[Path, ...]


class Table(Protocol):
    """Where the routes go: see ``datapath.learned.LearnedTable``."""

    def group(self, metric: int, next_hops: tuple[NextHop, ...]) -> int:
        """The number of a metric with next hops."""

    @property
    def prefixes(self) -> Mapping[Family, Exact]:
        """All prefixes."""

    @property
    def notes(self) -> Mapping[Family, Column]:
        """What is kept of each by whoever fills the table."""

    def write(self, family: Family, prefixes: Prefixes, slots: Slots, groups: npt.NDArray[np.int32]) -> None:
        """Set the group of every prefix, 0: withdrawn. TableFull: it is to be cleared, and filled anew."""

    def clear(self) -> None:
        """Forget all."""


class Changed(NamedTuple):
    """Prefixes whose routes are other than before; iterating over ``keys`` gives them as keys."""

    family: Family
    keys: Prefixes


class _Waiting(NamedTuple):
    """Prefixes that are to be flushed, and their slots while the table is not built anew."""

    prefixes: Prefixes
    slots: Slots
    built: int


class Rib:
    """Takes what the session says, and passes on what packets are to follow when it is flushed.

    The row of a prefix's path stands beside its route in the table (``notes``), which is emptied first."""

    def __init__(self, table: Table, resolve: Resolve, who: WhoTold) -> None:
        self._table = table
        self._table.clear()
        self._kinds = Kinds(resolve, who)
        self._prefixes, self._routes = table.prefixes, table.notes
        for routes in self._routes.values():
            routes.clear()
        self._several: list[tuple[int, ...]] = []  # rows of prefixes with several paths
        self._unused: list[int] = []  # places there
        self._changed: dict[Family, list[_Waiting]] = {family: [] for family in FAMILIES}
        self._alone: dict[tuple[int, int], int] = {}  # groups by metric and via
        self._pause = self._pause_ends = 0.0

    def take(self, batch: Batch) -> None:
        """Note the routes of a batch."""
        routes, kinds = self._routes[batch.family], self._kinds
        slots = self._prefixes[batch.family].place(batch.prefixes)
        rows = np.full(len(slots), NONE, np.int64)
        told = np.flatnonzero(batch.which >= 0)
        which, path_ids = batch.which[told], batch.path_ids[told]
        first = np.ones(len(told), np.bool_)
        first[1:] = (which[1:] != which[:-1]) | (path_ids[1:] != path_ids[:-1])
        made = kinds.add(batch.sets, which[first], path_ids[first])
        rows[told] = made[np.cumsum(first) - 1]

        now = routes.numbers[slots].astype(np.int64)
        last = self._prefixes[batch.family].lasts(slots)
        known = now >= 0
        plain = (now == NONE) | (known & (kinds.rows["path_id"][np.where(known, now, 0)] == batch.path_ids))
        if not last.all():
            plain &= ~np.isin(slots, slots[~last])
        old = now[plain & known]
        kinds.use(rows[plain & (rows >= 0)], old)
        routes.set(slots[plain], rows[plain].astype(np.int32))
        left = [old, made]
        others = np.flatnonzero(~plain)
        for slot, number, row in zip(
            slots[others].tolist(), batch.path_ids[others].tolist(), rows[others].tolist(), strict=True
        ):
            left.append(self._join(routes, slot, number, row))
        kinds.sweep(np.concatenate(left))
        self._changed[batch.family].append(_Waiting(batch.prefixes, slots, self._prefixes[batch.family].built))

    def clear(self) -> None:
        """Forget all that was learned; the next flushes withdraw it."""
        for family, routes in self._routes.items():
            self._wait(family, routes.slots())
            routes.clear()
        self._kinds.clear()
        self._several, self._unused = [], []

    def resolve_again(self) -> None:
        """What leads to next hops has changed."""
        self._alone.clear()
        rows = np.zeros(len(self._kinds.rows), np.bool_)
        rows[self._kinds.resolve_again()] = True
        for family, slots in self._of(rows):
            self._wait(family, slots)

    @property
    def pending(self) -> int:
        """Prefixes that are to be flushed."""
        return sum(len(part.slots) for parts in self._changed.values() for part in parts)

    def wait(self, now: float) -> float | None:
        """Seconds until it is time to flush; None: there is nothing."""
        return max(0.0, self._pause_ends - now) if self.pending else None

    def due(self, heard: int, now: float) -> bool:
        """True if it is time. ``heard``: so many prefixes at once; where more are on their way, a larger portion costs
        less."""
        return self.wait(now) == 0.0 and (heard < _FLOOD or self.pending >= AT_ONCE)

    def flush(self, most: int = AT_ONCE) -> Changed | None:
        """Write the changes of one family, of so many prefixes at most, and say which; None: there are none."""
        if not self.pending:
            return None
        family = next(family for family, parts in self._changed.items() if any(len(part.slots) for part in parts))
        prefixes, slots = self._next(family, most)
        known = slots >= 0  # the others were forgotten with their routes
        try:
            self._table.write(family, prefixes[known], slots[known], self._groups(family, slots[known]))
        except TableFull as full:
            self._start_over(full)
        else:
            self._pause_ends = 0.0
            self._pause = self._pause if self.pending else 0.0
        return Changed(family, prefixes)

    def count(self, family: Family) -> int:
        """Prefixes."""
        return len(self._routes[family])

    def keys_of(self, peers: set[str]) -> Iterator[Changed]:
        """The prefixes of which one of these neighbours told."""
        for family, slots in self._of(self._kinds.told_by(peers)):
            yield Changed(family, self._prefixes[family].prefixes(slots))

    def paths(self, family: Family) -> Mapping[int, Paths]:
        """All paths by prefix key, made as they are asked for: a view."""
        return _View(self, family)

    def _wait(self, family: Family, slots: Slots) -> None:
        """These are to be flushed."""
        table = self._prefixes[family]
        self._changed[family].append(_Waiting(table.prefixes(slots), slots, table.built))

    def _next(self, family: Family, most: int) -> tuple[Prefixes, Slots]:
        """So many of those that are to be flushed."""
        table, waiting = self._prefixes[family], self._changed[family]
        taken: list[_Waiting] = []
        while waiting and most > 0:
            part = waiting.pop(0)
            if len(part.slots) > most:
                waiting.insert(0, _Waiting(part.prefixes[most:], part.slots[most:], part.built))
                part = _Waiting(part.prefixes[:most], part.slots[:most], part.built)
            most -= len(part.slots)
            taken.append(part)
        slots = [part.slots if part.built == table.built else table.find(part.prefixes) for part in taken]
        return Prefixes.joined([part.prefixes for part in taken]), np.concatenate(slots)

    def _of(self, wanted: npt.NDArray[np.bool_]) -> Iterator[tuple[Family, Slots]]:
        """The slots of prefixes that have a path of one of these kinds."""
        for family, routes in self._routes.items():
            slots = routes.slots()
            numbers = routes.numbers[slots].astype(np.int64)
            mine = np.zeros(len(slots), np.bool_)
            alone = numbers >= 0
            mine[alone] = wanted[numbers[alone]]
            for place in np.flatnonzero(~alone).tolist():
                mine[place] = wanted[list(self._rows(int(numbers[place])))].any()
            if mine.any():
                yield family, slots[mine]

    def _paths(self, number: int) -> Paths:
        kinds = self._kinds
        return tuple(
            Path(
                int(kinds.rows["path_id"][row]),
                kinds.via(row).peer,
                kinds.via(row).hop,
                kinds.rank(row),
                kinds.metric(row),
                row,
                kinds,
            )
            for row in self._rows(number)
        )

    def _rows(self, number: int) -> tuple[int, ...]:
        if number == NONE:
            return ()
        return (number,) if number >= 0 else self._several[_SEVERAL - number]

    def _join(self, routes: Column, slot: int, path_id: int, row: int) -> Rows:
        """Note one path (``row``: NONE: withdrawn) of a prefix that has several, or is told of several times."""
        number = int(routes.numbers[slot])
        ids = self._kinds.rows["path_id"]
        there = self._rows(number)
        old = np.array([each for each in there if ids[each] == path_id], np.int64)
        rows = tuple(each for each in there if ids[each] != path_id) + ((row,) if row != NONE else ())
        self._kinds.use(np.array([row] if row != NONE else [], np.int64), old)
        if NONE < number <= _SEVERAL:
            self._unused.append(_SEVERAL - number)
            self._several[_SEVERAL - number] = ()
        if len(rows) < 2:
            number = rows[0] if rows else NONE
        elif self._unused:
            number = _SEVERAL - self._unused.pop()
            self._several[_SEVERAL - number] = rows
        else:
            number = _SEVERAL - len(self._several)
            self._several.append(rows)
        routes.set(np.array([slot]), np.array([number], np.int32))
        return old

    def _groups(self, family: Family, slots: Slots) -> npt.NDArray[np.int32]:
        """The groups of prefixes, 0: none."""
        numbers = self._routes[family].numbers[slots].astype(np.int64)
        alone = numbers >= 0
        groups = np.zeros(len(numbers), np.int32)
        groups[alone] = self._groups_alone(numbers[alone])
        for place in np.flatnonzero(~alone & (numbers != NONE)).tolist():
            groups[place] = self._group_of(best(self._paths(int(numbers[place]))))
        return groups

    def _groups_alone(self, rows: Rows) -> npt.NDArray[np.int32]:
        """The groups of paths that are a prefix's only ones, by row."""
        known = self._kinds.rows["group"]
        ways, unknown, which = self._kinds.unknown(rows)
        if ways:
            known[unknown] = np.array([self._group_alone(*way) for way in ways])[which]
        found: npt.NDArray[np.int32] = known[rows]
        return found

    def _group_alone(self, metric: int, via: int) -> int:
        group = self._alone.get((metric, via))
        if group is None:
            hop = self._kinds.vias[via].hop
            group = self._alone[metric, via] = 0 if hop is None else self._table.group(metric, (hop,))
        return group

    def _group_of(self, equal: Paths) -> int:
        if not equal:
            return 0
        if len(equal) == 1:
            return int(self._groups_alone(np.array([equal[0].row]))[0])
        hops = {(path.hop.attachment, path.hop.gateway, path.peer): path.hop for path in equal if path.hop is not None}
        return self._table.group(equal[0].metric, tuple(hops[key] for key in sorted(hops, key=str)[:MAX_HOPS]))

    def _start_over(self, full: TableFull) -> None:
        """The table has no room: it is emptied, and after a while filled again."""
        self._pause = min(max(2 * self._pause, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)
        self._pause_ends = time.monotonic() + self._pause
        _log.error("%s; all routes learned here are taken back, and tried again in %.0f s", full, self._pause)
        self._table.clear()
        for family, routes in self._routes.items():
            self._changed[family] = []
            self._wait(family, routes.slots())


class _View(Mapping[int, Paths]):
    """The paths of one family."""

    def __init__(self, rib: Rib, family: Family) -> None:
        self._rib, self._routes = rib, rib._routes[family]

    def __getitem__(self, key: int) -> Paths:
        return self._rib._paths(self._routes[key])

    def __iter__(self) -> Iterator[int]:
        return iter(self._routes)

    def __len__(self) -> int:
        return len(self._routes)


def best(there: Paths) -> Paths:
    """The paths that carry packets: the best of those that lead somewhere, and their equals."""
    usable = [path for path in there if path.hop is not None]
    if len(usable) < 2:
        return tuple(usable)
    rank = min(path.rank for path in usable)
    return tuple(path for path in usable if path.rank == rank)


def in_order(there: Paths) -> list[Path]:
    """All paths, the best first; those that lead nowhere last."""
    return sorted(there, key=lambda path: (path.hop is None, path.rank))
