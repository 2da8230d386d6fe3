"""What RFCs ask for where addresses are mapped one to one, and of connections that may begin outside."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP

from isthmus.tables.verdicts import Verdict
from tests.conformance.gateway import Gateway, answer_to, echo, error_about, host, instead, proves, tcp, udp
from tests.conformance.objects import written
from tests.differential.compare import Bench

PUBLIC = "198.18.0.1"
"""a's first host."""


def one_to_one(place: Bench) -> Gateway:
    """a is 198.18.0.0/24 to t, address by address."""
    return Gateway(
        place,
        tables=written(a="{ips: [{cidr: 10.0.0.0/24}], as: [198.18.0.0/24]}", t="{ips: [{cidr: 10.9.0.0/24}]}"),
    )


@proves("5508 REQ-5c")
@pytest.mark.parametrize(
    ("sender", "source"),
    [(host("a", 1), PUBLIC), (host("a", 9), "198.18.0.9"), ("192.0.2.1", host("t", 254))],
    ids=["host", "router-with-a-public-address", "router-without"],
)
def test_who_has_a_public_address_of_its_own_keeps_it_in_errors(place: Bench, sender: str, source: str) -> None:
    """Any other router is seen as the gateway."""
    gateway = one_to_one(place)
    arrived = gateway.arrives("t", udp(host("t", 1), PUBLIC))
    error = gateway.arrives("a", error_about(arrived, sender))
    assert (error.src, error.dst, error[ICMP].type, error[ICMP].code) == (source, host("t", 1), 3, 3)


@instead("7857 12a")
def test_queries_from_outside_reach_who_has_an_address_of_its_own(place: Bench) -> None:
    gateway = one_to_one(place)
    request = gateway.arrives("t", echo(host("t", 1), PUBLIC))
    assert request.dst == host("a", 1)
    reply = gateway.arrives("a", answer_to(request))
    assert (reply.src, reply.dst, reply[ICMP].id) == (PUBLIC, host("t", 1), 7)


@proves("5382 REQ-2")
@pytest.mark.parametrize("outside", ["t", "c"])
def test_a_connection_that_may_begin_outside_works_from_end_to_end(place: Bench, outside: str) -> None:
    """c and t have rules that allow both to begin: handshake, data, a half-close, the rest, and all of it again."""
    gateway = Gateway(place)
    inside = "c" if outside == "t" else "t"
    asks, answers = host(outside, 1), host(inside, 1)
    closing = [(asks, "FA"), (answers, "A"), (answers, "PA"), (asks, "A"), (answers, "FA"), (asks, "A")]
    opening = [(asks, "S"), (answers, "SA"), (asks, "A"), (asks, "PA"), (answers, "PA")]
    for own, flags in (opening + closing) * 2:
        if own == asks:
            vpc, packet = outside, tcp(asks, answers, 5000, 80, flags)
        else:
            vpc, packet = inside, tcp(answers, asks, 80, 5000, flags)
        seen = gateway.send(vpc, packet)
        assert seen.verdict is Verdict.FORWARDED
        assert bytes(seen.packet)[20:] == bytes(packet)[20:]
