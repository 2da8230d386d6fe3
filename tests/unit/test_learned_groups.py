"""Records of learned routes: made as they are needed, and had again when room becomes scarce."""

from __future__ import annotations

from itertools import count
from mmap import mmap

import numpy as np

from isthmus.datapath.fib.groups import HOPS, RIPE, ROUTES, Groups, Marks, Used
from isthmus.datapath.store import Table
from isthmus.tables.entries import AttachmentKey, NextHop, Origin
from isthmus.tables.layout import RECORDS

HOP = NextHop(AttachmentKey("e1", "eth1"), 1 << 96, Origin("BGP"), None, "10.9.0.2")
LENGTHS = np.arange(8, 25, dtype=np.uint8)


def table(name: str, room: int) -> Table:
    return Table(name, RECORDS[name], 1, mmap(-1, (1 + room) * 2 * RECORDS[name].size))


def groups() -> Groups:
    routes, hops = table("route", ROUTES), table("hop", HOPS)
    return Groups(routes, hops, Marks(routes, hops), lambda *_: bytes(RECORDS["hop"].size))


def test_hops_are_rewritten_to_the_last_byte_but_for_what_says_that_they_are_down() -> None:
    routes, hops = table("route", ROUTES), table("hop", HOPS)
    before = bytes(RECORDS["hop"].size)
    ours = Groups(routes, hops, Marks(routes, hops), lambda *_: before)
    records(ours, 0, 24)
    (slot,) = ours.repack(lambda *_: before)
    at = slot * hops.stride
    for byte in range(len(before)):
        after = bytes(255 * (place == byte) for place in range(len(before)))
        theirs = byte == RECORDS["hop"].layout["down"][0]
        assert ours.rewrite({slot: after}) is not theirs
        assert hops.memory[at : at + len(before)] == (before if theirs else after)
        assert not ours.rewrite({slot: after})
        ours.rewrite({slot: before})
    assert not ours.rewrite({})


def records(ours: Groups, metric: int, *lengths: int) -> list[int]:
    """Those of routes with a metric of their own, of these prefix lengths."""
    number = ours.number(metric, (HOP,))
    made = ours.records(4, np.full(len(lengths), number, np.int32), np.array(lengths, np.uint8))
    assert not ours.refused
    return [int(slot) for slot in made]


def test_records_are_collected_when_room_is_scarce_and_not_before() -> None:
    ours = groups()
    metrics = count()
    for _ in range(2):  # twice makes more than there is room for
        made = 0
        while not ours.ripe:
            made += len(set(records(ours, next(metrics), *LENGTHS)))
        assert ROUTES * 3 // 4 < made < ROUTES * 3 // 4 + RIPE
        ours.collect(set(), lambda: None)


def test_next_hops_are_collected_as_soon_as_many_were_made() -> None:
    ours = groups()
    made = 0
    while not ours.ripe:
        number = ours.number(0, (HOP._replace(gateway=made << 96),))
        assert ours.records(4, np.array([number], np.int32), LENGTHS[:1])[0]
        made += 1
    assert made == RIPE + 1


def test_whatever_the_metric_equal_next_hops_are_one_record() -> None:
    ours = groups()
    for metric in range(HOPS + 1):
        records(ours, metric, 24)


def test_what_routes_need_is_not_collected() -> None:
    ours = groups()
    before = {metric: records(ours, metric, *LENGTHS) for metric in range(10)}
    needed = range(5)
    ours.collect({Used(4, ours.number(metric, (HOP,)), 24) for metric in needed}, lambda: None)
    kept = {before[metric][-1] for metric in needed}
    assert {records(ours, metric, 24)[0] for metric in needed} == kept
    fresh = {slot for metric in range(1000, 1200) for slot in records(ours, metric, 24)}
    assert not fresh & kept
