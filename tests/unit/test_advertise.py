"""What VPCs with BGP neighbours are told: by example, against a naive reading of the rules, and as routes change."""

from __future__ import annotations

from random import Random
from typing import Literal, NamedTuple
from unittest.mock import patch

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from isthmus.compile import compile_tables
from isthmus.model.types import Attachment, Item, Model, Peering, Side, StaticRoute, Subnet, Vpc
from isthmus.routing.advertise import Advertiser, Announcement, Changes, Drain, Heard, Policy
from isthmus.routing.advertise.announcement import (
    GRACEFUL_SHUTDOWN,
    NO_ADVERTISE,
    NO_EXPORT,
    NO_EXPORT_SUBCONFED,
)
from isthmus.routing.advertise.offers import key_range
from isthmus.tables.address import BITS, FAMILIES, MASK128, Family, Prefix
from isthmus.tables.entries import AttachmentKey, Nat, PathKind, SideKey, Tables, Tag
from isthmus.tables.learned import Down, key_prefix, prefix_key
from isthmus.tables.martians import MARTIANS
from tests.differential.configuration import random_model

Learned = dict[str, dict[Family, dict[int, Heard]]]
Told = dict[str, tuple[int, object, frozenset[int]]]


class Values(NamedTuple):
    values: tuple[int, ...] = ()


class LargeValues(NamedTuple):
    values: tuple[tuple[int, int, int], ...] = ()


class Path(NamedTuple):
    """Attributes of a learned route."""

    as_path: tuple[int, ...] = ()
    communities: Values = Values()
    origin: int = 0
    large_communities: LargeValues = LargeValues()


def large(*values: tuple[int, int, int]) -> LargeValues:
    return LargeValues(values)


def key(text: str) -> int:
    return prefix_key(Prefix.parse(text))


def items(*texts: str) -> tuple[Item, ...]:
    return tuple(Item(Prefix.parse(text), f"[{index}]") for index, text in enumerate(texts))


def side(vpc: str, ips: str, as_: str = "", metric: int = 0, nat: Nat | None = None) -> Side:
    """``ips`` and ``as_``: CIDRs, those with a minus are under ``not``."""
    kind = nat if nat is not None else Nat.STATIC if as_ else Nat.PLAIN
    halves = [
        items(*(word.lstrip("-") for word in text.split() if word.startswith("-") == negative))
        for text in (ips, as_)
        for negative in (False, True)
    ]
    return Side("", vpc, kind, halves[0], halves[1], halves[2], halves[3], None, metric, "")


def tables_of(*pairs: tuple[Side, Side], subnets: str = "", routes: str = "", bare: str = "") -> Tables:
    """Peerings of VPCs with one attachment each; ``subnets`` and ``routes``: ``VPC=CIDR`` words; ``bare``: has none."""
    names = sorted({one.vpc for pair in pairs for one in pair})
    inside = {name: [word.split("=")[1] for word in subnets.split() if word.startswith(f"{name}=")] for name in names}
    via = {name: [word.split("=")[1] for word in routes.split() if word.startswith(f"{name}=")] for name in names}
    vpcs = {
        name: Vpc(
            name,
            True,
            None,
            tuple(Subnet("s", Prefix.parse(text), 0, "") for text in inside[name]),
            () if name in bare.split() else (Attachment(f"p-{name}", Tag(), ((4, 10 << 120, 32),), 0, ""),),
            tuple(StaticRoute(Prefix.parse(text), None, 0, 7, "") for text in via[name]),
        )
        for name in names
    }
    peerings = {}
    for one, other in pairs:
        name = f"{one.vpc}--{other.vpc}"
        peerings[name] = Peering(name, (one._replace(peering=name), other._replace(peering=name)))
    return compile_tables(Model(vpcs, dict(sorted(peerings.items())), None))


def heard(**routes: str) -> Learned:
    """``isp="8.0.0.0/8@20"``: learned with MED 20 from AS 65001; ``!``: down; ``~``: no-export."""
    learned: Learned = {}
    for vpc, text in routes.items():
        for word in text.split():
            prefix, _, med = word.strip("!~").partition("@")
            kept = Values((NO_EXPORT,)) if "~" in word else Values((7,))
            known = learned.setdefault(vpc, {}).setdefault(Prefix.parse(prefix).family, {})
            known[key(prefix)] = Heard(int(med or 0), "!" not in word, Path((65001,), kept))
    return learned


