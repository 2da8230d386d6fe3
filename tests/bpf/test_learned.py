"""Learned routes: what packets find is what was told last, whatever came before, and while it changes."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Iterator

import pytest

from isthmus.datapath import Bindings, PacketPath
from isthmus.datapath.gateway import Outcome
from isthmus.datapath.learned import LearnedTable
from isthmus.tables.address import BITS, FAMILIES, Family, Prefix, parse_address
from isthmus.tables.entries import NextHop, Origin, Peer, Route, Tables
from isthmus.tables.learned import Learned, key_prefix, prefix_key
from isthmus.tables.verdicts import Verdict
from tests.bpf.network import HOST_MAC, bindings, key, peering, tables, udp, vpc
from tests.differential.compare import Bench
from tests.differential.place import XDP, bench

HERE, ISP = vpc("here", "p1", "10.1.1.0/24"), vpc("isp", "p2", "198.51.100.0/24")
ROUTERS = [parse_address(f"198.51.100.{number}")[1] for number in (1, 2)]
Routes = dict[Family, dict[int, int]]
LENGTHS: dict[Family, list[int]] = {
    4: [0, 3, 8, 12, 16, 20, 22, 23, 24, 24, 25, 30, 32],
    6: [0, 16, 29, 32, 44, 48, 64, 128],
}


def routed() -> Tables:
    return tables([HERE, ISP], [peering(HERE, ISP)])


def hop(number: int) -> NextHop:
    return NextHop(key(ISP), ROUTERS[number % 2], Origin("BGP"), None, f"peer-{number % 3}")


def drawn(rng: random.Random, family: Family, few: int) -> int:
    """A prefix key; of few, so that they nest and come again."""
    length = rng.choice(LENGTHS[family])
    bits = (
        rng.choice([0x0A, 0x0B, 0xC0]) << 120 | rng.randrange(few) << 96 | rng.randrange(few) << 64 | rng.randrange(few)
    )
    return 1 << length | bits >> (128 - length) if length else 1


def change(rng: random.Random, table: LearnedTable, routes: Routes, few: int, count: int) -> None:
    """Some routes come, change and go in one batch."""
    family = rng.choice(FAMILIES)
    keys, groups = [], []
    for _ in range(count):
        one = rng.choice(list(routes[family])) if routes[family] and rng.random() < 0.4 else drawn(rng, family, few)
        number = 0 if rng.random() < 0.4 else rng.randrange(1, 40)
        keys.append(one)
        groups.append(table.group(number, (hop(number),)) if number else 0)
        if number:
            routes[family][one] = number
        else:
            routes[family].pop(one, None)
    table.update(family, keys, groups)


def fresh(path: PacketPath, routes: Routes) -> object:
    """The dump of a table that has just been made of these routes."""
    other = path.learned("here")
    other.clear()
    for family in FAMILIES:
        keys = list(routes[family])
        other.update(family, keys, [other.group(number, (hop(number),)) for number in routes[family].values()])
    found = path.dump()["here"]
    other.clear()
    assert isinstance(found, dict)
    return found["learned"]


@pytest.fixture(scope="module")
def shared() -> Iterator[Bench]:
    with bench(hooks=XDP) as one:
        yield one


@pytest.fixture
def path(shared: Bench) -> PacketPath:
    shared.path.apply(routed(), bound(shared))
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


@pytest.mark.parametrize("crowd", [4, 40, 400])
def test_every_address_has_the_longest_prefix_around_it(path: PacketPath, crowd: int) -> None:
    """Few routes in one place are a bunch, many are blocks; routes nest, come, change and go."""
    rng = random.Random(crowd)
    table = path.learned("isp")
    table.clear()
    routes: Routes = {4: {}, 6: {}}
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
        assert table.count(family) == len(routes[family])
        assert {one: route.metric for one, route in table.routes(family).items()} == routes[family]
    dump = path.dump()["isp"]
    assert isinstance(dump, dict)
    assert dump["learned"] == fresh(path, routes)


def test_packets_find_the_longest_prefix_while_routes_change(shared: Bench) -> None:
    rng = random.Random(1)
    path = shared.path
    path.apply(routed(), bound(shared))
    for number, router in enumerate(ROUTERS):
        path.set_neighbor(key(ISP), 4, router, HOST_MAC[:5] + bytes([number]))
    wide = vpc("isp", "p2", "0.0.0.0/0")
    open_ = tables([HERE, wide], [peering(HERE, wide)])
    routes_less = open_.vpcs["isp"]._replace(routes={4: (), 6: ()})
    path.apply(Tables({**open_.vpcs, "isp": routes_less}, open_.sides), bound(shared))
    table = path.learned("isp")
    table.clear()
    routes: Routes = {4: {}, 6: {}}
    try:
        for _ in range(30):
            change(rng, table, routes, 3, rng.choice((1, 7, 60)))
            told = Learned(
                {
                    "isp": {
                        family: {
                            one: Route(key_prefix(family, one), number, False, (hop(number),), Origin("BGP"))
                            for one, number in of.items()
                        }
                        for family, of in routes.items()
                    }
                }
            )
            for _ in range(20):
                to = (rng.choice([0x0A, 0x0B, 0xC0]) << 24 | rng.randrange(4) << 8 | rng.randrange(4)) << 96
                route = told.find("isp", 4, to)
                outcome = sent(shared, text(to))
                if text(to).startswith("10.1.1."):
                    continue
                if route is None:
                    assert outcome.verdict == Verdict.NO_ROUTE
                else:
                    assert outcome.verdict == Verdict.FORWARDED
                    assert outcome.frame[5] == ROUTERS.index(route.next_hops[0].gateway or 0)
    finally:
        table.clear()


def test_a_route_that_is_down_is_none_and_comes_back(shared: Bench) -> None:
    path = shared.path
    wide = vpc("isp", "p2", "0.0.0.0/0")
    open_ = tables([HERE, wide], [peering(HERE, wide)])
    alone = Tables({**open_.vpcs, "isp": open_.vpcs["isp"]._replace(routes={4: (), 6: ()})}, open_.sides)
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


def text(address: int) -> str:
    return ".".join(str(address >> shift & 255) for shift in (120, 112, 104, 96))


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
