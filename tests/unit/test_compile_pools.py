"""Pools, timeouts, segment sizes and capacities, from the model into the tables."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from isthmus.compile import compile_tables
from isthmus.model.types import Attachment, Gateway, Item, Model, Peering, Side, Vpc
from isthmus.tables.address import FAMILIES, Family, Prefix, step
from isthmus.tables.entries import Nat, Pool, SideKey, Tables, Tag, Timeouts
from isthmus.tables.martians import is_martian
from tests.differential.configuration import random_model


def items(*texts: str) -> tuple[Item, ...]:
    return tuple(Item(Prefix.parse(text), f"as[{index}]") for index, text in enumerate(texts))


def pooled(shown: tuple[Item, ...], hidden: tuple[Item, ...] = ()) -> Side:
    inside = items("10.1.0.0/24", "fd00::/64")
    return Side("p", "a", Nat.STATEFUL, inside, (), shown, hidden, None, 0, "spec.a")


def tables_of(side: Side, gateway: Gateway | None = None) -> Tables:
    other = Side("p", "b", Nat.PLAIN, items("8.0.0.0/8"), (), (), (), None, 0, "spec.b")
    vpcs = {name: Vpc(name, False, None, (), (), ()) for name in ("a", "b")}
    return compile_tables(Model(vpcs, {"p": Peering("p", (side, other))}, gateway))


def pool_of(side: Side) -> Pool:
    found = tables_of(side).sides[SideKey("p", "a")].pool
    assert found is not None
    return found


def ranges(family: Family, *pairs: tuple[str, str]) -> tuple[tuple[int, int], ...]:
    length = 32 if family == 4 else 128
    return tuple(
        (Prefix.parse(f"{first}/{length}").first, Prefix.parse(f"{last}/{length}").first) for first, last in pairs
    )


def test_a_pool_is_sorted_and_joined_and_has_no_hole_and_no_martian() -> None:
    shown = items("203.0.113.4/30", "192.0.2.0/30", "203.0.113.0/30", "126.0.0.0/7", "2001:db8::/126", "::/127")
    pool = pool_of(pooled(shown, items("203.0.113.6/32", "2001:db8::/128")))
    assert pool.addresses == {
        4: ranges(
            4,
            ("126.0.0.0", "126.255.255.255"),
            ("192.0.2.0", "192.0.2.3"),
            ("203.0.113.0", "203.0.113.5"),
            ("203.0.113.7", "203.0.113.7"),
        ),
        6: ranges(6, ("2001:db8::1", "2001:db8::3")),
    }


def test_a_pool_of_martians_alone_is_empty() -> None:
    """What `check` refuses is no reason to fall over."""
    assert pool_of(pooled(items("127.0.0.0/8"))).addresses == {4: (), 6: ()}


def test_settings_of_a_stateful_side_are_in_the_tables() -> None:
    timeouts = Timeouts(1, 2, 3, 4)
    side = pooled(items("192.0.2.0/30"))._replace(
        ports=((80, 80), (2000, 2999)), per_destination=True, timeouts=timeouts
    )
    made = tables_of(side).sides
    assert made[SideKey("p", "a")].pool == Pool(
        {4: ranges(4, ("192.0.2.0", "192.0.2.3")), 6: ()}, ((80, 80), (2000, 2999)), True
    )
    assert made[SideKey("p", "a")].timeouts == timeouts
    assert made[SideKey("p", "b")].pool is None
    assert made[SideKey("p", "b")].timeouts == Timeouts()


def test_a_pool_has_exactly_the_addresses_of_the_stateful_candidates_that_are_no_martians() -> None:
    for seed in range(60):
        for key, side in compile_tables(model := random_model(Random(seed))).sides.items():
            assert (side.pool is None) is (side.nat is not Nat.STATEFUL)
            if side.pool is None:
                continue
            written = next(one for one in model.peerings[key.peering].sides if one.vpc == key.vpc)
            for family in FAMILIES:
                pairs = side.pool.addresses.get(family, ())
                unit = step(family)
                assert all(a[1] + unit < b[0] for a, b in pairwise(pairs))
                shown, hidden = (
                    [item.prefix for item in listed if item.prefix.family == family]
                    for listed in (written.as_, written.as_not)
                )
                edges = {end for prefix in (*shown, *hidden) for end in (prefix.first, prefix.last)}
                edges |= {end for pair in pairs for end in pair}
                for address in {near for edge in edges for near in (edge - unit, edge, edge + unit)}:
                    offered = any(address in prefix for prefix in shown)
                    usable = offered and not any(address in hole for hole in hidden)
                    wanted = usable and not is_martian(family, address)
                    assert any(first <= address <= last for first, last in pairs) is wanted, (seed, key, hex(address))


def test_segment_sizes_and_capacities_are_in_the_tables() -> None:
    tagged = [Attachment("eth1", Tag(), (), 1500, "spec.attachments[0]", 1360), Attachment("eth2", Tag(), (), 0, "x")]
    model = Model({"a": Vpc("a", True, None, (), tuple(tagged), ())}, {}, Gateway("n", (), 4096))
    tables = compile_tables(model)
    assert [(one.mtu, one.mss) for one in tables.vpcs["a"].attachments] == [(1500, 1360), (0, 0)]
    assert tables.flows == 4096
    assert compile_tables(model._replace(gateway=Gateway("n", ()))).flows is None
    assert compile_tables(model._replace(gateway=None)).flows is None
