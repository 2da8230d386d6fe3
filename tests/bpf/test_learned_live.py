"""Learned routes under packets and flows: nothing is lost while tables are rebuilt, nothing is kept for ever."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import numpy as np
import numpy.typing as npt
import pytest

from isthmus.datapath import PacketPath
from isthmus.datapath.fib.blocks import Blocks
from isthmus.datapath.fib.groups import ROUTES
from isthmus.datapath.fib.lpm import LongestPrefix
from isthmus.datapath.gateway import Outcome
from isthmus.datapath.learned import LearnedTable
from isthmus.datapath.libbpf import BpfMap
from isthmus.datapath.store import TableFull
from isthmus.tables.address import Prefix, parse_address
from isthmus.tables.entries import NextHop, Origin, SideKey, Tables
from isthmus.tables.layout import CHUNK_UNITS, FIB_KIND_SHIFT, UNIT_ENTRIES
from isthmus.tables.learned import prefix_key
from isthmus.tables.prefixes import Prefixes
from isthmus.tables.verdicts import Verdict
from tests.bpf.learning import HERE, ISP, ROUTERS, hop, learns
from tests.bpf.network import HOST_MAC, bindings, key, udp, vpc
from tests.bpf.test_learned import bound, sent
from tests.differential.compare import Bench
from tests.differential.place import XDP, bench

LEARNS = learns()
"""The provider has no routes of its own."""
OTHER = vpc("other", "p3", "0.0.0.0/0")
"""Another provider."""
OPENS = Tables(
    LEARNS.vpcs,
    {name: side._replace(opens=name == SideKey("here--isp", "here")) for name, side in LEARNS.sides.items()},
)
"""And what is sent to it opens flows."""


@pytest.fixture(scope="module")
def loaded() -> Iterator[Bench]:
    with bench(hooks=XDP) as one:
        yield one


@pytest.fixture
def place(loaded: Bench) -> Iterator[Bench]:
    """Nothing learned; the routers' MACs end in 0 and 1."""
    use(loaded, LEARNS)
    yield loaded
    loaded.path.learned("isp").clear()
    loaded.path.conversations.forget()


def use(place: Bench, these: Tables) -> None:
    place.path.apply(these, bound(place))
    for number, router in enumerate(ROUTERS):
        place.path.set_neighbor(key(ISP), 4, router, HOST_MAC[:5] + bytes([number]))


def set_routes(table: LearnedTable, **routers: int | None) -> None:
    """``n10_8=1``: 10.0.0.0/8 leads to the second router; None: to nobody any more."""
    for name, router in routers.items():
        first, length = name[1:].split("_")
        prefix = Prefix.parse(f"{first}.0.0.0/{length}")
        table.update(4, [prefix_key(prefix)], [0 if router is None else table.group(0, (hop(router),))])


def judged(path: PacketPath) -> None:
    """Flows are judged again by what was changed until now."""
    while (left := path.settle()) is not None:
        time.sleep(left)  # as the caller of ``settle`` is told to


def router(outcome: Outcome) -> int:
    assert outcome.verdict is Verdict.FORWARDED
    return outcome.frame[5]


def test_flows_follow_routes_that_come_and_go(place: Bench) -> None:
    use(place, OPENS)
    table = place.path.learned("isp")
    set_routes(table, n8_8=1, n8_5=0)
    assert router(sent(place, "8.8.8.8")) == 1
    assert len(list(place.path.conversations)) == 1
    for change, expected in (({"n8_8": None}, 0), ({"n8_16": 1}, 0), ({"n8_8": 1}, 1), ({"n8_8": 0}, 0)):
        set_routes(table, **change)
        judged(place.path)
        assert router(sent(place, "8.8.8.8")) == expected, change
    set_routes(table, n8_8=None, n8_5=None)
    judged(place.path)
    assert sent(place, "8.8.8.8").verdict is Verdict.NO_ROUTE
    set_routes(table, n8_8=1)
    judged(place.path)
    assert router(sent(place, "8.8.8.8")) == 1