def told(advertiser: Advertiser, vpc: str) -> dict[str, int]:
    """The prefixes that a VPC is told, and their MEDs."""
    return {
        str(key_prefix(family, one)): said.med
        for family, all_ in advertiser.announced(vpc).items()
        for one, said in all_.items()
    }


KINDS: list[Literal["routes", "summary"] | None] = ["routes", "summary", None]
ROUTES, SUMMARY, EITHER = Policy(advertise="routes"), Policy(advertise="summary"), Policy()
PLAIN = (side("leaf", "10.1.0.0/24"), side("isp", "0.0.0.0/0 -10.0.0.0/8", metric=10))


def test_routes_are_cut_to_what_is_exposed() -> None:
    tables = tables_of((side("leaf", "10.1.0.0/24"), side("isp", "8.8.0.0/16 -8.8.4.0/24 9.0.0.0/30", metric=10)))
    learned = heard(isp="8.0.0.0/8@5 8.8.8.0/24@7 8.8.4.0/24 7.0.0.0/8 9.0.0.0/29@1 9.0.0.2/32!")
    cut = {"8.8.0.0/22": 15, "8.8.5.0/24": 15, "8.8.6.0/23": 15, "8.8.8.0/21": 15}
    cut |= {"8.8.16.0/20": 15, "8.8.32.0/19": 15, "8.8.64.0/18": 15, "8.8.128.0/17": 15}
    assert told(Advertiser(tables, {"leaf": ROUTES}, learned), "leaf") == cut | {"8.8.8.0/24": 17, "9.0.0.0/30": 11}


def test_a_default_route_stays_one_over_martians_and_the_subnets_of_who_hears_it() -> None:
    tables = tables_of((side("leaf", "10.1.0.0/24"), side("isp", "0.0.0.0/0")), subnets="leaf=10.1.0.0/24")
    learned = heard(isp="0.0.0.0/0 127.0.0.0/8 169.254.7.0/24 10.1.0.0/25 10.0.0.0/8")
    for policy in (ROUTES, SUMMARY):
        expected = {"0.0.0.0/0": 0} | ({"10.0.0.0/8": 0} if policy is ROUTES else {})
        assert told(Advertiser(tables, {"leaf": policy}, learned), "leaf") == expected


def test_static_nat_translates_prefixes() -> None:
    """Two halves that are crossed: what is one prefix inside is two outside."""
    crossed = side("db", "10.0.0.0/25 10.0.0.128/25 -10.0.0.3/32", "192.0.2.128/25 192.0.2.0/25", metric=3)
    tables = tables_of((side("leaf", "10.1.0.0/24"), crossed), routes="db=10.0.0.0/24 db=10.0.0.0/30")
    shown = told(Advertiser(tables, {"leaf": ROUTES}, {}), "leaf")
    assert shown["192.0.2.0/25"] == 10
    assert shown["192.0.2.128/31"] == shown["192.0.2.130/32"] == 10
    assert "192.0.2.131/32" not in shown
    assert shown["192.0.2.132/30"] == 10
    assert "192.0.2.128/32" not in shown  # the gateway's own
    assert not any(prefix.startswith("10.") for prefix in shown)


def test_a_summary_is_what_is_written_while_something_below_is_alive() -> None:
    tables = tables_of((side("leaf", "10.1.0.0/24"), side("isp", "8.0.0.0/8 9.0.0.0/8 9.9.0.0/16 7.0.0.0/8", metric=4)))
    learned = heard(isp="8.8.8.0/24@50 9.9.9.9/32! 9.1.0.0/16 6.0.0.0/7@1 7.0.0.0/8@1!")
    advertiser = Advertiser(tables, {"leaf": SUMMARY}, learned)
    assert told(advertiser, "leaf") == {"8.0.0.0/8": 4, "9.0.0.0/8": 4}
    learned["isp"][4][key("9.9.9.9/32")] = Heard(0, True)
    assert advertiser.update("isp", 4, [key("9.9.9.9/32")]) == {"leaf": {4: {key("9.9.0.0/16"): Announcement(4)}}}
    del learned["isp"][4][key("8.8.8.0/24")]
    assert advertiser.update("isp", 4, [key("8.8.8.0/24")]) == {"leaf": {4: {key("8.0.0.0/8"): None}}}


