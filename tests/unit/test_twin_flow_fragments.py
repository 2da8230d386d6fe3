"""Fragments: later ones have no ports, so they are given what their first one found, for five seconds."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6ExtHdrFragment
from scapy.packet import Packet

from isthmus.tables.flows import FRAGMENT_S, ticks
from isthmus.tables.verdicts import Verdict
from tests.scenarios.packets.builder import rule
from tests.scenarios.packets.frames import assert_leaves, ip
from tests.scenarios.packets.network import RED_MAC, RED_SIDE
from tests.unit.test_twin_flow_changes import two_peers
from tests.unit.test_twin_flows import ANSWER, QUERY, REPLY, Gateway, between

PAYLOAD = bytes(range(64))
PROTOCOLS = [(17, UDP(sport=1025, dport=53)), (6, TCP(sport=1025, dport=53, flags="S")), (1, ICMP(type=8, id=7))]


def first(transport: Packet, number: int = 9, dst: str = "192.168.2.7") -> Packet:
    """From red."""
    return IP(src="10.1.1.5", dst=dst, id=number, flags="MF") / transport / bytes(20)


def later(proto: int = 17, number: int = 9, dst: str = "192.168.2.7") -> Packet:
    """From red, at an offset."""
    return IP(src="10.1.1.5", dst=dst, id=number, frag=5, proto=proto) / PAYLOAD


@pytest.mark.parametrize(("proto", "transport"), PROTOCOLS)
def test_later_fragments_follow_the_flow_that_the_first_one_opened(proto: int, transport: Packet) -> None:
    at = Gateway()
    assert at.verdict(later(proto)) == Verdict.FRAGMENT_NO_STATE
    assert at.verdict(first(transport)) == Verdict.FORWARDED
    expected = IP(src="192.168.1.5", dst="10.1.1.7", ttl=63, id=9, frag=5, proto=proto) / PAYLOAD
    assert_leaves(at.process(later(proto)), expected)
    assert at.process(later(proto)).peering == "red--blue"


def test_in_ipv6() -> None:
    src, dst = "2001:db8:a::5", "2001:db8:2::7"
    at = Gateway()
    begin = ip(src, dst) / IPv6ExtHdrFragment(id=2**31, m=1, nh=17) / UDP(sport=1, dport=2, len=99, chksum=0)
    rest = IPv6ExtHdrFragment(id=2**31, offset=1, nh=17) / PAYLOAD
    assert at.verdict(ip(src, dst) / rest) == Verdict.FRAGMENT_NO_STATE
    assert at.verdict(begin) == Verdict.FORWARDED
    assert_leaves(at.process(ip(src, dst) / rest), ip("2001:db8:1::5", "2001:db8:b::7", ttl=63) / rest)


def test_fragments_of_an_answer() -> None:
    at = Gateway()
    at.process(QUERY)
    head, tail = {"src": "10.1.1.7", "dst": "192.168.1.5", "id": 3}, {"src": "192.168.2.7", "dst": "10.1.1.5", "id": 3}
    assert at.verdict(IP(**head, flags="MF") / UDP(sport=53, dport=1025, len=99), "blue") == Verdict.FORWARDED
    outcome = at.process(IP(**head, frag=2, proto=17) / PAYLOAD, "blue")
    assert_leaves(outcome, IP(**tail, frag=2, proto=17, ttl=63) / PAYLOAD, "red0", RED_MAC)


@pytest.mark.parametrize(
    "stranger",
    [later(number=8), later(proto=6), later(dst="192.168.2.8"), ip("10.1.1.6", "192.168.2.7", id=9, frag=5, proto=17)],
)
def test_only_fragments_of_the_same_packet_follow(stranger: Packet) -> None:
    at = Gateway()
    at.process(first(UDP(sport=1025, dport=53)))
    assert at.verdict(stranger) == Verdict.FRAGMENT_NO_STATE


def test_what_a_first_fragment_found_is_known_for_five_seconds() -> None:
    at = Gateway()
    at.process(first(UDP(sport=1025, dport=53)))
    at.flows.now += ticks(FRAGMENT_S) - 1
    assert at.verdict(later()) == Verdict.FORWARDED
    at.flows.now += 1
    assert at.verdict(later()) == Verdict.FRAGMENT_NO_STATE
    at.process(first(UDP(sport=1025, dport=53)))
    assert at.verdict(later()) == Verdict.FORWARDED


def test_a_later_fragment_is_a_sign_of_life() -> None:
    at = Gateway()
    at.process(QUERY)
    at.flows.now += ticks(299)
    at.process(first(UDP(sport=1025, dport=53)))
    at.flows.now += 20
    at.process(later())
    at.flows.now += ticks(300) - 1
    assert at.verdict(REPLY, "blue") == Verdict.FORWARDED


def test_the_last_first_fragment_counts() -> None:
    at = Gateway()
    for port in (1025, 1026):
        at.process(first(UDP(sport=port, dport=53)))
    at.flows.end(next(held for held, _ in at.flows._live.values() if held.keys[0].sport == 1025))
    assert at.verdict(later()) == Verdict.FORWARDED


def test_fragments_of_a_flow_that_is_over() -> None:
    at = Gateway()
    at.process(first(UDP(sport=1025, dport=53)))
    at.become(between(RED_SIDE._replace(rules=())))
    assert at.verdict(later()) == Verdict.FRAGMENT_NO_STATE
    at.become(between())
    assert at.verdict(later()) == Verdict.FRAGMENT_NO_STATE
    assert at.verdict(REPLY, "blue") == Verdict.NOT_ALLOWED


def test_a_later_fragment_moves_no_flow_to_another_path() -> None:
    at = Gateway(two_peers("blue", "green"))
    assert at.process(first(UDP(), dst="8.8.8.8")).peering == "red--blue"
    at.become(two_peers("green"))
    assert at.verdict(later(dst="8.8.8.8")) == Verdict.NO_ROUTE
    assert at.process(first(UDP(), dst="8.8.8.8")).peering == "red--green"
    assert at.process(later(dst="8.8.8.8")).peering == "red--green"


ASKS_PORTS = between(RED_SIDE._replace(rules=(rule(17, dport=(53, 53)),)))


def test_what_rules_allowed_without_a_flow_is_allowed_to_later_fragments() -> None:
    at = Gateway(ASKS_PORTS)
    assert at.verdict(later()) == Verdict.FRAGMENT_NO_STATE
    assert at.verdict(first(UDP(sport=1025, dport=53))) == Verdict.FORWARDED
    assert at.verdict(later()) == Verdict.FORWARDED
    assert len(at.flows) == 0
    at.become(ASKS_PORTS)
    assert at.verdict(later()) == Verdict.FRAGMENT_NO_STATE  # those of now may say something else


def test_what_rules_refused_is_not() -> None:
    at = Gateway(ASKS_PORTS)
    assert at.verdict(first(UDP(sport=1025, dport=54))) == Verdict.NOT_ALLOWED
    assert at.verdict(later()) == Verdict.FRAGMENT_NO_STATE


def test_without_rules_and_flows_fragments_pass_as_they_come() -> None:
    at = Gateway(between(RED_SIDE, between().peerings[0].right._replace(rules=None)))
    assert at.verdict(later()) == Verdict.FORWARDED


def test_toward_a_side_with_rules_a_later_fragment_alone_opens_nothing() -> None:
    at = Gateway(between(RED_SIDE._replace(opens=True)))
    assert at.verdict(later()) == Verdict.FORWARDED
    assert len(at.flows) == 0
    at.process(first(UDP(sport=1025, dport=53)))
    assert at.verdict(later()) == Verdict.FORWARDED
    assert len(at.flows) == 1


def test_each_fragment_of_a_protocol_without_ports_is_a_packet_like_any_other() -> None:
    at = Gateway()
    assert at.verdict(later(proto=47)) == Verdict.FORWARDED
    assert len(at.flows) == 1
    assert at.verdict(ip(ANSWER[4].src, ANSWER[4].dst, proto=47, frag=5) / PAYLOAD, "blue") == Verdict.FORWARDED


def test_an_error_in_fragments_lends_its_flow_to_nobody() -> None:
    """Its later fragments would be sent on in the name of the flow's host, whoever tells it."""
    at = Gateway()
    at.process(QUERY)
    about = IP(src="192.168.1.5", dst="10.1.1.7") / UDP(sport=1025, dport=53)
    begin = IP(src="10.1.1.9", dst="192.168.1.5", id=5, flags="MF") / ICMP(type=11) / about
    assert at.verdict(begin, "blue") == Verdict.FORWARDED
    rest = IP(src="10.1.1.9", dst="192.168.1.5", id=5, frag=9, proto=1) / PAYLOAD
    assert at.verdict(rest, "blue") == Verdict.NOT_ALLOWED
