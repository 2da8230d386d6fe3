"""One longest-prefix table: a root that takes one to three bytes of the address at once, and blocks that take one each.

IPv4 with a root of three bytes is DIR-24-8 (Gupta, Lin, McKeown: Routing Lookups in Hardware at Memory Access Speeds,
1998). Every entry holds the longest prefix of its addresses, so a look-up never goes back. Packets read all the while:
an entry changes by one write, a block is filled before an entry leads to it, and what nothing leads to rests.

Addresses come as two arrays of 64-bit words, left-aligned; a whole batch of one prefix length is written at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from isthmus.datapath.fib.blocks import Blocks, Numbers, Words, fence
from isthmus.tables.layout import BLOCK_ENTRIES, FIB_BLOCK, FIB_BYTES_SHIFT

Halves = npt.NDArray[np.uint64]

_BYTES: Final = np.arange(BLOCK_ENTRIES)
_AT_ONCE: Final = 1 << 20  # entries looked at in one piece
_NUMBER: Final = np.uint32(FIB_BLOCK - 1)


class Spans(NamedTuple):
    """The whole table, sorted: from (hi, lo) on, up to the next, the value is this."""

    hi: Halves
    lo: Halves
    value: Words


class LongestPrefix:
    """The table of one VPC and family. ``lengths``: prefix lengths by value; that of 0, which is none, is 0.

    A prefix has at least one bit: a default route is not here, but beside the root."""

    def __init__(self, blocks: Blocks, lengths: npt.NDArray[np.uint8]) -> None:
        self._blocks, self._lengths = blocks, lengths
        self._root, self._root_bytes = 0, 0  # none
        self._below = 0  # blocks under the root

    @property
    def word(self) -> int:
        """The root as packets find it; 0 where there is none."""
        return self._root | (self._root_bytes - 1) << FIB_BYTES_SHIFT if self._root else 0

    @property
    def root_bytes(self) -> int:
        """Bytes of the address that the root takes; 0 where there is none."""
        return self._root_bytes

    @property
    def memory(self) -> int:
        """Bytes of its blocks."""
        return 4 * BLOCK_ENTRIES * (_root_blocks(self._root_bytes) + self._below)

    def fill(self, length: int, hi: Halves, lo: Halves, values: Words, *, collapse: bool = False) -> None:
        """Give different prefixes of one length their values, wherever no longer prefix is known.

        Raises ``TableFull``. ``collapse``: there may be blocks now that say no more than one entry would."""
        entries = self._blocks.entries
        depth, at = 8 * self._root_bytes, self._root * BLOCK_ENTRIES + _bits(hi, 8 * self._root_bytes)
        parents: list[Numbers] = []
        while length > depth:
            parents.append(at)
            self._deepen(at)
            at = (entries[at] & _NUMBER).astype(np.int64) * BLOCK_ENTRIES + _byte(hi, lo, depth)
            depth += 8
        self._write(at, 1 << (depth - length), values, length)
        if collapse:
            for entry in reversed(parents):
                self._collapse(np.unique(entry))

    def resize(self, root_bytes: int) -> tuple[int, int]:
        """Build a root that takes so many bytes beside the old one. Give what comes back to ``free_root``, once packets
        have the new word and none holds the old."""
        old = self._root, self._root_bytes
        while self._root_bytes != root_bytes:
            former = self._root, self._root_bytes
            step = 1 if root_bytes > self._root_bytes else -1
            if not self._root_bytes:
                self._root, self._root_bytes = self._new_root(1), 1
            elif step > 0:
                self._widen()
            else:
                self._narrow()
            if former != old:
                self.free_root(former)
        return old

    def free_root(self, root: tuple[int, int]) -> None:
        """Free a root that no packet holds."""
        number, root_bytes = root
        if root_bytes == 1:
            self._blocks.give(np.array([number], np.int64))
        elif root_bytes:
            self._blocks.give_run(number, _root_blocks(root_bytes))

    def forget(self) -> tuple[int, int]:
        """Leave everything; blocks are freed, the root comes back for ``free_root``. The word is 0 from now on."""
        for _, _, _, numbers in self._levels():
            self._blocks.give(numbers)
        old = self._root, self._root_bytes
        self._root = self._root_bytes = self._below = 0
        return old

    def spans(self) -> Spans:
        """What it says of all addresses."""
        found = [(hi, lo, value) for hi, lo, value, _ in self._levels()]
        if not found:
            return Spans(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.uint32))
        highs, lows, values = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.lexsort((lows, highs))
        return Spans(highs[order], lows[order], values[order])

    def _levels(self) -> Iterator[tuple[Halves, Halves, Words, Numbers]]:
        """Level by level, in pieces: where leaves begin in it, their values, and the blocks below."""
        if not self._root:
            return
        first = np.arange(_root_blocks(self._root_bytes))
        hi = first.astype(np.uint64) << np.uint64(64 - 8 * (self._root_bytes - 1) if self._root_bytes > 1 else 0)
        level = [(self._root + first, hi, np.zeros(len(first), np.uint64))]
        depth = 8 * (self._root_bytes - 1)
        while level:
            following = []
            for numbers, hi, lo in level:
                for some in _pieces(len(numbers), _AT_ONCE // BLOCK_ENTRIES):
                    rows = self._rows(numbers[some])
                    starts = np.ones(rows.shape, np.bool_)
                    starts[:, 1:] = rows[:, 1:] != rows[:, :-1]
                    block, byte = np.nonzero(starts)
                    values = rows[block, byte]
                    at_hi, at_lo = hi[some][block], lo[some][block]
                    if depth < 64:
                        at_hi = at_hi | byte.astype(np.uint64) << np.uint64(56 - depth)
                    else:
                        at_lo = at_lo | byte.astype(np.uint64) << np.uint64(120 - depth)
                    inner = values >= FIB_BLOCK
                    below = (values[inner] & _NUMBER).astype(np.int64)
                    if len(below):
                        following.append((below, at_hi[inner], at_lo[inner]))
                    yield at_hi[~inner], at_lo[~inner], values[~inner], below
            level, depth = following, depth + 8

    def _rows(self, numbers: Numbers) -> Words:
        """A copy of some blocks."""
        rows: Words = self._blocks.entries[numbers[:, None] * BLOCK_ENTRIES + _BYTES]
        return rows

    def _new_root(self, root_bytes: int) -> int:
        if root_bytes == 1:
            root = int(self._blocks.take(1)[0])
            self._blocks.entries[root * BLOCK_ENTRIES : (root + 1) * BLOCK_ENTRIES] = 0
            return root
        return self._blocks.take_run(_root_blocks(root_bytes))

    def _root_entries(self) -> Words:
        at = self._root * BLOCK_ENTRIES
        return self._blocks.entries[at : at + BLOCK_ENTRIES * _root_blocks(self._root_bytes)]

    def _widen(self) -> None:
        """A root that takes a byte more: blocks of the first level become part of it."""
        old = self._root_entries().copy()
        root = self._new_root(self._root_bytes + 1)
        at = root * BLOCK_ENTRIES
        for some in _pieces(len(old), _AT_ONCE // BLOCK_ENTRIES):
            rows = np.repeat(old[some], BLOCK_ENTRIES).reshape(-1, BLOCK_ENTRIES)
            inner = old[some] >= FIB_BLOCK
            rows[inner] = self._rows((old[some][inner] & _NUMBER).astype(np.int64))
            self._blocks.entries[at : at + rows.size] = rows.reshape(-1)
            at += rows.size
        gone = (old[old >= FIB_BLOCK] & _NUMBER).astype(np.int64)
        self._blocks.give(gone)
        self._root, self._root_bytes, self._below = root, self._root_bytes + 1, self._below - len(gone)

    def _narrow(self) -> None:
        """A root that takes a byte less: what differs within an entry of it becomes a block."""
        rows = self._root_entries().reshape(-1, BLOCK_ENTRIES)
        said = rows[:, 0].copy()
        apart = np.flatnonzero((rows != rows[:, :1]).any(axis=1) | (said >= FIB_BLOCK))
        made = self._blocks.take(len(apart))
        self._blocks.entries[made[:, None] * BLOCK_ENTRIES + _BYTES] = rows[apart]
        said[apart] = made.astype(np.uint32) | np.uint32(FIB_BLOCK)
        root = self._new_root(self._root_bytes - 1)
        self._blocks.entries[root * BLOCK_ENTRIES : root * BLOCK_ENTRIES + len(said)] = said
        self._root, self._root_bytes, self._below = root, self._root_bytes - 1, self._below + len(apart)

    def _deepen(self, at: Numbers) -> None:
        """Have blocks behind all of these entries."""
        entries = self._blocks.entries
        leaves = at[entries[at] < FIB_BLOCK]
        if not len(leaves):
            return
        leaves = np.unique(leaves)
        made = self._blocks.take(len(leaves))
        entries[made[:, None] * BLOCK_ENTRIES + _BYTES] = entries[leaves][:, None]
        fence()
        entries[leaves] = made.astype(np.uint32) | np.uint32(FIB_BLOCK)
        self._below += len(made)

    def _write(self, at: Numbers, run: int, values: Words, length: int) -> None:
        """Runs of entries that begin at ``at``."""
        for start in range(0, run, _AT_ONCE):
            size = min(run - start, _AT_ONCE)
            for some in _pieces(len(at), max(_AT_ONCE // size, 1)):
                index = at[some] if size == 1 else (at[some][:, None] + np.arange(start, start + size)).reshape(-1)
                self._replace(index, values[some] if size == 1 else np.repeat(values[some], size), length)

    def _replace(self, index: Numbers, values: Words, length: int) -> None:
        """Entries, and those of blocks behind them, where they hold no longer prefix."""
        entries = self._blocks.entries
        now = entries[index]
        inner = now >= FIB_BLOCK
        deeper = bool(inner.any())
        mine = self._lengths[np.where(inner, 0, now) if deeper else now] <= length
        if deeper:
            mine &= ~inner
        entries[index[mine]] = values[mine]
        if deeper:
            below, values = (now[inner] & _NUMBER).astype(np.int64) * BLOCK_ENTRIES, values[inner]
            for some in _pieces(len(below), _AT_ONCE // BLOCK_ENTRIES):
                index = (below[some][:, None] + _BYTES).reshape(-1)
                self._replace(index, np.repeat(values[some], BLOCK_ENTRIES), length)

    def _collapse(self, at: Numbers) -> None:
        """Entries whose block says one thing say it themselves."""
        entries = self._blocks.entries
        at = at[entries[at] >= FIB_BLOCK]
        numbers = (entries[at] & _NUMBER).astype(np.int64)
        rows = self._rows(numbers)
        uniform = (rows[:, 0] < FIB_BLOCK) & (rows == rows[:, :1]).all(axis=1)
        entries[at[uniform]] = rows[uniform, 0]
        self._blocks.give(numbers[uniform])
        self._below -= int(uniform.sum())


def _root_blocks(root_bytes: int) -> int:
    return 1 << 8 * (root_bytes - 1) if root_bytes else 0


def _bits(hi: Halves, count: int) -> Numbers:
    """The first so many bits of addresses."""
    return (hi >> np.uint64(64 - count)).astype(np.int64)


def _byte(hi: Halves, lo: Halves, depth: int) -> Numbers:
    """The byte of addresses that begins ``depth`` bits from their start."""
    word = hi if depth < 64 else lo
    return (word >> np.uint64(56 - depth % 64) & np.uint64(255)).astype(np.int64)


def _pieces(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))