def test_a_summary_lives_by_a_route_around_it_too() -> None:
    tables = tables_of((side("leaf", "10.1.0.0/24"), side("isp", "8.0.0.0/8", metric=4)))
    learned = heard(isp="8.0.0.0/7")
    advertiser = Advertiser(tables, {"leaf": SUMMARY}, learned)
    assert told(advertiser, "leaf") == {"8.0.0.0/8": 4}
    learned["isp"][4][key("8.0.0.0/7")] = Heard(0, False)
    assert advertiser.update("isp", 4, [key("8.0.0.0/7")]) == {"leaf": {4: {key("8.0.0.0/8"): None}}}


def test_routes_of_both_families_count_as_many() -> None:
    learned = heard(isp=" ".join(f"8.{n >> 8}.{n & 255}.0/24 2001:db8:{n:x}::/48" for n in range(501)))
    assert told(Advertiser(tables_of(PLAIN), {"leaf": EITHER}, learned), "leaf").keys() >= {"8.0.0.0/7"}


def test_an_own_route_lives_while_one_of_its_next_hops_does() -> None:
    tables = tables_of((side("leaf", "10.1.0.0/24"), side("isp", "8.0.0.0/8")), routes="isp=8.8.0.0/16")
    isp = tables.vpcs["isp"]
    (route,) = (one for one in isp.routes[4] if not one.local)
    (hop,) = route.next_hops
    first, second = AttachmentKey("isp", "p-isp", Tag()), AttachmentKey("isp", "p-other", Tag())
    both = route._replace(next_hops=(hop, hop._replace(attachment=second)))
    two = Tables({**tables.vpcs, "isp": isp._replace(routes={4: (both,), 6: ()})}, tables.sides)
    advertiser = Advertiser(two, {"leaf": ROUTES}, {})
    assert advertiser.set_down(frozenset({first})) == {}
    assert advertiser.set_down(frozenset({first, second})) == {"leaf": {4: {key("8.8.0.0/16"): None}}}


def test_more_than_a_thousand_routes_are_summed_up_if_nothing_else_is_asked_for() -> None:
    tables = tables_of(PLAIN)  # the gateway's own address is one of the routes
    learned = heard(isp=" ".join(f"8.{n >> 8}.{n & 255}.0/24" for n in range(999)))
    advertiser = Advertiser(tables, {"leaf": EITHER}, learned)
    assert len(told(advertiser, "leaf")) == 999
    learned["isp"][4][key("7.0.0.0/8")] = Heard(0, True)
    changes = advertiser.update("isp", 4, [key("7.0.0.0/8")])
    assert "8.0.0.0/7" in told(advertiser, "leaf")
    assert len([one for one in changes["leaf"][4].values() if one is None]) == 999
    assert told(Advertiser(tables, {"leaf": ROUTES}, learned), "leaf").keys() > {"7.0.0.0/8", "8.0.0.0/24"}
    del learned["isp"][4][key("8.0.0.0/24")]
    advertiser.update("isp", 4, [key("8.0.0.0/24")])
    assert len(told(advertiser, "leaf")) == 999
    advertiser.follow(tables_of(PLAIN, routes="isp=9.0.0.0/24"), {"leaf": EITHER})
    assert "8.0.0.0/7" in told(advertiser, "leaf")


def test_what_stays_is_not_told_again_when_a_summary_takes_the_place_of_routes() -> None:
    leaf = side("leaf", "10.1.0.0/24")
    tables = tables_of((leaf, side("e1", "8.0.0.0/8", metric=10)), (leaf, side("e2", "8.0.0.0/8", metric=5)))
    some = " ".join(f"8.{n}.0.0/16" for n in range(9))
    learned = heard(e1="8.1.0.0/16 8.2.0.0/16", e2=some)
    with patch("isthmus.routing.advertise.advertiser.MANY_ROUTES", 7):
        advertiser = Advertiser(tables, {"leaf": EITHER}, learned)
        assert told(advertiser, "leaf") == {"8.0.0.0/8": 5, "8.1.0.0/16": 10, "8.2.0.0/16": 10}
        learned |= heard(e1=some)
        changes = advertiser.update("e1", 4, list(learned["e1"][4]))
    assert changes == {"leaf": {4: {key("8.1.0.0/16"): None, key("8.2.0.0/16"): None}}}


