"""Records of learned routes: few, because many prefixes share metric and next hops.

They stand in the same arrays as those of the configuration, above them, so that a slot means the same to packets
whichever it is. A *group* is a metric and next hops; a route's record is a group with a prefix length.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from isthmus.datapath.fib.blocks import Words
from isthmus.datapath.store import Table, TableFull
from isthmus.tables.address import BITS, FAMILIES, Family
from isthmus.tables.entries import NextHop
from isthmus.tables.layout import MAX_HOPS, RECORDS
from isthmus.tables.learned import Down, is_down

ROUTES: Final = 1 << 16
"""Records of learned routes that there is room for."""
HOPS: Final = 1 << 15
"""And of their next hops."""
RIPE: Final = HOPS // 4
"""Records made, of both kinds, after which those that nothing needs any more are collected."""

PackHop = Callable[[Family, NextHop], bytes | None]
"""The record of a next hop in the configuration of now, or None: its attachment is gone."""

Numbers = npt.NDArray[np.int32]

_log = logging.getLogger(__name__)
_ROUTE_DOWN: Final = RECORDS["route"].layout["down"][0]
_HOP_DOWN: Final = RECORDS["hop"].layout["down"][0]


class Group(NamedTuple):
    """What many routes share."""

    metric: int
    next_hops: tuple[NextHop, ...]


class Used(NamedTuple):
    """A record that routes need."""

    family: Family
    group: int
    length: int


class Room:
    """Runs of slots from ``first`` on."""

    def __init__(self, what: str, first: int, count: int) -> None:
        self._what, self._count = what, count
        self._top, self._end = first, first + count
        self._free: dict[int, list[int]] = defaultdict(list)

    def take(self, count: int) -> int:
        """The first of so many. Raises ``TableFull``."""
        if self._free[count]:
            return self._free[count].pop()
        if self._top + count > self._end:
            raise TableFull(self._what, self._count)
        self._top += count
        return self._top - count

    def give(self, first: int, count: int) -> None:
        """Back, for runs of the same length."""
        self._free[count].append(first)


class Marks:
    """Says in the records of routes and hops what is down."""

    def __init__(self, routes: Table, hops: Table) -> None:
        self._routes, self._hops = routes, hops
        self.down: frozenset[Down] = frozenset()

    def mark(
        self, first: int, next_hops: tuple[NextHop, ...], routes: Iterable[int], gone: Collection[int] = ()
    ) -> None:
        """Hops from slot ``first`` on, and the routes that have them. ``gone``: hops whose attachment is gone."""
        found = [place in gone or is_down(hop, self.down) for place, hop in enumerate(next_hops)]
        for slot, state in enumerate(found, first):
            _set(self._hops, slot, _HOP_DOWN, state)
        for slot in routes:
            _set(self._routes, slot, _ROUTE_DOWN, bool(found) and all(found))


class Groups:
    """Interns groups, and writes their records as they are needed."""

    def __init__(self, routes: Table, hops: Table, marks: Marks, pack: PackHop) -> None:
        self._routes, self._hops, self._marks, self._pack = routes, hops, marks, pack
        self._numbers: dict[Group, int] = {}
        self._groups: list[Group] = [Group(0, ())]
        self._first: dict[tuple[Family, int], int] = {}  # hops of a group
        self._slots: dict[tuple[Family, int], dict[int, int]] = defaultdict(dict)  # its routes, by length
        self._gone: dict[tuple[Family, int], set[int]] = {}
        self._route_room = Room("records of learned routes", routes.capacity, ROUTES)
        self._hop_room = Room("next hops of learned routes", hops.capacity, HOPS)
        self._records = {family: np.zeros((1, BITS[family] + 1), np.uint32) for family in FAMILIES}  # 0: none
        self.refused = 0
        """Kinds of routes for whose records there was no room, so far: packets don't follow them."""
        self._made = 0  # records, since the last collection
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
        """True if so many records were made that it is time to collect those that nothing needs."""
        return self._made >= RIPE

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
        if (missing := np.flatnonzero(found == 0)).size:
            kinds = np.unique(numbers[missing].astype(np.int64) << 8 | lengths[missing])
            for number, length in ((kind >> 8, kind & 255) for kind in kinds.tolist() if kind >> 8):
                try:
                    known[number, length] = self._slot(family, number, length)
                except TableFull as full:
                    if not self.refused:
                        _log.error("%s: some routes are left out from now on", full)
                    self.refused += 1
            found = known[numbers, lengths]
        return found

    def _slot(self, family: Family, number: int, length: int) -> int:
        slots = self._slots[family, number]
        slot = slots.get(length)
        if slot is None:
            group = self._groups[number]
            first = self._hops_of(family, number)
            slot = self._route_room.take(1)
            self._made += 1
            slots[length] = slot
            self.lengths[slot] = length
            _put(self._routes, slot, RECORDS["route"].pack(group.metric, length, 0, 0, first, len(group.next_hops)))
            self._marks.mark(first, group.next_hops, [slot], self._gone[family, number])
        return slot

    def repack(self, pack: PackHop) -> dict[int, bytes]:
        """What the hops look like in another configuration, by slot; ``rewrite`` makes them so."""
        self._pack = pack
        found: dict[int, bytes] = {}
        for key in self._first:
            found.update(self._packed(*key))
        return found

    def rewrite(self, hops: Mapping[int, bytes]) -> bool:
        """Change hops in place, word by word, where they differ; False: nowhere."""
        changed = False
        for slot, new in hops.items():
            at = slot * self._hops.stride
            old = self._hops.memory[at : at + len(new)]
            for word in range(0, _HOP_DOWN, 4):
                if old[word : word + 4] != new[word : word + 4]:
                    self._hops.memory[at + word : at + word + 4] = new[word : word + 4]
                    changed = True
        self.mark()
        return changed

    def mark(self) -> None:
        """Say what is down."""
        for key, first in self._first.items():
            hops = self._groups[key[1]].next_hops
            self._marks.mark(first, hops, self._slots[key].values(), self._gone[key])

    def collect(self, used: set[Used], settle: Callable[[], None]) -> None:
        """Free the records that no route needs; ``settle`` returns when no packet and no flow has them."""
        needed = {(family, group) for family, group, _ in used}
        routes = [
            (key, length, slot)
            for key, slots in self._slots.items()
            for length, slot in slots.items()
            if Used(*key, length) not in used
        ]
        settle()
        self._made = 0
        for key, length, slot in routes:
            del self._slots[key][length]
            self._records[key[0]][key[1], length] = 0
            self._route_room.give(slot, 1)
        for key in [key for key in self._first if key not in needed]:
            self._hop_room.give(self._first.pop(key), len(self._groups[key[1]].next_hops))
            del self._slots[key], self._gone[key]

    def _hops_of(self, family: Family, number: int) -> int:
        first = self._first.get((family, number))
        if first is None:
            first = self._hop_room.take(len(self._groups[number].next_hops))
            self._made += len(self._groups[number].next_hops)
            self._first[family, number] = first
            for slot, packed in self._packed(family, number).items():
                _put(self._hops, slot, packed)
        return first

    def _packed(self, family: Family, number: int) -> dict[int, bytes]:
        packed = [self._pack(family, hop) for hop in self._groups[number].next_hops]
        self._gone[family, number] = {place for place, hop in enumerate(packed) if hop is None}
        empty = bytes(RECORDS["hop"].size)
        return {slot: hop or empty for slot, hop in enumerate(packed, self._first[family, number])}


def _put(table: Table, slot: int, packed: bytes) -> None:
    table.memory[slot * table.stride : slot * table.stride + len(packed)] = packed


def _set(table: Table, slot: int, member: int, value: bool) -> None:
    at = slot * table.stride + member
    table.memory[at : at + 1] = bytes([value])
