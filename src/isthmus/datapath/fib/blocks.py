"""Blocks of 256 entries for learned tables: memory that packets read, that grows and shrinks, and changes in place.
A block may be cut into bunches instead.

Blocks come in chunks, each an array of its own in a map of maps. All chunks are mapped side by side into one range of
addresses, so that for Python they are a single array: entry e of block b is ``entries[256 * b + e]``.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable
from ctypes import c_int, c_long, c_size_t, c_uint32, c_void_p
from threading import Lock
from typing import Final

import numpy as np
import numpy.typing as npt

from isthmus.datapath.libbpf import BpfError, BpfMap
from isthmus.datapath.store import TableFull
from isthmus.tables.layout import BLOCK_BUNCHES, BLOCK_ENTRIES, CHUNK_BLOCKS

Words = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.int64]

_BLOCK_BYTES: Final = 4 * BLOCK_ENTRIES
_CHUNK_BYTES: Final = CHUNK_BLOCKS * _BLOCK_BYTES
_NO_ACCESS: Final = 0  # PROT_NONE
_ARRAY, _MMAPABLE = 2, 1 << 10  # BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE
_MAP_FIXED, _MAP_NORESERVE = 0x10, 0x4000
_FAILED: Final = c_void_p(-1).value
_AT_ONCE: Final = 256  # file descriptors that are open for a moment
_SLACK: Final = 16  # free chunks that are kept
_RESTING: Final = 1 << 14  # bunches that may rest until they are waited for


class _Pool:
    """Numbers to be had. ``patience``: so many rest, at least, before packets are waited for."""

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.free: Numbers = np.empty(0, np.int64)  # the next to be given stands last
        self.limbo: list[Numbers] = []  # not in any table any more; packets may still hold them

    def give(self, numbers: Numbers) -> None:
        """To rest."""
        if len(numbers):
            self.limbo.append(numbers)

    def settle(self) -> None:
        """What was given back may be had; no packet holds it, since one that did has ended."""
        if self.limbo:
            self.free = np.concatenate((*self.limbo, self.free))
            self.limbo = []


class Blocks:
    """Gives out blocks, by number; block 0 is never one. ``wait``: returns when no packet holds what it read before."""

    def __init__(self, chunks: BpfMap, wait: Callable[[], None]) -> None:
        self._map, self._wait = chunks, wait
        self._base = _mmap(None, chunks.max_entries * _CHUNK_BYTES, _NO_ACCESS, mmap.MAP_PRIVATE | _PRIVATE, -1)
        words = (c_uint32 * (chunks.max_entries * CHUNK_BLOCKS * BLOCK_ENTRIES)).from_address(self._base)
        self.entries: Words = np.ctypeslib.as_array(words)
        self._nothing = BpfMap.create(_ARRAY, "isthmus_nothing", 4, _BLOCK_BYTES, CHUNK_BLOCKS, _MMAPABLE)
        self._here = np.zeros(chunks.max_entries, np.bool_)  # chunks that exist
        self._blocks, self._bunches = _Pool(CHUNK_BLOCKS), _Pool(_RESTING)

    def close(self) -> None:
        """Give the addresses back; the memory is the maps'."""
        self.entries = np.empty(0, np.uint32)
        os.close(self._nothing.fd)
        _munmap(self._base, self._map.max_entries * _CHUNK_BYTES)

    @property
    def memory(self) -> int:
        """Bytes of all chunks."""
        return int(self._here.sum()) * _CHUNK_BYTES

    def take(self, count: int) -> Numbers:
        """The numbers of so many blocks, with anything in them. Raises ``TableFull``."""
        return self._take(self._blocks, count, self._grow)

    def take_bunches(self, count: int) -> Numbers:
        """The numbers of so many bunches, with anything in them. Raises ``TableFull``."""
        return self._take(self._bunches, count, self._cut)

    def take_run(self, count: int) -> int:
        """The first of so many consecutive blocks, all zeros, in chunks of their own. Raises ``TableFull``."""
        chunks = count // CHUNK_BLOCKS
        used = np.concatenate(([0], np.cumsum(self._here)))
        runs = np.flatnonzero(used[1 + chunks :] == used[1:-chunks])
        if not len(runs):
            raise TableFull("learned routes", len(self._here) * CHUNK_BLOCKS)
        first = 1 + int(runs[0])  # chunk 0 has block 0
        self._add(np.arange(first, first + chunks))
        return first * CHUNK_BLOCKS

    def give_run(self, first: int, count: int) -> None:
        """Give a run back, which no packet holds any more."""
        self._remove(np.arange(first // CHUNK_BLOCKS, (first + count) // CHUNK_BLOCKS))

    def give(self, numbers: Numbers) -> None:
        """Give blocks back that no table leads to; packets may hold them still."""
        self._blocks.give(numbers)

    def give_bunches(self, numbers: Numbers) -> None:
        """And bunches."""
        self._bunches.give(numbers)

    def trim(self) -> None:
        """Give chunks back that are wholly free, beyond some that may be needed soon."""
        self._wait()
        self._settle()
        cut, count = np.unique(self._bunches.free // BLOCK_BUNCHES, return_counts=True)
        self._blocks.free = np.concatenate((cut[count == BLOCK_BUNCHES], self._blocks.free))
        self._bunches.free = self._bunches.free[
            np.isin(self._bunches.free // BLOCK_BUNCHES, cut[count < BLOCK_BUNCHES])
        ]
        free = np.bincount(self._blocks.free // CHUNK_BLOCKS, minlength=len(self._here))
        whole = np.flatnonzero(free == CHUNK_BLOCKS)[_SLACK:]
        if len(whole):
            gone = np.zeros(len(self._here), np.bool_)
            gone[whole] = True
            self._blocks.free = self._blocks.free[~gone[self._blocks.free // CHUNK_BLOCKS]]
            self._remove(whole)

    def _take(self, pool: _Pool, count: int, more: Callable[[int], None]) -> Numbers:
        lack = count - len(pool.free)
        if lack > 0:
            if sum(map(len, pool.limbo)) < max(lack, pool.patience):
                more(lack)
            else:
                self._wait()
                self._settle()
        at = len(pool.free) - count
        taken, pool.free = pool.free[at:][::-1], pool.free[:at]
        return taken

    def _settle(self) -> None:
        self._blocks.settle()
        self._bunches.settle()

    def _cut(self, lack: int) -> None:
        made = self.take(-(-lack // BLOCK_BUNCHES))
        bunches = (made[:, None] * BLOCK_BUNCHES + np.arange(BLOCK_BUNCHES)).reshape(-1)
        self._bunches.free = np.concatenate((bunches, self._bunches.free))

    def _grow(self, lack: int) -> None:
        """More blocks to take, an eighth more at least; the update of the map waits for packets."""
        chunks = max(-(-lack // CHUNK_BLOCKS), int(self._here.sum()) // 8)
        slots = np.flatnonzero(~self._here)[:chunks]
        if len(slots) < chunks:
            raise TableFull("learned routes", len(self._here) * CHUNK_BLOCKS)
        self._add(slots)
        first = (slots[:, None] * CHUNK_BLOCKS + np.arange(CHUNK_BLOCKS)).reshape(-1)
        self._blocks.free = np.concatenate((first[first > 0][::-1], self._blocks.free))
        self._settle()

    def _add(self, slots: Numbers) -> None:
        for some in np.array_split(slots, -(-len(slots) // _AT_ONCE)):
            made = [BpfMap.create(_ARRAY, "isthmus_chunk", 4, _BLOCK_BYTES, CHUNK_BLOCKS, _MMAPABLE) for _ in some]
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