def test_a_stateful_side_is_always_told_if_its_vpc_has_an_attachment() -> None:
    pool = side("lan", "10.0.0.0/8", "203.0.113.4/30 203.0.113.8/29 -203.0.113.9/32", 2, Nat.STATEFUL)
    shown = {f"203.0.113.{end}": 2 for end in ("4/30", "8/32", "10/31", "12/30")}
    for policy in (ROUTES, SUMMARY):
        assert told(Advertiser(tables_of((pool, side("isp", "8.0.0.0/8"))), {"isp": policy}, {}), "isp") == shown
        bare = tables_of((pool, side("isp", "8.0.0.0/8")), bare="lan")
        assert told(Advertiser(bare, {"isp": policy}, {}), "isp") == {}


def test_what_is_kept_back_is_not_passed_on_and_the_rest_keeps_its_path() -> None:
    tables = tables_of((side("leaf", "10.1.0.0/24"), side("isp", "0.0.0.0/0", metric=2**31 - 1)))
    policy = Policy((5, 9), ((1, 2, 3),), "routes")
    learned = heard(isp="8.0.0.0/8@4294967295 9.0.0.0/8~ 9.0.0.0/16")
    learned["isp"][4][key("8.0.0.0/8")] = Heard(2**32 - 1, True, Path((65001,), Values((7,)), 2, large((4, 5, 6))))
    learned["isp"][4][key("7.0.0.0/8")] = Heard(1, True, Path((1, 2), Values((NO_ADVERTISE,))))
    learned["isp"][4][key("6.0.0.0/8")] = Heard(1, True, Path((1, 2), Values((7, NO_EXPORT_SUBCONFED))))
    advertiser = Advertiser(tables, {"leaf": policy}, learned)
    said = Announcement(2**32 - 1, 2, (65001,), (5, 7, 9), ((1, 2, 3), (4, 5, 6)))
    assert advertiser.announced("leaf")[4].keys() == {key("8.0.0.0/8"), key("9.0.0.0/16")}
    assert advertiser.announced("leaf")[4][key("8.0.0.0/8")] == said
    summed = Advertiser(tables, {"leaf": policy._replace(advertise="summary")}, learned)
    own = Announcement(2**31 - 1, 0, (), (5, 9), ((1, 2, 3),))
    assert summed.announced("leaf")[4] == {key("0.0.0.0/0"): own}
    kept = heard(isp="8.0.0.0/8~")
    assert told(Advertiser(tables, {"leaf": SUMMARY}, kept), "leaf") == {}


def test_of_several_offers_of_a_prefix_the_lowest_med_is_told_with_its_path() -> None:
    leaf = side("leaf", "10.1.0.0/24")
    tables = tables_of((leaf, side("e1", "8.0.0.0/8", metric=10)), (leaf, side("e2", "8.0.0.0/8", metric=20)))
    learned = heard(e1="8.0.0.0/8@100 8.8.0.0/16", e2="8.0.0.0/8@50")
    learned["e2"][4][key("8.0.0.0/8")] = Heard(50, True, Path((65002, 65003)))
    advertiser = Advertiser(tables, {"leaf": ROUTES}, learned)
    assert advertiser.announced("leaf")[4][key("8.0.0.0/8")] == Announcement(70, 0, (65002, 65003))
    learned["e2"][4][key("8.0.0.0/8")] = Heard(90, True, Path((65002,)))
    changes = advertiser.update("e2", 4, [key("8.0.0.0/8")])
    assert changes["leaf"][4] == {key("8.0.0.0/8"): Announcement(110, 0, (65001,), (7,))}  # of equals the first
    learned["e2"][4][key("8.0.0.0/8")] = Heard(50, True, Path((65002,)))
    advertiser.update("e2", 4, [key("8.0.0.0/8")])
    learned["e2"][4][key("8.0.0.0/8")] = Heard(50, False, Path((65002,)))
    changes = advertiser.update("e2", 4, [key("8.0.0.0/8")])
    assert changes["leaf"][4] == {key("8.0.0.0/8"): Announcement(110, 0, (65001,), (7,))}


