"""What VPCs have learned by BGP, in the packet path: tables that change in place, beside the configuration's.

``LearnedRoutes`` belongs to a ``PacketPath``; ``PacketPath.learned(vpc)`` gives the table of a VPC. Nothing here is
for more than one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from isthmus.datapath.fib.blocks import Blocks, Words, fence
from isthmus.datapath.fib.exact import NONE, Column, Exact, Slots
from isthmus.datapath.fib.groups import Groups, Used
from isthmus.datapath.fib.lpm import LongestPrefix
from isthmus.tables.address import BITS, FAMILIES, Family
from isthmus.tables.entries import NextHop, Origin, Route
from isthmus.tables.learned import key_prefix
from isthmus.tables.prefixes import Prefixes

Content = tuple[object, ...]
Change = tuple[int, Content | None]
"""From this address on: what of the route packets are told, None where there is no route."""

ROOTS: Final = ((0, 4), (1024, 16), (32768, 24))
"""From so many routes on a root takes so many bits; with half as many it goes back."""

_COVERS_AT_ONCE: Final = 1 << 11  # prefixes, each of which asks for every length


class LearnedTable:
    """The learned routes of one VPC. Prefixes are keys (``tables.learned``); ``group`` numbers metrics with next hops.

    ``fibs``: the roots of both families, one 8-byte word each; ``wait``: for packets; ``changed``: tell flows;
    ``collect``: free records that no table needs, where it is time."""

    def __init__(
        self,
        blocks: Blocks,
        groups: Groups,
        fibs: npt.NDArray[np.uint64],
        wait: Callable[[], None],
        changed: Callable[[], None],
        collect: Callable[[], None],
    ) -> None:
        self._blocks, self._groups, self._fibs = blocks, groups, fibs
        self._wait, self._changed, self._collect = wait, changed, collect
        self.prefixes: Final = {family: Exact(columns=2) for family in FAMILIES}
        """All prefixes: those with a route, and those with a *note*: a number that whoever fills the table may keep."""
        self._routes = {family: table.columns[0] for family, table in self.prefixes.items()}  # the group of each
        self.notes: Final = {family: table.columns[1] for family, table in self.prefixes.items()}
        self._of_length = {family: np.zeros(129, np.int64) for family in FAMILIES}  # how many routes
        self._tables = {family: LongestPrefix(blocks, groups.lengths, groups.first) for family in FAMILIES}

    def group(self, metric: int, next_hops: tuple[NextHop, ...]) -> int:
        """The number of a metric with (one or more, equal) next hops."""
        return self._groups.number(metric, next_hops)

    def update(self, family: Family, keys: Sequence[int], groups: Sequence[int]) -> None:
        """``write`` for a few prefixes, by their keys; of equal keys the last counts."""
        wanted = dict(zip(keys, groups, strict=True))
        prefixes = Prefixes.of(wanted)
        self.write(family, prefixes, self.prefixes[family].place(prefixes), np.array(list(wanted.values()), np.int32))

    def write(self, family: Family, prefixes: Prefixes, slots: Slots, groups: npt.NDArray[np.int32]) -> None:
        """Set the group of every prefix, 0: withdrawn. One that stands there twice has one group. ``slots``: where it
        is among ``prefixes``.

        Raises ``TableFull``; the table is then to be cleared, and filled anew."""
        self._collect()  # while no table is on its way from one record to another
        routes = self._routes[family]
        once = self.prefixes[family].lasts(slots)
        if not once.all():
            prefixes, groups, slots = prefixes[once], groups[once], slots[once]
        records = self._groups.records(family, groups, prefixes.length)
        had, has = routes.numbers[slots] > 0, records > 0
        routes.set(slots, np.where(has, groups, NONE).astype(np.int32))
        np.add.at(self._of_length[family], prefixes.length.astype(np.intp), has.astype(np.int64) - had)
        self._fit(family)
        table, deep = self._tables[family], prefixes.length > 0
        default = records[~deep]  # that of the default route, if it is among them
        if default.any():  # it comes before what it takes over, and goes behind what takes over from it
            self._publish(family, int(default[0]))
        if (gone := had & ~has & deep).any():
            table.fill(prefixes[gone], self._covers(family, prefixes[gone]), collapse=True)
        if (told := has & deep).any():
            table.fill(prefixes[told], records[told])
        if len(default):
            self._publish(family, int(default[0]))
        self._changed()

    def clear(self) -> None:
        """Forget all routes: one write for each family, then the memory."""
        self._fibs[:] = 0
        self._changed()
        roots = [(table, table.forget()) for table in self._tables.values()]
        for family in FAMILIES:
            self._routes[family].clear()
            self._of_length[family][:] = 0
        self._wait()
        for table, root in roots:
            table.free_root(root)
        self._blocks.trim()

    def count(self, family: Family) -> int:
        """Routes."""
        return len(self._routes[family])

    def memory(self) -> int:
        """Bytes of the tables that packets read."""
        return sum(table.memory for table in self._tables.values())

    def routes(self, family: Family) -> Mapping[int, Route]:
        """The routes as packets know them, by key; a view."""
        return _View(family, self._routes[family], self._groups)

    def used(self) -> Iterator[Used]:
        """The records that the routes need."""
        for family, routes in self._routes.items():
            slots = routes.slots()
            numbers = routes.numbers[slots]
            found = np.zeros((numbers.max(initial=0) + 1, BITS[family] + 1), np.bool_)  # sorting them takes far longer
            found[numbers, self.prefixes[family].length[slots]] = True
            for number, length in np.argwhere(found).tolist():
                yield Used(family, number, length)

    def dump(self, family: Family, content: Callable[[int], Content]) -> tuple[Change, ...]:
        """What packets find, in canonical form: equal routes give equal dumps, whatever came before.

        ``content``: what a route's record says, by slot."""
        default = int(self._fibs[_place(family)]) >> 32
        spans = self._tables[family].spans()
        if not len(spans.value):
            return ((0, content(default)),) if default else ()
        slots, inverse = np.unique(np.where(spans.value == 0, default, spans.value), return_inverse=True)
        said = [content(slot) if slot else None for slot in slots.tolist()]
        ids: dict[Content | None, int] = {}
        same = np.array([ids.setdefault(each, len(ids)) for each in said])[inverse]
        change = np.concatenate(([True], same[1:] != same[:-1]))
        named = list(ids)
        where = zip(spans.hi[change].tolist(), spans.lo[change].tolist(), same[change].tolist(), strict=True)
        found = tuple((hi << 64 | lo, named[which]) for hi, lo, which in where)
        return () if found == ((0, None),) else found

    def _fit(self, family: Family) -> None:
        """Have a root of the size that so many routes want; packets go from the old to the new by one write."""
        table, count = self._tables[family], len(self._routes[family])
        least = max(bits for limit, bits in ROOTS if count >= limit)
        most = max(bits for limit, bits in ROOTS if count >= limit // 2)
        if least <= table.root_bits <= most:
            return
        old = table.resize(least if table.root_bits < least else most)
        fence()
        self._publish(family, int(self._fibs[_place(family)]) >> 32)
        if old[0]:
            self._wait()
            table.free_root(old)

    def _publish(self, family: Family, default: int) -> None:
        self._fibs[_place(family)] = default << 32 | self._tables[family].word

    def _covers(self, family: Family, gone: Prefixes) -> Words:
        """The records of the longest prefixes around some that are gone, but for the default route."""
        found = np.zeros(len(gone), np.uint32)
        longest = int(gone.length.max(initial=1))
        lengths = np.flatnonzero(self._of_length[family][1:longest])[::-1].astype(np.uint8) + np.uint8(1)
        size = len(lengths)
        for start in range(0, len(gone) if size else 0, _COVERS_AT_ONCE):
            some = gone[start : start + _COVERS_AT_ONCE]
            around = Prefixes.cut(np.repeat(some.hi, size), np.repeat(some.lo, size), np.tile(lengths, len(some)))
            slots = self.prefixes[family].find(around)
            groups = np.where(slots < 0, NONE, self._routes[family].numbers[slots]).reshape(-1, size)
            groups[lengths >= some.length[:, None]] = NONE
            place = (groups > 0).argmax(axis=1)
            groups = np.maximum(groups[np.arange(len(some)), place], 0)
            found[start : start + len(some)] = self._groups.records(family, groups, lengths[place])
        return found


class LearnedRoutes:
    """The tables of all VPCs of a packet path, by the VPC's number."""

    def __init__(
        self,
        blocks: Blocks,
        groups: Groups,
        fibs: npt.NDArray[np.uint64],
        wait: Callable[[], None],
        changed: Callable[[], None],
        leave: Callable[[], None],
    ) -> None:
        """``leave``: returns when no packet and no flow has records that no table leads to."""
        self._blocks, self.groups, self._fibs = blocks, groups, fibs
        self._wait, self._changed, self._leave = wait, changed, leave
        self._tables: dict[int, LearnedTable] = {}

    def table(self, vpc: int) -> LearnedTable:
        """The table of a VPC, by its number."""
        table = self._tables.get(vpc)
        if table is None:
            fibs = self._fibs[2 * vpc : 2 * vpc + 2]
            table = LearnedTable(self._blocks, self.groups, fibs, self._wait, self._changed, self.collect)
            self._tables[vpc] = table
        return table

    def keep(self, vpcs: Iterable[int]) -> None:
        """Empty the tables of all other VPCs, which are gone."""
        for number in self._tables.keys() - set(vpcs):
            self._tables.pop(number).clear()

    def memory(self) -> int:
        """Bytes of all tables that packets read."""
        return self._blocks.memory

    def collect(self) -> None:
        """Free the records that no route needs any more, where many were made since that was done last."""
        if self.groups.ripe:
            self.groups.collect({used for table in self._tables.values() for used in table.used()}, self._leave)

    def dump(self, vpc: int, content: Callable[[int], Content]) -> tuple[tuple[Change, ...], ...]:
        """Both families of one VPC; see ``LearnedTable.dump``."""
        table = self._tables.get(vpc)
        return tuple(table.dump(family, content) for family in FAMILIES) if table else ((), ())

    def close(self) -> None:
        """Give the addresses of the tables back."""
        self._tables.clear()
        self._blocks.close()


class _View(Mapping[int, Route]):
    """Routes by key, made as they are asked for."""

    def __init__(self, family: Family, routes: Column, groups: Groups) -> None:
        self._family, self._routes, self._groups = family, routes, groups

    def __getitem__(self, key: int) -> Route:
        group = self._groups.group(self._routes[key])
        return Route(key_prefix(self._family, key), group.metric, False, group.next_hops, LEARNED)

    def __iter__(self) -> Iterator[int]:
        return iter(self._routes)

    def __len__(self) -> int:
        return len(self._routes)


LEARNED: Final = Origin("BGP")
"""Where learned routes come from."""


def _place(family: Family) -> int:
    return int(family == 6)
