"""Stateful sides: their settings, and pools that have something to share."""

import pytest

from isthmus.api.objects import read_objects
from isthmus.api.sources import Source
from isthmus.compile import compile_tables
from isthmus.model.build import build
from isthmus.model.side_checks import MOST_POOL_PORTS
from isthmus.model.types import Model, Side
from isthmus.problems import Problem
from isthmus.tables.entries import SideKey, Timeouts

HEAD = "apiVersion: gateway.githedgehog.com/v1alpha1\nkind: Peering\nmetadata: {name: web}\nspec:\n"


def built(side: str, peer: str = "ips: [{cidr: 8.0.0.0/8}, {cidr: '2001:db8:8::/48'}]") -> tuple[Model, list[Problem]]:
    """The model of one peering of a and b, and what is told of it but undefined VPCs."""
    text = f"{HEAD}  a: {{{side}}}\n  b: {{{peer}}}\n"
    model, problems = build(read_objects([Source("in.yaml", text.encode(), True)])[0])
    return model, [problem for problem in problems if problem.code != "vpc-undefined"]


def pooled(nat: str) -> str:
    return f"ips: [{{cidr: 10.1.0.0/24}}], as: [203.0.113.0/28], natType: stateful, nat: {{{nat}}}"


def settled(nat: str) -> Side:
    model, problems = built(pooled(nat))
    assert problems == []
    return model.peerings["web"].sides[0]


def test_what_is_not_written_is_the_default() -> None:
    model, _ = built("ips: [{cidr: 10.1.0.0/24}], as: [203.0.113.0/28], natType: stateful")
    default = model.peerings["web"].sides[0]
    assert (default.ports, default.per_destination) == (((1024, 65535),), False)
    assert default.timeouts == Timeouts(udp=300, tcp_established=7440, tcp_transitory=240, icmp=60)
    assert settled("")[-3:] == settled("timeouts: {}")[-3:] == default[-3:]


def test_settings_are_resolved() -> None:
    timeouts = "udp: 1s, tcpEstablished: 720h, tcpTransitory: 1m1s, icmp: 2h4m"
    side = settled(f"mapping: per-destination, timeouts: {{{timeouts}}}")
    assert side.per_destination
    assert side.timeouts == Timeouts(udp=1, tcp_established=2_592_000, tcp_transitory=61, icmp=7440)


@pytest.mark.parametrize(
    ("written", "ports"),
    [
        ("5000", ((5000, 5000),)),
        ("1-65535", ((1, 65535),)),
        ("[3000-3999, 80, 2000-2999, 3500]", ((80, 80), (2000, 3999))),
    ],
)
def test_ports_are_sorted_and_do_not_touch(written: str, ports: object) -> None:
    assert settled(f"ports: {written}").ports == ports


@pytest.mark.parametrize("more", [0, 1])
def test_a_pool_has_so_many_ranges_of_ports_at_most(more: int) -> None:
    """Ranges that touch count as one, so 5,000 ports in a row are one."""
    single = [*range(1, 2 * (MOST_POOL_PORTS + more), 2)]
    model, problems = built(pooled(f"ports: {[*single, *range(single[-1] + 1, 10_000)]}"))
    assert [(problem.code, problem.path) for problem in problems] == [("field-value", "spec.a.nat.ports")] * more
    assert ("web" in model.peerings) is (more == 0)


def test_a_static_side_has_no_settings_and_its_flows_the_default_timeouts() -> None:
    model, problems = built("ips: [{cidr: 10.1.0.0/24}], as: [203.0.113.0/24], nat: {timeouts: {udp: 1s}}")
    assert [(problem.code, problem.path) for problem in problems] == [("field-value", "spec.a.nat")]
    assert model.peerings == {}


POOL = "ips: [{cidr: 10.1.0.0/24}, {cidr: 'fd00::/64'}], natType: stateful, as: "


@pytest.mark.parametrize(
    ("side", "told"),
    [
        (f"{POOL} [192.0.2.0/30, '2001:db8::/120']", []),
        (f"{POOL} [{{cidr: 192.0.2.0/30}}, {{not: 192.0.2.0/30}}, '2001:db8::/120']", ["IPv4 in `as`"]),
        (f"{POOL} [192.0.2.0/30, {{cidr: '2001:db8::/120'}}, {{not: '2001:db8::/64'}}]", ["IPv6 in `as`"]),
        (f"{POOL} [{{cidr: 0.0.0.0/7}}, {{not: 1.0.0.0/8}}, '2001:db8::/120']", ["IPv4 in `as`"]),
        (f"{POOL} [{{cidr: 0.0.0.0/7}}, {{not: 1.0.0.0/9}}, '2001:db8::/120']", []),
        (f"{POOL} [0.0.0.0/7, {{not: 1.0.0.0/8}}, 'fe80::/9', {{not: 'fec0::/10'}}]", ["`as`"]),
        ("ips: [{cidr: 0.0.0.0/7}, {not: 1.0.0.0/8}]", ["`ips`"]),
        ("ips: [{cidr: 0.0.0.0/7}, {not: 1.0.0.0/8}, {cidr: 10.1.0.0/24}]", []),
        ("ips: [{cidr: 0.0.0.0/7}, {not: 1.0.0.0/8}], as: [100.0.0.0/7]", ["`ips`"]),
        ("ips: [{cidr: 0.0.0.0/7}, {not: 1.0.0.0/9}], as: [100.0.0.0/7]", []),
    ],
)
def test_something_that_may_cross_is_left_of_every_list_and_of_every_family_of_a_pool(
    side: str, told: list[str]
) -> None:
    model, problems = built(side)
    assert [(one.code, one.message.split(" is left of ")[1]) for one in problems if one.code == "exposure-empty"] == [
        ("exposure-empty", f"{what} after its `not`") for what in told
    ]
    if not told:
        pool = compile_tables(model).sides[SideKey("web", "a")].pool
        assert pool is None or all(pool.addresses.values())


def test_a_family_that_no_host_of_a_pool_uses_needs_no_address() -> None:
    side = (
        "ips: [{cidr: 10.1.0.0/24}, {not: 10.1.0.0/24}, {cidr: 'fd00::/64'}], natType: stateful, "
        "as: [192.0.2.0/30, {not: 192.0.2.0/30}, '2001:db8::/120']"
    )
    model, problems = built(side)
    assert problems == []
    pool = compile_tables(model).sides[SideKey("web", "a")].pool
    assert pool is not None
    assert {family: len(ranges) for family, ranges in pool.addresses.items()} == {4: 0, 6: 1}


def test_addresses_that_never_cross_are_told_once() -> None:
    _, problems = built("ips: [{cidr: 10.1.0.0/24}], as: [127.0.0.0/8, {not: 127.0.0.1}], natType: stateful")
    assert [problem.code for problem in problems] == ["cidr-martian"]
