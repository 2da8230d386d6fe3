"""One longest-prefix table: a root that takes one to three bytes of the address at once, blocks that take one each, and
bunches: where few routes are left, these routes, the longest first.

IPv4 with a root of three bytes is DIR-24-8 (Gupta, Lin, McKeown: Routing Lookups in Hardware at Memory Access Speeds,
1998). Every entry holds the longest prefix of its addresses, so a look-up never goes back; a bunch also knows what
holds where none of its routes does. IPv6 routes stand so far apart that most are in a bunch behind their first three
bytes: a look-up meets few cache lines, and the table is small. Packets read all the while: an entry changes by one
write, a block or bunch is filled before an entry leads to it, and what nothing leads to rests.

Addresses come as two arrays of 64-bit words, left-aligned; a whole batch of one prefix length is written at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from isthmus.datapath.fib.blocks import Blocks, Numbers, Words, fence
from isthmus.tables.layout import BLOCK_ENTRIES, BUNCH_ROUTES, FIB_BLOCK, FIB_BUNCH, FIB_BYTES_SHIFT, RECORDS
from isthmus.tables.prefixes import Halves

_BYTES: Final = np.arange(BLOCK_ENTRIES)
_AT_ONCE: Final = 1 << 20  # entries looked at in one piece
_NUMBER: Final = np.uint32(FIB_BUNCH - 1)
_BUNCH: Final = RECORDS["bunch"]
_BUNCH_WORDS: Final = _BUNCH.size // 4
_VALUES: Final = _BUNCH.layout["values"][0] // 4
_SHIFTS: Final = _BUNCH.layout["shifts"][0]
_COUNT: Final = _BUNCH.layout["count"][0]
_PLACES: Final = np.arange(BUNCH_ROUTES)
_LONGEST: Final = 31  # bits of a prefix in a bunch
_FREE: Final = 255  # in the place of a shift, while a bunch is made


class Spans(NamedTuple):
    """The whole table, sorted: from (hi, lo) on, up to the next, the value is this."""

    hi: Halves
    lo: Halves
    value: Words


class _Bunches:
    """Copies of some, to be changed: a row of each array is one; ``values`` ends with what holds otherwise."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self.prefixes = words[:, :_VALUES]
        self.values = words[:, _VALUES : _VALUES + BUNCH_ROUTES + 1]
        octets = words.view(np.uint8)
        self.shifts = octets[:, _SHIFTS : _SHIFTS + BUNCH_ROUTES]
        self.counts = octets[:, _COUNT]


