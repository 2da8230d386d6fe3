"""Which timer a TCP connection has after which packets: its state, as far as anybody outside can see it."""

from __future__ import annotations

from typing import Any

import pytest

from isthmus.tables.entries import Timeouts
from isthmus.tables.verdicts import Verdict
from tests.conformance.gateway import POOL, Gateway, host, proves, tcp
from tests.differential.compare import Bench

HANDSHAKE = ">S <SA >A"
TRANSITORY, ESTABLISHED = 4 * 60, 2 * 3600 + 4 * 60
"""The defaults, in seconds."""


def outward(flags: str, data: bytes = b"") -> Any:
    """A packet of the connection that these tests play with: from a:5000 to t:80."""
    return tcp(host("a", 1), host("t", 1), 5000, 80, flags, data)


def inward(flags: str, data: bytes = b"") -> Any:
    """A packet of the same connection from t:80."""
    return tcp(host("t", 1), POOL, 80, 5000, flags, data)


def play(gateway: Gateway, script: str) -> None:
    """Packets of the connection by their flags, all of which arrive as they should: ``>S <SA >A``, > being from a."""
    for step in script.split():
        flags = step[1:]
        data = b"" if set(flags) & set("SR") else b"data"
        arrived = (
            gateway.arrives("a", outward(flags, data)) if step[0] == ">" else gateway.arrives("t", inward(flags, data))
        )
        ends = (arrived.src, arrived.sport, arrived.dst, arrived.dport)
        away, back = (POOL, 5000, host("t", 1), 80), (host("t", 1), 80, host("a", 1), 5000)
        assert ends == (away if step[0] == ">" else back)
        assert str(arrived.payload.flags) == flags
        assert bytes(arrived.payload.payload) == data


def is_over(gateway: Gateway) -> None:
    """What t still sends finds nothing that it would belong to."""
    assert gateway.is_lost("t", inward("A", b"late")) is Verdict.NO_INBOUND


def assert_lasts(
    place: Bench, script: str, seconds: int, *, answer: str = "A", timeouts: Timeouts | None = None
) -> None:
    """After these packets, an answer passes a second before its time is over, and none a second after it."""
    for early in (True, False):
        gateway = Gateway(place, timeouts=timeouts or Timeouts())
        play(gateway, script)
        gateway.later(seconds - 1 if early else seconds + 1)
        if early:
            play(gateway, f"<{answer}")
        else:
            assert gateway.is_lost("t", inward(answer)) is Verdict.NO_INBOUND


@proves("7857 2")
@pytest.mark.parametrize(
    "script",
    [
        pytest.param(">S", id="opening"),
        pytest.param(">S >S", id="opening-repeated"),
        pytest.param(">S <SA", id="answered-and-not-confirmed"),
        pytest.param(">S <S", id="simultaneous-and-not-confirmed"),
        pytest.param(f"{HANDSHAKE} >FA <FA", id="closed-by-initiator-then-responder"),
        pytest.param(f"{HANDSHAKE} <FA >FA", id="closed-by-responder-then-initiator"),
        pytest.param(f"{HANDSHAKE} >FA <FA >A", id="last-ack-does-not-revive"),
        pytest.param(f"{HANDSHAKE} >R", id="reset-by-initiator"),
        pytest.param(f"{HANDSHAKE} <R", id="reset-by-responder"),
        pytest.param(f"{HANDSHAKE} >FA <R", id="reset-while-half-closed"),
        pytest.param(f"{HANDSHAKE} >FA <FA >A >S", id="opening-anew-after-fins"),
        pytest.param(f"{HANDSHAKE} <R >S <SA", id="opening-anew-after-reset"),
    ],
)
def test_connections_that_open_or_close_have_the_transitory_timer(place: Bench, script: str) -> None:
    assert_lasts(place, script, TRANSITORY)


@proves("7857 2")
@pytest.mark.parametrize(
    "script",
    [
        pytest.param(HANDSHAKE, id="handshake"),
        pytest.param(">S <S >SA <SA", id="simultaneous-open"),
        pytest.param(f"{HANDSHAKE} >A <A", id="data"),
        pytest.param(f"{HANDSHAKE} >S", id="stray-syn-changes-nothing"),
        pytest.param(f"{HANDSHAKE} >FA <A", id="closed-by-initiator"),
        pytest.param(f"{HANDSHAKE} <FA >A", id="closed-by-responder"),
        pytest.param(f"{HANDSHAKE} >R <A", id="reset-by-initiator-then-data"),
        pytest.param(f"{HANDSHAKE} <R >A", id="reset-by-responder-then-data"),
        pytest.param(f"{HANDSHAKE} >FA <FA >A {HANDSHAKE}", id="established-anew-after-fins"),
        pytest.param(f"{HANDSHAKE} <R {HANDSHAKE}", id="established-anew-after-reset"),
    ],
)
def test_connections_that_neither_open_nor_close_have_the_established_timer(place: Bench, script: str) -> None:
    assert_lasts(place, script, ESTABLISHED)


@proves("5382 REQ-5")
def test_an_established_connection_is_kept_for_2_h_4_min(place: Bench) -> None:
    """Data one second before that passes, and starts the timer anew."""
    gateway = Gateway(place)
    play(gateway, HANDSHAKE)
    for _ in range(2):
        gateway.later(ESTABLISHED - 1)
        play(gateway, "<A")
    gateway.later(ESTABLISHED + 1)
    is_over(gateway)


@proves("5382 REQ-5", "7857 2.1c")
def test_an_opening_is_kept_for_4_min(place: Bench) -> None:
    """A SYN-ACK one second before that passes; one second after, it does not."""
    assert_lasts(place, ">S", TRANSITORY, answer="SA")


@proves("5382 REQ-5a")
def test_the_established_timer_is_that_of_the_configuration(place: Bench) -> None:
    """Ten minutes."""
    assert_lasts(place, HANDSHAKE, 600, timeouts=Timeouts(tcp_established=600))


@proves("5382 REQ-5a", "7857 2.1b")
def test_the_transitory_timer_may_be_less_than_4_min(place: Bench) -> None:
    """30 s: a SYN-ACK after 29 s passes, one after 31 s does not."""
    assert_lasts(place, ">S", 30, answer="SA", timeouts=Timeouts(tcp_transitory=30))


@proves("7857 2.2a")
@pytest.mark.parametrize("step", [">R", "<R", ">RA", "<RA"])
def test_a_reset_is_translated(place: Bench, step: str) -> None:
    """``play`` looks at addresses, ports, flags and checksums."""
    gateway = Gateway(place)
    play(gateway, f"{HANDSHAKE} {step}")


@proves("7857 2.2b")
@pytest.mark.parametrize("reset", [">R", "<R"])
def test_data_within_4_min_of_a_reset_restores_the_connection(place: Bench, reset: str) -> None:
    """Whoever forged it: then the connection has the whole of its timer again."""
    gateway = Gateway(place)
    play(gateway, f"{HANDSHAKE} {reset}")
    gateway.later(TRANSITORY - 1)
    play(gateway, ">A")
    gateway.later(ESTABLISHED - 1)
    play(gateway, "<A")


@proves("7857 2.2b")
@pytest.mark.parametrize("reset", [">R", "<R"])
def test_a_reset_and_silence_of_4_min_end_the_connection(place: Bench, reset: str) -> None:
    """One second after them."""
    gateway = Gateway(place)
    play(gateway, f"{HANDSHAKE} {reset}")
    gateway.later(TRANSITORY + 1)
    is_over(gateway)
