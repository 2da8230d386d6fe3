"""The hash table of prefixes holds what a dict holds, whatever is put into it in whatever portions."""

import random

import numpy as np
import pytest

from isthmus.datapath.fib.exact import NONE, Exact
from isthmus.tables.prefixes import Prefixes, halves


def draw(rng: random.Random) -> int:
    """A key: short, long, or one whose like there are many of."""
    length = rng.choice((0, 1, 8, 24, 32, 48, 64, 65, 127, 128))
    if length == 128 and rng.random() < 0.9:
        return 1 << 128 | rng.getrandbits(16)  # all with the same first half
    bits = rng.choice((rng.getrandbits(length) if length else 0, rng.randrange(8) % (1 << length)))
    return 1 << length | bits


def test_it_holds_what_a_dict_holds() -> None:
    rng = random.Random(5)
    table, model = Exact(), dict[int, int]()
    column = table.columns[0]
    for portion in range(300):
        known = rng.sample(list(model), min(len(model), 50))
        keys = [rng.choice(known) if known and rng.random() < 0.4 else draw(rng) for _ in range(rng.randrange(200))]
        slots = table.place(Prefixes.of(keys))
        assert list(table.prefixes(slots)) == keys
        last = table.lasts(slots)
        assert [key for key, kept in zip(keys, last, strict=True) if kept] == list(dict.fromkeys(reversed(keys)))[::-1]
        numbers = np.array([rng.choice((NONE, -2, 0, 7)) for _ in keys], np.int32)
        column.set(slots[last], numbers[last])
        model.update(zip(keys, numbers.tolist(), strict=True))
        model = {key: number for key, number in model.items() if number != NONE}
        assert len(column) == len(model)
        if portion == 50:
            column.clear()
            model.clear()
    assert len(model) > 1000
    assert {key: column.get(key) for key in column} == model
    asked = [*model, *(draw(rng) for _ in range(1000))]
    slots = table.find(Prefixes.of(asked))
    found = np.where(slots < 0, NONE, column.numbers[slots]).tolist()
    assert found == [model.get(key, NONE) for key in asked] == [column.get(key) for key in asked]


def test_what_is_gone_makes_room_for_others_and_one_number_keeps_a_prefix() -> None:
    table = Exact(columns=2)
    first, second = table.columns
    kept = Prefixes.of([1 << 24])
    second.set(table.place(kept), np.array([5], np.int32))
    for portion in range(200):
        prefixes = Prefixes.of(1 << 24 | portion << 8 | number for number in range(256))
        slots = table.place(prefixes)
        first.set(slots, np.ones(256, np.int32))
        assert second.get(1 << 24) == 5
        first.set(slots, np.full(256, NONE, np.int32))
    assert (len(first), len(second), second.get(1 << 24)) == (0, 1, 5)
    assert len(first.numbers) <= 1024
    assert table.built > 50
    second.clear()
    assert table.find(kept).tolist() == [-1]


@pytest.mark.timeout(10)  # whoever looks for room where there is none looks for ever
def test_what_was_there_once_comes_back_into_a_table_that_is_built_anew() -> None:
    """It had a slot, which a new table does not keep."""
    table = Exact()
    column = table.columns[0]
    once = Prefixes.of(1 << 24 | number for number in range(179))  # as many as the smallest has room for
    column.set(table.place(once), np.full(len(once), NONE, np.int32))
    both = Prefixes.of(1 << 24 | number for number in range(300))
    built = table.built
    slots = table.place(both)
    assert table.built == built + 1
    column.set(slots, np.arange(len(both), dtype=np.int32))
    assert [column.get(key) for key in (1 << 24, 1 << 24 | 299)] == [0, 299]
    assert len(np.unique(slots)) == len(both)


def test_prefixes_are_keys_and_back() -> None:
    rng = random.Random(6)
    keys = [draw(rng) for _ in range(5000)]
    prefixes = Prefixes.of(keys)
    assert list(prefixes) == keys
    assert list(Prefixes.joined([prefixes[:7], prefixes[7:7], prefixes[7:]])) == keys
    assert [halves(key) for key in keys] == list(
        zip(prefixes.hi.tolist(), prefixes.lo.tolist(), prefixes.length.tolist(), strict=True)
    )
    dirty = Prefixes.cut(prefixes.hi | np.uint64(1), prefixes.lo | np.uint64(1), prefixes.length)
    assert [one for one in dirty if one.bit_length() < 65] == [one for one in keys if one.bit_length() < 65]
