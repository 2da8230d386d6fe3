"""ICMP queries through the pool, and what ICMP the gateway carries, says and keeps to itself (RFC 5508)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP

from isthmus.datapath import Capacity
from isthmus.tables.entries import Timeouts
from isthmus.tables.verdicts import Verdict
from tests.conformance.gateway import (
    POOL,
    Gateway,
    answer_to,
    assert_sound,
    echo,
    error_about,
    host,
    proves,
    udp,
)
from tests.differential.compare import Bench
from tests.differential.place import XDP, bench

RATE = 10


@pytest.fixture
def strict_place() -> Iterator[Bench]:
    """A packet path that says no more than 10 things of its own a second. Its namespace is that of one test alone:
    what other tests apply meanwhile would name its ports."""
    with bench(Capacity(flows=1024), icmp_rate=RATE, hooks=XDP) as made:
        yield made


@proves("5508 REQ-1", "5508 REQ-10a")
def test_an_echo_request_goes_out_and_its_reply_comes_back(place: Bench) -> None:
    """a and b ask the same host with the same identifier; each gets its own answer, with its own identifier."""
    gateway = Gateway(place)
    asked = {vpc: gateway.arrives(vpc, echo(host(vpc, 1), host("t", 1))) for vpc in ("a", "b")}
    assert asked["a"][ICMP].id != asked["b"][ICMP].id
    for vpc, request in asked.items():
        assert (request.src, request.dst, request[ICMP].type) == (POOL, host("t", 1), 8)
        seen = gateway.send("t", answer_to(request))
        assert seen.to == vpc
        assert_sound(seen.packet)
        assert (seen.packet.dst, seen.packet[ICMP].type, seen.packet[ICMP].id) == (host(vpc, 1), 0, 7)


@proves("5508 REQ-1a")
def test_an_identifier_is_mapped_to_the_same_one_whichever_host_is_asked(place: Bench) -> None:
    """Also where it could not be kept: b has the identifier of a already."""
    gateway = Gateway(place)
    gateway.arrives("a", echo(host("a", 1), host("t", 3)))
    for vpc in ("a", "b"):
        asked = [gateway.arrives(vpc, echo(host(vpc, 1), host("t", number))) for number in (1, 2)]
        assert asked[0].src == asked[1].src
        assert asked[0][ICMP].id == asked[1][ICMP].id


def assert_remembered(place: Bench, seconds: int, timeouts: Timeouts) -> None:
    """The reply passes a second before the time is over, and not a second after it."""
    gateway = Gateway(place, timeouts=timeouts)
    request = gateway.arrives("a", echo(host("a", 1), host("t", 1)))
    gateway.later(seconds - 1)
    gateway.arrives("t", answer_to(request))
    gateway.later(seconds + 1)
    assert gateway.is_lost("t", answer_to(request)) is Verdict.NO_INBOUND


@proves("5508 REQ-2")
def test_a_query_is_remembered_for_60_seconds(place: Bench) -> None:
    """By default; and not much longer."""
    assert_remembered(place, 60, Timeouts())


@proves("5508 REQ-2a")
def test_how_long_a_query_is_remembered_is_configured(place: Bench) -> None:
    assert_remembered(place, 120, Timeouts(icmp=120))


@proves("5508 REQ-6")
def test_an_error_about_a_query_does_not_end_it(place: Bench) -> None:
    """Echo request at 0 s, an error about it at 50 s, the reply at 55 s."""
    gateway = Gateway(place)
    request = gateway.arrives("a", echo(host("a", 1), host("t", 1)))
    gateway.later(50)
    gateway.arrives("t", error_about(request, host("t", 9)))
    gateway.later(5)
    gateway.arrives("t", answer_to(request))


@proves("5508 REQ-6")
def test_an_error_about_a_query_does_not_refresh_it(place: Bench) -> None:
    """Echo request at 0 s, an error about it at 50 s; at 61 s it is over."""
    gateway = Gateway(place)
    request = gateway.arrives("a", echo(host("a", 1), host("t", 1)))
    gateway.later(50)
    gateway.arrives("t", error_about(request, host("t", 9)))
    gateway.later(11)
    assert gateway.is_lost("t", answer_to(request)) is Verdict.NO_INBOUND


@proves("5508 REQ-6")
def test_an_error_about_a_reply_neither_ends_nor_refreshes_the_query(place: Bench) -> None:
    """The reply at 0 s, a's errors about it at 50 s, and at 55 s another reply; 61 s after that it is over."""
    gateway = Gateway(place)
    request = gateway.arrives("a", echo(host("a", 1), host("t", 1)))
    reply = gateway.arrives("t", answer_to(request))
    gateway.later(50)
    gateway.arrives("a", error_about(reply, host("a", 1)))
    gateway.later(5)
    gateway.arrives("t", answer_to(request))
    gateway.later(50)
    gateway.arrives("a", error_about(reply, host("a", 1)))
    gateway.later(11)
    assert gateway.is_lost("t", answer_to(request)) is Verdict.NO_INBOUND


