"""Memory of learned tables, which packets read: it grows and shrinks, and changes in place.

Its unit is the line, 64 bytes, which is what a processor fetches at once: 16 entries, or 8 routes. A block is one, two
or four lines side by side. Lines come in chunks, each an array of its own in a map of maps. All chunks are mapped side
by side into one range of addresses, so that for Python they are a single array: entry e of line n is
``entries[16 * n + e]``.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable
from ctypes import c_int, c_long, c_size_t, c_uint32, c_void_p
from itertools import pairwise
from threading import Lock
from typing import Final

import numpy as np
import numpy.typing as npt

from isthmus.datapath.libbpf import BpfError, BpfMap
from isthmus.datapath.store import TableFull
from isthmus.tables.layout import BUNCH_LINES, CHUNK_LINES, LINE_ENTRIES

Words = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.int64]

SIZES: Final = (1, 2, 4)
"""Lines of a block. None lies in two chunks."""

_LINE_BYTES: Final = 4 * LINE_ENTRIES
_CHUNK_BYTES: Final = CHUNK_LINES * _LINE_BYTES
_CHUNK_BLOCKS: Final = CHUNK_LINES // BUNCH_LINES  # of the largest size
_NO_ACCESS: Final = 0  # PROT_NONE
_ARRAY, _MMAPABLE = 2, 1 << 10  # BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE
_MAP_FIXED, _MAP_NORESERVE = 0x10, 0x4000
_FAILED: Final = c_void_p(-1).value
_AT_ONCE: Final = 256  # file descriptors that are open for a moment
_SLACK: Final = 16  # free chunks that are kept
_RESTING: Final = 1 << 14  # blocks of a size that may rest until they are waited for


class _Pool:
    """Blocks of one size to be had, by their first lines."""

    def __init__(self) -> None:
        self.free: Numbers = np.empty(0, np.int64)  # the next to be given stands last
        self.limbo: list[Numbers] = []  # not in any table any more; packets may still hold them

    def add(self, numbers: Numbers) -> None:
        """To be had; the first of them last."""
        self.free = np.concatenate((numbers[::-1], self.free))

    def settle(self) -> None:
        """What was given back may be had; no packet holds it, since one that did has ended."""
        if self.limbo:
            self.free = np.concatenate((*self.limbo, self.free))
            self.limbo = []


class Blocks:
    """Gives out blocks, by their first line; line 0 is never one. ``wait``: returns when no packet holds what it read
    before."""

    def __init__(self, chunks: BpfMap, wait: Callable[[], None]) -> None:
        self._map, self._wait = chunks, wait
        self._base = _mmap(None, chunks.max_entries * _CHUNK_BYTES, _NO_ACCESS, mmap.MAP_PRIVATE | _PRIVATE, -1)
        words = (c_uint32 * (chunks.max_entries * CHUNK_LINES * LINE_ENTRIES)).from_address(self._base)
        self.entries: Words = np.ctypeslib.as_array(words)
        self._nothing = self._chunk("isthmus_nothing")
        self._here = np.zeros(chunks.max_entries, np.bool_)  # chunks that exist
        self._pools = {size: _Pool() for size in SIZES}

    def close(self) -> None:
        """Give the addresses back; the memory is the maps'."""
        self.entries = np.empty(0, np.uint32)
        os.close(self._nothing.fd)
        _munmap(self._base, self._map.max_entries * _CHUNK_BYTES)

    @property
    def memory(self) -> int:
        """Bytes of all chunks."""
        return int(self._here.sum()) * _CHUNK_BYTES

    def take(self, count: int, size: int = 1) -> Numbers:
        """So many blocks of so many lines, with anything in them. Raises ``TableFull``."""
        pool = self._pools[size]
        lack = count - len(pool.free)
        if lack > 0:
            resting = sum(map(len, pool.limbo))
            if resting < lack or (resting < _RESTING and not self._here.all()):
                self._cut(lack, size)
            else:
                self._wait()
                self._settle()
        at = len(pool.free) - count
        taken, pool.free = pool.free[at:][::-1], pool.free[:at]
        return taken

    def give(self, numbers: Numbers, size: int = 1) -> None:
        """Give blocks back that no table leads to; packets may hold them still."""
        if len(numbers):
            self._pools[size].limbo.append(numbers)

    def take_run(self, lines: int) -> int:
        """The first of so many consecutive lines, all zeros, in chunks of their own. Raises ``TableFull``."""
        chunks = -(-lines // CHUNK_LINES)
        used = np.concatenate(([0], np.cumsum(self._here)))
        runs = np.flatnonzero(used[1 + chunks :] == used[1:-chunks])
        if not len(runs):
            raise self._full()
        first = 1 + int(runs[0])  # chunk 0 has line 0
        self._add(np.arange(first, first + chunks))
        return first * CHUNK_LINES

    def give_run(self, first: int, lines: int) -> None:
        """Give a run back, which no packet holds any more."""
        self._remove(np.arange(first // CHUNK_LINES, -(-(first + lines) // CHUNK_LINES)))

    def trim(self) -> None:
        """Give chunks back that are wholly free, beyond some that may be needed soon."""
        self._wait()
        self._settle()
        for size, into in pairwise(SIZES):
            free = self._pools[size].free
            larger, place, count = np.unique(free // into, return_inverse=True, return_counts=True)
            whole = count == into // size
            self._pools[size].free = free[~whole[place]]
            self._pools[into].add(larger[whole] * into)
        pool = self._pools[BUNCH_LINES]
        free = np.bincount(pool.free // CHUNK_LINES, minlength=len(self._here))
        gone = np.zeros(len(self._here), np.bool_)
        gone[np.flatnonzero(free == _CHUNK_BLOCKS)[_SLACK:]] = True
        pool.free = pool.free[~gone[pool.free // CHUNK_LINES]]
        self._remove(np.flatnonzero(gone))

    def _settle(self) -> None:
        for pool in self._pools.values():
            pool.settle()

    def _cut(self, lack: int, size: int) -> None:
        """More blocks of a size: larger ones are cut, or memory is added."""
        if size == BUNCH_LINES:
            self._grow(lack)
        else:
            larger = SIZES[SIZES.index(size) + 1]
            made = self.take(-(-lack * size // larger), larger)
            self._pools[size].add((made[:, None] + np.arange(0, larger, size)).reshape(-1))

    def _grow(self, lack: int) -> None:
        """More of the largest blocks, an eighth more at least; the update of the map waits for packets."""
        chunks = max(-(-(lack + 1) // _CHUNK_BLOCKS), int(self._here.sum()) // 8)
        slots = np.flatnonzero(~self._here)[:chunks]
        if len(slots) < chunks:
            raise self._full()
        self._add(slots)
        first = (slots[:, None] * CHUNK_LINES + np.arange(0, CHUNK_LINES, BUNCH_LINES)).reshape(-1)
        self._pools[BUNCH_LINES].add(first[first > 0])
        self._settle()

    def _full(self) -> TableFull:
        return TableFull("learned routes", len(self._here) * CHUNK_LINES)

    def _chunk(self, name: str) -> BpfMap:
        return BpfMap.create(_ARRAY, name, 4, _CHUNK_BYTES, 1, _MMAPABLE)

    def _add(self, slots: Numbers) -> None:
        for some in np.array_split(slots, -(-len(slots) // _AT_ONCE)):
            made = [self._chunk("isthmus_chunk") for _ in some]
            try:
                for slot, chunk in zip(some.tolist(), made, strict=True):
                    at, access = self._base + slot * _CHUNK_BYTES, mmap.PROT_READ | mmap.PROT_WRITE
                    _mmap(at, _CHUNK_BYTES, access, mmap.MAP_SHARED | _MAP_FIXED, chunk.fd)
                fds = np.array([chunk.fd for chunk in made], np.uint32)
                self._map.update_batch(some.astype(np.uint32).tobytes(), fds.tobytes(), len(some))
            finally:
                for chunk in made:
                    os.close(chunk.fd)  # map and memory hold the array
            self._here[some] = True

    def _remove(self, slots: Numbers) -> None:
        if not len(slots):
            return
        # a map of maps can't be told to delete many at once, and waits for packets each time
        nothing = np.full(len(slots), self._nothing.fd, np.uint32)
        self._map.update_batch(slots.astype(np.uint32).tobytes(), nothing.tobytes(), len(slots))
        for slot in slots.tolist():
            flags = mmap.MAP_PRIVATE | _PRIVATE | _MAP_FIXED
            _mmap(self._base + slot * _CHUNK_BYTES, _CHUNK_BYTES, _NO_ACCESS, flags, -1)
        self._here[slots] = False


_PRIVATE: Final = mmap.MAP_ANONYMOUS | _MAP_NORESERVE
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = c_void_p
_libc.mmap.argtypes = [c_void_p, c_size_t, c_int, c_int, c_int, c_long]
_libc.munmap.argtypes = [c_void_p, c_size_t]
_fence = Lock()


def fence() -> None:
    """What was written before is seen before what is written after, also where the processor may reorder."""
    _fence.acquire()
    _fence.release()
    _fence.acquire()
    _fence.release()


def _mmap(address: int | None, size: int, access: int, flags: int, fd: int) -> int:
    at = _libc.mmap(address, size, access, flags, fd, 0)
    if at in (None, _FAILED):
        raise BpfError(ctypes.get_errno(), f"map {size} bytes for learned routes: {os.strerror(ctypes.get_errno())}")
    return int(at)


def _munmap(address: int, size: int) -> None:
    _libc.munmap(address, size)