def test_an_own_route_that_is_down_hides_the_learned_one_of_its_prefix() -> None:
    tables = tables_of((side("leaf", "10.1.0.0/24"), side("isp", "8.0.0.0/8")), routes="isp=8.8.0.0/16")
    advertiser = Advertiser(tables, {"leaf": ROUTES}, heard(isp="8.8.0.0/16@1 8.0.0.0/9@2"))
    assert told(advertiser, "leaf") == {"8.8.0.0/16": 7, "8.0.0.0/9": 2}
    down: frozenset[Down] = frozenset({AttachmentKey("isp", "p-isp", Tag())})
    assert advertiser.set_down(down) == {"leaf": {4: {key("8.8.0.0/16"): None}}}
    assert advertiser.set_down(frozenset())["leaf"][4].keys() == {key("8.8.0.0/16")}


def test_a_gateway_that_leaves_says_so_first() -> None:
    """RFC 8326."""
    learned = heard(isp="8.0.0.0/8 9.0.0.0/8")
    advertiser = Advertiser(tables_of(PLAIN), {"leaf": ROUTES}, learned)
    before = dict(advertiser.announced("leaf")[4])
    said = advertiser.set_drain(Drain.ANNOUNCED)["leaf"][4]
    assert said == advertiser.announced("leaf")[4]
    assert said.keys() == before.keys()
    assert all(one is not None and one.communities == (7, GRACEFUL_SHUTDOWN) for one in said.values())
    learned["isp"][4][key("7.0.0.0/8")] = Heard(3, True)
    late = advertiser.update("isp", 4, [key("7.0.0.0/8")])["leaf"][4]
    assert late == {key("7.0.0.0/8"): Announcement(13, 0, (), (GRACEFUL_SHUTDOWN,))}
    assert advertiser.set_drain(Drain.WITHDRAWN)["leaf"][4] == dict.fromkeys([*before, key("7.0.0.0/8")])
    assert advertiser.announced("leaf") == {}
    del learned["isp"][4][key("9.0.0.0/8")]
    assert advertiser.update("isp", 4, [key("9.0.0.0/8")]) == {}
    back = advertiser.set_drain(Drain.NO)["leaf"][4]
    assert back.keys() == {key("7.0.0.0/8"), key("8.0.0.0/8")}
    assert back[key("8.0.0.0/8")] == before[key("8.0.0.0/8")]


# --- anything ---

SEEDS = st.integers(0, 2**32)  # a smaller seed is no simpler case: nothing is shrunk


def draw_heard(rng: Random) -> Heard:
    kept = Values((rng.choice([7, 7, 7, NO_EXPORT]),))
    return Heard(rng.choice([0, 5, 2**32 - 1]), rng.random() < 0.7, Path((rng.randrange(3),), kept))


def draw_routes(rng: Random, tables: Tables) -> list[tuple[str, Family, int]]:
    """Places of routes that matter: around what sides offer, a bit longer or shorter."""
    found = []
    for one, offering in tables.sides.items():
        for family, ranges in offering.private.items():
            for span in ranges:
                length = max(0, min(BITS[family], 128 - (span.first ^ span.last).bit_length() + rng.randint(-2, 3)))
                address = rng.choice([span.first, span.last])
                found.append((one.vpc, family, 1 << length | address >> 128 - length))
    return found


@given(SEEDS)
@settings(max_examples=60, deadline=None, phases=(Phase.reuse, Phase.generate))
def test_what_is_told_after_changes_is_what_a_fresh_start_tells(seed: int) -> None:
    """Few routes are many here, and a few at a time are worked out."""
    with patch.multiple("isthmus.routing.advertise.advertiser", MANY_ROUTES=4, _AT_ONCE=2):
        tell_after_changes(Random(seed))


