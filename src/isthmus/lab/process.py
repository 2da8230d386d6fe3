"""A background process of ours, and no other: known by its id and the moment it started."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

_PATIENCE_MS = 5_000
"""How long a process may take to end in its own way."""


class Process(NamedTuple):
    """A process, also after it ended: ids are used again, (id, start in clock ticks since boot) is not."""

    pid: int
    started: int

    @classmethod
    def current(cls) -> Process:
        """The process that asks."""
        started = _started(os.getpid())
        if started is None:
            raise OSError("/proc is not there")
        return cls(os.getpid(), started)

    def alive(self) -> bool:
        """True while it runs."""
        return _started(self.pid) == self.started

    def end(self) -> None:
        """Have it end, with SIGTERM and if need be SIGKILL, and wait until it has. Nothing happens if it is gone."""
        with suppress(ProcessLookupError), closing(_Handle(self.pid)) as handle:
            if not self.alive():  # asked with the handle in hand: from here on the id can't become another's
                return
            for number in (signal.SIGTERM, signal.SIGKILL):
                signal.pidfd_send_signal(handle.fd, number)
                if handle.ended(_PATIENCE_MS):
                    return


class _Handle:
    """A pidfd: means one process, whatever becomes of its id."""

    def __init__(self, pid: int) -> None:
        self.fd = os.pidfd_open(pid)

    def ended(self, timeout_ms: int) -> bool:
        poller = select.poll()
        poller.register(self.fd, select.POLLIN)
        return bool(poller.poll(timeout_ms))

    def close(self) -> None:
        os.close(self.fd)


def _started(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat (proc(5)), counted behind the name, which may hold anything. None: it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == b"Z" else int(fields[19])


def working_below(folders: Iterable[Path]) -> list[Process]:
    """The processes whose working directory is one of these folders, or below."""
    wanted = [folder.resolve() for folder in folders]
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                at = (entry / "cwd").readlink()
                started = _started(int(entry.name))
                if started is not None and any(at.is_relative_to(folder) for folder in wanted):
                    found.append(Process(int(entry.name), started))
    return found


def by_network_namespace() -> dict[int, list[int]]:
    """Ids of all processes by the inode number of their network namespace; those that end meanwhile are left out."""
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                found.setdefault((entry / "ns/net").stat().st_ino, []).append(int(entry.name))
    return found
