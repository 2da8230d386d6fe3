"""TCP in a flow: how the flags that pass decide how long it is remembered, and what may begin anew in it."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, TCP
from scapy.packet import Packet

from isthmus.tables.entries import Timeouts
from isthmus.tables.verdicts import Verdict
from tests.scenarios.packets.network import RED_SIDE
from tests.unit.test_twin_flows import ANSWER, ASK, OPEN, Gateway, between

ESTABLISHED, TRANSITORY = 7200, 60
OUT, BACK = True, False
SYN, SYN_ACK, ACK = (OUT, "S"), (BACK, "SA"), (OUT, "A")
HANDSHAKE = [SYN, SYN_ACK, ACK]


def send(gateway: Gateway, outward: bool, flags: str) -> Verdict:
    if outward:
        return gateway.verdict(ASK[4] / TCP(sport=1025, dport=443, flags=flags))
    return gateway.verdict(ANSWER[4] / TCP(sport=443, dport=1025, flags=flags), "blue")


def after(*packets: tuple[bool, str]) -> Gateway:
    """A gateway at which these packets have passed."""
    timeouts = Timeouts(tcp_established=ESTABLISHED, tcp_transitory=TRANSITORY)
    gateway = Gateway(between(RED_SIDE._replace(rules=(OPEN,), timeouts=timeouts)))
    for outward, flags in packets:
        assert send(gateway, outward, flags) == Verdict.FORWARDED, flags
    return gateway


def is_remembered_for(gateway: Gateway, seconds: int) -> bool:
    gateway.silent_for(seconds)
    before = len(gateway.flows)
    gateway.flows.now += 1
    return (before, len(gateway.flows)) == (1, 0)


@pytest.mark.parametrize(
    ("packets", "seconds"),
    [
        ([SYN], TRANSITORY),
        ([SYN, SYN_ACK], TRANSITORY),  # a flood of SYNs that a server answers
        ([SYN, ACK], TRANSITORY),  # nobody answered
        (HANDSHAKE, ESTABLISHED),
        ([*HANDSHAKE, SYN], ESTABLISHED),  # late, and changes nothing
        ([SYN, (BACK, "S"), (OUT, "SA")], ESTABLISHED),  # both open at once (RFC 9293 3.5)
        ([SYN, (BACK, "S"), (BACK, "A")], TRANSITORY),
        ([*HANDSHAKE, (OUT, "FA")], ESTABLISHED),  # half closed
        ([*HANDSHAKE, (BACK, "FA")], ESTABLISHED),
        ([*HANDSHAKE, (OUT, "FA"), (BACK, "FA")], TRANSITORY),
        ([*HANDSHAKE, (BACK, "FA"), (OUT, "FA"), (BACK, "A")], TRANSITORY),
        ([*HANDSHAKE, (OUT, "FA"), (OUT, "FA")], ESTABLISHED),
        ([*HANDSHAKE, (OUT, "R")], TRANSITORY),
        ([*HANDSHAKE, (BACK, "RA")], TRANSITORY),
        ([*HANDSHAKE, (BACK, "R"), (BACK, "A")], ESTABLISHED),  # it was a reset in the blind: the other goes on
        ([*HANDSHAKE, (BACK, "R"), (OUT, "A")], ESTABLISHED),
        ([*HANDSHAKE, (OUT, "R"), SYN], TRANSITORY),
        ([*HANDSHAKE, (OUT, "R"), *HANDSHAKE], ESTABLISHED),
        ([*HANDSHAKE, (OUT, "R"), SYN, ACK], TRANSITORY),  # a new connection waits for its own answer
        ([*HANDSHAKE, (OUT, "FA"), (BACK, "FA"), SYN, SYN_ACK], TRANSITORY),
        ([*HANDSHAKE, (OUT, "FA"), (BACK, "FA"), *HANDSHAKE], ESTABLISHED),
    ],
)
def test_how_long_it_is_remembered(packets: list[tuple[bool, str]], seconds: int) -> None:
    assert is_remembered_for(after(*packets), seconds)


@pytest.mark.parametrize(
    "packets",
    [
        HANDSHAKE,
        [*HANDSHAKE, (OUT, "FA"), (BACK, "FA")],
        [*HANDSHAKE, (BACK, "FA")],
        [*HANDSHAKE, (OUT, "R")],
        [SYN, (OUT, "R")],
    ],
)
def test_who_only_answers_starts_nothing_in_a_connection_that_has_begun(packets: list[tuple[bool, str]]) -> None:
    gateway = after(*packets)
    outcome = gateway.process(ANSWER[4] / TCP(sport=443, dport=1025, flags="S"), "blue")
    assert (outcome.verdict, outcome.peering) == (Verdict.NO_FLOW, "red--blue")
    assert send(gateway, BACK, "SA") == Verdict.FORWARDED  # but what answers passes


def test_a_drop_is_no_sign_of_life() -> None:
    gateway = after(SYN, (OUT, "R"))
    gateway.silent_for(TRANSITORY)
    assert send(gateway, BACK, "S") == Verdict.NO_FLOW
    gateway.flows.now += 1
    assert len(gateway.flows) == 0


def test_mid_stream_nothing_is_opened() -> None:
    gateway = after()
    for flags in ("A", "PA", "FA", "R", "SA"):
        assert send(gateway, OUT, flags) == Verdict.NO_FLOW


def test_later_fragments_have_no_flags() -> None:
    """What stands where flags would be is payload."""

    def part(packet: Packet, vpc: str) -> None:
        assert gateway.verdict(packet, vpc) == Verdict.FORWARDED

    gateway = after(SYN, SYN_ACK)
    first = IP(src="10.1.1.5", dst="192.168.2.7", id=9, flags="MF")
    part(first / TCP(sport=1025, dport=443, flags="S") / bytes(20), "red")
    resets = bytes(13) + b"\x14" + bytes(20)
    part(IP(src="10.1.1.5", dst="192.168.2.7", id=9, frag=5, proto=6) / resets, "red")
    assert send(gateway, OUT, "A") == Verdict.FORWARDED
    assert is_remembered_for(gateway, ESTABLISHED)
