"""The compiler against naive readings of SPEC: addresses listed one by one, offers tried one by one."""

from __future__ import annotations

from itertools import pairwise, product
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from isthmus.compile import compile_tables
from isthmus.compile.sides import lay_out
from isthmus.model.types import Item, Match, Model, Peering, Rule, Side, Vpc
from isthmus.tables.address import MASK128, Prefix, step
from isthmus.tables.entries import Candidate, Exposure, Nat, PathKind, SideKey, Tables
from tests.differential.configuration import random_model

SEEDS = range(60)


def items(*texts: str) -> tuple[Item, ...]:
    return tuple(Item(Prefix.parse(text), f"[{index}]") for index, text in enumerate(texts))


def side(vpc: str, ips: tuple[Item, ...], shown: tuple[Item, ...] = (), **more: object) -> Side:
    made = Side("p", vpc, Nat.STATIC if shown else Nat.PLAIN, ips, (), shown, (), None, 0, f"spec.{vpc}")
    return made._replace(**more)  # type: ignore[arg-type]  # of the fields of Side


def addresses(found: tuple[Item, ...]) -> list[int]:
    return [item.prefix.first + k * step(item.prefix.family) for item in found for k in range(item.prefix.size)]


@st.composite
def same_size_lists(draw: st.DrawFn) -> tuple[tuple[Item, ...], tuple[Item, ...], tuple[Item, ...], tuple[Item, ...]]:
    """Two lists of CIDRs with the same number of addresses, cut differently, and holes in both."""

    def cut(prefix: Prefix) -> list[Prefix]:
        if prefix.length >= 30 or draw(st.booleans()):
            return [prefix]
        half = prefix.length + 1
        parts = [prefix._replace(length=half), Prefix(4, prefix.first + (1 << (128 - half)), half)]
        return [piece for part in (parts[::-1] if draw(st.booleans()) else parts) for piece in cut(part)]

    def holes(prefixes: list[Prefix]) -> tuple[Item, ...]:
        picked = draw(
            st.lists(st.tuples(st.sampled_from(prefixes), st.integers(28, 32), st.integers(0, 15)), max_size=2)
        )
        found = [
            Prefix(4, (p.first + k * step(4)) & ~((1 << (128 - max(n, p.length))) - 1), max(n, p.length))
            for p, n, k in picked
        ]
        return tuple(Item(hole, "not") for hole in found)

    private, public = cut(Prefix.parse("10.1.1.0/27")), cut(Prefix.parse("192.168.7.0/27"))
    listed = [tuple(Item(p, f"[{i}]") for i, p in enumerate(ps)) for ps in (private, public)]
    return listed[0], holes(private), listed[1], holes(public)


@given(same_size_lists())
def test_static_side_maps_the_kth_to_the_kth(
    lists: tuple[tuple[Item, ...], tuple[Item, ...], tuple[Item, ...], tuple[Item, ...]],
) -> None:
    """A `not` of either space is a hole in both, and never a shift."""
    ips, ips_not, shown, shown_not = lists
    layout = lay_out(side("a", ips, shown, ips_not=ips_not, as_not=shown_not))[4]
    forth: dict[int, int | None] = {}
    back: dict[int, tuple[int, bool]] = {}
    for r in layout.private:
        forth |= {a: (a + r.delta) & MASK128 for a in range(r.first, r.last + 1, step(4))}
    for offer in layout.offers:
        back |= {a: ((a + offer.delta) & MASK128, offer.hole) for a in range(offer.first, offer.last + 1, step(4))}
    gone = set(addresses(ips_not)), set(addresses(shown_not))
    for inside, outside in zip(addresses(ips), addresses(shown), strict=True):
        hole = inside in gone[0] or outside in gone[1]
        assert forth.get(inside) == (None if hole else outside)
        assert back[outside] == (inside, hole)


def covers(exposure: Exposure, address: int) -> bool:
    return exposure.first <= address <= exposure.last


