"""Flows: what opens one, what follows it, when it is over, and what stands in the way of a new one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw

from isthmus.tables.address import Family
from isthmus.tables.entries import AttachmentKey, Side, Timeouts
from isthmus.tables.flows import ticks
from isthmus.tables.verdicts import Verdict
from isthmus.trace.flows import Flows
from isthmus.trace.twin import Outcome, Twin
from tests.scenarios.packets.builder import Offer, Peering, hop, number, route, rule, side
from tests.scenarios.packets.frames import assert_leaves, frame, ip
from tests.scenarios.packets.network import BLUE_SIDE, LINKS, PORTS, RED_MAC, RED_SIDE, Network

OPEN = rule(stateless=False)


STARTS, ANSWERS = RED_SIDE._replace(rules=(OPEN,)), BLUE_SIDE._replace(rules=())


def between(red: Side = STARTS, blue: Side = ANSWERS) -> Network:
    """red may start whatever it likes, and blue nothing, unless said otherwise."""
    return Network([Peering(red, blue)])


@dataclass
class Gateway:
    """A network and what it remembers, from one packet to the next."""

    network: Network = field(default_factory=between)
    flows: Flows = field(default_factory=Flows)

    def process(self, packet: Packet, vpc: str = "red") -> Outcome:
        """What becomes of a packet from a host of the VPC."""
        interface = self.network.links[vpc].key.interface
        twin = Twin(self.network.tables(), self.network.environment(), self.flows)
        return twin.process(frame(packet, to=PORTS[interface].mac), interface)

    def verdict(self, packet: Packet, vpc: str = "red") -> Verdict:
        """How a packet from a host of the VPC ends."""
        return self.process(packet, vpc).verdict

    def out(self, packet: Packet, vpc: str = "red") -> Packet:
        """A packet as it leaves."""
        outcome = self.process(packet, vpc)
        assert outcome.verdict == Verdict.FORWARDED
        layer = type(packet)
        return layer(outcome.out[0][1][14:])

    def become(self, network: Network) -> None:
        """A change of the configuration."""
        self.network = network
        self.flows.reconfigured()

    def sweep(self) -> None:
        """The sweep goes over all records until nothing changes."""
        self.flows.sweep(self.network.tables())

    def silent_for(self, seconds: int) -> None:
        """So long nothing happens, to the last tick at which a flow with this timeout lives."""
        self.flows.now += ticks(seconds) - 1


ASK = {4: ip("10.1.1.5", "192.168.2.7"), 6: ip("2001:db8:a::5", "2001:db8:2::7")}
"""From red."""
ASKED = {4: ip("192.168.1.5", "10.1.1.7", ttl=63), 6: ip("2001:db8:1::5", "2001:db8:b::7", ttl=63)}
"""The same as blue gets it."""
ANSWER = {4: ip("10.1.1.7", "192.168.1.5"), 6: ip("2001:db8:b::7", "2001:db8:1::5")}
"""From blue."""
ANSWERED = {4: ip("192.168.2.7", "10.1.1.5", ttl=63), 6: ip("2001:db8:2::7", "2001:db8:a::5", ttl=63)}
"""The same as red gets it."""

CONVERSATIONS = [
    (4, TCP(sport=1025, dport=443, flags="S"), TCP(sport=443, dport=1025, flags="SA")),
    (4, UDP(sport=1025, dport=53) / Raw(b"query"), UDP(sport=53, dport=1025) / Raw(b"answer")),
    (4, ICMP(type=8, id=7) / Raw(b"ping"), ICMP(type=0, id=7) / Raw(b"ping")),
    (4, SCTP(sport=1, dport=2), SCTP(sport=2, dport=1)),
    (6, TCP(sport=1025, dport=443, flags="S"), TCP(sport=443, dport=1025, flags="SA")),
    (6, UDP(sport=1025, dport=53), UDP(sport=53, dport=1025)),
    (6, ICMPv6EchoRequest(id=7, data=b"ping"), ICMPv6EchoReply(id=7, data=b"ping")),
]
QUERY, REPLY = ASK[4] / UDP(sport=1025, dport=53), ANSWER[4] / UDP(sport=53, dport=1025)


@pytest.mark.parametrize(("family", "question", "answer"), CONVERSATIONS)
def test_an_answer_comes_back_that_no_rule_lets_in(family: int, question: Packet, answer: Packet) -> None:
    gateway = Gateway()
    assert gateway.verdict(ANSWER[family] / answer, "blue") == Verdict.NOT_ALLOWED
    assert_leaves(gateway.process(ASK[family] / question), ASKED[family] / question)
    outcome = gateway.process(ANSWER[family] / answer, "blue")
    assert_leaves(outcome, ANSWERED[family] / answer, "red0", RED_MAC)
    assert outcome.peering == "red--blue"
    assert_leaves(gateway.process(ASK[family] / question), ASKED[family] / question)
    assert len(gateway.flows) == 1


@pytest.mark.parametrize(
    "stranger",
    [
        ANSWER[4] / UDP(sport=54, dport=1025),
        ANSWER[4] / UDP(sport=53, dport=1026),
        ANSWER[4] / TCP(sport=53, dport=1025, flags="SA"),
        ip("10.1.1.8", "192.168.1.5") / UDP(sport=53, dport=1025),
        ip("10.1.1.7", "192.168.1.6") / UDP(sport=53, dport=1025),
    ],
)
def test_only_the_answer_comes_back(stranger: Packet) -> None:
    gateway = Gateway()
    gateway.process(QUERY)
    assert gateway.verdict(stranger, "blue") == Verdict.NOT_ALLOWED


def test_a_flow_is_asked_before_the_rules() -> None:
    gateway = Gateway(between(RED_SIDE._replace(rules=(rule(17, dport=(53, 53), stateless=False),))))
    assert gateway.verdict(QUERY) == Verdict.FORWARDED
    assert gateway.verdict(ASK[4] / UDP(sport=1025, dport=54)) == Verdict.NOT_ALLOWED


def test_a_side_without_rules_opens_toward_one_that_has_some() -> None:
    gateway = Gateway(between(RED_SIDE._replace(opens=True), BLUE_SIDE._replace(rules=())))
    assert gateway.verdict(ASK[4] / TCP(flags="A")) == Verdict.FORWARDED
    assert gateway.verdict(ANSWER[4] / TCP(flags="A"), "blue") == Verdict.NOT_ALLOWED
    gateway.process(QUERY)
    assert gateway.verdict(REPLY, "blue") == Verdict.FORWARDED


def test_stateless_rules_remember_nothing() -> None:
    gateway = Gateway(between(RED_SIDE._replace(rules=(rule(),))))
    assert gateway.verdict(QUERY) == Verdict.FORWARDED
    assert gateway.verdict(REPLY, "blue") == Verdict.NOT_ALLOWED
    assert (len(gateway.flows), gateway.flows.records) == (0, 0)


def test_echoes_are_told_apart_by_their_identifier() -> None:
    gateway = Gateway()
    gateway.process(ASK[4] / ICMP(type=8, id=7))
    assert gateway.verdict(ANSWER[4] / ICMP(type=0, id=8), "blue") == Verdict.NOT_ALLOWED
    assert gateway.verdict(ANSWER[4] / ICMP(type=8, id=7), "blue") == Verdict.NOT_ALLOWED
    assert gateway.verdict(ANSWER[4] / ICMP(type=14, id=7), "blue") == Verdict.NOT_ALLOWED


def test_a_packet_that_dies_later_has_opened_its_flow() -> None:
    gateway = Gateway()
    dying = QUERY.copy()
    dying.ttl = 1
    assert gateway.verdict(dying) == Verdict.TTL
    assert gateway.verdict(REPLY, "blue") == Verdict.FORWARDED


def test_a_packet_that_follows_can_still_die() -> None:
    gateway = Gateway()
    gateway.process(QUERY)
    dying = REPLY.copy()
    dying.ttl = 1
    assert gateway.verdict(dying, "blue") == Verdict.TTL
    assert gateway.verdict(ANSWER[4] / UDP(sport=53, dport=1025) / bytes(1480), "blue") == Verdict.TOO_BIG
    gateway.network = replace(gateway.network, neighbors={})
    assert gateway.verdict(REPLY, "blue") == Verdict.NEXT_HOP_UNRESOLVED


TIMEOUTS = Timeouts(udp=30, tcp_established=7200, tcp_transitory=60, icmp=5)


@pytest.mark.parametrize(
    ("question", "answer", "timeout"),
    [
        (UDP(sport=1, dport=2), UDP(sport=2, dport=1), 30),
        (ICMP(type=8, id=1), ICMP(type=0, id=1), 5),
        (SCTP(sport=1, dport=2), SCTP(sport=2, dport=1), 30),
        (TCP(sport=1, dport=2, flags="S"), TCP(sport=2, dport=1, flags="SA"), 60),
    ],
)
def test_silence_ends_a_flow(question: Packet, answer: Packet, timeout: int) -> None:
    """The timeouts are those of the initiator's side."""
    gateway = Gateway(between(RED_SIDE._replace(rules=(OPEN,), timeouts=TIMEOUTS)))
    gateway.process(ASK[4] / question)
    gateway.silent_for(timeout)
    assert gateway.verdict(ANSWER[4] / answer, "blue") == Verdict.FORWARDED
    gateway.silent_for(timeout)
    assert gateway.verdict(ANSWER[4] / answer, "blue") == Verdict.FORWARDED  # an answer is no silence
    gateway.silent_for(timeout)
    gateway.flows.now += 1
    assert gateway.verdict(ANSWER[4] / answer, "blue") == Verdict.NOT_ALLOWED


