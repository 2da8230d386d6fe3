"""The bench's tables of learned routes: what is in them, what they do to packets, and the rows made of it."""

import os
import random
import sys
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import IPv4Network

import pytest

from isthmus.bench.baselines import LpmTrie, trie_keys
from isthmus.bench.configuration import Traffic, learned_objects, learned_traffic
from isthmus.bench.gateway import tables_of
from isthmus.bench.generator import Generator
from isthmus.bench.internet import LENGTHS, hosts, prefixes
from isthmus.bench.learned import FEW, LearnedRoutes
from isthmus.bench.routes import FIGURES, route_rows
from isthmus.bench.run import Effort
from isthmus.bench.subject import RouteSubject
from isthmus.bench.topology import Topology
from isthmus.tables.address import FAMILIES, MASK128, Family, Prefix
from isthmus.tables.learned import key_prefix, prefix_key
from isthmus.tables.martians import is_martian

ROUTES: dict[Family, list[int]] = {family: prefixes(family, 3000, random.Random(1)) for family in FAMILIES}
TRAFFIC = learned_traffic(ROUTES[4])
SENT = 3008
Makes = Callable[[dict[Family, list[int]], Traffic], RouteSubject]


def ours(routes: dict[Family, list[int]], traffic: Traffic) -> RouteSubject:
    return LearnedRoutes("isthmus", routes, traffic)


@pytest.mark.parametrize("family", FAMILIES)
def test_so_many_different_prefixes_are_made_as_are_asked_for_and_always_the_same(family: Family) -> None:
    made = ROUTES[family]
    assert len(set(made)) == len(made) == 3000
    assert prefixes(family, 3000, random.Random(1)) == made
    assert {key.bit_length() - 1 for key in made} <= LENGTHS[family].keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_host_is_inside_its_prefix_and_they_are_not_all_the_same_number(family: Family) -> None:
    found = hosts(family, ROUTES[family], random.Random(2))
    insides = [address - key_prefix(family, key).first for key, address in zip(ROUTES[family], found, strict=True)]
    assert all(key_prefix(family, key).last >= address for key, address in zip(ROUTES[family], found, strict=True))
    assert min(insides) >= 0
    assert len(set(insides)) > 100


def test_no_prefix_is_martian_not_even_by_accident() -> None:
    made = {key_prefix(4, key) for key in prefixes(4, 100_000, random.Random(3))}
    assert not [one for one in made if is_martian(4, one.first)]
    slash16s = {one.first >> 112 for one in made if one.length >= 16}
    assert 0xA9FD in slash16s
    assert 0xA9FF in slash16s


def test_no_host_is_martian_where_its_prefix_holds_some() -> None:
    around = prefix_key(Prefix.parse("169.252.0.0/14"))  # a quarter of it is link-local
    found = hosts(4, [around] * 200, random.Random(4))
    assert len(set(found)) > 190
    assert not [one for one in found if is_martian(4, one)]


def test_packets_are_sent_to_a_host_of_every_route_in_their_order() -> None:
    sent = learned_traffic(ROUTES[4])
    assert sent.in_turn
    networks = [key_prefix(4, key) for key in ROUTES[4]]
    assert len(sent.conversations) == len(networks)
    for conversation, network in zip(sent.conversations, networks, strict=True):
        assert network.first <= int(conversation.dialled) << 96 <= network.last


def test_ten_routes_hold_all_of_ipv4() -> None:
    assert len(FEW) == 10
    whole = sorted(key_prefix(4, key) for key in FEW if key.bit_length() == 4)
    assert [IPv4Network((network.first >> 96, network.length)) for network in whole] == list(
        IPv4Network("0.0.0.0/0").subnets(new_prefix=3)
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_key_of_the_kernels_trie_is_a_length_and_an_address(family: Family) -> None:
    size = 4 if family == 4 else 16
    for key, made in zip(ROUTES[family], trie_keys(family, ROUTES[family]), strict=True):
        prefix = key_prefix(family, key)
        address = (prefix.first & MASK128).to_bytes(16, "big")[:size]
        assert made.tobytes() == prefix.length.to_bytes(4, sys.byteorder) + address


def test_the_objects_have_no_problem_and_the_sender_is_offered_everything() -> None:
    (exposure,) = tables_of(learned_objects()).vpcs["vpc-1"].exposures[4]
    assert (exposure.first, exposure.last >> 96) == (0, 0xFFFFFFFF)


@pytest.mark.netns
@pytest.mark.bpf
@pytest.mark.parametrize("made", [ours, LpmTrie])
def test_packets_follow_what_is_learned_until_the_external_is_lost(made: Makes) -> None:
    subject = made(ROUTES, TRAFFIC)
    with ExitStack() as stack:
        topology = stack.enter_context(Topology("learned"))
        stack.callback(subject.close)
        subject.prepare(topology)
        generator = stack.enter_context(Generator(topology, TRAFFIC, subject.arrival))

        def arrived() -> int:
            return generator.burst(SENT).arrived

        assert arrived() == SENT
        subject.change(0)
        assert arrived() == SENT
        subject.lose()
        assert arrived() == 0
        subject.forget()
        assert arrived() == 0
        assert subject.learn(4) == len(ROUTES[4])
        assert arrived() == SENT
        subject.forget()
        assert arrived() == 0


@pytest.mark.netns
@pytest.mark.bpf
def test_all_rows_are_measured_and_no_packet_is_lost_while_routes_change() -> None:
    said: list[str] = []
    warned: list[str] = []
    effort = Effort(rounds=1, burst=0.01, tcp_rounds=1, stream=1, fills=1)
    cpu = max(os.sched_getaffinity(0))
    found = route_rows(
        LearnedRoutes("isthmus", ROUTES, TRAFFIC),
        LpmTrie(ROUTES, TRAFFIC),
        effort,
        cpu,
        said.append,
        warned.append,
        200,
    )
    assert [row.name for row in found] == list(FIGURES)
    assert {row.baseline for row in found if row.name != "updates-traffic"} == {"lpm-trie"}
    assert all(row.value > 0 and row.baseline_value > 0 for row in found)
    assert said[-1].startswith("routes: 0 of ")
    assert not warned
