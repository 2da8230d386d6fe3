"""Numbers for very many prefixes: an open-addressing hash table, asked and changed in bulk.

A dict holds a prefix and a number in some 110 bytes, this one in some 40, and a batch of changes costs a tenth.
Probing goes by 1, 2, 3, ... slots, which reaches all of a power of two (Knuth, The Art of Computer Programming, 3,
6.4, exercise 20), and all of a batch go in step. What is removed stays as a prefix without a number, so that nothing
behind it is lost, until the table is built anew. The hash is keyed by chance: nobody outside can choose prefixes that
meet.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from isthmus.tables.prefixes import Halves, Prefixes, halves

Slots = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]

NONE: Final = -(1 << 31)
"""Not a number: the prefix is not there."""

_EMPTY: Final = 255  # in place of a length: nothing was ever here
_LEAST: Final = 1 << 8
_MASK64: Final = (1 << 64) - 1
_FACTORS: Final = tuple(secrets.randbits(63) << 1 | 1 for _ in range(3))
_HI, _LO, _LENGTH = (np.uint64(factor) for factor in _FACTORS)
_HALF: Final = np.uint64(32)


class Column:
    """A number of prefixes, those of one table; NONE: such a prefix is not there. Iterating gives keys."""

    def __init__(self, table: Exact) -> None:
        self._table = table
        self.make(len(table.length))

    def make(self, capacity: int) -> None:
        """Start with nothing."""
        self.numbers: Numbers = np.full(capacity, NONE, np.int32)
        """By slot. To be changed by ``set`` only."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        return iter(self._table.prefixes(self.slots()))

    def set(self, slots: Slots, numbers: Numbers) -> None:
        """Give slots, each at most once, their numbers; NONE takes them away."""
        self._count += int(np.count_nonzero(numbers != NONE) - np.count_nonzero(self.numbers[slots] != NONE))
        self.numbers[slots] = numbers

    def __getitem__(self, key: int) -> int:
        """The number of one prefix, by its key; KeyError: it has none."""
        number = self.get(key)
        if number == NONE:
            raise KeyError(key)
        return number

    def get(self, key: int) -> int:
        """Likewise; NONE: it has none."""
        slot = self._table.slot(key)
        return int(self.numbers[slot]) if slot >= 0 else NONE

    def slots(self) -> Slots:
        """Of all prefixes that have a number."""
        return np.flatnonzero(self.numbers != NONE)

    def clear(self) -> None:
        """Take all numbers away."""
        self.numbers[:] = NONE
        self._count = 0
        self._table.shrink()


