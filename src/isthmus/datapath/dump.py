"""The tables as they stand in memory, read back in canonical form: contents instead of slots, names instead of numbers.

Two packet paths that judge every packet alike by their tables have equal dumps, however they came to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

from isthmus.datapath.store import Table
from isthmus.tables.address import MASK128
from isthmus.tables.layout import FLAGS, RECORDS, TRIE_NODE

Value = tuple[object, ...]


class Ids(NamedTuple):
    """What the numbers in records stand for."""

    vpc: Callable[[int], object]
    peering: Callable[[int], object]
    link: Callable[[int], object]
    side: Callable[[int], object]


class Reader:
    """Reads the tables of one generation from the memory that packets read."""

    def __init__(self, store: Mapping[str, Table], ids: Ids) -> None:
        self._store = store
        self._ids = ids
        self._side = cache(self._read_side)  # many candidates name the same side
        self._candidates = cache(self._read_candidates)

    def vpc(self, raw: bytes) -> dict[str, object]:
        """One VPC's root record, with all that hangs on it; but for VPC_REMEMBERS, which tells of the past too."""
        v = RECORDS["vpc"].unpack(raw)
        return {
            "exposures": tuple(self._trie(root, self._candidates) for root in v[0:2]),
            "routes": tuple(self._trie(root, self._route) for root in v[2:4]),
            "own": tuple(self._ranges(*v[at : at + 2]) for at in (4, 6)),
            "seed": v[8],
        }

    def route(self, slot: int) -> Value:
        """A route's record, with its next hops; not whether they are down, which is no content."""
        return self._route(slot)

    def _record(self, table: str, slot: int) -> tuple[int, ...]:
        return self._store[table].read(slot)

    def _trie(self, root: int, value: Callable[[int], Value]) -> tuple[tuple[int, int, Value], ...]:
        """The trie as ranges: neighbours that say the same are one."""
        found: list[tuple[int, int, Value]] = []
        for first, last, at in self._walk(root, 0, 0):
            said = value(at)
            if found and found[-1][1] + 1 == first and found[-1][2] == said:
                found[-1] = (found[-1][0], last, said)
            else:
                found.append((first, last, said))
        return tuple(found)

    def _walk(self, at: int, base: int, depth: int) -> list[tuple[int, int, int]]:
        last = base | MASK128 >> 8 * depth
        if not at & TRIE_NODE:
            return [(base, last, at)] if at else []
        node = self._record("nodes", at & ~TRIE_NODE)
        inner, miss = node[0] << 64 | node[1], node[6]
        mask = node[2] << 64 | node[3]
        below = mask.bit_count() // 8
        spans = [(base, inner - 1, miss)] if miss and inner > base else []
        for index, child in enumerate(node[8:]):
            spans += self._walk(child, inner | index << 120 - 8 * below, below + 1)
        end = inner | (MASK128 ^ mask)
        return [*spans, (end + 1, last, miss)] if miss and end < last else spans

    def _read_candidates(self, slot: int) -> Value:
        found: list[Value] = []
        while True:
            hi, lo, stable, vpc, here, there, metric, length, kind, flags, _ = self._record("candidates", slot)
            named = (self._ids.vpc(vpc), self._side(here), self._side(there)) if here else ()
            found.append((kind, hi << 64 | lo, stable, metric, length, *named))
            if flags & FLAGS["CANDIDATE_LAST"]:
                return tuple(found)
            slot += 1

    def _read_side(self, slot: int) -> Value:
        v = self._record("sides", slot)
        ranges = tuple(self._ranges(*v[at : at + 2]) for at in (0, 2))
        rules = tuple(self._rule(v[4] + index) for index in range(v[5]))
        pool = tuple(self._ranges(*v[at : at + 2]) for at in (12, 14)), v[16:18]
        ports = tuple(self._record("port_ranges", v[18] + index) for index in range(v[19]))
        return ranges, rules, v[7], v[8], self._ids.peering(v[10]), self._ids.side(v[11]), pool, ports, v[20:25]

    def _rule(self, slot: int) -> Value:
        v = self._record("rules", slot)
        return (*(self._ranges(*v[at : at + 2]) for at in (0, 2, 4, 6)), *v[8:])

    def _ranges(self, first: int, count: int) -> Value:
        return tuple(self._record("ranges", first + index) for index in range(count))

    def _route(self, slot: int) -> Value:
        metric, length, local, _, first, count = self._record("routes", slot)
        return metric, length, local, tuple(self._hop(first + index) for index in range(count))

    def _hop(self, slot: int) -> Value:
        hi, lo, stable, attachment, adjacency, *tunnel, _ = self._record("hops", slot)
        return hi << 64 | lo, stable, self._attachment(attachment), bool(adjacency), *tunnel

    def _attachment(self, slot: int) -> Value:
        v = self._record("attachments", slot)
        return (*v[:4], self._ids.link(v[4]), *v[5:8], *v[10:])
