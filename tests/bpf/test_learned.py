"""Learned routes: what packets find is what was told last, whatever came before, and while it changes."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Iterator
from typing import Any

import pytest

from isthmus.datapath import Bindings, PacketPath
from isthmus.datapath.fib.lpm import LongestPrefix
from isthmus.datapath.gateway import Outcome
from isthmus.datapath.learned import LEARNED, LearnedTable
from isthmus.tables.address import BITS, FAMILIES, Family, Prefix
from isthmus.tables.entries import Peer, Route
from isthmus.tables.learned import key_prefix, prefix_key
from isthmus.tables.verdicts import Verdict
from tests.bpf.learning import (
    HERE,
    ISP,
    ROUTERS,
    Asking,
    Routes,
    Telling,
    change,
    check,
    hop,
    learns,
)
from tests.bpf.network import HOST_MAC, bindings, key, udp
from tests.differential.compare import Bench
from tests.differential.place import XDP, bench


@pytest.fixture(scope="module")
def shared() -> Iterator[Bench]:
    with bench(hooks=XDP) as one:
        yield one


@pytest.fixture
def path(shared: Bench) -> PacketPath:
    shared.path.apply(learns(), bound(shared))
    return shared.path


def bound(shared: Bench) -> Bindings:
    return bindings(shared.ifindex, [HERE, ISP])


def sent(shared: Bench, to: str) -> Outcome:
    return shared.path.run(udp("p1", "10.1.1.1", to), shared.ifindex["p1"], "xdp")


def metrics(path: PacketPath, family: Family) -> list[tuple[int, int | None]]:
    """Of each address: that of its route, None where there is none; from an address to the next."""
    dump = path.dump()["isp"]
    assert isinstance(dump, dict)
    return [(first, said[0] if said else None) for first, said in dump["learned"][FAMILIES.index(family)]]


def longest(routes: dict[int, int], address: int) -> int | None:
    """The naive way."""
    return next(
        (routes[key] for length in range(128, -1, -1) if (key := 1 << length | address >> (128 - length)) in routes),
        None,
    )


@pytest.mark.parametrize("crowd", [4, 15, 40, 400])
def test_every_address_has_the_longest_prefix_around_it(path: PacketPath, crowd: int) -> None:
    """Few routes in one place are a bunch, many are nodes; routes nest, come, change and go."""
    rng = random.Random(crowd)
    table = path.learned("isp")
    table.clear()
    routes: dict[Family, dict[int, int]] = {4: {}, 6: {}}
    for _ in range(12):
        for family in FAMILIES:
            place, bits = 1 << 16 | 0x2001 + rng.randrange(3), BITS[family] - 16
            told = {}
            for _ in range(rng.randrange(crowd)):
                length = min(rng.choice((1, 3, 7, 8, 9, 16, 24, 32, 47, 48, 63, 64, 72, 111, 112)), bits)
                told[place << length | rng.getrandbits(length) & ~(-1 << length - 12 if length > 12 else 0)] = (
                    rng.randrange(1, 9)
                )
            told |= dict.fromkeys(rng.sample(list(routes[family]), len(routes[family]) // 3), 0)
            table.update(
                family, list(told), [table.group(metric, (hop(metric),)) if metric else 0 for metric in told.values()]
            )
            routes[family] = {key: metric for key, metric in (routes[family] | told).items() if metric}
            found = metrics(path, family)
            for prefix in list(routes[family]) + list(told):
                first = (prefix ^ 1 << (length := prefix.bit_length() - 1)) << 128 - length
                for address in (first, first - 1, first + (1 << 128 - length), first | rng.getrandbits(128 - length)):
                    if 0 <= address < 1 << 128:
                        at = bisect(found, address, key=lambda change: change[0])
                        expected = longest(routes[family], address)
                        assert (found[at - 1][1] if at else None) == expected, (family, hex(address))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("few", [3, 200])
def test_random_changes_leave_what_a_fresh_build_has(path: PacketPath, seed: int, few: int) -> None:
    """Roots grow and shrink on the way: 1,024 and 512 routes make the difference."""
    rng = random.Random(seed)
    routes: Routes = {4: {}, 6: {}}
    table = path.learned("isp")
    table.clear()
    for size in (1, 1, 5, 300, 900, 1500, 40, 1):
        change(rng, table, routes, few, size)
    for family in FAMILIES:
        gone = list(routes[family])[40:]
        table.update(family, gone, [0] * len(gone))
        for one in gone:
            del routes[family][one]
    check(path, routes)


def nothing() -> Routes:
    return {4: {}, 6: {}}


def tell(table: LearnedTable, routes: Routes, told: dict[int, int]) -> None:
    """IPv4 prefixes by key, each with its metric; 0: withdrawn."""
    table.update(4, list(told), [table.group(metric, (hop(1),)) if metric else 0 for metric in told.values()])
    for one, metric in told.items():
        if metric:
            routes[4][one] = Route(key_prefix(4, one), metric, False, (hop(1),), LEARNED)
        else:
            del routes[4][one]


def test_siblings_that_say_the_same_are_withdrawn_one_by_one(path: PacketPath) -> None:
    """What holds them is cleared away when it says one thing, which is still several prefixes."""
    table, routes = path.learned("isp"), nothing()
    table.clear()
    tell(table, routes, {1 << 8 | number: 1 for number in range(16)})
    within = {1 << 20 | number: 2 for number in range(200)}
    tell(table, routes, within)
    tell(table, routes, dict.fromkeys(within, 0))
    check(path, routes)
    tell(table, routes, {1 << 8 | 3: 0})
    check(path, routes)
    tell(table, routes, {1 << 4: 3})
    check(path, routes)


def test_a_root_that_shrinks_keeps_siblings_that_say_the_same_apart(path: PacketPath) -> None:
    table, routes = path.learned("isp"), nothing()
    table.clear()
    siblings = [1 << 24 | 10 << 16 | number for number in range(40_000)]
    tell(table, routes, dict.fromkeys(siblings, 1))
    tell(table, routes, dict.fromkeys(siblings[2_000:], 0))
    check(path, routes)
    tell(table, routes, {siblings[0]: 0, siblings[100]: 0})
    check(path, routes)


def test_while_a_default_route_takes_over_every_address_has_a_route(path: PacketPath, fills: list[object]) -> None:
    """And while others take over from it."""
    table, routes = path.learned("isp"), nothing()
    table.clear()
    tell(table, routes, {1 << 8 | 10: 1})
    fills.clear()
    tell(table, routes, {1 << 8 | 10: 0, 1: 2})
    tell(table, routes, {1: 0, 0b10: 3, 0b11: 3})
    check(path, routes)
    assert fills
    assert None not in fills


@pytest.fixture
def fills(path: PacketPath, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The metric that 10.0.0.0 has after each fill."""
    found: list[object] = []
    fill = LongestPrefix.fill

    def told(*args: Any, **kwargs: Any) -> None:
        fill(*args, **kwargs)
        known = metrics(path, 4)
        at = bisect(known, 10 << 120, key=lambda change: change[0])
        found.append(known[at - 1][1] if at else None)

    monkeypatch.setattr(LongestPrefix, "fill", told)
    return found


