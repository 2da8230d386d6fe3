"""What libbpf.so.1 exports, as ctypes sees it: prototypes, the structs it is handed, and its errors.

Nothing here but the ABI: no object, no life cycle (those are beside it). The prototypes are those of libbpf 1.1
(``bpf/bpf.h``, ``bpf/libbpf.h``, ``bpf/btf.h``); every struct begins with its own size, so that a newer library reads
it right.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from functools import cache
from typing import Final

LIBRARY: Final = "libbpf.so.1"

XDP_ATTACH: Final = 37  # BPF_XDP in enum bpf_attach_type
TCX_INGRESS_ATTACH: Final = 46  # BPF_TCX_INGRESS; newer than libbpf 1.1, which passes it on all the same
XDP_FLAGS: Final = {"generic": 1 << 1, "native": 1 << 2}  # XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE
TEST_XDP_LIVE_FRAMES: Final = 1 << 1  # BPF_F_TEST_XDP_LIVE_FRAMES
ENOTSUPP: Final = 524  # the kernel's own "not supported", which no errno.h names

_LOG_TAIL_LINES: Final = 25


class BpfError(OSError):
    """The kernel or libbpf refused. ``errno`` is theirs; the text says what was asked, and why it was refused."""

    def __str__(self) -> str:
        return str(self.strerror)


class ObjectOpenOptions(ctypes.Structure):
    """``struct bpf_object_open_opts``."""

    _fields_ = (
        ("sz", c_size_t),
        ("object_name", c_char_p),
        ("relaxed_maps", ctypes.c_bool),
        ("pin_root_path", c_char_p),
        ("removed", c_uint32),
        ("kconfig", c_char_p),
        ("btf_custom_path", c_char_p),
        ("kernel_log_buf", c_void_p),
        ("kernel_log_size", c_size_t),
        ("kernel_log_level", c_uint32),
    )


class MapCreateOptions(ctypes.Structure):
    """``struct bpf_map_create_opts``."""

    _fields_ = (
        ("sz", c_size_t),
        ("btf_fd", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("inner_map_fd", c_uint32),
        ("map_flags", c_uint32),
        ("map_extra", c_uint64),
        ("numa_node", c_uint32),
        ("map_ifindex", c_uint32),
    )


class MapBatchOptions(ctypes.Structure):
    """``struct bpf_map_batch_opts``."""

    _fields_ = (("sz", c_size_t), ("elem_flags", c_uint64), ("flags", c_uint64))


class LinkCreateOptions(ctypes.Structure):
    """``struct bpf_link_create_opts``, up to the union that no link of ours uses."""

    _fields_ = (
        ("sz", c_size_t),
        ("flags", c_uint32),
        ("iter_info", c_void_p),
        ("iter_info_len", c_uint32),
        ("target_btf_id", c_uint32),
    )


class TestRunOptions(ctypes.Structure):
    """``struct bpf_test_run_opts``. The input pointers are ``c_char_p``, so that a ``bytes`` is passed without a
    copy."""

    _fields_ = (
        ("sz", c_size_t),
        ("data_in", c_char_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_char_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    )


class MapInfo(ctypes.Structure):
    """The first fields of the kernel's ``struct bpf_map_info``."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
        ("name", ctypes.c_char * 16),
    )


SampleCallback = CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)
"""``ring_buffer_sample_fn``: context, data, size in bytes; below zero stops the poll."""

_PrintCallback = CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)