@proves("5508 REQ-10a")
@pytest.mark.parametrize(("kind", "code"), [(3, 0), (3, 1), (3, 3), (3, 4), (3, 13), (11, 0), (11, 1)])
def test_unreachable_and_time_exceeded_come_in(place: Bench, kind: int, code: int) -> None:
    gateway = Gateway(place)
    arrived = gateway.arrives("a", udp(host("a", 1), host("t", 1)))
    error = gateway.arrives("t", error_about(arrived, host("t", 9), kind, code))
    assert (error.dst, error[ICMP].type, error[ICMP].code) == (host("a", 1), kind, code)


@proves("5508 REQ-10a")
def test_the_gateway_says_time_exceeded_itself(place: Bench) -> None:
    """To a, about the packet as a sent it."""
    gateway = Gateway(place)
    packet = udp(host("a", 1), host("t", 1), ttl=1)
    seen = gateway.send("a", packet)
    assert seen.verdict is Verdict.TTL
    assert_sound(seen.answer)
    assert (seen.answer.dst, seen.answer[ICMP].type, seen.answer[ICMP].code) == (host("a", 1), 11, 0)
    assert bytes(seen.answer)[28:] == bytes(packet)


@proves("5508 REQ-10c")
def test_source_quench_and_information_messages_are_not_carried(place: Bench) -> None:
    """Nor answered."""
    gateway = Gateway(place)
    arrived = gateway.arrives("a", udp(host("a", 1), host("t", 1)))
    assert gateway.is_lost("t", error_about(arrived, host("t", 1), kind=4, code=0)) is Verdict.MARTIAN
    for kind in (15, 16):
        seen = gateway.send("a", IP(src=host("a", 1), dst=host("t", 1)) / ICMP(type=kind, id=7))
        assert seen == (Verdict.NO_FLOW, None, None, None)


@proves("5508 REQ-10e")
def test_no_error_is_said_about_an_error(place: Bench) -> None:
    """One that dies here of its TTL."""
    gateway = Gateway(place)
    arrived = gateway.arrives("a", udp(host("a", 1), host("t", 1)))
    error = error_about(arrived, host("t", 9))
    error.ttl = 1
    assert gateway.send("t", error) == (Verdict.TTL, None, None, None)


@proves("5508 REQ-10e")
def test_no_error_is_said_about_a_later_fragment(place: Bench) -> None:
    """The first one crosses, the second dies here of its TTL."""
    gateway = Gateway(place)
    ends = {"src": host("a", 1), "dst": host("t", 1), "id": 77, "proto": 17}
    whole = bytes(udp(host("a", 1), host("t", 1), data=b"x" * 16))[20:]
    first = gateway.send("a", IP(**ends, flags="MF") / whole[:16])
    assert first.to == "t"
    assert gateway.send("a", IP(**ends, frag=2, ttl=1) / whole[16:]) == (Verdict.TTL, None, None, None)


@proves("5508 REQ-10f")
def test_what_the_gateway_says_itself_is_limited(strict_place: Bench) -> None:
    """Of many packets that die here in a moment, some are answered."""
    gateway = Gateway(strict_place)
    seen = [gateway.send("a", udp(host("a", 1), host("t", 1), ttl=1)) for _ in range(20 * RATE)]
    assert {one.verdict for one in seen} == {Verdict.TTL}
    assert 0 < sum(one.answer is not None for one in seen) < 10 * RATE


@proves("5508 REQ-11")
def test_what_is_neither_query_nor_error_is_dropped(place: Bench) -> None:
    """A redirect from t, and a type that nobody has defined from a."""
    gateway = Gateway(place)
    arrived = gateway.arrives("a", udp(host("a", 1), host("t", 1)))
    assert gateway.is_lost("t", error_about(arrived, host("t", 1), kind=5, code=1)) is Verdict.MARTIAN
    assert gateway.is_lost("a", IP(src=host("a", 1), dst=host("t", 1)) / ICMP(type=200) / b"data") is Verdict.NO_FLOW
