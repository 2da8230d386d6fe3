"""Objects: a compiled file from its opening to the maps and programs that it becomes."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Mapping
from ctypes import byref, c_size_t, c_uint32, sizeof, string_at
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from isthmus.datapath.libbpf import abi
from isthmus.datapath.libbpf.abi import BpfError
from isthmus.datapath.libbpf.btf import Btf
from isthmus.datapath.libbpf.map import BpfMap
from isthmus.datapath.libbpf.program import BpfProgram

_FOLDER: Final = Path(__file__).parent.parent
_VERIFIER_LOG_BYTES: Final = 1 << 20  # the kernel keeps the end of a log that is longer (since 6.4)


def compiled(name: str) -> Path:
    """The object that ``bpf/NAME.bpf.c`` was compiled to. Raises ``BpfError`` where it was not compiled yet."""
    path = _FOLDER / f"{name}.bpf.o"
    if not path.exists():
        raise BpfError(errno.ENOENT, f"{path} is missing: bpf/{name}.bpf.c was not compiled (scripts/setup does)")
    return path


class BpfObject:
    """A compiled BPF object: opened, adjusted, loaded into the kernel, closed. A context manager that closes it.

    Closing it frees maps and programs that nothing else holds (a link, a pin, a file descriptor of its own)."""

    def __init__(self, handle: int, path: Path, log: ctypes.Array[ctypes.c_char]) -> None:
        self._handle: int | None = handle
        self._path = path
        self._log = log  # the kernel writes here for as long as the object lives
        self._loaded = False
        self._maps: dict[str, BpfMap] = {}
        self._programs: dict[str, BpfProgram] = {}

    @classmethod
    def open(cls, path: Path) -> BpfObject:
        """Read the object file; nothing reaches the kernel yet. Raises ``BpfError`` where it is no BPF object."""
        log = ctypes.create_string_buffer(_VERIFIER_LOG_BYTES)
        options = abi.ObjectOpenOptions(
            sz=sizeof(abi.ObjectOpenOptions), kernel_log_buf=ctypes.addressof(log), kernel_log_size=len(log)
        )
        abi.forget_messages()
        handle = abi.library().bpf_object__open_file(os.fsencode(path), byref(options))
        if not handle:
            raise abi.failure(f"open the BPF object {path}")
        return cls(handle, path, log)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free it. Its maps and programs are not to be used after."""
        if self._handle is not None:
            abi.library().bpf_object__close(self._handle)
            self._handle = None
            self._maps.clear()
            self._programs.clear()

    @property
    def _open_handle(self) -> int:
        if self._handle is None:
            raise BpfError(errno.EBADF, f"the BPF object {self._path} is closed")
        return self._handle

    @cached_property
    def btf(self) -> Btf:
        """The object's own types, with the offsets of global variables filled in by libbpf."""
        size = c_uint32()
        library = abi.library()
        address = library.btf__raw_data(library.bpf_object__btf(self._open_handle), byref(size))
        if not address:
            raise BpfError(errno.ENODATA, f"the BPF object {self._path} has no type information: compile it with -g")
        return Btf(string_at(address, size.value))

    def _map_handle(self, name: str) -> int:
        handle = abi.library().bpf_object__find_map_by_name(self._open_handle, name.encode())
        if not handle:
            raise BpfError(errno.ENOENT, f"the BPF object {self._path} has no map {name}; it has {self.map_names()}")
        return int(handle)

    def _program_handle(self, name: str) -> int:
        handle = abi.library().bpf_object__find_program_by_name(self._open_handle, name.encode())
        if not handle:
            known = self.program_names()
            raise BpfError(errno.ENOENT, f"the BPF object {self._path} has no program {name}; it has {known}")
        return int(handle)

    def map_names(self) -> list[str]:
        """Names of all maps, those of global variables (``.rodata``) included."""
        return self._names("map")

    def program_names(self) -> list[str]:
        """Names of all programs: those of their C functions."""
        return self._names("program")

    def _names(self, what: Literal["map", "program"]) -> list[str]:
        library = abi.library()
        following, name = getattr(library, f"bpf_object__next_{what}"), getattr(library, f"bpf_{what}__name")
        names: list[str] = []
        handle = following(self._open_handle, None)
        while handle:
            names.append(name(handle).decode())
            handle = following(self._open_handle, handle)
        return names

    def set_rodata(self, name: str, value: bytes) -> None:
        """Set a ``const volatile`` global before the load, so that the verifier sees a constant.

        ``value`` has the bytes of the C variable, in this machine's order. Raises ``BpfError`` where the object has no
        such constant, ``ValueError`` for a wrong length."""
        if self._loaded:
            raise BpfError(errno.EBUSY, f"constant {name} can only be set before the load")
        known = self.btf.variables(".rodata")
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            raise BpfError(errno.ENOENT, f"the BPF object {self._path} has no constant {name}; it has {names}")
        offset, size = known[name]
        if len(value) != size:
            raise ValueError(f"constant {name} has {size} bytes, not {len(value)}")
        memory = abi.library().bpf_map__initial_value(self._map_handle(".rodata"), byref(c_size_t()))
        if not memory:
            raise abi.failure(f"set constant {name}")
        ctypes.memmove(memory + offset, value, size)

    def resize(self, map_name: str, max_entries: int) -> None:
        """Give a map another capacity, before the load."""
        if abi.library().bpf_map__set_max_entries(self._map_handle(map_name), max_entries) < 0:
            raise abi.failure(f"resize map {map_name} to {max_entries} entries (only possible before the load)")

    def reuse_map(self, map_name: str, fd: int) -> None:
        """Load with the map behind ``fd`` (a pin, a map of another object) in the place of a new one."""
        if abi.library().bpf_map__reuse_fd(self._map_handle(map_name), fd) < 0:
            raise abi.failure(f"use map fd {fd} as {map_name}")

    def leave_out(self, program_name: str) -> None:
        """Do not load this program: for one that the running kernel would refuse, or that is not needed."""
        if abi.library().bpf_program__set_autoload(self._program_handle(program_name), False) < 0:
            raise abi.failure(f"leave out program {program_name}")

    def load(self) -> None:
        """Create the maps and verify the programs. Raises ``BpfError`` with the end of the verifier's log."""
        abi.forget_messages()
        if abi.library().bpf_object__load(self._open_handle) < 0:
            log = self._log.value.decode(errors="replace")
            raise abi.failure(f"load the BPF object {self._path} into the kernel", log=log)
        self._loaded = True

    def map(self, name: str) -> BpfMap:
        """A map of the loaded object, by its C name."""
        if name not in self._maps:
            fd = int(abi.library().bpf_map__fd(self._map_handle(name)))
            if fd < 0:
                raise BpfError(errno.EBADF, f"map {name} does not exist before the object is loaded")
            self._maps[name] = BpfMap.from_fd(fd)
        return self._maps[name]

    def program(self, name: str) -> BpfProgram:
        """A program of the loaded object, by the name of its C function."""
        if name not in self._programs:
            fd = int(abi.library().bpf_program__fd(self._program_handle(name)))
            if fd < 0:
                raise BpfError(errno.EBADF, f"program {name} is not loaded")
            self._programs[name] = BpfProgram(fd, name)
        return self._programs[name]


def struct_layout(obj: BpfObject, struct_name: str) -> Mapping[str, tuple[int, int]]:
    """Fields of a C struct of the object: name to (offset, size), in bytes. See ``Btf.struct_layout`` for errors."""
    return obj.btf.struct_layout(struct_name)


def struct_size(obj: BpfObject, struct_name: str) -> int:
    """Size of a C struct of the object in bytes. Raises ``KeyError`` where there is none."""
    return obj.btf.struct_size(struct_name)
