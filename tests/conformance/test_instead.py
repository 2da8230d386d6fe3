"""What the gateway does where it declines what an RFC asks: the reasons of the report, shown."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, IPOption
from scapy.utils import checksum

from isthmus.tables.entries import SideKey
from isthmus.tables.verdicts import Verdict
from tests.conformance.gateway import POOL, Gateway, Seen, answer_to, echo, error_about, host, instead, tcp, udp
from tests.differential.compare import Bench

MAKERS = pytest.mark.parametrize("make", [udp, tcp, echo])
ONE_PORT = ((1024, 1024),)


@instead("4787 REQ-3a")
@pytest.mark.parametrize("port", [1, 53, 1023])
def test_a_port_below_1024_leaves_from_above(place: Bench, port: int) -> None:
    assert Gateway(place).arrives("a", udp(host("a", 1), host("t", 1), port)).sport >= 1024


@instead("4787 REQ-8", "5382 REQ-3", "6888 REQ-7")
@pytest.mark.parametrize("make", [udp, tcp])
def test_only_the_address_and_port_that_was_asked_may_answer(place: Bench, make: Any) -> None:
    """Not another port of that host, and not another host."""
    gateway = Gateway(place)
    arrived = gateway.arrives("a", make(host("a", 1), host("t", 1), 5000, 80))
    flags = {"flags": "SA"} if make is tcp else {}
    for src, sport in ((host("t", 1), 81), (host("t", 2), 80)):
        assert gateway.send("t", make(src, POOL, sport, arrived.sport, **flags)) == Seen(Verdict.NO_INBOUND)
    gateway.arrives("t", answer_to(arrived, data=b""))


@instead("4787 REQ-9", "5382 REQ-8", "5508 REQ-7", "7857 12b")
@MAKERS
def test_a_pool_is_not_there_for_those_inside(place: Bench, make: Any) -> None:
    """Neither for queries and connections, nor for errors about them."""
    gateway = Gateway(place)
    arrived = gateway.arrives("a", make(host("a", 1), host("t", 1)))
    hairpin = make(host("a", 2), POOL, 7) if make is echo else make(host("a", 2), POOL, 5000, arrived.sport)
    assert gateway.send("a", hairpin) == Seen(Verdict.NO_PEERING)
    assert gateway.send("a", error_about(arrived, host("a", 2))) == Seen(Verdict.NO_PEERING)


@instead("5508 REQ-3", "5508 REQ-3a")
@pytest.mark.parametrize("where", ["icmp", "inner-ip"])
def test_a_checksum_of_an_error_that_was_wrong_is_as_wrong_after(place: Bench, where: str) -> None:
    """So the host sees that it was."""
    gateway = Gateway(place)
    arrived = gateway.arrives("a", udp(host("a", 1), host("t", 1)))
    right = bytearray(bytes(error_about(arrived, host("t", 1))))
    at, start, end = {"icmp": (22, 20, None), "inner-ip": (38, 28, 48)}[where]
    right[at] ^= 0x40
    if where == "inner-ip":
        right[22:24] = bytes(2)
        right[22:24] = checksum(bytes(right[20:])).to_bytes(2, "big")
    wrong = checksum(bytes(right[start:end]))
    assert wrong != 0
    seen = gateway.send("t", IP(bytes(right)))
    assert seen.to == "a"
    assert checksum(bytes(seen.packet)[start:end]) == wrong
    if where == "inner-ip":
        assert checksum(bytes(seen.packet)[20:]) == 0


@instead("5508 REQ-8", "6888 REQ-11b")
@MAKERS
def test_who_gets_no_session_is_told_nothing(place: Bench, make: Any) -> None:
    """For want of ports; it is counted, for its side too."""
    gateway = Gateway(place, ports=ONE_PORT)
    gateway.arrives("a", make(host("a", 1), host("t", 1)))
    counters, exhausted = place.path.counters(), place.path.exhausted()
    assert gateway.send("b", make(host("b", 1), host("t", 1))) == Seen(Verdict.NAT_EXHAUSTED)
    assert place.path.counters()[Verdict.NAT_EXHAUSTED] == counters[Verdict.NAT_EXHAUSTED] + 1
    side = SideKey("b--t", "b")
    assert place.path.exhausted()[side] == exhausted.get(side, 0) + 1


@instead("5508 REQ-10b")
def test_a_parameter_problem_passes_and_other_optional_icmp_does_not(place: Bench) -> None:
    gateway = Gateway(place)
    arrived = gateway.arrives("a", udp(host("a", 1), host("t", 1)))
    problem = gateway.arrives("t", error_about(arrived, host("t", 9), 12))
    assert (problem.dst, problem[ICMP].type) == (host("a", 1), 12)
    for kind in (9, 10, 13, 14, 17, 18):
        query = IP(src=host("a", 1), dst=host("t", 1)) / ICMP(type=kind, id=7)
        assert gateway.send("a", query) == Seen(Verdict.NO_FLOW)
    redirect = IP(src=host("a", 1), dst=host("t", 1)) / ICMP(type=5) / bytes(arrived)[:28]
    assert gateway.send("a", redirect) == Seen(Verdict.MARTIAN)
    for kind in (0x83, 0x89):
        route = IPOption(bytes([kind, 7, 4]) + bytes(4) + b"\0")
        routed = udp(host("a", 1), host("t", 1), options=[route])
        assert gateway.send("a", routed) == Seen(Verdict.MALFORMED)


@instead("5508 REQ-10d")
def test_what_the_gateway_says_is_internetwork_control(place: Bench) -> None:
    """TOS 0xc0, whatever the packet had."""
    seen = Gateway(place).send("a", udp(host("a", 1), host("t", 1), ttl=1, tos=0xB8))
    assert seen.answer.tos == 0xC0


@instead("6888 REQ-1")
def test_dccp_is_known_by_addresses_alone(place: Bench) -> None:
    """Two conversations of a host are one; a second host of a pool with one address gets none."""
    gateway = Gateway(place)

    def dccp(number: int, sport: int) -> Any:
        ports = sport.to_bytes(2, "big") + b"\0\x50"
        return IP(src=host("a", number), dst=host("t", 1), proto=33) / (ports + bytes(12))

    for sport in (5000, 5001):
        arrived = gateway.send("a", dccp(1, sport)).packet
        assert (arrived.src, bytes(arrived)[20:22]) == (POOL, sport.to_bytes(2, "big"))
    assert gateway.send("a", dccp(2, 5000)) == Seen(Verdict.NAT_PROTOCOL)


@instead("7857 4a", "7857 4b")
def test_who_has_used_up_an_address_goes_on_with_the_next(place: Bench) -> None:
    gateway = Gateway(place, pool="198.18.0.0/31", ports=((1024, 1025),))
    used = [gateway.arrives("a", udp(host("a", 1), host("t", 1), port)).src for port in range(5000, 5004)]
    assert used[0] == used[1] != used[2] == used[3]
    assert gateway.is_lost("a", udp(host("a", 1), host("t", 1), 5004)) is Verdict.NAT_EXHAUSTED


@instead("7857 7.1b")
def test_a_reset_from_inside_sets_the_timer_anew(place: Bench) -> None:
    """200 s after the SYN, which alone is over after 240; the answer 200 s later is still translated."""
    gateway = Gateway(place)
    arrived = gateway.arrives("a", tcp(host("a", 1), host("t", 1)))
    gateway.later(200)
    gateway.arrives("a", tcp(host("a", 1), host("t", 1), flags="R"))
    gateway.later(200)
    assert gateway.arrives("t", answer_to(arrived, data=b"")).dst == host("a", 1)


@instead("7857 10")
@pytest.mark.parametrize("flags", ["DF", ""])
def test_identifications_are_copied(place: Bench, flags: str) -> None:
    """Those of two hosts are the same behind one address."""
    gateway = Gateway(place)
    sent = [udp(host("a", number), host("t", 1), id=77, flags=flags) for number in (1, 2)]
    assert [(one.src, one.id) for one in (gateway.arrives("a", each) for each in sent)] == [(POOL, 77)] * 2
