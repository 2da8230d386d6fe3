"""What VPCs have learned by BGP, in the packet path: tables that change in place, beside the configuration's.

``LearnedRoutes`` belongs to a ``PacketPath``; ``PacketPath.learned(vpc)`` gives the table of a VPC. Nothing here is
for more than one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from isthmus.datapath.fib.blocks import Blocks, fence
from isthmus.datapath.fib.groups import Groups, Used
from isthmus.datapath.fib.lpm import Halves, LongestPrefix
from isthmus.tables.address import FAMILIES, Family
from isthmus.tables.entries import NextHop, Origin, Route
from isthmus.tables.learned import key_prefix

Content = tuple[object, ...]
Change = tuple[int, Content | None]
"""From this address on: what of the route packets are told, None where there is no route."""

ROOTS: Final[dict[Family, tuple[int, ...]]] = {4: (1024, 32768), 6: (1024,)}
"""How many routes make a root take a byte more than one, and than two; half as many make it take one less again."""

_MASK64: Final = (1 << 64) - 1


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
        self._routes: dict[Family, dict[int, int]] = {family: {} for family in FAMILIES}  # key to group
        self._tables = {family: LongestPrefix(blocks, groups.lengths) for family in FAMILIES}

    def group(self, metric: int, next_hops: tuple[NextHop, ...]) -> int:
        """The number of a metric with (one or more, equal) next hops."""
        return self._groups.number(metric, next_hops)

    def update(self, family: Family, keys: Sequence[int], groups: Sequence[int]) -> None:
        """Set the group of every key, 0: withdrawn. Of equal keys the last counts.

        Raises ``TableFull``; the table is then to be cleared, and filled anew."""
        self._collect()  # while no table is on its way from one record to another
        routes = self._routes[family]
        wanted = dict(zip(keys, groups, strict=True))
        gone = [key for key, group in wanted.items() if not group]
        for key in gone:
            del wanted[key]
        withdrawn = _by_length(key for key in gone if routes.pop(key, 0))
        told = _by_length(wanted)
        routes.update(wanted)
        self._fit(family)
        for length in sorted(withdrawn.keys() | told.keys()):
            if mine := withdrawn.get(length):
                self._withdraw(family, length, mine)
            if mine := told.get(length):
                self._insert(family, length, mine, [wanted[key] for key in mine])
        self._changed()

    def clear(self) -> None:
        """Forget all routes: one write for each family, then the memory."""
        self._fibs[:] = 0
        self._changed()
        roots = [(table, table.forget()) for table in self._tables.values()]
        for routes in self._routes.values():
            routes.clear()
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
            for group, length in {(group, key.bit_length() - 1) for key, group in routes.items()}:
                yield Used(family, group, length)

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
        least = 1 + sum(count >= limit for limit in ROOTS[family])
        most = 1 + sum(count >= limit // 2 for limit in ROOTS[family])
        if least <= table.root_bytes <= most:
            return
        old = table.resize(least if table.root_bytes < least else most)
        fence()
        self._publish(family, int(self._fibs[_place(family)]) >> 32)
        if old[0]:
            self._wait()
            table.free_root(old)

    def _publish(self, family: Family, default: int) -> None:
        self._fibs[_place(family)] = default << 32 | self._tables[family].word

    def _insert(self, family: Family, length: int, keys: Sequence[int], groups: Sequence[int]) -> None:
        slots = {group: self._groups.slot(family, group, length) for group in set(groups)}
        self._fill(family, length, keys, [slots[group] for group in groups])

    def _withdraw(self, family: Family, length: int, keys: Sequence[int]) -> None:
        covers = [self._cover(family, key) for key in keys]
        self._fill(family, length, keys, covers, collapse=True)

    def _cover(self, family: Family, key: int) -> int:
        """The record of the longest prefix around one that is gone, but for the default route."""
        routes = self._routes[family]
        key >>= 1
        while key > 1:
            if group := routes.get(key):
                return self._groups.slot(family, group, key.bit_length() - 1)
            key >>= 1
        return 0

    def _fill(
        self, family: Family, length: int, keys: Sequence[int], slots: Sequence[int], *, collapse: bool = False
    ) -> None:
        if length:
            values = np.array(slots, np.uint32)
            self._tables[family].fill(length, *_halves(keys, length), values, collapse=collapse)
        else:
            self._publish(family, slots[0])


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

    def __init__(self, family: Family, routes: dict[int, int], groups: Groups) -> None:
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


def _by_length(keys: Iterable[int]) -> dict[int, list[int]]:
    """Keys by prefix length."""
    found: dict[int, list[int]] = {}
    for key in keys:
        found.setdefault(key.bit_length() - 1, []).append(key)
    return found


def _halves(keys: Sequence[int], length: int) -> tuple[Halves, Halves]:
    """Left-aligned addresses of prefixes of one length, as 64-bit words."""
    if length < 64:
        words = np.array(keys, np.uint64)
        return words << np.uint64(64 - length), np.zeros(len(words), np.uint64)
    aligned = [key << 128 - length for key in keys]
    return (
        np.array([each >> 64 & _MASK64 for each in aligned], np.uint64),
        np.array([each & _MASK64 for each in aligned], np.uint64),
    )
