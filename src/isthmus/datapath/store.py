"""Where entries live: content-addressed slots in memory-mapped arrays.

Equal contents share one slot, so applying a new configuration writes only what is new, and everything old stays as it
is for the packets that still read it. What no generation uses is freed by ``release``, never before.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Protocol

from isthmus.tables.layout import Record


class Memory(Protocol):
    """The bytes of an array map: entry i begins at i * stride."""

    def __setitem__(self, at: slice, data: bytes, /) -> None: ...

    def __getitem__(self, at: slice, /) -> bytes: ...


class TableFull(Exception):
    """A table has no room for the new entries; the configuration that runs is untouched."""

    def __init__(self, table: str, capacity: int) -> None:
        super().__init__(f"the table of {table} is full ({capacity} entries); raise its capacity and start again")


class Table:
    """One array of records. Slot 0 is never given out: it means "none"."""

    def __init__(self, name: str, record: Record, capacity: int, memory: Memory) -> None:
        self.name, self.record, self.capacity, self.memory = name, record, capacity, memory
        self.stride = -(-record.size // 8) * 8
        self.slots: dict[bytes, int] = {}
        self.live: set[bytes] = set()  # what packets can hold
        self.used: set[bytes] = set()  # what the configuration in hand needs
        self._free: dict[int, list[int]] = defaultdict(list)
        self._top = 1
        self.written = 0

    def put(self, block: bytes) -> int:
        """The slot of a run of records: where the same run stands already, or newly written."""
        self.used.add(block)
        slot = self.slots.get(block)
        if slot is None:
            slot = self.slots[block] = self._allocate(len(block) // self.record.size)
            self._write(slot, block)
        return slot

    def read(self, slot: int) -> tuple[int, ...]:
        """The members of one record as they stand in memory."""
        return self.record.unpack(self.memory[slot * self.stride : slot * self.stride + self.record.size])

    def begin(self) -> None:
        """What is put from now on is what the next generation uses."""
        self.used = set()
        self.written = 0

    def commit(self) -> None:
        """Packets read what was put since ``begin``, and may still hold what they read before."""
        self.live |= self.used

    def release(self) -> None:
        """Free all that was not put since ``begin``. Call it when no packet can hold a slot of the old generation."""
        self.live = set(self.used)
        self._drop_dead()

    def roll_back(self) -> None:
        """Forget what was put since ``begin``: no packet has seen it."""
        self.used = set(self.live)
        self._drop_dead()

    def _drop_dead(self) -> None:
        for block in [block for block in self.slots if block not in self.live]:
            self._free[len(block) // self.record.size].append(self.slots.pop(block))

    def _allocate(self, count: int) -> int:
        slot = self._find(count)
        if slot is None:
            self._merge()
            slot = self._find(count)
        if slot is None:
            raise TableFull(self.name, self.capacity)
        return slot

    def _find(self, count: int) -> int | None:
        if self._free[count]:
            return self._free[count].pop()
        if self._top + count > self.capacity:
            return self._split(count)
        slot = self._top
        self._top += count
        return slot

    def _merge(self) -> None:
        """Free runs that touch become one, and those at the end are given back."""
        runs = sorted((slot, count) for count, slots in self._free.items() for slot in slots)
        self._free = defaultdict(list)
        merged: list[tuple[int, int]] = []
        for slot, count in runs:
            if merged and sum(merged[-1]) == slot:
                merged[-1] = (merged[-1][0], merged[-1][1] + count)
            else:
                merged.append((slot, count))
        if merged and sum(merged[-1]) == self._top:
            self._top = merged.pop()[0]
        for slot, count in merged:
            self._free[count].append(slot)

    def _split(self, count: int) -> int | None:
        """Take from the smallest longer run that is free."""
        for size in sorted(size for size, slots in self._free.items() if size > count and slots):
            slot = self._free[size].pop()
            self._free[size - count].append(slot + count)
            return slot
        return None

    def _write(self, slot: int, block: bytes) -> None:
        size, stride = self.record.size, self.stride
        self.written += len(block) // size
        if size == stride:
            self.memory[slot * stride : slot * stride + len(block)] = block
            return
        for index in range(len(block) // size):
            at = (slot + index) * stride
            self.memory[at : at + size] = block[index * size : (index + 1) * size]
