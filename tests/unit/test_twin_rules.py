"""Stages source and rules: who may send, what ingress allows, and what needs a flow."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6ExtHdrFragment
from scapy.packet import Packet

from isthmus.tables.entries import Nat, Pool, RuleEntry
from isthmus.tables.verdicts import Verdict
from isthmus.trace.flows import Flows
from isthmus.trace.twin import Twin
from tests.scenarios.packets.builder import Offer, Peering, number, rule, side
from tests.scenarios.packets.frames import frame, ip
from tests.scenarios.packets.network import BLUE_SIDE, RED_SIDE, Network

ALLOWED, REFUSED, NO_FLOW = Verdict.FORWARDED, Verdict.NOT_ALLOWED, Verdict.NO_FLOW


def with_rules(*rules: RuleEntry) -> Network:
    return Network([Peering(RED_SIDE._replace(rules=rules), BLUE_SIDE._replace(opens=True))])


def verdict(network: Network, transport: Packet, src: str = "10.1.1.5", dst: str = "192.168.2.7") -> Verdict:
    return network.process(frame(ip(src, dst) / transport)).verdict


@pytest.mark.parametrize("src", ["10.1.0.255", "10.1.2.0", "10.1.1.42", "192.168.1.5"])
def test_a_source_that_is_not_exposed(src: str) -> None:
    assert verdict(Network(), UDP(), src) == Verdict.SOURCE_NOT_EXPOSED


@pytest.mark.parametrize("src", ["10.1.1.0", "10.1.1.41", "10.1.1.43", "10.1.1.255"])
def test_a_source_that_is(src: str) -> None:
    assert verdict(Network(), UDP(), src) == ALLOWED


def test_families_are_exposed_apart() -> None:
    only4 = Peering(side("p", "red", Offer("10.1.1.0/24")), side("p", "blue", Offer("2001:db8:b::/64")))
    assert verdict(Network([only4]), UDP(), "2001:db8:a::5", "2001:db8:b::7") == Verdict.SOURCE_NOT_EXPOSED


def test_no_ingress_lets_everything_exposed_pass() -> None:
    for transport in (TCP(flags="S"), TCP(flags="R"), UDP(), ICMP(), ICMP(type=0)):
        assert verdict(Network(), transport) == ALLOWED


def test_an_empty_ingress_lets_nothing_pass() -> None:
    for transport in (TCP(flags="A"), UDP(), ICMP(type=0)):
        assert verdict(with_rules(), transport) == REFUSED


def test_the_rules_are_those_of_the_sender_alone() -> None:
    network = Network([Peering(RED_SIDE, BLUE_SIDE._replace(rules=()))])
    assert verdict(network, UDP()) == ALLOWED


@pytest.mark.parametrize(
    ("entry", "transport", "expected"),
    [
        (rule(), UDP(), ALLOWED),
        (rule(6), TCP(), ALLOWED),
        (rule(6), UDP(), REFUSED),
        (rule(17), UDP(), ALLOWED),
        (rule(17), TCP(), REFUSED),
        (rule(1), ICMP(), ALLOWED),
        (rule(1), TCP(), REFUSED),
        (rule(6, dport=(443, 443)), TCP(dport=443), ALLOWED),
        (rule(6, dport=(443, 443)), TCP(dport=442), REFUSED),
        (rule(6, dport=(443, 443)), TCP(sport=443, dport=80), REFUSED),
        (rule(6, sport=(443, 443)), TCP(sport=443), ALLOWED),
        (rule(6, dport=(80, 90)), TCP(dport=80), ALLOWED),
        (rule(6, dport=(80, 90)), TCP(dport=90), ALLOWED),
        (rule(6, dport=(80, 90)), TCP(dport=91), REFUSED),
        (rule(1, sport=(8, 8)), ICMP(type=8), ALLOWED),
        (rule(1, sport=(8, 8)), ICMP(type=13), REFUSED),
        (rule(1, sport=(8, 8), dport=(0, 0)), ICMP(type=8, code=1), REFUSED),
        (rule(src="10.1.1.4/31"), UDP(), ALLOWED),
        (rule(src="10.1.1.6/31"), UDP(), REFUSED),
        (rule(src="192.168.1.0/24"), UDP(), REFUSED),  # private, not public
        (rule(dst="192.168.2.7/32"), UDP(), ALLOWED),
        (rule(dst="10.1.1.7/32"), UDP(), REFUSED),  # as dialled, not private
        (rule(src="2001:db8::/32"), UDP(), REFUSED),
        (rule(stateless=False), UDP(), ALLOWED),
        (rule(stateless=False), TCP(flags="S"), ALLOWED),
        (rule(stateless=False), TCP(flags="A"), NO_FLOW),
        (rule(stateless=False), ICMP(type=0), NO_FLOW),
        (rule(stateless=False), ICMP(type=13), NO_FLOW),
    ],
)
def test_one_rule(entry: RuleEntry, transport: Packet, expected: Verdict) -> None:
    assert verdict(with_rules(entry), transport) == expected


def test_icmp_in_a_rule_is_the_family_s_own() -> None:
    network, hosts = with_rules(rule(1)), ("2001:db8:a::5", "2001:db8:2::7")
    assert verdict(network, ICMPv6EchoRequest(), *hosts) == ALLOWED
    assert network.process(frame(ip(*hosts, nh=1) / bytes(8))).verdict == REFUSED
    assert network.process(frame(IP(src="10.1.1.5", dst="192.168.2.7", proto=58) / bytes(8))).verdict == REFUSED


def test_the_first_rule_that_matches_decides() -> None:
    answer = TCP(flags="SA")
    assert verdict(with_rules(rule(6, stateless=False), rule()), answer) == NO_FLOW
    assert verdict(with_rules(rule(), rule(6, stateless=False)), answer) == ALLOWED
    assert verdict(with_rules(rule(17), rule(6)), TCP()) == ALLOWED


FRAGMENT = IP(src="10.1.1.5", dst="192.168.2.7", proto=6, frag=3) / bytes(32)
ASKS_PORTS = rule(6, dport=(443, 443))


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([rule(6)], ALLOWED),
        ([ASKS_PORTS], Verdict.FRAGMENT_NO_STATE),
        ([ASKS_PORTS, rule()], Verdict.FRAGMENT_NO_STATE),
        ([rule(), ASKS_PORTS], ALLOWED),
        ([rule(17, dport=(443, 443))], REFUSED),
        ([rule(6, dport=(443, 443), src="10.1.1.6/32")], REFUSED),
        ([rule(6, dport=(443, 443), stateless=False)], Verdict.FRAGMENT_NO_STATE),
        ([rule(6, stateless=False)], Verdict.FRAGMENT_NO_STATE),
    ],
)
def test_a_later_fragment_meets_rules_without_ports(rules: list[RuleEntry], expected: Verdict) -> None:
    assert with_rules(*rules).process(frame(FRAGMENT)).verdict == expected


def test_a_first_fragment_has_its_ports() -> None:
    first = IP(src="10.1.1.5", dst="192.168.2.7", flags="MF") / TCP(dport=443)
    assert with_rules(ASKS_PORTS).process(frame(first)).verdict == ALLOWED


def test_a_later_icmpv6_fragment_has_no_type() -> None:
    later = ip("2001:db8:a::5", "2001:db8:2::7") / IPv6ExtHdrFragment(offset=2, nh=58) / bytes([1] * 16)
    assert with_rules(rule(1, sport=(128, 128))).process(frame(later)).verdict == Verdict.FRAGMENT_NO_STATE
    assert with_rules(rule(1)).process(frame(later)).verdict == ALLOWED


OPENING = Network([Peering(RED_SIDE._replace(opens=True), BLUE_SIDE._replace(rules=()))])


def flows_after(network: Network, packet: Packet) -> int:
    """How many flows there are, after one packet that passes."""
    flows = Flows()
    outcome = Twin(network.tables(), network.environment(), flows).process(frame(packet), "red0")
    assert outcome.verdict == ALLOWED
    return len(flows)


@pytest.mark.parametrize(
    ("transport", "opened"),
    [
        (TCP(flags="S"), 1),
        (TCP(flags="SA"), 0),
        (TCP(flags="A"), 0),
        (TCP(flags="R"), 0),
        (UDP(), 1),
        (ICMP(type=8), 1),
        (ICMP(type=0), 0),
        (ICMP(type=13), 0),
    ],
)
def test_what_starts_a_conversation_toward_a_side_with_rules(transport: Packet, opened: int) -> None:
    assert flows_after(OPENING, ip("10.1.1.5", "192.168.2.7") / transport) == opened
    assert flows_after(Network(), ip("10.1.1.5", "192.168.2.7") / transport) == 0


@pytest.mark.parametrize(("proto", "opened"), [(6, 0), (1, 0), (17, 0), (132, 1)])
def test_later_fragments_toward_a_side_with_rules(proto: int, opened: int) -> None:
    fragment = IP(src="10.1.1.5", dst="192.168.2.7", proto=proto, frag=3) / bytes([8] * 32)
    assert flows_after(OPENING, fragment) == opened


def test_a_stateful_sender_needs_flows() -> None:
    pool = Pool({4: ((number("203.0.113.1"), number("203.0.113.1")),)})
    hidden = side("p", "red", Offer("10.1.1.0/24"), nat=Nat.STATEFUL)._replace(pool=pool)
    network = Network([Peering(hidden, side("p", "green", Offer("10.3.1.0/24")))])
    assert verdict(network, UDP(), dst="10.3.1.9") == ALLOWED
    assert verdict(network, TCP(flags="A"), dst="10.3.1.9") == NO_FLOW
    allowing = Network([Peering(hidden._replace(rules=(rule(),)), side("p", "green", Offer("10.3.1.0/24")))])
    assert verdict(allowing, TCP(flags="A"), dst="10.3.1.9") == NO_FLOW
    refusing = Network([Peering(hidden._replace(rules=()), side("p", "green", Offer("10.3.1.0/24")))])
    assert verdict(refusing, UDP(), dst="10.3.1.9") == REFUSED
    assert verdict(network, UDP(), src="10.1.2.5", dst="10.3.1.9") == Verdict.SOURCE_NOT_EXPOSED