def test_no_timeout_is_shorter_than_it_says() -> None:
    assert ticks(1) * 2**27 >= 1_000_000_000 + 2**27
    assert (ticks(1) - 2) * 2**27 < 1_000_000_000


def test_after_silence_the_same_packet_opens_a_new_flow() -> None:
    gateway = Gateway()
    gateway.process(QUERY)
    gateway.silent_for(301)
    assert gateway.verdict(QUERY) == Verdict.FORWARDED
    assert gateway.verdict(REPLY, "blue") == Verdict.FORWARDED
    assert (len(gateway.flows), gateway.flows.records) == (1, 2)
    gateway.sweep()
    assert (len(gateway.flows), gateway.flows.records) == (1, 1)
    assert gateway.verdict(REPLY, "blue") == Verdict.FORWARDED


def test_a_full_table_refuses_new_flows_and_keeps_the_old() -> None:
    gateway = Gateway(flows=Flows(capacity=2))
    for port in (1, 2):
        assert gateway.verdict(ASK[4] / UDP(sport=port, dport=53)) == Verdict.FORWARDED
    assert gateway.verdict(ASK[4] / UDP(sport=3, dport=53)) == Verdict.FLOW_TABLE_FULL
    assert gateway.verdict(ASK[4] / UDP(sport=2, dport=53)) == Verdict.FORWARDED
    gateway.silent_for(301)
    assert gateway.verdict(ASK[4] / UDP(sport=3, dport=53)) == Verdict.FLOW_TABLE_FULL  # not yet swept
    gateway.sweep()
    assert gateway.verdict(ASK[4] / UDP(sport=3, dport=53)) == Verdict.FORWARDED


