"""Overlaps: the sweep finds what comparing every address would, groups it, and never takes quadratic time."""

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.api.objects import read_objects
from isthmus.api.sources import Source
from isthmus.model import sets
from isthmus.model.build import build
from isthmus.model.sweep import MOST_NAMED, Shown, clusters
from isthmus.problems import Problem

HEAD = "apiVersion: gateway.githedgehog.com/v1alpha1\nkind: {}\nmetadata: {{name: {}}}\nspec: {}\n"


def problems_of(*objects: tuple[str, str, str]) -> list[Problem]:
    text = "---\n".join(HEAD.format(*one) for one in objects)
    read, _ = read_objects([Source("in.yaml", text.encode(), True)])
    return [problem for problem in build(read)[1] if problem.code != "vpc-undefined"]


def offer(peer: str, ips: str, here: str = "", there: str = "") -> tuple[str, str, str]:
    """A peering between the VPC s and a peer that offers some CIDRs; more fields of the two sides."""
    listed = ", ".join(f"{{cidr: {one}}}" for one in ips.split())
    spec = f"{{s: {{ips: [{{cidr: 10.1.0.0/24}}]{here}}}, {peer}: {{ips: [{listed}]{there}}}}}"
    return "Peering", f"s--{peer}", spec


class _Draft:
    """Stands for a draft: the sweep asks for its place in the file only."""

    def __init__(self, order: int) -> None:
        self.order = order


offers = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 30), st.integers(1, 12), st.integers(0, 2), st.booleans()), max_size=9
)


@settings(max_examples=300)
@given(offers)
def test_the_sweep_finds_what_comparing_every_address_finds(
    given_offers: list[tuple[int, int, int, int, bool]],
) -> None:
    starts = {order: starts for order, *_, starts in given_offers}
    drafts: Any = {order: _Draft(order) for order in range(6)}
    nothing: Any = None
    shown = [
        Shown(start, start + size, (-24, metric), drafts[order], nothing, nothing, "", starts[order])
        for order, start, size, metric, _ in given_offers
    ]
    wanted: dict[tuple[tuple[int, ...], bool], set[int]] = defaultdict(set)
    astray: dict[tuple[tuple[int, ...], bool], bool] = defaultdict(bool)
    for number in range(45):
        here = [one for one in shown if one.start <= number < one.stop]
        peers = tuple(sorted({one.draft.order for one in here}))
        if len(peers) < 2:
            continue
        best = min(one.rank for one in here)
        winners = {one.draft.order for one in here if one.rank == best}
        key = (peers if len(peers) <= MOST_NAMED else (), len(winners) > 1)
        wanted[key].add(number)
        astray[key] |= any(starts[peer] for peer in peers if len(winners) > 1 or peer not in winners)
    got: dict[tuple[tuple[int, ...], bool], set[int]] = defaultdict(set)
    for cluster in clusters(shown):
        orders = tuple(peer.draft.order for peer in cluster.peers)
        key = (orders if cluster.winners else (), cluster.tied)
        got[key] |= {number for low, high in cluster.stretches for number in range(low, high)}
        assert not cluster.astray or astray[key]
    assert got == wanted


def codes(problems: list[Problem]) -> list[tuple[str, str, str]]:
    return [(problem.severity.value, problem.code, problem.object) for problem in problems]


def test_equal_offers_tie_and_metric_or_length_decide() -> None:
    stateful = ", as: [203.0.113.1/32], natType: stateful"
    one = offer("a", "8.0.0.0/8", stateful)
    (tie,) = problems_of(one, offer("b", "8.0.0.0/8", stateful))
    assert codes([tie]) == [("warning", "route-ambiguous", "Peering/s--b")]
    assert tie.message.endswith("8.0.0.0/8")
    (metric,) = problems_of(one, offer("b", "8.0.0.0/8", stateful, ", metric: 1"))
    assert (metric.severity.value, metric.hint) == ("info", "a is taken: its metric is lower (0, not 1)")
    (length,) = problems_of(one, offer("b", "8.8.0.0/16", stateful, ", metric: 9"))
    assert (length.severity.value, length.hint) == ("info", "b is taken: its prefix is longer (/16, not /8)")
    assert length.value == "8.8.0.0/16"
    assert problems_of(one, offer("b", "9.0.0.0/8", stateful)) == []


def test_replies_go_astray_only_where_nothing_remembers_who_asked() -> None:
    def astray(here: str, there: str) -> bool:
        found = problems_of(offer("a", "8.0.0.0/8", here, there), offer("b", "8.0.0.0/8", here, there))
        return "return-ambiguous" in {problem.code for problem in found}

    assert astray("", "")
    assert astray("", ", ingress: [{allow: {stateless: true}}]")
    assert not astray("", ", ingress: [{allow: {}}]")
    assert not astray("", ", ingress: []")
    assert not astray(", ingress: []", "")  # what they start opens flows
    assert not astray(", ingress: []", ", ingress: [{allow: {stateless: true}}]")  # no reply may be sent
    assert astray(", ingress: [{allow: {}}]", ", ingress: [{allow: {stateless: true}}]")
    assert not astray(", as: [203.0.113.1/32], natType: stateful", "")


def test_shared_pools_toward_one_peer_are_no_ambiguity() -> None:
    pool = ", as: [203.0.113.0/28], natType: stateful"
    assert problems_of(offer("a", "10.5.0.0/24", "", pool), offer("b", "10.6.0.0/24", "", pool)) == []


