"""The RIB decides as BGP does, whatever the order in which paths came and went."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.datapath.fib.exact import NONE, Exact, Slots
from isthmus.datapath.store import TableFull
from isthmus.routing.bgp.attributes import AsPath, Attributes, LargeCommunities, Origin
from isthmus.routing.bgp.capabilities import Agreement
from isthmus.routing.bgp.reader import Reader
from isthmus.routing.bgp.updates import Batch
from isthmus.routing.bgp.wire import LONGEST
from isthmus.routing.rib import REST_S, Rib, in_order
from isthmus.tables.address import FAMILIES, Family, parse_address
from isthmus.tables.entries import AttachmentKey, NextHop
from isthmus.tables.entries import Origin as Source
from isthmus.tables.prefixes import Prefixes
from tests.bpf.learning import decided, update

KEY = AttachmentKey("isp", "eth1")
NOWHERE = parse_address("203.0.113.99")[1]
ROUTERS = [parse_address(f"203.0.113.{number}")[1] for number in (1, 2, 3)] + [NOWHERE]


class Written:
    """Stands where the packet path's table does: what was written last of each prefix."""

    def __init__(self) -> None:
        self.groups: list[tuple[int, tuple[NextHop, ...]]] = [(0, ())]
        self.routes: dict[tuple[Family, int], int] = {}
        self.room = 1000
        self.prefixes = {family: Exact(columns=2) for family in FAMILIES}
        self.notes = {family: table.columns[1] for family, table in self.prefixes.items()}

    def clear(self) -> None:
        self.routes.clear()
        for table in self.prefixes.values():
            table.columns[0].clear()

    def group(self, metric: int, next_hops: tuple[NextHop, ...]) -> int:
        assert next_hops
        if (metric, next_hops) not in self.groups:
            self.groups.append((metric, next_hops))
        return self.groups.index((metric, next_hops))

    def write(self, family: Family, prefixes: Prefixes, slots: Slots, groups: npt.NDArray[np.int32]) -> None:
        assert list(self.prefixes[family].prefixes(slots)) == list(prefixes)
        once = self.prefixes[family].lasts(slots)
        self.prefixes[family].columns[0].set(slots[once], np.where(groups == 0, NONE, groups)[once].astype(np.int32))
        if len({(family, key) for key in prefixes} | self.routes.keys()) > self.room:
            raise TableFull("routes", self.room)
        for key, group in zip(prefixes, groups.tolist(), strict=True):
            if group:
                self.routes[family, key] = group
            else:
                self.routes.pop((family, key), None)

    def all(self) -> dict[tuple[Family, int], tuple[int, frozenset[tuple[int | None, str]]]]:
        found = {}
        for where, group in self.routes.items():
            metric, hops = self.groups[group]
            found[where] = metric, frozenset((hop.gateway, hop.peer) for hop in hops)
        return found


def resolve(family: Family, address: int, peer: str) -> NextHop | None:
    return None if address == NOWHERE else NextHop(KEY, address, Source("BGP"), None, peer)


def peer(communities: LargeCommunities) -> str:
    return "".join(f"192.0.2.{value[2]}" for value in communities.values)


def batch(attributes: Attributes | None, *routes: tuple[int, int]) -> Batch:
    """What an UPDATE says of IPv4 paths, by identifier and key."""
    both = frozenset(FAMILIES)
    data = update(4, () if attributes else routes, routes if attributes else (), attributes or Attributes((4, 0)))
    (found,) = Reader(Agreement(both, both, both, internal=True, longest=LONGEST)).feed(data)
    assert isinstance(found, Batch)
    return found


def said(router: int, pref: int, hops: int, origin: int, med: int | None, who: int) -> Attributes:
    return Attributes(
        (4, ROUTERS[router]),
        AsPath.sequence(*range(65001, 65001 + hops)),
        Origin(origin),
        med,
        pref,
        large_communities=LargeCommunities.of((0, 0, who)),
    )


ATTRIBUTES = st.builds(
    said,
    st.integers(0, 3),
    st.sampled_from([100, 200]),
    st.integers(0, 2),
    st.integers(0, 2),
    st.sampled_from([None, 0, 5]),
    st.integers(1, 3),
)
BATCHES = st.lists(
    st.tuples(st.one_of(st.none(), ATTRIBUTES), st.lists(st.tuples(st.integers(1, 3), st.integers(2, 9)), min_size=1)),
    max_size=30,
)


