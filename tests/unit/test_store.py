"""Slots: equal contents share one, what packets may hold is never given away, and free runs are found again."""

from __future__ import annotations

from random import Random

import pytest

from isthmus.datapath.store import Table, TableFull
from isthmus.tables.layout import RECORDS

CUT = RECORDS["cut"]


class Plain:
    """Memory as mmap gives it: slices are bytes."""

    def __init__(self, size: int) -> None:
        self._data = bytearray(size)

    def __setitem__(self, at: slice, data: bytes, /) -> None:
        self._data[at] = data

    def __getitem__(self, at: slice, /) -> bytes:
        return bytes(self._data[at])


def table(capacity: int) -> Table:
    return Table("cuts", CUT, capacity, Plain(capacity * CUT.size))


def run(*numbers: int) -> bytes:
    return b"".join(CUT.pack(0, number, 0, 0) for number in numbers)


def applied(made: Table, *runs: bytes) -> list[int]:
    """One whole configuration: written, seen by packets, the last one freed."""
    made.begin()
    slots = [made.put(each) for each in runs]
    made.commit()
    made.release()
    return slots


def test_equal_runs_share_a_slot_and_none_is_zero() -> None:
    made = table(8)
    assert applied(made, run(1, 2), run(3), run(1, 2)) == [1, 3, 1]


def test_a_refused_configuration_frees_only_its_own() -> None:
    """Twice in a row: what packets hold stays where it is."""
    made = table(6)
    (kept,) = applied(made, run(1, 2))
    for _ in range(2):
        made.begin()
        made.put(run(10))
        with pytest.raises(TableFull, match="cuts"):
            made.put(run(*range(20, 29)))
        made.roll_back()
    assert made.read(kept)[1] == 1
    assert made.read(kept + 1)[1] == 2
    assert applied(made, run(7, 8, 9)) == [3]


def test_free_runs_that_touch_become_one() -> None:
    """A table full of single entries, emptied, takes one long run."""
    made = table(101)
    applied(made, *(run(number) for number in range(100)))
    applied(made)
    assert applied(made, run(*range(100))) == [1]


def test_what_is_live_is_never_overwritten() -> None:
    """Random configurations one over the other: every run reads back as it was put, old ones until they are freed."""
    rng = Random(3)
    made = table(200)
    before: dict[bytes, int] = {}
    for _ in range(200):
        wanted = [run(*(rng.randrange(20) for _ in range(rng.randint(1, 6)))) for _ in range(rng.randint(0, 12))]
        made.begin()
        placed = {each: made.put(each) for each in wanted}
        for each, slot in {**before, **placed}.items():
            got = b"".join(CUT.pack(*made.read(slot + n)) for n in range(len(each) // CUT.size))
            assert got == each
        made.commit()
        made.release()
        before = placed
