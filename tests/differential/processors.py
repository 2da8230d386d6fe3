"""Frames through the packet path on several CPUs at the same moment, by processes that wait for one another in a spin.

Processes, because threads of Python take turns: while one waits for the interpreter the other's packet is long through.
They are forked, so that each has the loaded program, and test runs of its own.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import NamedTuple, Self

from isthmus.datapath import PacketPath

PATIENCE_S = 60
SLOTS = 8
XDP_REDIRECT = 4

Job = tuple[bytes, int]
"""A frame, and the interface that it enters on."""


class Ran(NamedTuple):
    """What became of one frame: as it left, or None; and when it was under way, by the monotonic clock, in ns."""

    out: bytes | None
    since: int
    until: int


class Rounds:
    """Counters in shared memory: who has come how far. A processor waits for the others at each round."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 4096)
        self.done = memoryview(self._memory).cast("Q")

    def meet(self, own: int, others: Sequence[int], number: int) -> None:
        """Go on when all have come to this round."""
        self.done[own] = number
        deadline = time.monotonic() + PATIENCE_S
        turns = 0
        for other in others:
            while self.done[other] < number:
                turns += 1
                if turns & 0xFFFF == 0 and time.monotonic() > deadline:
                    raise TimeoutError(f"processor {other} did not come to round {number}")


def runner(path: PacketPath) -> Callable[[bytes, int], bytes | None]:
    """Runs frames by XDP; gives what left, and None for a drop. For one process."""
    program = path._object.program("gateway_xdp")

    def run(frame: bytes, ifindex: int) -> bytes | None:
        context = struct.pack("<6I", 0, len(frame), 0, ifindex, 0, 0)
        result = program.test_run(frame, ctx=context)
        return result.data_out if result.retval == XDP_REDIRECT else None

    return run


def at_once(path: PacketPath, jobs: Sequence[Sequence[Job]], jitter: int = 0) -> list[list[Ran]]:
    """Each list of jobs on a CPU of its own; the n-th of all start together. Outcomes in the same order.

    ``jitter``: turns of an empty loop, up to so many, that a processor loses before each frame."""
    rounds = Rounds()
    with Processors([partial(_work, path, rounds, jobs, index, jitter) for index in range(len(jobs))]) as running:
        return running.results()


class Processors:
    """Runs each task in a forked process on a CPU of its own, until they are done or the block is left."""

    def __init__(self, tasks: Sequence[Callable[[], list[Ran]]]) -> None:
        context = get_context("fork")
        cpus = sorted(os.sched_getaffinity(0))
        self._running: list[tuple[ForkProcess, Connection]] = []
        for index, task in enumerate(tasks):
            back, forth = context.Pipe(duplex=False)
            child = context.Process(target=_become, args=(cpus[index % len(cpus)], task, forth))
            child.start()
            forth.close()
            self._running.append((child, back))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *what: object) -> None:
        for child, back in self._running:
            child.kill()
            child.join()
            back.close()

    def results(self) -> list[list[Ran]]:
        """What the tasks gave back; waits for them."""
        return [back.recv() for _, back in self._running]


def overlapping(left: Sequence[Ran], right: Sequence[Ran]) -> float:
    """The share of rounds in which both frames were under way at the same moment."""
    met = sum(a.since < b.until and b.since < a.until for a, b in zip(left, right, strict=True))
    return met / len(left)


def _become(cpu: int, task: Callable[[], list[Ran]], forth: Connection) -> None:
    os.sched_setaffinity(0, {cpu})
    forth.send(task())


def _work(path: PacketPath, rounds: Rounds, jobs: Sequence[Sequence[Job]], index: int, jitter: int) -> list[Ran]:
    run, mine = runner(path), jobs[index]
    others = [other for other in range(len(jobs)) if other != index]
    found = []
    clock = time.monotonic_ns
    lost = index * 7
    for number, (frame, ifindex) in enumerate(mine):
        lost = (lost * 1103515245 + 12345) & 0x7FFFFFFF
        rounds.meet(index, others, number + 1)
        for _ in range(lost % jitter if jitter else 0):
            pass
        since = clock()
        out = run(frame, ifindex)
        found.append(Ran(out, since, clock()))
    return found