@pytest.mark.parametrize(
    ("route", "severity"), [("10.9.0.0/16", None), ("8.0.0.0/8", "warning"), ("8.8.0.0/16", "info")]
)
def test_a_defined_vpc_offers_what_its_routes_carry(route: str, severity: str | None) -> None:
    attachment = "attachments: [{interface: eth1, addresses: [10.9.9.1/24]}]"
    vpc = "VPC", "b", f"{{{attachment}, routes: [{{to: {route}, via: 10.9.9.2}}]}}"
    found = problems_of(vpc, offer("a", "8.0.0.0/8"), offer("b", "8.0.0.0/8"))
    assert [problem.severity.value for problem in found if problem.code == "route-ambiguous"] == (
        [severity] if severity else []
    )


def test_an_inferred_vpc_with_nested_exposures_ranks_by_the_longer_one() -> None:
    other = "Peering", "x", "{b: {ips: [{cidr: 8.8.0.0/16}]}, c: {ips: [{cidr: 10.7.0.0/24}]}}"
    found = problems_of(other, offer("a", "8.0.0.0/8"), offer("b", "8.0.0.0/8"))
    severities = {problem.value: problem.severity.value for problem in found if problem.code == "route-ambiguous"}
    assert severities == {"8.8.0.0/16": "info", "8.0.0.0/8 except 8.8.0.0/16": "warning"}


def test_a_crowd_is_one_problem() -> None:
    found = problems_of(*(offer(f"p{number}", "8.0.0.0/8") for number in range(50)))
    assert codes(found) == [
        ("warning", "return-ambiguous", "Peering/s--p49"),
        ("warning", "route-ambiguous", "Peering/s--p49"),
    ]
    assert "50 peers of s, p0, p1, p2 among them" in found[0].message


@pytest.mark.parametrize("shape", ["same", "nested", "staircase", "apart"])
def test_thousands_of_peers_take_no_quadratic_time(shape: str) -> None:
    count = 20_000
    unit = 1 << 96
    spans: dict[str, Callable[[int], tuple[int, int]]] = {
        "same": lambda number: (0, unit * count),
        "nested": lambda number: (unit * number, unit * (2 * count - number)),
        "staircase": lambda number: (unit * number, unit * (number + count)),
        "apart": lambda number: (unit * number, unit * (number + 1)),
    }
    nothing: Any = None
    drafts: Any = [_Draft(number) for number in range(count)]
    shown = [
        Shown(*spans[shape](number), (-8, 0), drafts[number], nothing, nothing, "", True) for number in range(count)
    ]
    start = time.process_time()
    found = clusters(shown)
    assert time.process_time() - start < 3
    assert len(found) <= 8
    assert sum(len(cluster.stretches) for cluster in found) <= 8


def test_a_pool_is_refused_what_another_side_shows_and_its_own_like_is_not() -> None:
    pool = ", as: [203.0.113.0/28], natType: stateful"
    static = offer("b", "10.6.0.0/29", "", ", as: [203.0.113.8/29]")
    assert [problem.code for problem in problems_of(offer("a", "10.5.0.0/24", "", pool), static)] == ["pool-conflict"]
    (plain,) = problems_of(offer("a", "203.0.0.0/16"), offer("b", "10.6.0.0/24", "", pool))
    assert (plain.code, plain.path, plain.value) == ("pool-conflict", "spec.b.as[0]", "203.0.113.0/28")


@pytest.mark.parametrize(
    ("nat", "conflicts"),
    [
        ("mapping: per-destination", True),
        ("mapping: endpoint-independent", False),
        ("ports: 1024-65534", True),
        ("ports: [1024-40000, 40001-65535, 2000]", False),
        ("timeouts: {udp: 5m}", False),
        ("timeouts: {udp: 301s}", True),
        ("timeouts: {tcpEstablished: 2h}", True),
        ("timeouts: {tcpTransitory: 5m}", True),
        ("timeouts: {icmp: 1m}", False),
        ("timeouts: {icmp: 30s}", True),
    ],
)
def test_sides_share_a_pool_on_the_same_terms_however_they_are_written(nat: str, conflicts: bool) -> None:
    pool = ", as: [203.0.113.0/28], natType: stateful"
    other = offer("b", "10.6.0.0/24", "", f"{pool}, nat: {{{nat}}}")
    found = problems_of(offer("a", "10.5.0.0/24", "", pool), other)
    assert codes(found) == ([("error", "pool-conflict", "Peering/s--b")] if conflicts else [])
    elsewhere = offer("b", "10.6.0.0/24", "", f"{pool.replace('113', '114')}, nat: {{{nat}}}")
    assert problems_of(offer("a", "10.5.0.0/24", "", pool), elsewhere) == []


def test_what_is_left_out_conflicts_with_nothing() -> None:
    pool = ", as: [203.0.113.0/28], natType: stateful"
    odd = offer("b", "10.6.0.0/28", "", ", as: [203.0.112.0/28], natType: stateful")
    wide = offer("c", "203.0.112.0/23")
    found = problems_of(offer("a", "10.5.0.0/24", "", pool), wide, odd)
    assert [(problem.code, problem.object) for problem in found] == [("pool-conflict", "Peering/s--c")]


def test_sets_of_stretches_are_told_together() -> None:
    assert sets.describe(4, sets.union([(0, 1 << 96), (1 << 96, 2 << 96)])) == "0.0.0.0/31"