class Exact:
    """Prefixes, each in a slot, and columns of numbers for them. A slot is good while ``built`` is the same."""

    def __init__(self, columns: int = 1) -> None:
        self.built = 0
        self.columns: tuple[Column, ...] = ()
        self._build(_LEAST)
        self.columns = tuple(Column(self) for _ in range(columns))

    def find(self, prefixes: Prefixes) -> Slots:
        """The slot of each, or -1. One that has no number any more may have a slot."""
        found = self._home(prefixes)
        left, at, step = np.arange(len(prefixes)), found, 0
        while len(left):
            same, empty = self._look(prefixes, left, at)
            found[left[empty]] = -1
            step += 1
            on = np.flatnonzero(~(same | empty))
            left, at = left[on], at[on] + step & self._mask
            found[left] = at
        return found

    def place(self, prefixes: Prefixes) -> Slots:
        """The slot of each, made where there is none; equal prefixes have one slot."""
        if self._used + len(prefixes) > self._limit:
            slots = self.find(prefixes)
            if self._used + int((slots < 0).sum()) > self._limit:
                self._grow(slots)
        found = self._home(prefixes)
        left, at, step = np.arange(len(prefixes)), found, 0
        while len(left):
            same, empty = self._look(prefixes, left, at)
            if empty.any():
                free = np.flatnonzero(empty)
                mine = self._claim(prefixes, left[free], at[free])
                same[free[mine]] = True
                lost = free[~mine]  # to another of its batch, or to its own like
                same[lost], _ = self._look(prefixes, left[lost], at[lost])
            step += 1
            on = np.flatnonzero(~same)
            left, at = left[on], at[on] + step & self._mask
            found[left] = at
        return found

    def lasts(self, slots: Slots) -> npt.NDArray[np.bool_]:
        """True for slots that do not come once more."""
        numbers = self.columns[0].numbers  # which get their own again
        kept, order = numbers[slots], np.arange(len(slots), dtype=np.int32)
        numbers[slots] = order
        last: npt.NDArray[np.bool_] = numbers[slots] == order
        numbers[slots] = kept
        return last

    def slot(self, key: int) -> int:
        """The slot of one prefix, by its key, or -1."""
        hi, lo, length = halves(key)
        mixed = hi * _FACTORS[0] + lo * _FACTORS[1] + length * _FACTORS[2] & _MASK64
        at = ((mixed ^ mixed >> 32) * _FACTORS[0] & _MASK64) >> int(self._shift)
        step = 0
        while (there := int(self.length[at])) != _EMPTY:
            if there == length and int(self._hi[at]) == hi and int(self._lo[at]) == lo:
                return at
            step += 1
            at = at + step & self._mask
        return -1

    def prefixes(self, slots: Slots) -> Prefixes:
        """What is there."""
        return Prefixes(self._hi[slots], self._lo[slots], self.length[slots])

    def shrink(self) -> None:
        """Give the memory back, if there is nothing."""
        if not any(len(column) for column in self.columns):
            self._build(_LEAST)

    def _build(self, capacity: int) -> None:
        self._hi = np.zeros(capacity, np.uint64)
        self._lo = np.zeros(capacity, np.uint64)  # memory that is never written is never had
        self.length = np.full(capacity, _EMPTY, np.uint8)
        for column in self.columns:
            column.make(capacity)
        self._mask, self._limit = capacity - 1, capacity * 7 // 10
        self._shift = np.uint64(65 - capacity.bit_length())
        self._used = 0
        self.built += 1

    def _grow(self, wanted: Slots) -> None:
        """Build it anew, without what has no number, and with room for what is wanted, which stands in these slots (-1:
        in none)."""
        numbered = np.logical_or.reduce([column.numbers != NONE for column in self.columns])
        more = len(wanted) - int(numbered[wanted[wanted >= 0]].sum())
        slots = np.flatnonzero(numbered)
        prefixes, kept = self.prefixes(slots), [column.numbers[slots] for column in self.columns]
        capacity = _LEAST
        while capacity * 6 // 10 < len(slots) + more:
            capacity *= 2
        self._build(capacity)
        slots = self._settle(prefixes)
        for column, numbers in zip(self.columns, kept, strict=True):
            column.set(slots, numbers)

    def _settle(self, prefixes: Prefixes) -> Slots:
        """``place`` for different prefixes in an empty table: nothing is to be compared."""
        found, whose = self._home(prefixes), np.full(len(self.length), -1, np.int32)
        left, at, step = np.arange(len(prefixes), dtype=np.int32), found, 0
        while len(left):
            free = np.flatnonzero(whose[at] < 0)
            whose[at[free]] = left[free]
            on = np.flatnonzero(whose[at] != left)
            step += 1
            left, at = left[on], at[on] + step & self._mask
            found[left] = at
        self._write(found, prefixes)
        return found

    def _write(self, at: Slots, prefixes: Prefixes) -> None:
        """Prefixes into slots that are empty."""
        self._hi[at], self.length[at] = prefixes.hi, prefixes.length
        if prefixes.lo.any():
            self._lo[at] = prefixes.lo
        self._used += len(at)

    def _home(self, prefixes: Prefixes) -> Slots:
        mixed: Halves = prefixes.hi * _HI + prefixes.lo * _LO + prefixes.length.astype(np.uint64) * _LENGTH
        return ((mixed ^ mixed >> _HALF) * _HI >> self._shift).astype(np.int64)

    def _look(self, prefixes: Prefixes, left: Slots, at: Slots) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Where the prefix is that is looked for, and where nothing is."""
        there = self.length[at]
        same = there == prefixes.length[left]
        likely = np.flatnonzero(same)  # few where prefixes are new: their addresses are not looked at
        slots, which = at[likely], left[likely]
        alike = self._hi[slots] == prefixes.hi[which]
        alike &= self._lo[slots] == prefixes.lo[which]
        same[likely] = alike
        return same, there == _EMPTY

    def _claim(self, prefixes: Prefixes, which: Slots, at: Slots) -> npt.NDArray[np.bool_]:
        """Take empty slots. True for those that have one: of several that want the same, the last."""
        mine = self.lasts(at)
        self._write(at[mine], prefixes[which[mine]])
        return mine