def sharing() -> Network:
    """red and blue are plain toward green, and show it the same addresses."""
    green = side("p", "green", Offer("10.3.1.0/24"))
    return Network(
        [
            Peering(
                side(f"{name}--green", name, Offer("10.1.1.0/24"), rules=(OPEN,)),
                green._replace(key=green.key._replace(peering=f"{name}--green"), rules=()),
            )
            for name in ("red", "blue")
        ]
    )


def test_two_conversations_can_not_have_the_same_answers() -> None:
    gateway = Gateway(sharing())
    query, answer = (
        ip("10.1.1.5", "10.3.1.9") / UDP(sport=1, dport=2),
        ip("10.3.1.9", "10.1.1.5") / UDP(sport=2, dport=1),
    )
    assert gateway.verdict(query, "red") == Verdict.FORWARDED
    assert gateway.verdict(query, "blue") == Verdict.FLOW_CONFLICT
    assert gateway.process(answer, "green").out[0][0] == "red0"
    assert gateway.flows.records == 1
    gateway.silent_for(301)
    assert gateway.verdict(query, "blue") == Verdict.FORWARDED
    assert gateway.process(answer, "green").out[0][0] == "blue0"


def test_both_may_start_the_same_conversation() -> None:
    """Each has its own flow, and the first one's keys are those of the other's packets: they follow it."""
    gateway = Gateway(between(RED_SIDE._replace(rules=(OPEN,)), BLUE_SIDE._replace(rules=(OPEN,))))
    assert gateway.verdict(QUERY) == Verdict.FORWARDED
    assert gateway.verdict(REPLY, "blue") == Verdict.FORWARDED
    assert len(gateway.flows) == 1


def test_answers_need_a_route_to_the_initiator() -> None:
    gateway = Gateway(between().with_route("red", route("10.1.1.128/25", hop(LINKS["red"]))))
    assert gateway.verdict(QUERY) == Verdict.FORWARDED
    outcome = gateway.process(REPLY, "blue")
    assert (outcome.verdict, outcome.peering) == (Verdict.NO_ROUTE, "red--blue")
    gateway.silent_for(300)
    assert gateway.verdict(REPLY, "blue") == Verdict.NO_ROUTE
    gateway.flows.now += 1
    assert len(gateway.flows) == 0  # the drop was no sign of life


def test_no_answers_to_the_gateway_itself() -> None:
    gateway = Gateway(between().with_route("red", route("10.1.1.5/32", local=True)))
    assert gateway.verdict(QUERY) == Verdict.FORWARDED
    assert gateway.verdict(REPLY, "blue") == Verdict.NO_ROUTE


def test_a_flow_has_one_way_in_each_direction_also_for_fragments() -> None:
    hops = [hop(LINKS["blue"], f"10.1.1.{last}") for last in (2, 3, 4)]
    macs: dict[tuple[AttachmentKey, Family, int], bytes] = {
        (LINKS["blue"].key, 4, number(f"10.1.1.{last}")): bytes([2, 0, 0, 0, 9, last]) for last in (2, 3, 4)
    }
    network = replace(between().with_route("blue", route("10.1.1.0/24", *hops)), neighbors=macs)
    ways = set()
    for port in range(1, 20):
        whole, first = ASK[4] / UDP(sport=port, dport=53), IP(src="10.1.1.5", dst="192.168.2.7", flags="MF")
        opened_by_fragment = Gateway(network).process(first / UDP(sport=port, dport=53)).out[0][1][:6]
        assert Gateway(network).process(whole).out[0][1][:6] == opened_by_fragment
        ways.add(opened_by_fragment)
    assert len(ways) == 3


def test_followed_packets_are_not_asked_for_martians_and_others_are() -> None:
    gateway = Gateway()
    assert gateway.verdict(ip("127.0.0.1", "192.168.2.7") / UDP()) == Verdict.MARTIAN
    assert len(gateway.flows) == 0