class LongestPrefix:
    """The table of one VPC and family. ``lengths``: prefix lengths by value; that of 0, which is none, is 0.

    A prefix has at least one bit: a default route is not here, but beside the root."""

    def __init__(self, blocks: Blocks, lengths: npt.NDArray[np.uint8]) -> None:
        self._blocks, self._lengths = blocks, lengths
        self._root, self._root_bytes = 0, 0  # none
        self._below = 0  # blocks under the root
        self._bunches = blocks.entries.reshape(-1, _BUNCH_WORDS)
        self._bunch_count = 0

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
        return 4 * (BLOCK_ENTRIES * (_root_blocks(self._root_bytes) + self._below) + _BUNCH_WORDS * self._bunch_count)

    def fill(self, length: int, hi: Halves, lo: Halves, values: Words, *, collapse: bool = False) -> None:
        """Give different prefixes of one length their values, wherever no longer prefix is known.

        Raises ``TableFull``. ``collapse``: there may be blocks now that say no more than one entry would."""
        entries = self._blocks.entries
        depth, at = 8 * self._root_bytes, self._root * BLOCK_ENTRIES + _bits(hi, 8 * self._root_bytes)
        parents: list[Numbers] = []
        while length > depth:
            parents.append(at)
            if length - depth > _LONGEST:
                self._deepen(at)
            elif len(apart := np.flatnonzero(~_is_block(entries[at]))):
                prefixes = _window(hi[apart], lo[apart], depth)
                full = self._put(at[apart], prefixes, length - depth, values[apart], gone=collapse)
                left = np.ones(len(at), np.bool_)
                left[apart] = full
                at, hi, lo, values = at[left], hi[left], lo[left], values[left]
                if not len(at):
                    break
            at = (entries[at] & _NUMBER).astype(np.int64) * BLOCK_ENTRIES + _byte(hi, lo, depth)
            depth += 8
        else:
            self._write(at, 1 << (depth - length), values, length)
        if collapse:
            for entry in reversed(parents):
                self._collapse(_distinct(entry)[0])

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
        for _, _, entries, _ in self._levels():
            numbers, bunch = (entries & _NUMBER).astype(np.int64), entries >= FIB_BLOCK | FIB_BUNCH
            self._blocks.give(numbers[(entries >= FIB_BLOCK) & ~bunch])
            self._blocks.give_bunches(numbers[bunch])
        old = self._root, self._root_bytes
        self._root = self._root_bytes = self._below = self._bunch_count = 0
        return old

    def spans(self) -> Spans:
        """What it says of all addresses."""
        found = []
        for hi, lo, entries, depth in self._levels():
            leaf, bunch = entries < FIB_BLOCK, entries >= FIB_BLOCK | FIB_BUNCH
            found.append((hi[leaf], lo[leaf], entries[leaf]))
            found.append(self._in_bunches(hi[bunch], lo[bunch], entries[bunch], depth))
        if not found:
            return Spans(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.uint32))
        highs, lows, values = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.lexsort((lows, highs))
        return Spans(highs[order], lows[order], values[order])

    def _levels(self) -> Iterator[tuple[Halves, Halves, Words, int]]:
        """Level by level, in pieces: where entries begin in it, these, and how many bits led to them."""
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
                    blocks = _is_block(values)
                    if blocks.any():
                        following.append(((values[blocks] & _NUMBER).astype(np.int64), at_hi[blocks], at_lo[blocks]))
                    yield at_hi, at_lo, values, depth + 8
            level, depth = following, depth + 8

    def _in_bunches(self, hi: Halves, lo: Halves, entries: Words, depth: int) -> tuple[Halves, Halves, Words]:
        """Where values may change in bunches that begin there, and the values."""
        opened = _Bunches(self._bunches[entries & _NUMBER])
        prefixes, shifts = opened.prefixes.astype(np.uint64) << np.uint64(32), opened.shifts.astype(np.uint64) + 32
        ends = prefixes + (np.uint64(1) << shifts)  # 0 at the end of the bunch, which then says what holds at its start
        where = np.concatenate((np.zeros((len(hi), 1), np.uint64), prefixes, ends), axis=1)
        fits = (where[:, :, None] ^ prefixes[:, None, :]) >> shifts[:, None, :] == 0
        place = np.where(fits.any(axis=2), fits.argmax(axis=2), BUNCH_ROUTES)
        values: Words = np.take_along_axis(opened.values, place, 1).reshape(-1)
        hi, lo, where = np.repeat(hi, where.shape[1]), np.repeat(lo, where.shape[1]), where.reshape(-1)
        if depth < 64:
            return hi | where >> np.uint64(depth), lo | where << np.uint64(64 - depth), values
        return hi, lo | where >> np.uint64(depth - 64), values

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
        first = self._root * BLOCK_ENTRIES + np.arange(BLOCK_ENTRIES * _root_blocks(self._root_bytes))
        self._deepen(first[self._root_entries() >= FIB_BLOCK])
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

    def _put(
        self, at: Numbers, prefixes: Words, length: int, values: Words, *, gone: bool = False
    ) -> npt.NDArray[np.bool_]:
        """Routes into bunches behind these entries, or out of them; those for which blocks are there now instead.

        ``prefixes``, of so many bits: what follows the bytes that led here."""
        spots, of = _distinct(at)
        made, shift = self._open(spots), 32 - length
        same = (made.prefixes[of] == prefixes[:, None]) & (made.shifts[of] == shift)
        known, place = same.any(axis=1), same.argmax(axis=1)
        full = np.zeros(len(spots), np.bool_)
        if gone:
            made.shifts[of[known], place[known]] = _FREE
            change = np.bincount(of[known], minlength=len(spots)) > 0
        else:
            if known.any():
                where, place = of[known], place[known]
                inside = (self._blocks.entries[spots[where]] & _NUMBER).astype(np.int64) * _BUNCH_WORDS
                made.values[where, place] = self._blocks.entries[inside + _VALUES + place] = values[known]
            new = np.flatnonzero(~known)
            added = np.bincount(of[new], minlength=len(spots))
            full = made.counts + added > BUNCH_ROUTES
            if full.any():
                self._deepen(spots[full])
                new = new[~full[of[new]]]
            new = new[of[new].argsort(kind="stable")]
            where = of[new]
            free = made.counts[where] + np.arange(len(new)) - where.searchsorted(where)
            made.prefixes[where, free], made.shifts[where, free], made.values[where, free] = (
                prefixes[new],
                shift,
                values[new],
            )
            change = (added > 0) & ~full
        if change.any():
            self._close(spots[change], _Bunches(made.words[change]))
        return full[of]

    def _open(self, spots: Numbers) -> _Bunches:
        """The bunches behind these entries, where there are none, empty ones."""
        entries = self._blocks.entries[spots]
        there = entries >= FIB_BLOCK
        made = _Bunches(self._bunches[np.where(there, entries & _NUMBER, 0)])
        if not there.all():
            made.counts[~there], made.values[~there, BUNCH_ROUTES] = 0, entries[~there]
        made.shifts[made.counts[:, None] <= _PLACES] = _FREE
        return made

    def _close(self, spots: Numbers, made: _Bunches) -> None:
        """Have these bunches behind the entries, those that are empty aside."""
        made.counts[:] = counts = (made.shifts != _FREE).sum(axis=1)
        order = made.shifts.argsort(axis=1, kind="stable")
        order = np.where(counts[:, None] > _PLACES, order, order[:, :1])
        rows = np.arange(len(spots))[:, None]
        for field in (made.prefixes, made.shifts, made.values[:, :BUNCH_ROUTES]):
            field[:] = field[rows, order]
        words, some = made.values[:, BUNCH_ROUTES].copy(), counts > 0
        numbers = self._blocks.take_bunches(int(some.sum()))
        self._bunches[numbers] = made.words[some]
        self._bunch_count += len(numbers)
        words[some] = numbers.astype(np.uint32) | np.uint32(FIB_BLOCK | FIB_BUNCH)
        self._lead(spots, words)

    def _lead(self, spots: Numbers, words: Words) -> None:
        """Change entries; bunches behind them are free then."""
        entries = self._blocks.entries
        old = entries[spots]
        fence()
        entries[spots] = words
        old = old[old >= FIB_BLOCK | FIB_BUNCH]
        self._blocks.give_bunches((old & _NUMBER).astype(np.int64))
        self._bunch_count -= len(old)

    def _deepen(self, at: Numbers) -> None:
        """Have blocks behind all of these entries."""
        entries = self._blocks.entries
        now = entries[at]
        spots = np.unique(at[~_is_block(now)])
        if not len(spots):
            return
        made = self._blocks.take(len(spots))
        opened = self._open(spots)
        entries[made[:, None] * BLOCK_ENTRIES + _BYTES] = opened.values[:, BUNCH_ROUTES:]
        self._below += len(made)
        of, place = np.nonzero(opened.shifts != _FREE)
        prefixes, values = opened.prefixes[of, place], opened.values[of, place]
        lengths = 32 - opened.shifts[of, place].astype(np.int64)
        for length in np.unique(lengths).tolist():  # nobody sees them yet
            mine = lengths == length
            inside = made[of[mine]] * BLOCK_ENTRIES + (prefixes[mine] >> np.uint32(24)).astype(np.int64)
            if length > 8:
                self._put(inside, prefixes[mine] << np.uint32(8), length - 8, values[mine])
            else:
                self._write(inside, 1 << (8 - length), values[mine], int(self._lengths[values[mine][0]]))
        self._lead(spots, made.astype(np.uint32) | np.uint32(FIB_BLOCK))

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
            below, values, bunch = (now[inner] & _NUMBER).astype(np.int64), values[inner], now[inner] & FIB_BUNCH != 0
            if bunch.any():
                otherwise = below[bunch] * _BUNCH_WORDS + _VALUES + BUNCH_ROUTES
                self._replace(otherwise, values[bunch], length)
            below, values = below[~bunch] * BLOCK_ENTRIES, values[~bunch]
            for some in _pieces(len(below), _AT_ONCE // BLOCK_ENTRIES):
                index = (below[some][:, None] + _BYTES).reshape(-1)
                self._replace(index, np.repeat(values[some], BLOCK_ENTRIES), length)

    def _collapse(self, at: Numbers) -> None:
        """Entries whose block says one thing say it themselves."""
        entries = self._blocks.entries
        at = at[_is_block(entries[at])]
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


def _is_block(entries: Words) -> npt.NDArray[np.bool_]:
    return entries ^ np.uint32(FIB_BLOCK) < FIB_BUNCH


def _distinct(numbers: Numbers) -> tuple[Numbers, Numbers]:
    """Each once, in order; and for all of them its place there."""
    if len(numbers) == 1:
        return numbers, np.zeros(1, np.int64)
    distinct, places = np.unique(numbers, return_inverse=True)
    return distinct, places


def _window(hi: Halves, lo: Halves, depth: int) -> Words:
    """32 bits of addresses, from ``depth`` bits after their start; 0 where they end."""
    word = hi << np.uint64(depth) | lo >> np.uint64(64 - depth) if depth < 64 else lo << np.uint64(depth - 64)
    return (word >> np.uint64(32)).astype(np.uint32)


def _pieces(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))