@pytest.mark.parametrize("count", [1, 3, 4, 9, 10, 15, 16, 19, 20, 25, 26, 31, 32, 35, 36, 41, 42])
def test_every_route_of_a_bunch_is_found(place: Bench, count: int) -> None:
    """The last that a bunch of each size holds, and the first that it does not."""
    table, rng = place.path.learned("isp"), random.Random(count)
    table.clear()
    ways = {f"8.{number}.0.0/{rng.randrange(16, 25)}": rng.randrange(2) for number in rng.sample(range(128), count)}
    keys = [prefix_key(Prefix.parse(one)) for one in ways]
    table.update(4, keys, [table.group(0, (hop(way),)) for way in ways.values()])
    for prefix, way in ways.items():
        assert router(sent(place, prefix.split("/")[0].removesuffix(".0") + ".1")) == way, prefix
    assert sent(place, "8.200.0.1").verdict is Verdict.NO_ROUTE
    table.update(4, [prefix_key(Prefix.parse("8.0.0.0/8"))], [table.group(0, (hop(1),))])
    assert router(sent(place, "8.200.0.1")) == 1


@pytest.mark.parametrize(("isps", "others"), [(1, 41), (41, 1), (3, 4), (10, 26), (20, 19), (35, 15), (41, 41)])
def test_every_route_of_two_bunches_is_found(loaded: Bench, isps: int, others: int) -> None:
    """Two providers offer the same addresses; whose prefix is longer has the packet."""
    rng = random.Random(isps + 100 * others)
    loaded.path.apply(learns(OTHER), bindings(loaded.ifindex, [HERE, ISP, OTHER]))
    told: list[dict[int, tuple[int, int]]] = []  # by second byte: length and router
    for which, (provider, count) in enumerate(((ISP, isps), (OTHER, others))):
        routes = {at: (rng.randrange(16 + which, 25, 2), rng.randrange(2)) for at in rng.sample(range(64), count)}
        keys = [prefix_key(Prefix.parse(f"8.{at}.0.0/{length}")) for at, (length, _) in routes.items()]
        hops = [NextHop(key(provider), ROUTERS[way], Origin("BGP")) for _, way in routes.values()]
        table = loaded.path.learned(provider.name)
        table.clear()
        table.update(4, keys, [table.group(0, (one,)) for one in hops])
        for number, address in enumerate(ROUTERS):
            loaded.path.set_neighbor(key(provider), 4, address, HOST_MAC[:4] + bytes([which, number]))
        told.append(routes)
    for at in range(64):
        ways = [(*routes[at], which) for which, routes in enumerate(told) if at in routes]
        outcome = sent(loaded, f"8.{at}.0.1")
        if ways:
            _, way, which = max(ways)
            assert (outcome.verdict, tuple(outcome.frame[4:6])) == (Verdict.FORWARDED, (which, way)), at
        else:
            assert outcome.verdict is Verdict.NO_ROUTE


def test_no_packet_is_lost_while_roots_grow_and_shrink(place: Bench) -> None:
    """From one byte to three and back, twice, with blocks freed and taken all the while, under a CPU that sends."""
    table, over = place.path.learned("isp"), Event()
    wanted = {"8.8.8.8": 1, "8.9.9.9": 0, "9.1.1.1": 1}
    set_routes(table, n8_8=0, n9_8=1)
    table.update(4, [prefix_key(Prefix.parse("8.8.8.0/25"))], [table.group(0, (hop(1),))])

    def send() -> int:
        count = 0
        while not over.is_set():
            for to, expected in wanted.items():
                assert router(sent(place, to)) == expected, (to, count)
                count += 1
        return count

    many = [1 << 24 | 11 << 16 | number for number in range(33_000)]  # 11.0.0.0/24 and on
    few = [1 << 28 | 60 << 20 | number << 4 for number in range(1_200)]
    with ThreadPoolExecutor(1) as other:
        sending = other.submit(send)
        try:
            for _ in range(2):
                for keys in (few, many):
                    table.update(4, keys, [table.group(0, (hop(0),))] * len(keys))
                for keys in (many, few):
                    table.update(4, keys, [0] * len(keys))
        finally:
            over.set()
        assert sending.result() > 100


