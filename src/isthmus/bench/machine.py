"""The machine that the bench runs on: which CPU to use, and how much others used meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")  # the unit of /proc/stat, in seconds
_LOOK: Final = 0.2  # seconds of watching before a CPU is chosen


def busy_seconds() -> dict[int, float]:
    """Seconds that each CPU has spent on anything but idling and waiting, since boot (proc(5))."""
    busy: dict[int, float] = {}
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
            busy[int(name[3:])] = (user + nice + system + irq + softirq + steal) * _TICK
    return busy


def quietest_cpu() -> int:
    """Of the CPUs that this thread may use, the one that had least to do just now."""
    before = busy_seconds()
    time.sleep(_LOOK)
    after = busy_seconds()
    return min(sorted(os.sched_getaffinity(0), reverse=True), key=lambda cpu: after[cpu] - before[cpu])


@contextmanager
def pinned(cpu: int) -> Iterator[None]:
    """Keep this thread on one CPU, then let it go where it might before."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


class Neighbours:
    """How much CPU others used while this thread worked, pinned to one CPU."""

    def __init__(self, cpu: int) -> None:
        self._cpu = cpu
        self._foreign = self._watched = 0.0

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Count the time inside."""
        started, before, waited = time.perf_counter(), self._others(), _waited_seconds()
        try:
            yield
        finally:
            self._watched += time.perf_counter() - started
            self._foreign += self._others() - before + _waited_seconds() - waited

    def _others(self) -> float:
        return sum(seconds for cpu, seconds in busy_seconds().items() if cpu != self._cpu)

    @property
    def cores(self) -> float:
        """CPUs' worth of foreign work, on average: what others did elsewhere, and the time they kept us waiting."""
        return self._foreign / self._watched if self._watched else 0.0


def _waited_seconds() -> float:
    """How long this thread was ready to run while its CPU ran another (kernel,
    Documentation/scheduler/sched-stats.rst); 0 where the kernel does not keep it."""
    try:
        _ran, waited, _slices = Path("/proc/thread-self/schedstat").read_text().split()
    except FileNotFoundError:
        return 0.0
    return int(waited) * 1e-9
