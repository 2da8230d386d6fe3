"""How long a mapping of stateful NAT lives: with its flows, with its pool, and in a table that is full."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, TCP, UDP
from scapy.packet import Packet

from isthmus.tables.entries import Pool, Timeouts
from isthmus.tables.flows import HOLD_DOWN_S, ticks
from isthmus.tables.verdicts import Verdict
from tests.scenarios.packets.builder import Offer, Peering, rule, side
from tests.scenarios.packets.frames import ip
from tests.scenarios.packets.network import Network
from tests.unit.test_twin_nat import DNS, ONE, WEB, gateway, hidden, pool, seen, udp


def test_a_mapping_goes_with_its_last_flow() -> None:
    at = gateway(hidden(pool("203.0.113.1", "203.0.113.1", (3000, 3000))))
    at.process(udp(1, dst=WEB))
    at.silent_for(200)
    at.process(udp(1, dst=DNS))
    at.silent_for(200)
    at.sweep()
    assert at.verdict(udp(2)) == Verdict.NAT_EXHAUSTED  # the second flow lives
    at.silent_for(200)
    assert at.verdict(udp(2)) == Verdict.NAT_EXHAUSTED  # it does not, and has not been swept
    at.sweep()
    assert at.flows.records == 0
    assert at.verdict(udp(2)) == Verdict.FORWARDED


def test_a_tcp_port_is_held_for_its_own_host() -> None:
    """RFC 6888 REQ-8: what is still under way for the last one must not reach the next."""

    def syn(sport: int) -> Packet:
        return ip("10.1.1.5", WEB) / TCP(sport=sport, dport=80, flags="S")

    at = gateway(hidden(pool("203.0.113.1", "203.0.113.1", (3000, 3000))))
    for holding in (False, True):
        assert at.verdict(syn(1)) == Verdict.FORWARDED, holding
        at.silent_for(241)
        at.sweep()
        assert (len(at.flows), at.flows.records) == (0, 2)
        at.silent_for(HOLD_DOWN_S)
        at.sweep()
        assert at.verdict(syn(2)) == Verdict.NAT_EXHAUSTED
    at.flows.now += 1
    at.sweep()
    assert at.flows.records == 0
    assert at.verdict(syn(2)) == Verdict.FORWARDED


@pytest.mark.parametrize(
    ("capacity", "left"),
    [(0, 0), (1, 0)],
)
def test_what_was_mapped_before_a_refusal_stays_until_the_sweep(capacity: int, left: int) -> None:
    """A conversation takes a record for its flow, and two for its mapping: one counts the ports of the address."""
    at = gateway(capacity=capacity)
    assert at.verdict(udp()) == Verdict.FLOW_TABLE_FULL
    assert at.flows.records == left
    assert at.verdict(udp()) == Verdict.FLOW_TABLE_FULL  # and is used, if the packet comes again
    assert at.flows.records == left
    at.sweep()
    assert at.flows.records == 0


def test_two_records_for_mappings_are_enough_for_one() -> None:
    at = gateway(capacity=2)
    assert at.verdict(udp()) == Verdict.FORWARDED
    assert at.verdict(udp(9)) == Verdict.FLOW_TABLE_FULL


CHANGES: dict[str, tuple[Pool, bool]] = {
    "more addresses": (pool("203.0.113.0", "203.0.113.9"), True),
    "other ports, this one among them": (pool("203.0.113.1", "203.0.113.1", (5000, 5000)), True),
    "other addresses": (pool("203.0.113.2", "203.0.113.9"), False),
    "ports without this one": (pool("203.0.113.1", "203.0.113.1", (5001, 6000)), False),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_mapping_lives_while_the_pool_has_it(change: str) -> None:
    changed, lives = CHANGES[change]
    at = gateway()
    assert seen(at, udp(5000)) == ("203.0.113.1", 5000)
    at.become(Network([hidden(changed)]))
    answer = ip(WEB, "203.0.113.1") / UDP(sport=53, dport=5000)
    assert (at.verdict(answer, "green") == Verdict.FORWARDED) == lives
    if lives:
        assert seen(at, udp(5000)) == ("203.0.113.1", 5000)
    else:
        assert seen(at, udp(5000)) != ("203.0.113.1", 5000)
    at.sweep()
    assert at.flows.records == 3
    at.silent_for(301)
    at.sweep()
    assert at.flows.records == 0


def test_a_port_that_a_pool_lost_is_anothers() -> None:
    at = gateway(hidden(ONE), hidden(pool("203.0.113.9", "203.0.113.9"), "blue"))
    assert seen(at, udp(5000)) == ("203.0.113.1", 5000)
    at.become(Network([hidden(pool("203.0.113.9", "203.0.113.9")), hidden(ONE, "blue")]))
    at.sweep()
    assert seen(at, udp(5000), "blue") == ("203.0.113.1", 5000)
    assert seen(at, udp(5000)) == ("203.0.113.9", 5000)


def test_static_instead_of_stateful_ends_flows_and_the_reverse_too() -> None:
    static = Peering(
        side("red--green", "red", Offer("10.1.1.0/24", "203.0.113.0/24"), rules=(rule(stateless=False),)),
        side("red--green", "green", Offer("10.3.1.0/24")),
    )
    same = hidden(pool("203.0.113.5", "203.0.113.5"))
    for before, after in ((static, same), (same, static)):
        at = gateway(before)
        assert seen(at, udp(5000)) == ("203.0.113.5", 5000)
        at.become(Network([after]))
        at.sweep()
        assert len(at.flows) == 0


def test_a_path_that_dies_ends_it() -> None:
    at = gateway()
    address, port = seen(at, udp())
    at.become(at.network.with_route("green"))
    at.sweep()
    assert at.flows.records == 0
    at.become(Network([hidden(ONE)]))
    assert at.verdict(ip(WEB, address) / UDP(sport=53, dport=port), "green") == Verdict.NO_INBOUND


def test_timeouts_are_those_of_the_hidden_side() -> None:
    at = gateway(hidden(ONE, timeouts=Timeouts(icmp=7)))
    at.process(ip("10.1.1.5", WEB) / ICMP(type=8, id=2000))
    at.flows.now += ticks(7) - 1
    assert at.verdict(ip(WEB, "203.0.113.1") / ICMP(type=0, id=2000), "green") == Verdict.FORWARDED
    at.flows.now += ticks(7)
    assert at.verdict(ip(WEB, "203.0.113.1") / ICMP(type=0, id=2000), "green") == Verdict.NO_INBOUND