def naive_offers(model: Model, sender: str, address: int) -> set[tuple[str, str, int]]:
    """(peering, VPC, private address) of all who offer the address to the sender, by listing."""
    found = set()
    for name, peering in model.peerings.items():
        for here, there in (peering.sides, peering.sides[::-1]):
            if here.vpc != sender:
                continue
            shown = there.ips if there.nat is Nat.PLAIN else there.as_
            gone = there.ips_not if there.nat is Nat.PLAIN else there.as_not
            skipped = 0
            for item in shown:
                if item.prefix.family == 4 and address in item.prefix:
                    index = skipped + (address - item.prefix.first) // step(4)
                    private = _kth(there.ips, index) if there.nat is Nat.STATIC else address
                    barred = [*gone, *(there.ips_not if there.nat is Nat.STATIC else ())]
                    if not any(address in h.prefix for h in gone if h.prefix.family == 4) and not any(
                        private in h.prefix for h in barred if h.prefix.family == 4 and h in there.ips_not
                    ):
                        found.add((name, there.vpc, private))
                skipped += item.prefix.size if item.prefix.family == 4 else 0
    return found


def _kth(listed: tuple[Item, ...], index: int) -> int:
    for item in (item for item in listed if item.prefix.family == 4):
        if index < item.prefix.size:
            return item.prefix.first + index * step(4)
        index -= item.prefix.size
    raise AssertionError("the lists differ in size")


def test_exposures_hold_exactly_what_is_offered() -> None:
    """Random tangles: for addresses at every edge the candidates are those that a plain reading finds."""
    for seed in SEEDS:
        model = random_model(Random(seed))
        for vpc in compile_tables(model).vpcs.values():
            exposures = vpc.exposures[4]
            edges = {a for e in exposures for a in (e.first - step(4), e.first, e.last, e.last + step(4))}
            for address in (a for a in edges if 0 <= a <= MASK128):
                at = next((e for e in exposures if covers(e, address)), None)
                said = {(c.there.peering, c.there.vpc, (address + c.delta) & MASK128) for c in real(at) if c.there}
                if at and at.candidates[0].kind is PathKind.SAME_VPC:
                    continue
                assert said == naive_offers(model, vpc.name, address), (seed, vpc.name, hex(address))


def real(exposure: Exposure | None) -> list[Candidate]:
    kinds = (PathKind.PLAIN, PathKind.STATIC, PathKind.STATEFUL)
    return [c for c in exposure.candidates if c.kind in kinds] if exposure else []


def test_entries_are_sorted_disjoint_and_know_their_origin() -> None:
    for seed in SEEDS:
        tables = compile_tables(random_model(Random(seed)))
        for vpc in tables.vpcs.values():
            for family in (4, 6):
                found = vpc.exposures[family]
                assert all(a.last < b.first for a, b in pairwise(found))
                assert all(c.origin.object and c.origin.path for e in found for c in e.candidates)
        for made in tables.sides.values():
            for ranges in made.private.values():
                assert all(a.last < b.first for a, b in pairwise(ranges))
                assert all(r.origin for r in ranges)


def test_order_of_objects_does_not_matter() -> None:
    """The same objects in another order give the same tables."""
    for seed in SEEDS:
        model = random_model(Random(seed))
        turned = Model(
            dict(reversed(model.vpcs.items())),
            {name: Peering(name, (p.sides[1], p.sides[0])) for name, p in reversed(model.peerings.items())},
            model.gateway,
        )
        assert repr(compile_tables(turned)) == repr(compile_tables(model))


def one_peering(left: Side, right: Side) -> Tables:
    vpcs = {name: Vpc(name, False, None, (), (), ()) for name in ("a", "b")}
    return compile_tables(Model(vpcs, {"p": Peering("p", (left, right))}, None))


def test_a_rule_is_one_entry_for_each_protocol_and_port_pair() -> None:
    rule = Rule(
        "", True, None, None, (Match("tcp", ((1, 2), (5, 5)), ((80, 80), (443, 443))), Match("icmp", (), ())), "r"
    )
    tables = one_peering(side("a", items("10.0.0.0/24"), ingress=(rule,)), side("b", items("10.0.1.0/24")))
    entries = tables.sides[SideKey("p", "a")].rules
    assert entries is not None
    ports = [(e.sport, e.dport) for e in entries if e.proto == 6]
    assert ports == list(product([(1, 2), (5, 5)], [(80, 80), (443, 443)]))
    assert [(e.proto, e.needs_ports) for e in entries] == [(6, True)] * 4 + [(1, False)]


def test_only_a_side_without_rules_facing_rules_opens_flows() -> None:
    tables = one_peering(side("a", items("10.0.0.0/24")), side("b", items("10.0.1.0/24"), ingress=()))
    assert tables.sides[SideKey("p", "a")].opens
    assert not tables.sides[SideKey("p", "b")].opens
    assert tables.sides[SideKey("p", "b")].rules == ()
