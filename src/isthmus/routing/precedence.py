"""Whoever brings routes to packets goes before the daemons that feed it.

All routes come through one thread of ours. Where cores are fewer than daemons with full tables, the scheduler's equal
shares leave it waiting for those whose routes queue up before it: on two cores, two full tables take a fifth longer.
Open vSwitch's daemon, which stands beside its packet path as this does, runs at nice -10.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

NICE: Final = -5
"""Three times the weight of another: enough for a core of our own among two."""
USUAL: Final = 0

_GROUP: Final = Path("/proc/self/autogroup")  # sched(7): sessions compete as groups, with a nice value of their own


@contextmanager
def precedence() -> Iterator[None]:
    """For the calling thread, and what it starts meanwhile. Nothing happens where that is not allowed."""
    nice, group = os.getpriority(os.PRIO_PROCESS, 0), _of_group()
    _set(min(nice, NICE), group if group is None else min(group, NICE))
    try:
        yield
    finally:
        _set(nice, group)


def as_usual(pid: int) -> None:
    """A process that has just been started competes as if it had been started by somebody else, if that is allowed."""
    with suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, pid) < USUAL:
            os.setpriority(os.PRIO_PROCESS, pid, USUAL)


def _of_group() -> int | None:
    """The nice value of our session; None: the kernel has no such groups, or we may not ask."""
    try:
        return int(_GROUP.read_text().rpartition(" ")[2])
    except (OSError, ValueError):
        return None


def _set(nice: int, group: int | None) -> None:
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
        if group is not None:
            _GROUP.write_text(str(group))
    except OSError:  # not allowed; or a group was changed a moment ago, and its kernel wants a pause
        pass