@pytest.mark.parametrize("few", [3, 20])
def test_what_updates_tell_comes_to_what_bgp_decides(path: PacketPath, few: int) -> None:
    """Several paths of a prefix, routers that are found and lost, a session that ends."""
    rng = random.Random(few)
    table = path.learned("isp")
    table.clear()
    telling = Telling(rng, table, few)
    for gone, happens in ((0.1, None), (0.5, telling.move), (0.3, None), (0.6, telling.lose), (0.3, telling.move)):
        for _ in range(6):
            telling.tell(rng.choice((1, 10, 200)), gone)
        if happens:
            happens()
            telling.tell(10, gone)
        routes = telling.flush()
        check(path, routes)
    assert all(routes.values())


def test_packets_find_the_longest_prefix_while_routes_change(shared: Bench) -> None:
    rng = random.Random(1)
    asking = Asking(shared)
    table = shared.path.learned("isp")
    table.clear()
    routes: Routes = {4: {}, 6: {}}
    shared.verdicts.clear()
    for _ in range(30):
        change(rng, table, routes, 3, rng.choice((1, 7, 60)))
        asking.ask(rng, routes, 3, 20)
    table.clear()
    assert {Verdict.FORWARDED, Verdict.NO_ROUTE} <= shared.verdicts.keys()


def test_a_route_that_is_down_is_none_and_comes_back(shared: Bench) -> None:
    path = shared.path
    alone = learns()
    path.apply(alone, bound(shared))
    table = path.learned("isp")
    table.clear()
    try:
        for router in ROUTERS:
            path.set_neighbor(key(ISP), 4, router, HOST_MAC)
        table.update(4, [prefix_key(Prefix.parse("8.0.0.0/8"))], [table.group(0, (hop(0), hop(1)))])

        def verdict() -> Verdict:
            return sent(shared, "8.8.8.8").verdict

        assert verdict() == Verdict.FORWARDED
        for down, expected in (
            ([Peer("isp", "peer-0")], Verdict.FORWARDED),
            ([Peer("isp", "peer-0"), Peer("isp", "peer-1")], Verdict.NO_ROUTE),
            ([key(ISP)], Verdict.NO_ROUTE),
            ([], Verdict.FORWARDED),
        ):
            path.set_down(down)
            assert verdict() == expected, down
            path.apply(alone, bound(shared))  # also what a new configuration brings
            assert verdict() == expected, down
    finally:
        path.set_down([])
        table.clear()


def test_memory_follows_the_routes(path: PacketPath) -> None:
    rng = random.Random(5)
    table = path.learned("isp")
    table.clear()
    keys = [1 << 24 | number for number in rng.sample(range(1 << 24), 40_000)]
    group = table.group(0, (hop(0),))
    before = path.learned("isp").memory()
    table.update(4, keys, [group] * len(keys))
    assert table.memory() >= 64 << 20  # DIR-24-8
    table.update(4, keys, [0] * len(keys))
    assert table.count(4) == 0
    assert table.memory() <= before + (1 << 20)
