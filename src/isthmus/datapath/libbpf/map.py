"""Maps: what user space and BPF programs share."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Iterator
from ctypes import byref, c_uint32, sizeof
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from isthmus.datapath.libbpf import abi
from isthmus.datapath.libbpf.abi import BpfError

# enum bpf_map_type, as far as the size of a value depends on it
_PERCPU_HASH, _PERCPU_ARRAY, _LRU_PERCPU_HASH = 5, 6, 10
_PER_CPU: Final = frozenset({_PERCPU_HASH, _PERCPU_ARRAY, _LRU_PERCPU_HASH})


def possible_cpus() -> int:
    """How many values a per-CPU map holds for each key."""
    return int(abi.library().libbpf_num_possible_cpus())


@dataclass(frozen=True, slots=True)
class BpfMap:
    """One map: fixed-size keys to fixed-size values. ``value_size`` is that of one CPU in a per-CPU map."""

    fd: int
    name: str
    type: int  # enum bpf_map_type
    key_size: int
    value_size: int
    max_entries: int

    @classmethod
    def from_fd(cls, fd: int) -> BpfMap:
        """The map behind a file descriptor, which stays the caller's to close."""
        info, size = abi.MapInfo(), c_uint32(sizeof(abi.MapInfo))
        if abi.library().bpf_obj_get_info_by_fd(fd, byref(info), byref(size)) < 0:
            raise abi.failure(f"read what map fd {fd} is")
        return cls(fd, info.name.decode(), info.type, info.key_size, info.value_size, info.max_entries)

    @classmethod
    def open_pinned(cls, path: Path) -> BpfMap:
        """The map pinned at ``path`` in a bpffs; the caller owns its ``fd``."""
        fd = int(abi.library().bpf_obj_get(os.fsencode(path)))
        if fd < 0:
            raise abi.failure(f"open the map pinned at {path}")
        return cls.from_fd(fd)

    @classmethod
    def create(
        cls,
        map_type: int,
        name: str,
        key_size: int,
        value_size: int,
        max_entries: int,
        flags: int = 0,
        inner: BpfMap | None = None,
    ) -> BpfMap:
        """A new map that no object defined; the caller owns its ``fd``. ``inner``: what a map of maps holds is like."""
        options = abi.MapCreateOptions(
            sz=sizeof(abi.MapCreateOptions), map_flags=flags, inner_map_fd=inner.fd if inner else 0
        )
        fd = int(
            abi.library().bpf_map_create(
                map_type, name.encode()[:15], key_size, value_size, max_entries, byref(options)
            )
        )
        if fd < 0:
            raise abi.failure(f"create map {name} ({max_entries} entries of {key_size} + {value_size} bytes)")
        return cls.from_fd(fd)

    @property
    def _bytes_read(self) -> int:
        """What one look-up writes: a per-CPU map gives a value for each possible CPU, padded to 8 bytes."""
        return -(-self.value_size // 8) * 8 * possible_cpus() if self.type in _PER_CPU else self.value_size

    def _check_key(self, key: bytes) -> None:
        if len(key) != self.key_size:
            raise ValueError(f"map {self.name}: a key has {self.key_size} bytes, not {len(key)}")

    def lookup(self, key: bytes) -> bytes | None:
        """The value under ``key``, or None. In a per-CPU map the values of all CPUs in one piece: see
        ``lookup_percpu``."""
        self._check_key(key)
        value = ctypes.create_string_buffer(self._bytes_read)
        if abi.library().bpf_map_lookup_elem(self.fd, key, value) < 0:
            if ctypes.get_errno() == errno.ENOENT:
                return None
            raise abi.failure(f"look up {key.hex()} in map {self.name}")
        return value.raw

    def lookup_percpu(self, key: bytes) -> list[bytes]:
        """The value under ``key`` for each possible CPU; an empty list where there is none."""
        whole = self.lookup(key)
        stride = -(-self.value_size // 8) * 8
        return [whole[at : at + self.value_size] for at in range(0, len(whole), stride)] if whole else []

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """Set ``key`` to ``value``. ``flags``: 0 any, 1 only if new (BPF_NOEXIST), 2 only if present (BPF_EXIST).

        In a per-CPU map ``value`` holds one value for each possible CPU, each padded to 8 bytes. In a map of maps, of
        programs or of devices it holds a file descriptor or an interface index."""
        self._check_key(key)
        if len(value) != self._bytes_read:
            raise ValueError(f"map {self.name}: a value has {self._bytes_read} bytes, not {len(value)}")
        if abi.library().bpf_map_update_elem(self.fd, key, value, flags) < 0:
            raise abi.failure(f"set {key.hex()} in map {self.name}")

    def delete(self, key: bytes) -> bool:
        """Remove ``key``; False where there was none."""
        self._check_key(key)
        if abi.library().bpf_map_delete_elem(self.fd, key) < 0:
            if ctypes.get_errno() == errno.ENOENT:
                return False
            raise abi.failure(f"delete {key.hex()} from map {self.name}")
        return True

    def update_batch(self, keys: bytes, values: bytes, count: int) -> None:
        """Set ``count`` entries at once; ``keys`` and ``values`` hold them one after the other, packed.

        Not atomic: on an error the first of them are set, and the message says how many."""
        for what, given, each in (("keys", keys, self.key_size), ("values", values, self._bytes_read)):
            if len(given) != each * count:
                raise ValueError(f"map {self.name}: {count} {what} have {each * count} bytes, not {len(given)}")
        if count == 0:
            return
        done = c_uint32(count)
        options = abi.MapBatchOptions(sz=sizeof(abi.MapBatchOptions))
        if abi.library().bpf_map_update_batch(self.fd, keys, values, byref(done), byref(options)) < 0:
            raise abi.failure(f"set {count} entries in map {self.name} ({done.value} were set)")

    def delete_batch(self, keys: bytes) -> None:
        """Remove all these entries, which must be there; ``keys`` one after the other, packed.

        Not atomic: on an error the first of them are gone, and the message says how many."""
        count, rest = divmod(len(keys), self.key_size)
        if rest:
            raise ValueError(f"map {self.name}: a key has {self.key_size} bytes, and {len(keys)} are no whole number")
        if count == 0:
            return
        done = c_uint32(count)
        options = abi.MapBatchOptions(sz=sizeof(abi.MapBatchOptions))
        if abi.library().bpf_map_delete_batch(self.fd, keys, byref(done), byref(options)) < 0:
            raise abi.failure(f"delete {count} entries from map {self.name} ({done.value} are gone)")

    def keys(self) -> Iterator[bytes]:
        """All keys, in the kernel's order. A map that changes meanwhile may give a key twice, or begin anew."""
        function = abi.library().bpf_map_get_next_key
        last: bytes | None = None
        following = ctypes.create_string_buffer(self.key_size)
        while function(self.fd, last, following) == 0:
            last = following.raw
            yield last
        if ctypes.get_errno() != errno.ENOENT:
            raise abi.failure(f"walk map {self.name}")

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys with their values (as ``lookup`` gives them); a key that vanishes meanwhile is left out."""
        for key in self.keys():
            value = self.lookup(key)
            if value is not None:
                yield key, value

    def mmap(self) -> mmap.mmap:
        """The values of an array map (BPF_F_MMAPABLE) as writable memory, shared with the programs.

        Entry i begins at i times the value size rounded up to 8 bytes. The memory outlives the map's ``fd``."""
        stride = -(-self.value_size // 8) * 8
        length = -(-stride * self.max_entries // mmap.PAGESIZE) * mmap.PAGESIZE
        try:
            return mmap.mmap(self.fd, length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        except OSError as error:
            hint = "it must be an array with BPF_F_MMAPABLE"
            raise BpfError(error.errno, f"map {self.name} into memory: {error.strerror}; {hint}") from error

    def pin(self, path: Path) -> None:
        """Keep the map alive under ``path``, in a bpffs, after its last file descriptor is closed."""
        if abi.library().bpf_obj_pin(self.fd, os.fsencode(path)) < 0:
            raise abi.failure(f"pin map {self.name} at {path}")
