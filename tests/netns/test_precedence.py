"""Who goes first where daemons with full tables are more than cores: by the kernel's own account."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from isthmus.routing.precedence import NICE, USUAL, as_usual, precedence
from tests.measure.bird import cpu

BURN_S = 1.0
BURN = ["python3", "-c", "while True: pass"]


def nice(pid: int = 0) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


def test_precedence_ends_with_the_block_and_is_not_handed_on() -> None:
    group = Path("/proc/self/autogroup")
    before = nice(), group.read_text() if group.exists() else ""
    with precedence():
        assert nice() == NICE
        child = subprocess.Popen(["sleep", "60"])
        try:
            assert nice(child.pid) == NICE
            as_usual(child.pid)
            assert nice(child.pid) == USUAL
        finally:
            child.kill()
            child.wait()
    assert (nice(), group.read_text() if group.exists() else "") == before


def test_with_precedence_most_of_a_core_is_ours() -> None:
    """Beside a process in a session of its own, as BIRD has one, on the same core."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        with precedence():
            other = subprocess.Popen(BURN, start_new_session=True)
            try:
                as_usual(other.pid)
                end, before = time.monotonic() + BURN_S, time.thread_time()
                while time.monotonic() < end:
                    pass
                assert time.thread_time() - before > 1.5 * cpu(other.pid) > 0
            finally:
                other.kill()
                other.wait()
    finally:
        os.sched_setaffinity(0, allowed)