@pytest.fixture
def waited() -> list[None]:
    """Grows each time that packets are waited for."""
    return []


@contextmanager
def room(chunks: int) -> Iterator[BpfMap]:
    """A map of so many."""
    inner = BpfMap.create(2, "inner", 4, 4 * UNIT_ENTRIES * CHUNK_UNITS, 1, 1 << 10)
    outer = BpfMap.create(12, "outer", 4, 4, chunks, inner=inner)
    try:
        yield outer
    finally:
        os.close(outer.fd)
        os.close(inner.fd)


@pytest.fixture
def blocks(waited: list[None]) -> Iterator[Blocks]:
    """Room for twenty chunks."""
    with room(20) as chunks:
        blocks = Blocks(chunks, lambda: waited.append(None))
        yield blocks
        blocks.close()


SLABS = 20 * 63 - 1  # of 128 units; of each chunk one is left out, and the first of all


def test_blocks_rest_until_packets_have_left_them(blocks: Blocks, waited: list[None]) -> None:
    given = blocks.take(SLABS * 16, 8)[:1000]
    blocks.give(given, 8)
    assert not waited
    assert sorted(blocks.take(len(given), 8)) == sorted(given)
    assert waited


def test_blocks_are_had_again_in_other_sizes(blocks: Blocks) -> None:
    """None overlap, touch more lines than they need, or end in another chunk."""
    for size in (8, 3, 1, 5, 2, 7, 6, 4):
        count = SLABS * (128 // size)
        found = blocks.take(count, size)
        units = (found[:, None] + np.arange(size)).reshape(-1)
        assert len(np.unique(units)) == count * size
        assert (found // CHUNK_UNITS == (found + size - 1) // CHUNK_UNITS).all()
        assert ((found + size - 1) // 2 - found // 2 == (size - 1) // 2).all()
        with pytest.raises(TableFull):
            blocks.take(1, size)
        blocks.give(found, size)


def test_memory_that_is_free_is_given_back(blocks: Blocks) -> None:
    """But for sixteen chunks, which may be needed soon, and the first of all."""
    small, large = blocks.take(SLABS * 64, 1), blocks.take(SLABS * 8 - 8, 8)
    blocks.give(small, 1)
    blocks.give(large, 8)
    blocks.trim()
    assert blocks.memory == (16 + 1) * 4 * UNIT_ENTRIES * CHUNK_UNITS


def said(table: LongestPrefix) -> list[tuple[int, int]]:
    """From which address on, in its upper half, what holds."""
    spans = table.spans()
    change = np.concatenate(([True], spans.value[1:] != spans.value[:-1]))
    return list(zip(spans.hi[change].tolist(), spans.value[change].tolist(), strict=True))


def test_a_root_for_which_there_is_no_room_leaves_the_table_as_it_was(blocks: Blocks) -> None:
    """A root of 24 bits takes 256 chunks."""
    table = LongestPrefix(blocks, np.array([0, 32], np.uint8), 1)
    with pytest.raises(TableFull):
        table.resize(24)
    assert (table.word, table.memory, len(table.spans().value)) == (0, 0, 0)
    table.resize(16)
    hi = np.arange(3, dtype=np.uint64) << np.uint64(40)
    fill(table, [hi])
    before = table.word, said(table)
    with pytest.raises(TableFull):
        table.resize(24)
    assert (table.word, said(table)) == before
    table.free_root(table.forget())


def fill(table: LongestPrefix, portions: Iterable[npt.NDArray[np.uint64]]) -> None:
    """With /32s of IPv4, whose addresses these are."""
    for some in portions:
        table.fill(Prefixes(some, np.zeros_like(some), np.full(len(some), 32, np.uint8)), np.ones(len(some), np.uint32))


def test_what_did_not_fit_is_not_lost(blocks: Blocks) -> None:
    """Again and again more routes than there is room for; then all memory is there, in one piece."""
    hi = np.unique(np.random.default_rng(1).integers(0, 1 << 32, 1 << 20, np.uint64)) << np.uint64(32)
    for _ in range(3):
        table = LongestPrefix(blocks, np.array([0, 32], np.uint8), 1)
        table.resize(16)
        portions = np.array_split(np.random.default_rng(2).permutation(hi), 16)
        with pytest.raises(TableFull):
            fill(table, portions)
        table.free_root(table.forget())
    assert len(blocks.take(SLABS * 16, 8)) == SLABS * 16


def test_more_memory_than_can_be_numbered_is_refused(waited: list[None]) -> None:
    too_many = (1 << FIB_KIND_SHIFT) // CHUNK_UNITS + 1
    with room(too_many) as chunks, pytest.raises(ValueError, match="more units than can be numbered"):
        Blocks(chunks, lambda: waited.append(None))


def test_routes_may_change_their_metrics_for_ever(place: Bench) -> None:
    """Each metric makes a record; those that nothing needs are had again, and what is used stays as it is."""
    table = place.path.learned("isp")
    which = [prefix_key(Prefix.parse(f"9.{number}.0.0/16")) for number in range(64)]
    table.update(4, [prefix_key(Prefix.parse("8.0.0.0/8"))], [table.group(0, (hop(1),))])
    for metric in range(0, 2 * ROUTES, len(which)):
        table.update(4, which, [table.group(metric + number, (hop(0),)) for number in range(len(which))])
    assert (router(sent(place, "8.8.8.8")), router(sent(place, "9.9.9.9"))) == (1, 0)


def test_a_flow_that_was_judged_before_hops_were_rewritten_is_judged_again(
    place: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The port to the initiator comes back. A sweep between the flip and the hops' rewriting sees no way there."""
    here = OPENS.vpcs["here"]._replace(routes={4: (), 6: ()})
    stands = Tables({**OPENS.vpcs, "here": here}, OPENS.sides)
    use(place, stands)
    path, back = place.path, place.path.learned("here")
    gateway = parse_address("10.1.1.254")[1]
    way = NextHop(key(HERE), gateway, Origin("BGP"))
    back.update(4, [prefix_key(Prefix.parse("10.0.0.0/8"))], [back.group(0, (way,))])
    set_routes(path.learned("isp"), n8_8=1)
    path.set_neighbor(key(HERE), 4, gateway, HOST_MAC)
    assert router(sent(place, "8.8.8.8")) == 1
    assert answered(place) is Verdict.FORWARDED
    path.apply(Tables({**stands.vpcs, "here": here._replace(attachments=())}, stands.sides), bound(place))
    assert answered(place) is Verdict.NO_ROUTE
    groups = path._learned.groups
    rewrite: Callable[[dict[int, bytes]], bool] = groups.rewrite

    def late(hops: dict[int, bytes]) -> bool:
        path.conversations.sweep()
        return rewrite(hops)

    monkeypatch.setattr(groups, "rewrite", late)
    use(place, stands)
    path.set_neighbor(key(HERE), 4, gateway, HOST_MAC)
    assert answered(place) is Verdict.FORWARDED
    back.clear()


def answered(place: Bench) -> Verdict:
    """What becomes of the answer to what ``sent`` sends to 8.8.8.8."""
    frame = bytearray(udp("p2", "8.8.8.8", "10.1.1.1"))
    frame[34:38] = frame[36:38] + frame[34:36]
    return place.path.run(bytes(frame), place.ifindex["p2"], "xdp").verdict