_PROTOTYPES: Final[dict[str, tuple[object, ...]]] = {  # name: (result, arguments...)
    "bpf_object__open_file": (c_void_p, c_char_p, POINTER(ObjectOpenOptions)),
    "bpf_object__load": (c_int, c_void_p),
    "bpf_object__close": (None, c_void_p),
    "bpf_object__btf": (c_void_p, c_void_p),
    "bpf_object__find_map_by_name": (c_void_p, c_void_p, c_char_p),
    "bpf_object__find_program_by_name": (c_void_p, c_void_p, c_char_p),
    "bpf_object__next_map": (c_void_p, c_void_p, c_void_p),
    "bpf_object__next_program": (c_void_p, c_void_p, c_void_p),
    "bpf_map__name": (c_char_p, c_void_p),
    "bpf_map__fd": (c_int, c_void_p),
    "bpf_map__reuse_fd": (c_int, c_void_p, c_int),
    "bpf_map__set_max_entries": (c_int, c_void_p, c_uint32),
    "bpf_map__initial_value": (c_void_p, c_void_p, POINTER(c_size_t)),
    "bpf_program__name": (c_char_p, c_void_p),
    "bpf_program__fd": (c_int, c_void_p),
    "bpf_program__set_autoload": (c_int, c_void_p, ctypes.c_bool),
    "btf__raw_data": (c_void_p, c_void_p, POINTER(c_uint32)),
    "bpf_map_create": (c_int, c_int, c_char_p, c_uint32, c_uint32, c_uint32, POINTER(MapCreateOptions)),
    "bpf_map_lookup_elem": (c_int, c_int, c_char_p, c_void_p),
    "bpf_map_update_elem": (c_int, c_int, c_char_p, c_char_p, c_uint64),
    "bpf_map_delete_elem": (c_int, c_int, c_char_p),
    "bpf_map_get_next_key": (c_int, c_int, c_char_p, c_void_p),
    "bpf_map_update_batch": (c_int, c_int, c_void_p, c_void_p, POINTER(c_uint32), POINTER(MapBatchOptions)),
    "bpf_map_delete_batch": (c_int, c_int, c_void_p, POINTER(c_uint32), POINTER(MapBatchOptions)),
    "bpf_obj_get_info_by_fd": (c_int, c_int, c_void_p, POINTER(c_uint32)),
    "bpf_obj_pin": (c_int, c_int, c_char_p),
    "bpf_obj_get": (c_int, c_char_p),
    "bpf_prog_test_run_opts": (c_int, c_int, POINTER(TestRunOptions)),
    "bpf_link_create": (c_int, c_int, c_int, c_int, POINTER(LinkCreateOptions)),
    "bpf_link_update": (c_int, c_int, c_int, c_void_p),
    "bpf_raw_tracepoint_open": (c_int, c_char_p, c_int),
    "ring_buffer__new": (c_void_p, c_int, SampleCallback, c_void_p, c_void_p),
    "ring_buffer__poll": (c_int, c_void_p, c_int),
    "ring_buffer__consume": (c_int, c_void_p),
    "ring_buffer__epoll_fd": (c_int, c_void_p),
    "ring_buffer__free": (None, c_void_p),
    "libbpf_num_possible_cpus": (c_int,),
    "libbpf_version_string": (c_char_p,),
}


class _Messages(threading.local):
    """The last warnings of libbpf in this thread."""

    def __init__(self) -> None:
        self.lines: list[str] = []


_messages = _Messages()
_libc = ctypes.CDLL(None)
_libc.vsnprintf.restype = c_int
_libc.vsnprintf.argtypes = [c_char_p, c_size_t, c_char_p, c_void_p]


def _keep_message(level: int, form: bytes, arguments: int | None) -> int:
    """libbpf's print function: keep warnings (level 0) for the error to come. ``arguments`` is a C ``va_list``, which
    reaches a function as a pointer on both x86-64 and arm64."""
    if level != 0 or b"BEGIN PROG LOAD LOG" in form:  # that log is read whole from its own buffer
        return 0
    buffer = ctypes.create_string_buffer(1024)
    _libc.vsnprintf(buffer, len(buffer), form, arguments)
    line = buffer.value.decode(errors="replace").strip()
    if line and "BEGIN PROG LOAD LOG" not in line:
        _messages.lines = [*_messages.lines[-9:], line.removeprefix("libbpf: ")]
    return 0


_print = _PrintCallback(_keep_message)  # kept: C calls it


@cache
def library() -> ctypes.CDLL:
    """libbpf with typed prototypes, loaded on first use.

    Raises ``BpfError`` where the shared library is missing."""
    try:
        lib = ctypes.CDLL(LIBRARY, use_errno=True)
    except OSError as error:
        raise BpfError(errno.ENOENT, f"{LIBRARY} is not installed (Debian: apt install libbpf1): {error}") from error
    for name, (result, *arguments) in _PROTOTYPES.items():
        function = getattr(lib, name)
        function.restype = result
        function.argtypes = arguments
    lib.libbpf_set_print.restype = c_void_p
    lib.libbpf_set_print.argtypes = [_PrintCallback]
    lib.libbpf_set_print(_print)
    return lib


def version() -> str:
    """The version of the libbpf in use, such as ``v1.1``."""
    return str(library().libbpf_version_string().decode())


def forget_messages() -> None:
    """Drop what libbpf said before, so that the next error quotes only its own warnings."""
    _messages.lines = []


def reason(number: int) -> str:
    """``strerror``, with the kernel's own ENOTSUPP."""
    return "not supported by this kernel" if number == ENOTSUPP else os.strerror(number)


def failure(asked: str, *, log: str = "") -> BpfError:
    """The error for the libbpf call that just failed in this thread.

    ``asked`` says in a few words what was wanted; ``log`` is the verifier's log, of which the last lines are shown."""
    number = ctypes.get_errno() or errno.EINVAL
    parts = [f"{asked}: {reason(number)}", *_messages.lines]
    forget_messages()
    tail = [line for line in log.splitlines() if line][-_LOG_TAIL_LINES:]
    if tail:
        parts += ["the verifier's last lines:", *tail]
    return BpfError(number, "\n  ".join(parts))