def tell_after_changes(rng: Random) -> None:
    tables = compile_tables(random_model(rng))
    policies = {name: Policy((), (), rng.choice(KINDS)) for name in tables.vpcs if rng.random() < 0.8}
    learned: Learned = {name: {4: {}, 6: {}} for name in tables.vpcs}
    places = draw_routes(rng, tables)
    for vpc, family, one in places:
        if rng.random() < 0.5:
            learned[vpc][family][one] = draw_heard(rng)
    attachments = [one.key for vpc in tables.vpcs.values() for one in vpc.attachments]
    advertiser = Advertiser(tables, policies, learned)
    mirror: dict[str, dict[Family, dict[int, Announcement]]] = {
        name: {f: dict(advertiser.announced(name).get(f, {})) for f in FAMILIES} for name in policies
    }
    down: frozenset[Down] = frozenset()
    for _ in range(6):
        if places and rng.random() < 0.8:
            vpc, family, _ = rng.choice(places)
            keys = [one for v, f, one in rng.sample(places, rng.randint(1, len(places))) if (v, f) == (vpc, family)]
            for one in keys:
                learned[vpc][family].pop(one, None)
                if rng.random() < 0.6:
                    learned[vpc][family][one] = draw_heard(rng)
            changes = advertiser.update(vpc, family, keys)
        else:
            down = frozenset(one for one in attachments if rng.random() < 0.4)
            changes = advertiser.set_down(down)
        play(mirror, changes)
        fresh = Advertiser(tables, policies, learned, down)
        for name in policies:
            assert advertiser.announced(name) == fresh.announced(name)
            assert {f: all_ for f, all_ in mirror[name].items() if all_} == fresh.announced(name)


@given(SEEDS)
@settings(max_examples=30, deadline=None, phases=(Phase.reuse, Phase.generate))
def test_another_configuration_is_told_as_what_is_different(seed: int) -> None:
    """Whoever was there and is there still is told the difference, and nothing twice."""
    rng = Random(seed)
    model = random_model(rng)
    learned: Learned = {name: {4: {}, 6: {}} for name in model.vpcs}
    for vpc, family, one in draw_routes(rng, compile_tables(model)):
        learned[vpc][family][one] = draw_heard(rng)
    policies = draw_policies(rng, model)
    advertiser = Advertiser(compile_tables(model), policies, learned)
    for _ in range(4):
        before = {name: {f: dict(all_) for f, all_ in advertiser.announced(name).items()} for name in policies}
        model = changed(rng, model)
        tables = compile_tables(model)
        if rng.random() < 0.3:
            policies = draw_policies(rng, model)
        changes = advertiser.follow(tables, policies)
        fresh = Advertiser(tables, policies, learned)
        for name in policies:
            assert advertiser.announced(name) == fresh.announced(name)
            for family in FAMILIES:
                was, now = before.get(name, {}).get(family, {}), fresh.announced(name).get(family, {})
                difference = {key: now.get(key) for key in {**was, **now} if was.get(key) != now.get(key)}
                assert changes.get(name, {}).get(family, {}) == difference
        assert changes.keys() <= policies.keys()
        vpc = rng.choice(sorted(tables.vpcs))
        for family, all_ in learned[vpc].items():
            gone = [one for one in all_ if rng.random() < 0.3]
            for one in gone:
                del all_[one]
            advertiser.update(vpc, family, gone)


def draw_policies(rng: Random, model: Model) -> dict[str, Policy]:
    modes: list[Literal["routes", "summary"] | None] = ["routes", "summary", None]
    return {name: Policy((), (), rng.choice(modes)) for name in model.vpcs if rng.random() < 0.8}


def changed(rng: Random, model: Model) -> Model:
    """One peering gone, or with another metric or fewer addresses; or a VPC with fewer routes, or cut off."""
    peerings, vpcs = dict(model.peerings), dict(model.vpcs)
    if rng.random() < 0.5:
        name = rng.choice(sorted(vpcs))
        vpc = vpcs[name]
        if rng.random() < 0.3:
            vpcs[name] = vpc._replace(attachments=(), subnets=(), routes=())
        else:
            routes = [route._replace(metric=rng.randrange(9)) for route in vpc.routes if rng.random() < 0.7]
            vpcs[name] = vpc._replace(routes=tuple(routes), subnets=vpc.subnets[1:])
    elif peerings:
        name = rng.choice(sorted(peerings))
        sides = list(peerings[name].sides)
        which = rng.randrange(2)
        match rng.randrange(3):
            case 0:
                del peerings[name]
                return model._replace(peerings=peerings)
            case 1:
                sides[which] = sides[which]._replace(metric=rng.randrange(100))
            case _:
                ips = sides[which].ips
                sides[which] = sides[which]._replace(ips=ips[:1] if sides[which].nat is not Nat.STATIC else ips)
        peerings[name] = peerings[name]._replace(sides=(sides[0], sides[1]))
    return model._replace(peerings=peerings, vpcs=vpcs)


