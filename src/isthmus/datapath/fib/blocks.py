"""Memory of learned tables, which packets read: it grows and shrinks, and changes in place.

It is counted in units of 32 bytes, half of what a processor fetches at once: 8 entries. A block is one to eight units
side by side, and lies in as few lines of the cache as it can. Blocks of one size are cut from slabs, and slabs from
chunks, each an array of its own in a map of maps. All chunks are mapped side by side into one range of addresses, so
that for Python they are a single array: entry e of unit n is ``entries[8 * n + e]``.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable, Iterable
from ctypes import c_int, c_long, c_size_t, c_uint32, c_void_p
from threading import Lock
from typing import Final

import numpy as np
import numpy.typing as npt

from isthmus.datapath.libbpf import BpfError, BpfMap
from isthmus.datapath.store import TableFull
from isthmus.tables.layout import BUNCH_UNITS, CHUNK_UNITS, FIB_KIND_SHIFT, UNIT_ENTRIES

Words = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.int64]

SIZES: Final = range(1, BUNCH_UNITS + 1)
"""Units of a block. None lies in two chunks."""

_UNIT_BYTES: Final = 4 * UNIT_ENTRIES
_CHUNK_BYTES: Final = CHUNK_UNITS * _UNIT_BYTES
_SLAB: Final = 128  # units
_CHUNK_SLABS: Final = CHUNK_UNITS // _SLAB - 1  # the last is left out: packets refuse a bunch that begins so late
_NO_ACCESS: Final = 0  # PROT_NONE
_ARRAY, _MMAPABLE = 2, 1 << 10  # BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE
_MAP_FIXED, _MAP_NORESERVE = 0x10, 0x4000
_FAILED: Final = c_void_p(-1).value
_AT_ONCE: Final = 256  # file descriptors that are open for a moment
_SLACK: Final = 16  # free chunks that are kept
_RESTING: Final = 1 << 16  # units in blocks of a size that may rest until they are waited for


class _Pool:
    """Blocks of one size to be had, by their first units."""

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
    """Gives out blocks, by their first unit; unit 0 is never one. ``wait``: returns when no packet holds what it read
    before."""

    def __init__(self, chunks: BpfMap, wait: Callable[[], None]) -> None:
        if chunks.max_entries * CHUNK_UNITS > 1 << FIB_KIND_SHIFT:
            raise ValueError(f"{chunks.max_entries} chunks of learned routes have more units than can be numbered")
        self._map, self._wait = chunks, wait
        self._base = _mmap(None, chunks.max_entries * _CHUNK_BYTES, _NO_ACCESS, mmap.MAP_PRIVATE | _PRIVATE, -1)
        words = (c_uint32 * (chunks.max_entries * CHUNK_UNITS * UNIT_ENTRIES)).from_address(self._base)
        self.entries: Words = np.ctypeslib.as_array(words)
        self._nothing = self._chunk("isthmus_nothing")
        self._here = np.zeros(chunks.max_entries, np.bool_)  # chunks that exist
        self._pools = {size: _Pool() for size in SIZES}
        self._slabs: Numbers = np.empty(0, np.int64)  # free ones, the next to be cut first

    def close(self) -> None:
        """Give the addresses back; the memory is the maps'."""
        self.entries = np.empty(0, np.uint32)
        os.close(self._nothing.fd)
        _munmap(self._base, self._map.max_entries * _CHUNK_BYTES)

    @property
    def memory(self) -> int:
        """Bytes of all chunks."""
        return int(self._here.sum()) * _CHUNK_BYTES

    def take(self, count: int, size: int) -> Numbers:
        """So many blocks of so many units, with anything in them. Raises ``TableFull``."""
        pool = self._pools[size]
        if len(pool.free) < count:
            self._provide(count, size)
        at = len(pool.free) - count
        taken, pool.free = pool.free[at:][::-1], pool.free[:at]
        return taken

    def give(self, numbers: Numbers, size: int) -> None:
        """Give blocks back that no table leads to; packets may hold them still."""
        if len(numbers):
            self._pools[size].limbo.append(numbers)

    def take_run(self, units: int) -> int:
        """The first of so many consecutive units, all zeros, in chunks of their own. Raises ``TableFull``."""
        chunks = -(-units // CHUNK_UNITS)
        used = np.concatenate(([0], np.cumsum(self._here)))
        runs = np.flatnonzero(used[1 + chunks :] == used[1:-chunks])
        if not len(runs):
            raise self._full()
        first = 1 + int(runs[0])  # chunk 0 has unit 0
        self._add(np.arange(first, first + chunks))
        return first * CHUNK_UNITS

    def give_run(self, first: int, units: int) -> None:
        """Give a run back, which no packet holds any more."""
        self._remove(np.arange(first // CHUNK_UNITS, -(-(first + units) // CHUNK_UNITS)))

    def trim(self) -> None:
        """Give chunks back that are wholly free, beyond some that may be needed soon."""
        self._wait()
        self._settle()
        self._join(SIZES)
        chunk = self._slabs * _SLAB // CHUNK_UNITS
        free = np.bincount(chunk, minlength=len(self._here))
        gone = np.zeros(len(self._here), np.bool_)
        gone[np.flatnonzero(free == _CHUNK_SLABS)[_SLACK:]] = True
        self._slabs = self._slabs[~gone[chunk]]
        self._remove(np.flatnonzero(gone))

    def _settle(self) -> None:
        for pool in self._pools.values():
            pool.settle()

    def _join(self, sizes: Iterable[int]) -> None:
        """Blocks of these sizes become slabs again, where all of a slab are free."""
        for size in sizes:
            pool = self._pools[size]
            slabs, place, count = np.unique(pool.free // _SLAB, return_inverse=True, return_counts=True)
            whole = count == _SLAB // size
            pool.free = pool.free[~whole[place]]
            self._slabs = np.concatenate((slabs[whole], self._slabs))

    def _provide(self, count: int, size: int) -> None:
        """Have so many free blocks of a size."""
        pool = self._pools[size]
        resting = sum(map(len, pool.limbo))
        wait = len(pool.free) + resting >= count and resting * size >= _RESTING
        if wait or not self._cut(count - len(pool.free), size):
            self._wait()
            self._settle()
            if len(pool.free) < count and not self._cut(count - len(pool.free), size):
                raise self._full()

    def _cut(self, lack: int, size: int) -> bool:
        """More blocks of a size: from free slabs, those of other sizes, or new memory; False: there is not so much."""
        count = -(-lack // (_SLAB // size))
        if len(self._slabs) < count:
            self._join(other for other in SIZES if other != size)
        if len(self._slabs) < count and not self._grow(count - len(self._slabs)):
            return False
        first, self._slabs = self._slabs[:count] * _SLAB, self._slabs[count:]
        self._pools[size].add((first[:, None] + np.arange(0, _SLAB - size + 1, size)).reshape(-1))
        return True

    def _grow(self, lack: int) -> bool:
        """More slabs, an eighth more memory at least; the update of the map waits for packets. False: no room."""
        least = -(-(lack + (not self._here[0])) // _CHUNK_SLABS)
        slots = np.flatnonzero(~self._here)[: max(least, int(self._here.sum()) // 8)]
        if len(slots) < least:
            return False
        self._add(slots)
        slabs = (slots[:, None] * (CHUNK_UNITS // _SLAB) + np.arange(_CHUNK_SLABS)).reshape(-1)
        self._slabs = np.concatenate((self._slabs, slabs[slabs > 0]))
        self._settle()
        return True

    def _full(self) -> TableFull:
        return TableFull("learned routes", len(self._here) * CHUNK_UNITS * UNIT_ENTRIES)

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
