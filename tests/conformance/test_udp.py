"""How long UDP is remembered, and what errors about it, and its own text, do to it."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP

from isthmus.tables.entries import Timeouts
from isthmus.tables.verdicts import Verdict
from tests.conformance.gateway import POOL, Gateway, answer_to, error_about, host, proves, udp
from tests.differential.compare import Bench

MINUTE = 60
ERRORS = [(3, code) for code in range(16)] + [(11, 0), (11, 1), (12, 0), (12, 1), (12, 2)]
"""Type and code of the errors that RFC 792, 1122 and 1812 know."""
ROUTER = host("t", 200)
"""Of t, and in no flow."""
ELSEWHERE = "8.8.8.8"
"""Of no VPC."""


def ask() -> Any:
    """What a says to a server of t."""
    return udp(host("a", 1), host("t", 1))


@proves("4787 REQ-5")
def test_an_answer_comes_back_after_two_minutes_less_a_second(place: Bench) -> None:
    gateway = Gateway(place)
    arrived = gateway.arrives("a", ask())
    gateway.later(2 * MINUTE - 1)
    assert gateway.arrives("t", answer_to(arrived)).dst == host("a", 1)


@proves("4787 REQ-5b")
def test_the_timer_is_what_was_configured(place: Bench) -> None:
    """Ten minutes."""
    gateway = Gateway(place, timeouts=Timeouts(udp=600))
    arrived = gateway.arrives("a", ask())
    gateway.later(10 * MINUTE - 1)
    assert gateway.arrives("t", answer_to(arrived)).dst == host("a", 1)
    gateway.later(10 * MINUTE + 1)
    assert gateway.is_lost("t", answer_to(arrived)) is Verdict.NO_INBOUND


@proves("4787 REQ-5c")
@pytest.mark.parametrize("swept", [True, False])
def test_the_timer_is_five_minutes_by_default(place: Bench, swept: bool) -> None:
    """Whether or not the sweep has come round."""
    gateway = Gateway(place)
    arrived = gateway.arrives("a", ask())
    gateway.later(5 * MINUTE - 1, swept=swept)
    assert gateway.arrives("t", answer_to(arrived)).dst == host("a", 1)
    gateway.later(5 * MINUTE + 1, swept=swept)
    assert gateway.is_lost("t", answer_to(arrived)) is Verdict.NO_INBOUND


@proves("4787 REQ-6")
def test_what_goes_out_restarts_the_timer(place: Bench) -> None:
    """a sends at 0 and 4 minutes; t answers at 8."""
    gateway = Gateway(place)
    gateway.arrives("a", ask())
    gateway.later(4 * MINUTE)
    arrived = gateway.arrives("a", ask())
    gateway.later(4 * MINUTE)
    assert gateway.arrives("t", answer_to(arrived)).dst == host("a", 1)


@proves("4787 REQ-6a")
def test_what_comes_in_restarts_the_timer(place: Bench) -> None:
    """t answers at 4 minutes and again at 8."""
    gateway = Gateway(place)
    arrived = gateway.arrives("a", ask())
    for _ in range(2):
        gateway.later(4 * MINUTE)
        assert gateway.arrives("t", answer_to(arrived)).dst == host("a", 1)


@proves("4787 REQ-10")
def test_addresses_in_the_text_are_nobodys_business(place: Bench) -> None:
    """SIP to its own port, with the private address in header and body; and the answer that repeats it."""
    gateway = Gateway(place)
    own = host("a", 1)
    body = f"c=IN IP4 {own}\r\nm=audio 5004 RTP/AVP 0\r\n"
    text = (
        f"INVITE sip:bob@{host('t', 1)} SIP/2.0\r\nVia: SIP/2.0/UDP {own}:5060\r\nContact: <sip:alice@{own}:5060>\r\n"
        f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
    arrived = gateway.arrives("a", udp(own, host("t", 1), 5060, 5060, data=text))
    assert (arrived.src, bytes(arrived)[28:]) == (POOL, text)
    back = gateway.arrives("t", answer_to(arrived, data=text))
    assert (back.dst, bytes(back)[28:]) == (own, text)


@proves("4787 REQ-12", "4787 REQ-12a", "4787 REQ-12b")
@pytest.mark.parametrize(("kind", "code"), ERRORS)
@pytest.mark.parametrize("src", [host("t", 1), ROUTER, ELSEWHERE], ids=["remote", "router", "elsewhere"])
def test_an_error_arrives_and_ends_nothing(place: Bench, src: str, kind: int, code: int) -> None:
    """From the server or a router in between; a sees what it had sent inside, and both talk on."""
    gateway = Gateway(place)
    sent = ask()
    arrived = gateway.arrives("a", sent)
    error = gateway.arrives("t", error_about(arrived, src, kind, code))
    assert (error.src, error.dst, error[ICMP].type, error[ICMP].code) == (src, host("a", 1), kind, code)
    assert bytes(error[ICMP])[8:] == bytes(older(sent))[:28]
    again = gateway.arrives("a", ask())
    assert (again.src, again.sport) == (POOL, arrived.sport)
    assert gateway.arrives("t", answer_to(arrived)).dst == host("a", 1)


@proves("4787 REQ-12")
def test_an_error_from_inside_ends_nothing(place: Bench) -> None:
    """a refuses an answer; t sees the error come from the public address, about what it sent itself."""
    gateway = Gateway(place)
    arrived = gateway.arrives("a", ask())
    answer = answer_to(arrived)
    error = gateway.arrives("a", error_about(gateway.arrives("t", answer), host("a", 1)))
    assert (error.src, error.dst) == (POOL, host("t", 1))
    assert bytes(error[ICMP])[8:] == bytes(older(answer))[:28]
    assert gateway.arrives("a", ask()).sport == arrived.sport
    assert gateway.arrives("t", answer).dst == host("a", 1)


def older(packet: Any) -> Any:
    """The packet one hop later."""
    made = IP(bytes(packet))
    made.ttl -= 1
    made.chksum = None
    return made
