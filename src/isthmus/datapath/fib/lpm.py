"""One longest-prefix table: a root that takes up to 24 bits of the address at once, nodes that take four each, and
bunches: where few routes are left, these routes, the longest first.

IPv4 with a root of 24 bits is DIR-24-8 (Gupta, Lin, McKeown: Routing Lookups in Hardware at Memory Access Speeds,
1998). Every entry holds the longest prefix of its addresses, so a look-up never goes back; a bunch ends with the route
of no bits, what holds where none of its others does. What a look-up costs is what it misses in the caches, so nodes are
one line and bunches half a line to four: a full IPv6 table is 2 MB below its root. Packets read all the while: an entry
changes by one write, a node or bunch is filled before an entry leads to it, and what nothing leads to rests.

A whole batch of prefixes is written at once, so that a bunch is made once for all of its new routes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from isthmus.datapath.fib.blocks import Blocks, Numbers, Words, fence
from isthmus.tables.layout import (
    BUNCH_UNITS,
    CHUNK_UNITS,
    FIB_BITS_SHIFT,
    FIB_KIND_SHIFT,
    FIB_MORE,
    NODE_UNITS,
    PAIR_ENTRIES,
    UNIT_ENTRIES,
)
from isthmus.tables.prefixes import Halves, Prefixes

_NODE_BITS: Final = 4
_NODE: Final = NODE_UNITS * UNIT_ENTRIES
_ENTRIES: Final = np.arange(_NODE)
_AT_ONCE: Final = 1 << 20  # entries looked at in one piece
_WIDEST: Final = CHUNK_UNITS * UNIT_ENTRIES  # entries that are written in one go; large roots begin at multiples of it
_NUMBER: Final = np.uint32((1 << FIB_KIND_SHIFT) - 1)
_BUNCH: Final = FIB_MORE | 1 << FIB_KIND_SHIFT  # entries from here on lead to one
_PAIRS: Final = np.arange(BUNCH_UNITS + 1) * UNIT_ENTRIES // PAIR_ENTRIES
"""Of routes, by units of a bunch."""
_PLACES: Final = 2 * int(_PAIRS[-1])  # routes of the largest bunch, the last included
_LONGEST: Final = 29  # bits of a prefix in a bunch
_ALL: Final = np.uint32(3 << 30)  # the prefix of no bits: the last route of a bunch, and what is free behind it
_GUARD: Final = np.uint32(1 << 31)
_FREE: Final = np.uint32(0)  # while a bunch is made


def _words(pairs: int) -> tuple[Numbers, Numbers]:
    """Where routes of a bunch stand in it: prefixes, in 32-bit words, and slots, in 16-bit words."""
    half, pair = np.divmod(np.arange(2 * pairs), pairs)
    return 2 * pair + half, 4 * pairs + 2 * pair + half


_PREFIXES_AT, _SLOTS_AT = zip(*map(_words, _PAIRS.tolist()), strict=True)
"""By units."""


class Spans(NamedTuple):
    """The whole table, sorted: from (hi, lo) on, up to the next, the value is this."""

    hi: Halves
    lo: Halves
    value: Words


class LongestPrefix:
    """The table of one VPC and family. ``lengths``: prefix lengths by value; that of 0, which is none, is 0. Values are
    0 or from ``first`` on, and less than 65,535 more.

    A prefix has at least one bit: a default route is not here, but beside the root."""

    def __init__(self, blocks: Blocks, lengths: npt.NDArray[np.uint8], first: int) -> None:
        self._blocks, self._lengths = blocks, lengths
        self._before = np.uint32(first - 1)
        self._root, self._root_bits = 0, 0  # none
        self._units = 0  # under the root
        self._loose: list[tuple[Numbers, int]] = []  # blocks on their way into the table

    @property
    def word(self) -> int:
        """The root as packets find it; 0 where there is none."""
        return self._root | self._root_bits << FIB_BITS_SHIFT

    @property
    def root_bits(self) -> int:
        """Bits of the address that the root takes; 0 where there is none."""
        return self._root_bits

    @property
    def memory(self) -> int:
        """Bytes of it."""
        return 4 * UNIT_ENTRIES * (_root_units(self._root_bits) + self._units)

    def fill(self, prefixes: Prefixes, values: Words, *, collapse: bool = False) -> None:
        """Give different prefixes their values, wherever no longer prefix is known.

        Raises ``TableFull``. ``collapse``: there may be nodes now that say no more than one entry would."""
        entries = self._blocks.entries
        order = prefixes.length.argsort(kind="stable")
        prefixes, values = prefixes[order], values[order]
        depth = self._root_bits
        at = self._root * UNIT_ENTRIES + (prefixes.hi >> np.uint64(64 - depth)).astype(np.int64)
        parents: list[tuple[Numbers, int]] = []
        while True:
            here = int(prefixes.length.searchsorted(depth, "right"))
            for length, some in _runs(prefixes.length[:here]):
                self._write(at[some], 1 << (depth - length), values[some], length)
            at, prefixes, values = at[here:], prefixes[here:], values[here:]
            if not len(at):
                break
            parents.append((at, depth))
            self._deepen(at[prefixes.length.searchsorted(depth + _LONGEST, "right") :])
            if len(apart := np.flatnonzero(~_is_node(entries[at]))):
                full = self._put(at[apart], _in_bunch(prefixes[apart], depth), values[apart], gone=collapse)
                left = np.ones(len(at), np.bool_)
                left[apart] = full
                at, prefixes, values = at[left], prefixes[left], values[left]
            at = _numbers(entries[at]) * UNIT_ENTRIES + _nibble(prefixes, depth)
            depth += _NODE_BITS
        if collapse:
            for entry, bits in reversed(parents):
                self._collapse(_distinct(entry)[0], bits)

    def resize(self, root_bits: int) -> tuple[int, int]:
        """Build a root that takes so many bits, a multiple of four, beside the old one. Give what comes back to
        ``free_root``, once packets have the new word and none holds the old."""
        old = self._root, self._root_bits
        if root_bits > self._root_bits:
            self._widen(root_bits)
        elif root_bits < self._root_bits:
            self._narrow(root_bits)
        self._loose = []
        return old

    def free_root(self, root: tuple[int, int]) -> None:
        """Free a root that no packet holds."""
        first, root_bits = root
        if root_bits > _NODE_BITS:
            self._blocks.give_run(first, _root_units(root_bits))
        elif root_bits:
            self._blocks.give(np.array([first], np.int64), NODE_UNITS)

    def forget(self) -> tuple[int, int]:
        """Leave everything; blocks are freed, the root comes back for ``free_root``. The word is 0 from now on."""
        for _, _, entries, _ in self._levels():
            inner = entries[entries >= FIB_MORE]
            for kind in _kinds(inner):
                self._blocks.give(_numbers(inner[_is_kind(inner, kind)]), kind or NODE_UNITS)
        for numbers, size in self._loose:  # there was no room for what they were to be
            self._blocks.give(numbers, size)
        self._loose = []
        old = self._root, self._root_bits
        self._root = self._root_bits = self._units = 0
        return old

    def spans(self) -> Spans:
        """What it says of all addresses."""
        found = []
        for hi, lo, entries, depth in self._levels():
            leaf, bunches = entries < FIB_MORE, np.flatnonzero(entries >= _BUNCH)
            found.append((hi[leaf], lo[leaf], entries[leaf]))
            for some in _pieces(len(bunches), _AT_ONCE // _PLACES**2):
                here = bunches[some]
                found.append(self._in_bunches(hi[here], lo[here], entries[here], depth))
        if not found:
            return Spans(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.uint32))
        highs, lows, values = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.lexsort((lows, highs))
        return Spans(highs[order], lows[order], values[order])

    def _levels(self) -> Iterator[tuple[Halves, Halves, Words, int]]:
        """Level by level, in pieces: where entries begin in it, these, and how many bits led to them."""
        if not self._root:
            return
        first = np.arange(1 << self._root_bits - _NODE_BITS)
        depth = self._root_bits - _NODE_BITS
        hi = first.astype(np.uint64) << np.uint64(64 - depth if depth else 0)
        level = [(self._root + first * NODE_UNITS, hi, np.zeros(len(first), np.uint64))]
        while level:
            following = []
            for numbers, hi, lo in level:
                for some in _pieces(len(numbers), _AT_ONCE // _NODE):
                    rows = self._rows(numbers[some])
                    starts = np.ones(rows.shape, np.bool_)
                    starts[:, 1:] = rows[:, 1:] != rows[:, :-1]
                    row, nibble = np.nonzero(starts)
                    values = rows[row, nibble]
                    at_hi, at_lo = hi[some][row], lo[some][row]
                    if depth < 64:
                        at_hi = at_hi | nibble.astype(np.uint64) << np.uint64(60 - depth)
                    else:
                        at_lo = at_lo | nibble.astype(np.uint64) << np.uint64(124 - depth)
                    nodes = _is_node(values)
                    if nodes.any():
                        following.append((_numbers(values[nodes]), at_hi[nodes], at_lo[nodes]))
                    yield at_hi, at_lo, values, depth + _NODE_BITS
            level, depth = following, depth + _NODE_BITS

    def _in_bunches(self, hi: Halves, lo: Halves, entries: Words, depth: int) -> tuple[Halves, Halves, Words]:
        """Where values may change in bunches that begin there, and the values."""
        prefixes, values = self._open(entries)
        ends = prefixes ^ prefixes - np.uint32(1)  # the bits that an address may have
        starts = prefixes & ~ends | _GUARD
        where = np.concatenate((starts, starts + ends + np.uint32(1) | _GUARD), axis=1)  # at the end of all: the start
        fits = (where[:, :, None] ^ prefixes[:, None, :]) <= ends[:, None, :]
        said: Words = np.take_along_axis(values, fits.argmax(axis=2), 1).reshape(-1)
        hi, lo = np.repeat(hi, where.shape[1]), np.repeat(lo, where.shape[1])
        where = where.reshape(-1).astype(np.uint64) << np.uint64(33)
        if depth < 64:
            return hi | where >> np.uint64(depth), lo | where << np.uint64(64 - depth), said
        return hi, lo | where >> np.uint64(depth - 64), said

    def _rows(self, numbers: Numbers) -> Words:
        """A copy of some nodes."""
        rows: Words = self._blocks.entries[numbers[:, None] * UNIT_ENTRIES + _ENTRIES]
        return rows

    def _new_root(self, root_bits: int) -> Words:
        """Have a root that says nothing yet; its entries."""
        units = _root_units(root_bits)
        if units > NODE_UNITS:
            root = self._blocks.take_run(units)
        else:
            root = int(self._blocks.take(1, NODE_UNITS)[0])
            self._blocks.entries[root * UNIT_ENTRIES :][:_NODE] = 0
        self._root, self._root_bits = root, root_bits
        return self._blocks.entries[root * UNIT_ENTRIES :][: 1 << root_bits]

    def _take(self, count: int, size: int) -> Numbers:
        """So many blocks, with anything in them."""
        numbers = self._blocks.take(count, size)
        self._loose.append((numbers, size))
        self._units += size * count
        return numbers

    def _widen(self, root_bits: int) -> None:
        """A root that takes more bits: nodes become part of it."""
        entries = self._blocks.entries
        said = np.zeros(1, np.uint32)
        at = np.full(1, -1)  # where that stands
        if self._root:
            said = entries[self._root * UNIT_ENTRIES :][: 1 << self._root_bits].copy()
            at = self._root * UNIT_ENTRIES + np.arange(len(said))
        gone = []
        while True:
            inner = np.flatnonzero(said >= FIB_MORE)
            self._deepen(at[inner])
            nodes = _numbers(entries[at[inner]])
            gone.append(nodes)
            last = said.size * _NODE == 1 << root_bits
            rows = (self._new_root(root_bits) if last else np.zeros(said.size * _NODE, np.uint32)).reshape(-1, _NODE)
            some = np.flatnonzero(said)
            rows[some] = said[some][:, None]
            rows[inner] = self._rows(nodes)
            if last:
                break
            at = np.full(rows.shape, -1)
            at[inner] = nodes[:, None] * UNIT_ENTRIES + _ENTRIES
            said, at = rows.reshape(-1), at.reshape(-1)
        for nodes in gone:
            self._give(nodes, NODE_UNITS)

    def _narrow(self, root_bits: int) -> None:
        """A root that takes fewer bits: where its entries differ, there are nodes."""
        said = self._blocks.entries[self._root * UNIT_ENTRIES :][: 1 << self._root_bits]
        while len(said) > 1 << root_bits:
            rows = said.reshape(-1, _NODE)
            said = rows[:, 0].copy()
            more = said >= FIB_MORE
            longer = (
                self._lengths[np.where(more, 0, said)] >= len(said).bit_length()
            )  # than the way to them: prefixes of their own
            apart = np.flatnonzero((rows != rows[:, :1]).any(axis=1) | more | longer)
            made = self._take(len(apart), NODE_UNITS)
            self._blocks.entries[made[:, None] * UNIT_ENTRIES + _ENTRIES] = rows[apart]
            said[apart] = made.astype(np.uint32) | np.uint32(FIB_MORE)
        self._new_root(root_bits)[:] = said

    def _put(self, at: Numbers, prefixes: Words, values: Words, *, gone: bool = False) -> npt.NDArray[np.bool_]:
        """Routes into bunches behind these entries, or out of them; those for which nodes are there now instead.

        ``prefixes``, as bunches have them: what follows the bits that led here."""
        entries = self._blocks.entries
        spots, of = _distinct(at)
        leads = entries[spots]
        inside, slots = self._open(leads)
        same = inside[of] == prefixes[:, None]
        known, place = same.any(axis=1), same.argmax(axis=1)
        full = np.zeros(len(spots), np.bool_)
        if gone:
            inside[of[known], place[known]] = _FREE
            change = np.bincount(of[known], minlength=len(spots)) > 0
        else:
            if known.any():
                where, place = of[known], place[known]
                slots[where, place] = values[known]
                self._halves()[_slots_at(leads[where], place)] = self._short(values[known])
            new = np.flatnonzero(~known)
            added = np.bincount(of[new], minlength=len(spots))
            counts = (inside != _ALL).sum(axis=1) + 1
            full = counts + added > _PLACES
            if full.any():
                self._deepen(spots[full])
                new = new[~full[of[new]]]
            new = new[of[new].argsort(kind="stable")]
            where = of[new]
            free = counts[where] + np.arange(len(new)) - where.searchsorted(where)
            inside[where, free], slots[where, free] = prefixes[new], values[new]
            change = (added > 0) & ~full
        if change.any():
            self._close(spots[change], inside[change], slots[change])
        return full[of]

    def _open(self, leads: Words) -> tuple[Words, Words]:
        """Copies of the bunches that entries lead to, of one route where they lead nowhere: prefixes and slots."""
        prefixes = np.full((len(leads), _PLACES), _ALL)
        slots = np.zeros((len(leads), _PLACES), np.uint32)
        leaf = leads < FIB_MORE
        slots[leaf, 0] = leads[leaf]
        for size in _kinds(leads[~leaf]):
            some = np.flatnonzero(_is_kind(leads, size))
            at = _numbers(leads[some])[:, None] * UNIT_ENTRIES
            places = 2 * _PAIRS[size]
            prefixes[some, :places] = self._blocks.entries[at + _PREFIXES_AT[size]]
            short = self._halves()[2 * at + _SLOTS_AT[size]]
            slots[some, :places] = np.where(short, short + self._before, 0)
        return prefixes, slots

    def _close(self, spots: Numbers, prefixes: Words, slots: Words) -> None:
        """Have bunches of these routes behind the entries."""
        order = ((prefixes & -prefixes) - np.uint32(1)).argsort(axis=1, kind="stable")  # the longest first, free last
        prefixes, slots = np.take_along_axis(prefixes, order, 1), np.take_along_axis(slots, order, 1)
        prefixes[prefixes == _FREE] = _ALL
        _, last = _last(prefixes)
        leads = slots[:, 0].copy()
        sizes = np.where(last, (2 * _PAIRS).searchsorted(last, "right"), 0)
        for size in np.unique(sizes[sizes > 0]).tolist():
            some = np.flatnonzero(sizes == size)
            numbers = self._take(len(some), size)
            at, places = numbers[:, None] * UNIT_ENTRIES, 2 * _PAIRS[size]
            self._blocks.entries[at + _PREFIXES_AT[size]] = prefixes[some, :places]
            self._halves()[2 * at + _SLOTS_AT[size]] = self._short(slots[some, :places])
            leads[some] = numbers.astype(np.uint32) | np.uint32(FIB_MORE | size << FIB_KIND_SHIFT)
        self._lead(spots, leads)

    def _lead(self, spots: Numbers, leads: Words) -> None:
        """Change entries; bunches behind them are free then."""
        entries = self._blocks.entries
        old = entries[spots]
        fence()
        entries[spots] = leads
        self._loose = []
        old = old[old >= FIB_MORE]
        for size in _kinds(old):
            self._give(_numbers(old[_is_kind(old, size)]), size)

    def _give(self, numbers: Numbers, size: int) -> None:
        """Blocks that nothing leads to any more."""
        self._blocks.give(numbers, size)
        self._units -= size * len(numbers)

    def _deepen(self, at: Numbers) -> None:
        """Have nodes behind all of these entries, which are of one depth."""
        entries = self._blocks.entries
        spots = np.unique(at[~_is_node(entries[at])])
        if not len(spots):
            return
        made = self._take(len(spots), NODE_UNITS)
        prefixes, slots = self._open(entries[spots])
        entries[made[:, None] * UNIT_ENTRIES + _ENTRIES] = slots[_last(prefixes)][:, None]
        of, place = np.nonzero(prefixes != _ALL)
        prefixes, slots = prefixes[of, place], slots[of, place]
        inside = made[of] * UNIT_ENTRIES + (prefixes >> np.uint32(31 - _NODE_BITS) & np.uint32(15)).astype(np.int64)
        ends = prefixes & -prefixes
        deeper = ends < 1 << 30 - _NODE_BITS
        for length in range(1, _NODE_BITS + 1):  # nobody sees them yet
            mine = ends == 1 << 30 - length
            if mine.any():
                run = np.arange(1 << _NODE_BITS - length)
                start = inside[mine] & ~np.int64(len(run) - 1)
                entries[start[:, None] + run] = slots[mine][:, None]
        if deeper.any():
            below, of = _distinct(inside[deeper])
            order = of.argsort(kind="stable")
            of = of[order]
            place = np.arange(len(of)) - of.searchsorted(of) + 1
            moved, said = np.full((len(below), _PLACES), _ALL), np.zeros((len(below), _PLACES), np.uint32)
            said[:, 0] = entries[below]
            moved[of, place] = prefixes[deeper][order] << np.uint32(_NODE_BITS) | _GUARD
            said[of, place] = slots[deeper][order]
            self._close(below, moved, said)
        self._lead(spots, made.astype(np.uint32) | np.uint32(FIB_MORE))

    def _write(self, at: Numbers, run: int, values: Words, length: int) -> None:
        """Runs of entries that begin at ``at``, each at a multiple of its size, or of a chunk's where that is less."""
        size = min(run, _WIDEST)
        rows = (at[:, None] // size + np.arange(run // size)).reshape(-1)
        values = np.repeat(values, run // size)
        for some in _pieces(len(rows), _AT_ONCE // size):
            self._replace(rows[some], size, values[some], length)

    def _replace(self, rows: Numbers, size: int, values: Words, length: int) -> None:
        """Rows of so many entries, and what nodes and bunches behind them say, where they hold no longer prefix."""
        table = self._blocks.entries.reshape(-1, size)
        now, wanted = table[rows], values[:, None]
        inner = now >= FIB_MORE
        deeper = bool(inner.any())
        mine = self._lengths[np.where(inner, 0, now) if deeper else now] <= length
        if deeper:
            mine &= ~inner
        count = np.count_nonzero(mine)
        if 2 * count < mine.size:  # the lines of others stay in the caches of all
            row, column = np.nonzero(mine)
            table[rows[row], column] = values[row]
        else:
            table[rows] = wanted if count == mine.size else np.where(mine, wanted, now)
        if deeper:
            leads, values = now[inner], np.broadcast_to(wanted, now.shape)[inner]
            nodes = _is_node(leads)
            if not nodes.all():
                self._replace_last(leads[~nodes], values[~nodes], length)
            below, values = _numbers(leads[nodes]) // NODE_UNITS, values[nodes]
            for some in _pieces(len(below), _AT_ONCE // _NODE):
                self._replace(below[some], _NODE, values[some], length)

    def _replace_last(self, leads: Words, values: Words, length: int) -> None:
        """What holds in bunches where none of their routes does."""
        prefixes, slots = self._open(leads)
        last = _last(prefixes)
        mine = self._lengths[slots[last]] <= length
        self._halves()[_slots_at(leads[mine], last[1][mine])] = self._short(values[mine])

    def _halves(self) -> npt.NDArray[np.uint16]:
        """All memory, for slots in bunches."""
        return self._blocks.entries.view(np.uint16)

    def _short(self, slots: Words) -> npt.NDArray[np.uint16]:
        """Slots as they stand in bunches."""
        return np.where(slots, slots - self._before, 0).astype(np.uint16)

    def _collapse(self, at: Numbers, depth: int) -> None:
        """Entries to which ``depth`` bits lead, and whose node says one prefix of no more bits, say it themselves."""
        entries = self._blocks.entries
        at = at[_is_node(entries[at])]
        numbers = _numbers(entries[at])
        rows = self._rows(numbers)
        uniform = (rows[:, 0] < FIB_MORE) & (rows == rows[:, :1]).all(axis=1)
        uniform[uniform] = self._lengths[rows[uniform, 0]] <= depth
        entries[at[uniform]] = rows[uniform, 0]
        self._give(numbers[uniform], NODE_UNITS)


def _root_units(root_bits: int) -> int:
    return NODE_UNITS << root_bits - _NODE_BITS if root_bits else 0


def _nibble(prefixes: Prefixes, depth: int) -> Numbers:
    """The four bits of addresses that begin ``depth`` bits from their start."""
    word = prefixes.hi if depth < 64 else prefixes.lo
    return (word >> np.uint64(60 - depth % 64) & np.uint64(15)).astype(np.int64)


def _runs(lengths: npt.NDArray[np.uint8]) -> Iterator[tuple[int, slice]]:
    """Each of some lengths, which are in order, and where it stands."""
    start = 0
    while start < len(lengths):
        end = int(lengths.searchsorted(lengths[start], "right"))
        yield int(lengths[start]), slice(start, end)
        start = end


def _is_kind(entries: Words, kind: int) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = entries >> np.uint32(FIB_KIND_SHIFT) == FIB_MORE >> FIB_KIND_SHIFT | kind
    return found


def _is_node(entries: Words) -> npt.NDArray[np.bool_]:
    return _is_kind(entries, 0)


def _kinds(leads: Words) -> list[int]:
    """Those that there are: 0: nodes, n: bunches of n units."""
    found: list[int] = np.flatnonzero(np.bincount((leads & ~np.uint32(FIB_MORE)) >> np.uint32(FIB_KIND_SHIFT))).tolist()
    return found


def _numbers(leads: Words) -> Numbers:
    """The first units that entries lead to."""
    return (leads & _NUMBER).astype(np.int64)


def _last(prefixes: Words) -> tuple[Numbers, Numbers]:
    """Where bunches have the route of no bits."""
    return np.arange(len(prefixes)), (prefixes == _ALL).argmax(axis=1)


def _slots_at(leads: Words, place: Numbers) -> Numbers:
    """Where the slots of routes stand in the bunches that entries lead to, in 16-bit words."""
    found = 2 * UNIT_ENTRIES * _numbers(leads)
    for size in _kinds(leads):
        some = _is_kind(leads, size)
        found[some] += _SLOTS_AT[size][place[some]]
    return found


def _distinct(numbers: Numbers) -> tuple[Numbers, Numbers]:
    """Each once, in order; and for all of them its place there."""
    if len(numbers) == 1:
        return numbers, np.zeros(1, np.int64)
    distinct, places = np.unique(numbers, return_inverse=True)
    return distinct, places


def _in_bunch(prefixes: Prefixes, depth: int) -> Words:
    """Prefixes as a bunch has them to which ``depth`` bits lead: 30 bits of the address from there on, and behind those
    that count a one."""
    hi, lo = prefixes.hi, prefixes.lo
    word = hi << np.uint64(depth) | lo >> np.uint64(64 - depth) if depth < 64 else lo << np.uint64(depth - 64)
    address = (word >> np.uint64(33)).astype(np.uint32) & ~np.uint32(1) | _GUARD
    return address | np.uint32(1) << (30 + depth - prefixes.length.astype(np.uint32))


def _pieces(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))
