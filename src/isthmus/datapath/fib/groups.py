"""Records of learned routes: few, because many prefixes share metric and next hops.

They stand in the same arrays as those of the configuration, above them, so that a slot means the same to packets
whichever it is. A *group* is a metric and next hops; a route's record is a group with a prefix length.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from mmap import mmap
from typing import Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from isthmus.datapath.fib.blocks import Words
from isthmus.datapath.fib.exact import Numbers, Slots
from isthmus.datapath.store import Table, TableFull
from isthmus.tables.address import BITS, FAMILIES, Family
from isthmus.tables.entries import NextHop
from isthmus.tables.layout import MAX_HOPS, RECORDS
from isthmus.tables.learned import Down, is_down

ROUTES: Final = (1 << 16) - 1
"""Records of learned routes that there is room for: 16 bits number them in tables."""
HOPS: Final = 1 << 15
"""And of their next hops."""
RIPE: Final = HOPS // 4
"""Records made, of both kinds, after which those that nothing needs any more are collected."""

PackHop = Callable[[Family, NextHop], bytes | None]
"""The record of a next hop in the configuration of now, or None: its attachment is gone."""

_Hops = tuple[Family, tuple[NextHop, ...]]

_log = logging.getLogger(__name__)
_ROUTE: Final = RECORDS["route"]
_HOP: Final = RECORDS["hop"]
_ROUTE_DOWN: Final = _ROUTE.layout["down"][0]
_HOP_DOWN: Final = _HOP.layout["down"][0]
_NO_ROUTES: Final = np.empty(0, np.int64)


class Group(NamedTuple):
    """What many routes share."""

    metric: int
    next_hops: tuple[NextHop, ...]


class Used(NamedTuple):
    """A record that routes need."""

    family: Family
    group: int
    length: int


class Way(NamedTuple):
    """Next hops that routes share, from a slot on. ``gone``: the places of those whose attachment is gone."""

    first: int
    next_hops: tuple[NextHop, ...]
    gone: Collection[int] = ()


class Room:
    """Runs of slots from ``first`` on."""

    def __init__(self, what: str, first: int, count: int) -> None:
        self._what, self._count, self.left = what, count, count
        self._top, self._end = first, first + count
        self._free: dict[int, list[int]] = defaultdict(list)

    def take(self, count: int) -> int:
        """The first of so many. Raises ``TableFull``."""
        if self._free[count]:
            first = self._free[count].pop()
        elif self._top + count > self._end:
            raise TableFull(self._what, self._count)
        else:
            first, self._top = self._top, self._top + count
        self.left -= count
        return first

    def give(self, first: int, count: int) -> None:
        """Back, for runs of the same length."""
        self._free[count].append(first)
        self.left += count


class Marks:
    """Says in the records of routes and hops what is down."""

    def __init__(self, routes: Table, hops: Table) -> None:
        self._routes, self._hops = routes, hops
        self.down: frozenset[Down] = frozenset()

    def mark(self, ways: Iterable[Way], routes: Slots = _NO_ROUTES, firsts: Slots = _NO_ROUTES) -> None:
        """In the hops of these ways, and in ``routes``, each of which has the way whose first hop is beside it in
        ``firsts``. All ways that are down must be among these."""
        slots: list[int] = []
        down: list[bool] = []
        whole: list[int] = []
        for way in ways:
            found = self.of(way.next_hops, way.gone)
            slots += range(way.first, way.first + len(found))
            down += found
            if all(found):
                whole.append(way.first)
        _set(self._hops, np.array(slots, np.int64), _HOP_DOWN, np.array(down, np.bool_))
        _set(self._routes, routes, _ROUTE_DOWN, np.isin(firsts, whole))

    def of(self, next_hops: tuple[NextHop, ...], gone: Collection[int]) -> list[bool]:
        """Which of these hops are down."""
        down = self.down  # mostly empty: no hop is looked up then
        return [place in gone or (bool(down) and is_down(hop, down)) for place, hop in enumerate(next_hops)]


class Groups:
    """Interns groups, and writes their records as they are needed. Groups with the same next hops share their records,
    which so stay in the processor's caches however many metrics there are."""

    def __init__(self, routes: Table, hops: Table, marks: Marks, pack: PackHop) -> None:
        self._routes, self._hops, self._marks, self._pack = routes, hops, marks, pack
        self._numbers: dict[Group, int] = {}
        self._groups: list[Group] = [Group(0, ())]
        self._first: dict[_Hops, int] = {}  # the slot of their first
        self._gone: dict[_Hops, set[int]] = {}
        self._route_room = Room("records of learned routes", routes.capacity, ROUTES)
        self._hop_room = Room("next hops of learned routes", hops.capacity, HOPS)
        self._records = {family: np.zeros((1, BITS[family] + 1), np.uint32) for family in FAMILIES}  # by group, length
        # By slot of a route: its first hop; 0: it is free.
        self._hops_of = np.zeros(routes.capacity + ROUTES, np.int64)
        self.refused = 0
        """Kinds of routes for whose records there was no room, so far: packets don't follow them."""
        self._made = 0  # records, since the last collection
        self.first: Final = routes.capacity
        """The first slot of a learned route."""
        self.lengths: npt.NDArray[np.uint8] = np.zeros(routes.capacity + ROUTES, np.uint8)  # by slot

    def number(self, metric: int, next_hops: tuple[NextHop, ...]) -> int:
        """The number of a group, from 1 on; for good."""
        group = Group(metric, next_hops[:MAX_HOPS])
        if not group.next_hops:
            raise ValueError("a route without next hops is none")
        found = self._numbers.get(group)
        if found is None:
            found = self._numbers[group] = len(self._groups)
            self._groups.append(group)
        return found

    @property
    def ripe(self) -> bool:
        """True if it is time to collect the records that nothing needs: many were made, and room becomes scarce.
        Whoever does it looks at every route."""
        return self._made >= RIPE and (self._route_room.left < ROUTES // 4 or self._hop_room.left < HOPS - RIPE)

    def group(self, number: int) -> Group:
        """Metric and next hops."""
        return self._groups[number]

    def records(self, family: Family, numbers: Numbers, lengths: npt.NDArray[np.uint8]) -> Words:
        """The records of routes, by groups and prefix lengths, made where there is none; 0: there is no room for it."""
        if len(self._groups) > len(self._records[family]):
            known = np.zeros((2 * len(self._groups), BITS[family] + 1), np.uint32)
            known[: len(self._records[family])] = self._records[family]
            self._records[family] = known
        known = self._records[family]
        found: Words = known[numbers, lengths]
        if (missing := np.flatnonzero((found == 0) & (numbers > 0))).size:
            # those of a length side by side: most routes are of few lengths, whose records so stay in the caches
            kinds = np.unique(lengths[missing].astype(np.int64) << 32 | numbers[missing])
            for length, number in (divmod(kind, 1 << 32) for kind in kinds.tolist()):
                try:
                    known[number, length] = self._slot(family, number, length)
                except TableFull as full:
                    if not self.refused:
                        _log.error("%s: some routes are left out from now on", full)
                    self.refused += 1
            found = known[numbers, lengths]
        return found

    def _slot(self, family: Family, number: int, length: int) -> int:
        """A new record."""
        group = self._groups[number]
        hops = family, group.next_hops
        first = self._first.get(hops)
        if first is None:
            first = self._first[hops] = self._hop_room.take(len(group.next_hops))
            self._made += len(group.next_hops)
            for slot, packed in self._packed(*hops).items():
                _put(self._hops, slot, packed)
            self._marks.mark([Way(first, group.next_hops, self._gone[hops])])
        slot = self._route_room.take(1)
        self._made += 1
        self.lengths[slot], self._hops_of[slot] = length, first
        down = all(self._marks.of(group.next_hops, self._gone[hops]))
        _put(self._routes, slot, _ROUTE.pack(group.metric, length, 0, down, first, len(group.next_hops)))
        return slot

    def repack(self, pack: PackHop) -> dict[int, bytes]:
        """What the hops look like in another configuration, by slot; ``rewrite`` makes them so."""
        self._pack = pack
        found: dict[int, bytes] = {}
        for key in self._first:
            found.update(self._packed(*key))
        return found

    def rewrite(self, hops: Mapping[int, bytes]) -> bool:
        """Change hops in place, word by word, where they differ; False: nowhere. What is down is not theirs to say."""
        memory, stride = cast(mmap, self._hops.memory), self._hops.stride
        slots = np.array([*hops], np.int64)
        new = np.frombuffer(b"".join(hops.values()), np.uint8).reshape(len(hops), _HOP.size).copy()
        new[:, _HOP_DOWN] = np.frombuffer(memory, np.uint8)[slots * stride + _HOP_DOWN]
        words, wanted = np.frombuffer(memory, np.uint32), new.view(np.uint32)
        at = slots[:, None] * (stride // 4) + np.arange(_HOP.size // 4)
        other = words[at] != wanted
        words[at[other]] = wanted[other]
        self.mark()
        return bool(other.any())

    def mark(self) -> None:
        """Say what is down."""
        routes = np.flatnonzero(self._hops_of)
        ways = (Way(first, hops[1], self._gone[hops]) for hops, first in self._first.items())
        self._marks.mark(ways, routes, self._hops_of[routes])

    def collect(self, used: set[Used], settle: Callable[[], None]) -> None:
        """Free the records that no route needs; ``settle`` returns when no packet and no flow has them."""
        needed = {(family, self._groups[group].next_hops) for family, group, _ in used}
        unused = [
            Used(family, group, length)
            for family, records in self._records.items()
            for group, length in np.argwhere(records).tolist()
            if Used(family, group, length) not in used
        ]
        settle()
        self._made = 0
        for family, group, length in unused:
            slot = int(self._records[family][group, length])
            self._records[family][group, length] = self._hops_of[slot] = 0
            self._route_room.give(slot, 1)
        for hops in self._first.keys() - needed:
            self._hop_room.give(self._first.pop(hops), len(hops[1]))
            del self._gone[hops]

    def _packed(self, family: Family, next_hops: tuple[NextHop, ...]) -> dict[int, bytes]:
        packed = [self._pack(family, hop) for hop in next_hops]
        self._gone[family, next_hops] = {place for place, hop in enumerate(packed) if hop is None}
        empty = bytes(_HOP.size)
        return {slot: hop or empty for slot, hop in enumerate(packed, self._first[family, next_hops])}


def _put(table: Table, slot: int, packed: bytes) -> None:
    table.memory[slot * table.stride : slot * table.stride + len(packed)] = packed


def _set(table: Table, slots: Slots, member: int, values: npt.NDArray[np.bool_]) -> None:
    np.frombuffer(cast(mmap, table.memory), np.uint8)[slots * table.stride + member] = values
