"""Can the oracle fail? Each thing that must never leave is let through once."""

from __future__ import annotations

import pytest

from isthmus.tables.entries import Timeouts
from isthmus.tables.flows import ticks
from tests.differential.frames import ACK, ICMP, SYN, TCP, UDP, Ends, packet, summed
from tests.differential.isolation import Isolation, Passage
from tests.differential.nat import address, frame, host, network

PUBLIC = address("198.18.0.0")
OUT = Ends(4, UDP, host("a", 1), host("t", 1), 5000, 53)
SEEN = OUT._replace(source=PUBLIC, sport=1030)
LONGEST = 7440


@pytest.fixture
def oracle() -> Isolation:
    made = Isolation()
    made.configure(network(timeouts=Timeouts(30, LONGEST, 5, 10)))
    return made


def passage(vpc: str, own: Ends, peer: str, seen: Ends, tick: int = 0) -> Passage:
    return Passage(tick, vpc, frame(vpc, own, ACK), peer, frame(peer, seen, ACK), True)


def opened(oracle: Isolation) -> None:
    assert oracle.judge(passage("a", OUT, "t", SEEN)) is None


def test_a_conversation_passes(oracle: Isolation) -> None:
    opened(oracle)
    assert oracle.judge(passage("t", SEEN.mirror, "a", OUT.mirror, ticks(LONGEST))) is None
    assert (
        oracle.judge(
            passage(
                "c", Ends(4, TCP, host("c", 1), host("t", 1), 1, 2), "t", Ends(4, TCP, host("c", 1), host("t", 1), 1, 2)
            )
        )
        is None
    )


def test_vpcs_without_a_peering(oracle: Isolation) -> None:
    assert "no peering" in str(oracle.judge(passage("a", OUT, "b", SEEN)))


@pytest.mark.parametrize(
    ("peer", "seen", "why"),
    [
        ("b", OUT.mirror, "has never sent"),
        ("a", OUT.mirror._replace(target=host("a", 2)), "has never sent"),
        ("a", OUT.mirror._replace(dport=5001), "has never sent"),
        ("a", OUT.mirror._replace(sport=54), "has never sent"),
        ("a", OUT.mirror._replace(source=host("t", 2)), "not translated"),
    ],
)
def test_an_answer_for_somebody_else(oracle: Isolation, peer: str, seen: Ends, why: str) -> None:
    opened(oracle)
    assert why in str(oracle.judge(passage("t", SEEN.mirror, peer, seen)))


def test_an_answer_to_whom_the_port_belonged_before(oracle: Isolation) -> None:
    """b has sent to the same server, but with another public port."""
    opened(oracle)
    assert oracle.judge(passage("b", OUT, "t", SEEN._replace(sport=1031))) is None
    assert oracle.judge(passage("a", OUT, "t", SEEN)) is None
    assert "this is for" in str(oracle.judge(passage("t", SEEN.mirror, "b", OUT.mirror)))


def test_an_answer_after_its_time(oracle: Isolation) -> None:
    opened(oracle)
    late = passage("t", SEEN.mirror, "a", OUT.mirror, ticks(LONGEST) + 1)
    assert "nothing was said" in str(oracle.judge(late))


def test_a_port_with_two_owners(oracle: Isolation) -> None:
    opened(oracle)
    other = OUT._replace(target=host("t", 2))
    assert oracle.judge(passage("a", other, "t", SEEN._replace(target=host("t", 2)))) is None
    stolen = passage("b", other, "t", SEEN._replace(target=host("t", 2)))
    assert "got it" in str(oracle.judge(stolen))
    assert oracle.judge(stolen._replace(tick=ticks(5))) is None, "its time is over"


def test_a_port_of_tcp_is_held(oracle: Isolation) -> None:
    def sent(vpc: str, tick: int) -> Passage:
        return passage(vpc, OUT._replace(proto=TCP), "t", SEEN._replace(proto=TCP), tick)

    assert oracle.judge(sent("a", 0)) is None
    assert "got it" in str(oracle.judge(sent("b", ticks(5) + ticks(120) - 1)))
    assert oracle.judge(sent("a", 2 * (ticks(5) + ticks(120)))) is None


def test_a_source_that_is_not_in_the_pool(oracle: Isolation) -> None:
    assert "pool" in str(oracle.judge(passage("a", OUT, "t", SEEN._replace(source=address("198.18.0.1")))))


def test_a_checksum_that_becomes_wrong(oracle: Isolation) -> None:
    it = passage("a", OUT, "t", SEEN)
    assert it.out is not None
    spoiled = bytearray(it.out)
    spoiled[40] ^= 1
    assert "checksum" in str(oracle.judge(it._replace(out=bytes(spoiled))))


def test_an_error_about_what_the_receiver_never_sent(oracle: Isolation) -> None:
    opened(oracle)

    def error(vpc: str, about: Ends) -> bytes:
        inner = frame(vpc, about)[14:]
        body = summed(4, about.target, about.source, ICMP[4], bytes([3, 1, 0, 0, 0, 0, 0, 0]) + inner)
        return frame(vpc, about)[:14] + packet(4, about.target, about.source, ICMP[4], body)

    entered = error("t", SEEN)
    assert oracle.judge(Passage(0, "t", entered, "a", error("a", OUT), True)) is None
    assert "not sent" in str(oracle.judge(Passage(0, "t", entered, "b", error("b", OUT), True)))
    assert "not sent" in str(oracle.judge(Passage(0, "t", entered, "a", error("a", OUT._replace(sport=1)), True)))


def test_an_answer_that_no_rule_allows() -> None:
    """From a side that may start nothing comes nothing but answers."""
    oracle = Isolation()
    oracle.configure(network(rules=()))
    asked = Ends(4, TCP, host("c", 1), host("t", 1), 1, 2)
    assert "never sent" in str(oracle.judge(passage("t", asked.mirror, "c", asked.mirror)))
    oracle.judge(Passage(0, "c", frame("c", asked, SYN), None, None, False))
    assert oracle.judge(passage("t", asked.mirror, "c", asked.mirror)) is None
