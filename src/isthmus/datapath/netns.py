"""Enter a named network namespace, for a thread and for a while.

Interface indexes, sockets and devmap updates mean the namespace of the calling thread; so attaching a program or
filling a devmap for another namespace happens inside it. Files under /sys and mounts stay those of the process.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

NAMED: Final = Path("/run/netns")  # where iproute2 and pyroute2 keep the names

_CLONE_NEWNET: Final = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _enter(fd: int, what: str) -> None:
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"enter {what}: {os.strerror(number)}")


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Be in network namespace ``name`` (as in ``ip netns``) in this thread, then back where the thread was before.

    Nests. Raises ``FileNotFoundError`` where there is no such name, ``PermissionError`` without CAP_SYS_ADMIN."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        target = os.open(NAMED / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(target, f"network namespace {name}")
        finally:
            os.close(target)
        try:
            yield
        finally:
            _enter(home, "the network namespace left before")
    finally:
        os.close(home)


@contextmanager
def anonymous() -> Iterator[None]:
    """Be in a new network namespace without a name in this thread; it ends with the block, or with the process.

    Raises ``PermissionError`` without CAP_SYS_ADMIN."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.unshare(_CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"make a network namespace: {os.strerror(number)}")
        try:
            yield
        finally:
            _enter(home, "the network namespace left before")
    finally:
        os.close(home)
