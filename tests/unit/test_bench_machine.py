"""The bench knows the CPU that it uses, and notices when others use the machine."""

import os

from isthmus.bench.machine import Neighbours, busy_seconds, pinned, quietest_cpu


def test_the_thread_is_on_one_cpu_inside_and_free_after() -> None:
    allowed = os.sched_getaffinity(0)
    with pinned(min(allowed)):
        assert os.sched_getaffinity(0) == {min(allowed)}
    assert os.sched_getaffinity(0) == allowed


def test_the_quietest_cpu_is_one_that_may_be_used() -> None:
    assert quietest_cpu() in os.sched_getaffinity(0)


def test_every_allowed_cpu_has_a_count_of_busy_seconds() -> None:
    assert os.sched_getaffinity(0) <= busy_seconds().keys()


def test_nothing_watched_is_nobody_there() -> None:
    neighbours = Neighbours(0)
    assert neighbours.cores == 0
    with neighbours.watch():
        pass
    assert neighbours.cores >= 0