def play(mirror: dict[str, dict[Family, dict[int, Announcement]]], changes: Changes) -> None:
    """Do what neighbours would be told."""
    for vpc, by_family in changes.items():
        for family, changed in by_family.items():
            for one, said in changed.items():
                assert mirror[vpc][family].get(one) != said, "nothing is told twice"
                if said is None:
                    del mirror[vpc][family][one]
                else:
                    mirror[vpc][family][one] = said


@given(SEEDS)
@settings(max_examples=60, deadline=None, phases=(Phase.reuse, Phase.generate))
def test_an_address_is_in_what_is_told_if_packets_to_it_would_find_a_way(seed: int) -> None:
    """Held against the exposures and routes by address, which is how packets see them."""
    rng = Random(seed)
    tables = compile_tables(random_model(rng))
    learned: Learned = {name: {4: {}, 6: {}} for name in tables.vpcs}
    for vpc, family, one in draw_routes(rng, tables):
        learned[vpc][family][one] = draw_heard(rng)
    policies = dict.fromkeys(tables.vpcs, ROUTES)
    advertiser = Advertiser(tables, policies, learned)
    for name, vpc_ in tables.vpcs.items():
        for family in FAMILIES:
            said = advertiser.announced(name).get(family, {})
            edges = [edge for one in said for edge in key_range(family, one)]
            edges += [edge for one in vpc_.exposures.get(family, ()) for edge in one[:2]]
            for address in rng.sample(edges, min(12, len(edges))):
                meds = {said[one].med for one in above(family, address) if one in said}
                ways = list(ways_to(tables, learned, name, family, address))
                if len(ways) == 1 and not any(address in martian for martian in MARTIANS[family]):
                    (med,) = ways
                    # or a better offer of the same prefix, in which another address has no way
                    assert med in meds or min(meds) < med, str(Prefix(family, address, BITS[family]))
                if meds and not offers_of(tables, name, family, address):
                    own = [
                        exposure for exposure in vpc_.exposures[family] if exposure.first <= address <= exposure.last
                    ]
                    assert own[0].candidates[0].kind is PathKind.SAME_VPC


def above(family: Family, address: int) -> list[int]:
    return [1 << length | address >> 128 - length for length in range(BITS[family], -1, -1)]


def offers_of(tables: Tables, name: str, family: Family, address: int) -> list[tuple[PathKind, SideKey, int, int]]:
    return [
        (one.kind, one.there, one.delta, one.metric)
        for exposure in tables.vpcs[name].exposures.get(family, ())
        if exposure.first <= address <= exposure.last
        for one in exposure.candidates
        if one.there is not None and one.kind is not PathKind.HOLE
    ]


def ways_to(tables: Tables, learned: Learned, name: str, family: Family, address: int) -> list[int]:
    """The MED of every side that a packet to this address could be for."""
    found = []
    for kind, there, delta, metric in offers_of(tables, name, family, address):
        if kind is PathKind.STATEFUL:
            if tables.vpcs[there.vpc].attachments:
                found.append(metric)
            continue
        inside = address + delta & MASK128
        own = {prefix_key(route.prefix): route for route in tables.vpcs[there.vpc].routes.get(family, ())}
        for one in above(family, inside):
            if one in own:
                if not own[one].local:
                    found.append(own[one].metric + metric)
                break
            if (route := learned[there.vpc][family].get(one)) is not None:
                if (
                    route.alive
                    and isinstance(route.attributes, Path)
                    and NO_EXPORT not in route.attributes.communities.values
                ):
                    found.append(min(route.metric + metric, 2**32 - 1))
                break
    return found