def expected(paths: dict[tuple[int, int], Attributes]) -> dict[tuple[Family, int], tuple[int, frozenset[object]]]:
    """What packets are to follow, by prefix."""
    found: dict[tuple[Family, int], tuple[int, frozenset[object]]] = {}
    for key in {key for _, key in paths}:
        left = decided(path for (_, other), path in paths.items() if other == key and path.next_hop[1] != NOWHERE)
        if not left:
            continue
        found[4, key] = (left[0].med or 0, frozenset((path.next_hop[1], peer(path.large_communities)) for path in left))
    return found


@given(BATCHES, st.integers(1, 5))
def test_what_packets_follow_is_what_bgp_decides(
    batches: list[tuple[Attributes | None, list[tuple[int, int]]]], portion: int
) -> None:
    table = Written()
    rib = Rib(table, resolve, peer)
    paths: dict[tuple[int, int], Attributes] = {}
    for attributes, routes in batches:
        rib.take(batch(attributes, *routes))
        for route in routes:
            if attributes is None:
                paths.pop(route, None)
            else:
                paths[route] = attributes
        if len(routes) % 2:
            while rib.flush(portion):
                pass
            assert table.all() == expected(paths)
    while rib.flush(portion):
        pass
    assert table.all() == expected(paths)
    assert rib.count(4) == len({key for _, key in paths})


def test_a_next_hop_that_is_found_later_brings_its_routes() -> None:
    there = False
    table = Written()
    rib = Rib(table, lambda family, address, who: resolve(family, address, who) if there else None, peer)
    rib.take(batch(said(0, 100, 1, 0, 7, 1), (1, 5)))
    rib.flush()
    assert not table.all()
    there = True
    rib.resolve_again()
    rib.flush()
    assert table.all() == {(4, 5): (7, frozenset({(ROUTERS[0], "192.0.2.1")}))}


def test_a_path_that_is_told_again_follows_what_was_found_meanwhile() -> None:
    there = False
    table = Written()
    rib = Rib(table, lambda family, address, who: resolve(family, address, who) if there else None, peer)
    attributes = said(0, 100, 1, 0, 7, 1)
    for each in (attributes, None):
        rib.take(batch(each, (1, 5)))
    there = True
    rib.resolve_again()
    rib.take(batch(attributes, (1, 5)))
    rib.flush()
    assert table.all() == {(4, 5): (7, frozenset({(ROUTERS[0], "192.0.2.1")}))}


def test_all_is_forgotten_when_the_session_ends() -> None:
    table = Written()
    rib = Rib(table, resolve, peer)
    rib.take(batch(said(0, 100, 1, 0, 7, 1), (1, 5), (1, 6)))
    rib.flush()
    rib.clear()
    assert rib.pending
    changed = rib.flush()
    assert changed is not None
    assert sorted(changed.keys) == [5, 6]
    assert not table.all()


def test_paths_are_listed_best_first_and_those_that_lead_nowhere_last() -> None:
    rib = Rib(Written(), resolve, peer)
    for number, attributes in (
        (1, said(3, 200, 0, 0, 0, 1)),
        (2, said(0, 100, 2, 0, 0, 2)),
        (3, said(1, 100, 1, 0, 0, 3)),
    ):
        rib.take(batch(attributes, (number, 5)))
    assert [path.number for path in in_order(rib.paths(4)[5])] == [3, 2, 1]


def test_a_table_that_is_full_is_emptied_and_filled_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    table = Written()
    rib = Rib(table, resolve, peer)
    rib.take(batch(said(0, 100, 1, 0, 7, 1), (1, 5), (1, 6), (1, 7)))
    table.room = 2
    for pause in (1, 2):
        assert rib.due(1, now)
        assert rib.flush() is not None
        assert not table.all()
        assert rib.wait(now) == pause, "it is not tried again at once"
        assert not rib.due(1, now)
        now += pause
    table.room = 3
    assert rib.due(1, now)
    assert rib.flush() is not None
    assert len(table.all()) == 3
    assert rib.wait(now) is None


def test_few_changes_wait_a_moment_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    rib = Rib(Written(), resolve, peer)
    assert rib.wait(now) is None
    rib.take(batch(said(0, 100, 1, 0, 7, 1), (1, 5)))
    assert rib.due(1, now), "the first does not wait"
    rib.flush()
    rib.take(batch(said(0, 100, 1, 0, 7, 1), (1, 6)))
    assert 0 < (rib.wait(now) or 0) <= REST_S
    now += 2 * REST_S
    assert rib.due(1, now)
    assert not rib.due(5000, now), "more are on their way"
