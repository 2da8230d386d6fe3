"""What RFC 7857 adds for mappings: who may share a port, what refreshes, and which port a host gets for its own."""

from __future__ import annotations

from itertools import pairwise

import pytest

from isthmus.tables.verdicts import Verdict
from tests.conformance.gateway import POOL, Gateway, answer_to, echo, error_about, host, proves, tcp, udp
from tests.differential.compare import SECRET, Bench
from tests.differential.place import XDP, loaded

ONE = ((1024, 1024),)
"""Ports of a pool with one of them."""
COLLISIONS = 200
"""So many hosts of a want the port that another has."""


@proves("7857 3")
def test_a_public_port_serves_many_remotes_if_told_so(place: Bench) -> None:
    """`per-destination`, and one port for all: t1 is a's, t2 is b's, and b gets no second way to t1."""
    gateway = Gateway(place, per_destination=True, ports=ONE)
    arrived = {
        "a": gateway.arrives("a", tcp(host("a", 1), host("t", 1), 5000)),
        "b": gateway.arrives("b", tcp(host("b", 1), host("t", 2), 5000)),
    }
    assert {(one.src, one.sport) for one in arrived.values()} == {(POOL, 1024)}
    for vpc, one in arrived.items():
        back = gateway.send("t", answer_to(one, data=b""))
        assert (back.to, back.packet.dst, back.packet.dport) == (vpc, host(vpc, 1), 5000)
    assert gateway.is_lost("b", tcp(host("b", 1), host("t", 1), 5000)) is Verdict.NAT_EXHAUSTED


@proves("7857 5")
def test_mappings_are_kept_apart_by_protocol(place: Bench) -> None:
    """UDP 5000 of the one address is a's, TCP 5000 is b's."""
    gateway = Gateway(place)
    arrived = {
        "a": gateway.arrives("a", udp(host("a", 1), host("t", 1), 5000)),
        "b": gateway.arrives("b", tcp(host("b", 1), host("t", 1), 5000)),
    }
    assert {(one.src, one.sport) for one in arrived.values()} == {(POOL, 5000)}
    for vpc, one in arrived.items():
        back = gateway.send("t", answer_to(one))
        assert (back.to, back.packet.dst, back.packet.dport) == (vpc, host(vpc, 1), 5000)


@proves("7857 6")
@pytest.mark.parametrize("flags", ["S", "SA", "A"])
def test_what_udp_opened_lets_no_tcp_in(place: Bench, flags: str) -> None:
    """The same addresses and ports, before and after which UDP passes."""
    gateway = Gateway(place)
    arrived = gateway.arrives("a", udp(host("a", 1), host("t", 1), 5000, 80))
    gateway.arrives("t", answer_to(arrived))
    assert gateway.is_lost("t", tcp(host("t", 1), POOL, 80, arrived.sport, flags)) is Verdict.NO_INBOUND
    gateway.arrives("t", answer_to(arrived))


@proves("7857 7")
def test_what_is_not_let_in_refreshes_nothing(place: Bench) -> None:
    """t2, whom a never asked, tries every minute; a second after the time of its flow with t1, a has none."""
    gateway = Gateway(place)
    arrived = gateway.arrives("a", udp(host("a", 1), host("t", 1)))
    for _ in range(5):
        gateway.later(59.8)
        assert gateway.is_lost("t", udp(host("t", 2), POOL, 53, arrived.sport)) is Verdict.NO_INBOUND
    gateway.arrives("t", answer_to(arrived))
    for _ in range(5):
        gateway.later(60)
        assert gateway.is_lost("t", udp(host("t", 2), POOL, 53, arrived.sport)) is Verdict.NO_INBOUND
    gateway.later(1)
    assert gateway.is_lost("t", answer_to(arrived)) is Verdict.NO_INBOUND


@proves("7857 7.1a")
def test_an_error_from_inside_refreshes_nothing(place: Bench) -> None:
    """After 4 min a says that the port of t's packet is unreachable; the flow is over 5 min after that packet."""
    gateway = Gateway(place)
    arrived = gateway.arrives("a", udp(host("a", 1), host("t", 1)))
    back = gateway.arrives("t", answer_to(arrived))
    gateway.later(240)
    error = gateway.arrives("a", error_about(back, host("a", 1)))
    assert (error.src, error.dst) == (POOL, host("t", 1))
    gateway.later(61)
    assert gateway.is_lost("t", answer_to(arrived)) is Verdict.NO_INBOUND


def ports_instead(bench: Bench) -> list[int]:
    """b has 5000; the public ports that hosts of a get instead of it, in the order in which they ask."""
    gateway = Gateway(bench)
    assert gateway.arrives("b", udp(host("b", 1), host("t", 1), 5000)).sport == 5000
    asked = [udp(host("a", number), host("t", 1), 5000) for number in range(1, COLLISIONS + 1)]
    return [gateway.arrives("a", packet).sport for packet in asked]


@proves("7857 8a")
def test_parity_need_not_be_kept(place: Bench) -> None:
    """A port that is free is kept, even or odd; instead of an even one that is not, even and odd ones are given."""
    gateway = Gateway(place)
    for port in (5000, 5001):
        assert gateway.arrives("a", udp(host("a", 1), host("t", 1), port)).sport == port
    assert {port % 2 for port in ports_instead(place)} == {0, 1}


@proves("7857 9")
def test_ports_given_instead_are_hard_to_guess(place: Bench) -> None:
    """They lie all over the range, the next one is nowhere near the last, and another secret gives others."""
    found = ports_instead(place)
    assert len(set(found)) == COLLISIONS
    assert all(1024 <= port <= 65535 for port in found)
    assert {port >> 13 for port in found} == set(range(8))
    steps = [after - before for before, after in pairwise(found)]
    assert len(set(steps)) > COLLISIONS * 9 // 10
    assert sum(abs(step) < 64 for step in steps) < COLLISIONS // 20
    assert ports_instead(place) == found
    with loaded(place.ifindex, hooks=XDP, secret=SECRET + 1) as other:
        others = ports_instead(other)
    assert sum(one == other for one, other in zip(found, others, strict=True)) < COLLISIONS // 20


@proves("7857 11")
def test_an_identifier_is_free_when_its_last_session_is_over(place: Bench) -> None:
    """A pool with one identifier: b gets it when a's minute is over, and not before."""
    gateway = Gateway(place, ports=ONE)
    arrived = gateway.arrives("a", echo(host("a", 1), host("t", 1)))
    assert arrived.payload.id == 1024
    gateway.later(59)
    assert gateway.is_lost("b", echo(host("b", 1), host("t", 1))) is Verdict.NAT_EXHAUSTED
    gateway.later(2)
    arrived = gateway.arrives("b", echo(host("b", 1), host("t", 1)))
    assert arrived.payload.id == 1024
    assert gateway.send("t", answer_to(arrived)).to == "b"
