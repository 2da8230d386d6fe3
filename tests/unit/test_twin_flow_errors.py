"""ICMP errors about packets of a flow: who gets them, and what each side sees inside and outside."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6PacketTooBig
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw

from isthmus.tables.verdicts import Verdict
from tests.scenarios.packets.builder import attachment, hop, route
from tests.scenarios.packets.frames import assert_leaves, ip
from tests.scenarios.packets.network import BLUE_MAC, LINKS, RED_MAC
from tests.unit.test_twin_flows import ASK, ASKED, QUERY, REPLY, Gateway, between
from tests.unit.test_twin_nat import BOTH, GREEN_MAC, ONE, WEB, WEB6, gateway, hidden

UNREACHABLE = {4: ICMP(type=3, code=3), 6: ICMPv6DestUnreach(code=4)}


def about(family: int, packet: Packet | bytes, teller: str | None = None) -> Packet:
    """Port unreachable about a packet, from whom it was for unless another tells; it leaves with the TTL of others."""
    packet = packet if isinstance(packet, Packet) else (IP if family == 4 else type(ASK[6]))(packet)
    return ip(teller or packet.dst, packet.src) / UNREACHABLE[family] / packet


def told(family: int, packet: Packet, teller: str | None = None) -> Packet:
    """The same as the gateway sends it on."""
    return ip(teller or packet.dst, packet.src, ttl=63) / UNREACHABLE[family] / packet


TRANSPORTS = [
    (4, TCP(sport=1025, dport=443, flags="S")),
    (4, UDP(sport=1025, dport=53) / Raw(b"odd")),
    (4, ICMP(type=8, id=7) / Raw(b"ping")),
    (4, SCTP(sport=1, dport=2)),
    (6, UDP(sport=1025, dport=53)),
    (6, ICMPv6EchoRequest(id=7, data=b"ping")),
]


@pytest.mark.parametrize(("family", "transport"), TRANSPORTS)
def test_an_error_comes_back_where_no_rule_lets_anything_in(family: int, transport: Packet) -> None:
    at = Gateway()
    got = ip(ASKED[family].src, ASKED[family].dst) / transport
    assert at.verdict(about(family, got), "blue") == Verdict.NO_FLOW
    at.process(ASK[family] / transport)
    outcome = at.process(about(family, got), "blue")
    assert_leaves(outcome, told(family, ASK[family] / transport), "red0", RED_MAC)
    assert outcome.peering == "red--blue"


def test_an_error_about_an_answer() -> None:
    at = Gateway()
    at.process(QUERY)
    got = ip("192.168.2.7", "10.1.1.5") / UDP(sport=53, dport=1025)
    assert_leaves(at.process(about(4, got)), told(4, REPLY), "blue0", BLUE_MAC)


def test_an_error_about_another_conversation() -> None:
    at = Gateway()
    at.process(QUERY)
    for stranger in (UDP(sport=1026, dport=53), TCP(sport=1025, dport=53), ICMP(type=13)):
        assert at.verdict(about(4, ip("192.168.1.5", "10.1.1.7") / stranger), "blue") == Verdict.NO_FLOW


def test_errors_are_no_sign_of_life() -> None:
    at = Gateway()
    at.process(QUERY)
    error = about(4, ip("192.168.1.5", "10.1.1.7") / UDP(sport=1025, dport=53))
    at.silent_for(300)
    assert at.verdict(error, "blue") == Verdict.FORWARDED
    at.flows.now += 1
    assert len(at.flows) == 0
    assert at.verdict(error, "blue") == Verdict.NO_FLOW


@pytest.mark.parametrize(
    ("family", "question", "mapped"),
    [
        (4, UDP(sport=5000, dport=53) / Raw(b"odd"), UDP(sport=6000, dport=53) / Raw(b"odd")),
        (4, UDP(sport=5000, dport=53, chksum=0), UDP(sport=6000, dport=53, chksum=0)),
        (4, TCP(sport=5000, dport=80, flags="S"), TCP(sport=6000, dport=80, flags="S")),
        (4, ICMP(type=8, id=7, seq=1), ICMP(type=8, id=6000, seq=1)),
        (6, TCP(sport=5000, dport=80, flags="S"), TCP(sport=6000, dport=80, flags="S")),
        (6, ICMPv6EchoRequest(id=7), ICMPv6EchoRequest(id=6000)),
    ],
)
def test_ports_and_identifiers_inside_are_those_of_the_host(family: int, question: Packet, mapped: Packet) -> None:
    at = gateway(hidden(BOTH))
    sent = ip({4: "10.1.1.5", 6: "2001:db8:a::5"}[family], {4: WEB, 6: WEB6}[family]) / question
    got = ip({4: "203.0.113.1", 6: "2001:db8:99::1"}[family], sent.dst) / mapped
    at.process(sent)
    outcome = at.process(about(family, got), "green")
    assert_leaves(outcome, told(family, sent), "red0", RED_MAC)


def test_a_short_quote_is_translated_as_far_as_it_goes() -> None:
    """28 bytes: the ports are there, and the checksum of TCP is not."""
    at = gateway(hidden(BOTH))
    sent, got = (
        bytes(ip(src, WEB) / TCP(sport=sport, dport=80, flags="S"))
        for src, sport in (("10.1.1.5", 5000), ("203.0.113.1", 6000))
    )
    at.process(IP(sent))
    error = ip(WEB, "203.0.113.1") / ICMP(type=3, code=3) / got[:28]
    expected = ip(WEB, "10.1.1.5", ttl=63) / ICMP(type=3, code=3) / sent[:28]
    assert_leaves(at.process(error, "green"), expected, "red0", RED_MAC)


def test_path_mtu_discovery_behind_nat() -> None:
    at = gateway(hidden(BOTH))
    at.process(ip("2001:db8:a::5", WEB6) / TCP(sport=5000, dport=80, flags="S"))
    error = ip("2001:db8:c::fe", "2001:db8:99::1") / ICMPv6PacketTooBig(mtu=1280)
    seen = ip("2001:db8:c::fe", "2001:db8:a::5", ttl=63) / ICMPv6PacketTooBig(mtu=1280)
    got, sent = (
        ip(src, WEB6) / TCP(sport=sport, dport=80, flags="A")
        for src, sport in (("2001:db8:99::1", 6000), ("2001:db8:a::5", 5000))
    )
    assert_leaves(at.process(error / got, "green"), seen / sent, "red0", RED_MAC)


ANSWER_GOT, ANSWER_SENT = (
    ip(WEB, "10.1.1.5") / UDP(sport=53, dport=5000),
    ip(WEB, "203.0.113.1") / UDP(sport=53, dport=6000),
)


@pytest.mark.parametrize(
    ("teller", "seen_as"),
    [
        ("10.1.1.5", "203.0.113.1"),  # the host of the flow
        ("10.1.1.6", "10.3.1.1"),  # any other router behind NAT: the gateway speaks for it
        ("172.16.0.1", "10.3.1.1"),
        ("169.254.0.9", "10.3.1.1"),
    ],
)
def test_who_tells_it_from_behind_stateful_nat(teller: str, seen_as: str) -> None:
    at = gateway(hidden(BOTH))
    at.process(ip("10.1.1.5", WEB) / UDP(sport=5000, dport=53))
    outcome = at.process(about(4, ANSWER_GOT, teller=teller))
    assert_leaves(outcome, told(4, ANSWER_SENT, teller=seen_as), "green0", GREEN_MAC)


def test_a_gateway_without_an_address_tells_nothing_in_ipv6() -> None:
    at = gateway(hidden(BOTH))
    at.network = at.network.with_link("green", attachment("green", "green0"))
    at.process(ip("2001:db8:a::5", WEB6) / UDP(sport=5000, dport=53))
    error = about(6, ip(WEB6, "2001:db8:a::5") / UDP(sport=53, dport=5000), teller="2001:db8:eeee::1")
    outcome = at.process(error)
    assert (outcome.verdict, outcome.peering) == (Verdict.SOURCE_NOT_EXPOSED, "red--green")


def test_who_tells_it_on_a_plain_side_is_kept_unless_it_is_a_martian() -> None:
    at = gateway(hidden(ONE))
    at.process(ip("10.1.1.5", WEB) / UDP(sport=5000, dport=53))
    got = ip("203.0.113.1", WEB) / UDP(sport=5000, dport=53)
    sent = ip("10.1.1.5", WEB) / UDP(sport=5000, dport=53)
    outcome = at.process(about(4, got, teller="172.16.0.1"), "green")
    assert_leaves(outcome, told(4, sent, teller="172.16.0.1"), "red0", RED_MAC)
    assert at.verdict(about(4, got, teller="169.254.0.9"), "green") == Verdict.MARTIAN


def test_who_tells_it_on_a_static_side_is_translated_or_the_gateway() -> None:
    at = Gateway()
    at.process(QUERY)
    got, sent = ip("192.168.1.5", "10.1.1.7") / UDP(sport=1025, dport=53), QUERY
    for teller, seen_as in (("10.1.1.254", "192.168.2.254"), ("172.16.0.1", "10.1.1.1")):
        outcome = at.process(about(4, got, teller=teller), "blue")
        assert_leaves(outcome, told(4, sent, teller=seen_as), "red0", RED_MAC)


def test_what_is_malformed_is_so_before_flows_and_martians_are_asked() -> None:
    at = Gateway()
    at.process(QUERY)
    another = ip("10.1.1.7", "192.168.1.6") / UNREACHABLE[4] / ip("192.168.1.5", "10.1.1.7") / UDP(sport=1025, dport=53)
    assert at.verdict(another, "blue") == Verdict.ICMP_MALFORMED
    assert at.verdict(ip("127.0.0.1", "192.168.1.5") / UNREACHABLE[4], "blue") == Verdict.ICMP_MALFORMED


def test_an_error_for_an_initiator_without_a_route() -> None:
    at = Gateway(between().with_route("red", route("10.1.1.128/25", hop(LINKS["red"]))))
    at.process(QUERY)
    assert at.verdict(about(4, ip("192.168.1.5", "10.1.1.7") / UDP(sport=1025, dport=53)), "blue") == Verdict.NO_ROUTE


def test_an_error_finds_out_that_its_flow_is_over_and_moves_none_that_waits() -> None:
    at = Gateway()
    at.process(QUERY)
    back = about(4, ip("192.168.1.5", "10.1.1.7") / UDP(sport=1025, dport=53))
    forth = about(4, ip("192.168.2.7", "10.1.1.5") / UDP(sport=53, dport=1025))
    at.become(between().with_route("blue"))
    assert at.verdict(back, "blue") == Verdict.NO_ROUTE
    assert at.verdict(forth) == Verdict.NO_ROUTE
    assert len(at.flows) == 1
    at.become(between(between().peerings[0].left._replace(rules=())))
    assert at.verdict(back, "blue") == Verdict.NOT_ALLOWED
    assert len(at.flows) == 0


def test_an_error_about_a_later_fragment_is_of_no_flow() -> None:
    """It has no ports. Where the other side's rules let the packet inside go it passes, like any."""
    at = Gateway()
    at.process(QUERY)
    later = ip("192.168.1.5", "10.1.1.7", proto=17, frag=3) / bytes(16)
    assert at.verdict(about(4, later), "blue") == Verdict.NO_FLOW
    at.process(ip("10.1.1.5", "192.168.2.7", proto=47) / b"gre?")
    whole = ip("192.168.1.5", "10.1.1.7", proto=47, frag=3) / bytes(16)
    assert at.verdict(about(4, whole), "blue") == Verdict.FORWARDED
