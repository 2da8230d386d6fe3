"""TCP connections through a stateful side, and the ICMP errors about them."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP

from isthmus.tables.verdicts import Verdict
from tests.conformance.gateway import POOL, Gateway, answer_to, assert_sound, error_about, host, proves, tcp
from tests.conformance.test_tcp_state import ESTABLISHED, HANDSHAKE, TRANSITORY, inward, is_over, outward, play
from tests.differential.compare import Bench

ROUTER = host("t", 9)


def data_at_t(gateway: Gateway) -> Any:
    """A connection is established; the packet, as it arrives, that a then sends over it."""
    play(gateway, HANDSHAKE)
    return gateway.arrives("a", outward("PA", b"data"))


@proves("5382 REQ-1")
def test_one_private_port_keeps_one_public_port_toward_all(place: Bench) -> None:
    """a:5000 connects to three servers, to two ports of one of them."""
    gateway = Gateway(place)
    dialled = [(host("t", 1), 80), (host("t", 1), 81), (host("t", 2), 80)]
    arrived = [gateway.arrives("a", tcp(host("a", 1), dst, 5000, dport)) for dst, dport in dialled]
    assert {(one.src, one.sport) for one in arrived} == {(POOL, 5000)}
    for one in arrived:
        back = gateway.arrives("t", answer_to(one, data=b""))
        assert (back.dst, back.dport, back.src, back.sport) == (host("a", 1), 5000, one.dst, one.dport)


@proves("5382 REQ-1")
def test_a_changed_port_is_the_same_toward_all_too(place: Bench) -> None:
    """b:5000, whose port a has, connects to two servers."""
    gateway = Gateway(place)
    play(gateway, ">S")
    arrived = [gateway.arrives("b", tcp(host("b", 1), host("t", number), 5000)) for number in (1, 2)]
    assert arrived[0].sport == arrived[1].sport != 5000


@proves("5382 REQ-2")
@pytest.mark.parametrize(("closer", "other"), [(">", "<"), ("<", ">")], ids=["a-closes-first", "t-closes-first"])
def test_a_connection_from_handshake_to_the_next_on_the_same_ports(place: Bench, closer: str, other: str) -> None:
    """Handshake, data, a half-close with data the other way, the other FIN; then all of it again."""
    gateway = Gateway(place)
    closing = f"{closer}FA {other}A {other}PA {closer}A {other}FA {closer}A"
    connection = f"{HANDSHAKE} >PA <A <PA >A {closing}"
    play(gateway, f"{connection} {connection}")


@proves("5382 REQ-2")
def test_connections_after_resets_and_with_repeated_packets_work(place: Bench) -> None:
    """A SYN that is sent twice, a refused connection, both FINs at a time, and one that is reset and begun anew."""
    gateway = Gateway(place)
    play(gateway, ">S >S <RA")
    play(gateway, ">S <SA <SA >A >FA <FA >A <A")
    play(gateway, f"{HANDSHAKE} >R {HANDSHAKE} <A")


@proves("5382 REQ-2a")
@pytest.mark.parametrize("crossing", [">SA <SA", "<SA >SA"])
def test_simultaneous_open(place: Bench, crossing: str) -> None:
    """Both send a SYN, both answer that of the other; then the connection has the timer of established ones."""
    gateway = Gateway(place)
    play(gateway, f">S <S {crossing} >A <A")
    gateway.later(ESTABLISHED - 1)
    play(gateway, "<A >A")
    gateway.later(ESTABLISHED + 1)
    is_over(gateway)


@proves("5382 REQ-4", "5382 REQ-4a")
def test_a_syn_that_nobody_asked_for_is_dropped_silently(place: Bench) -> None:
    """Neither it nor what follows within 6 s is answered; and once a has sent its own SYN, the repetition passes."""
    gateway = Gateway(place)
    for _ in range(3):
        seen = gateway.send("t", inward("S"))
        assert (seen.verdict, seen.packet, seen.answer) == (Verdict.NO_INBOUND, None, None)
        gateway.later(2)
    play(gateway, ">S <S >SA <SA >A <A")


@proves("5382 REQ-6")
def test_payload_of_ftp_stays_as_it_is(place: Bench) -> None:
    """The private address in PORT is not the public one that the packet leaves with."""
    gateway, command = Gateway(place), b"PORT 10,0,0,1,19,136\r\n"
    opening = gateway.arrives("a", tcp(host("a", 1), host("t", 1), 5000, 21))
    gateway.arrives("t", answer_to(opening, data=b""))
    arrived = gateway.arrives("a", tcp(host("a", 1), host("t", 1), 5000, 21, "PA", command))
    assert (arrived.src, bytes(arrived[TCP].payload)) == (POOL, command)
    assert gateway.is_lost("t", tcp(host("t", 1), POOL, 20, 5000)) is Verdict.NO_INBOUND


@proves("5382 REQ-6")
def test_payload_of_sip_stays_as_it_is(place: Bench) -> None:
    """The private address in Via and Contact, and in what comes back."""
    gateway = Gateway(place)
    text = b"OPTIONS sip:t SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.0.1:5000\r\nContact: <sip:a@10.0.0.1:5000>\r\n\r\n"
    opening = gateway.arrives("a", tcp(host("a", 1), host("t", 1), 5000, 5060))
    gateway.arrives("t", answer_to(opening, data=b""))
    arrived = gateway.arrives("a", tcp(host("a", 1), host("t", 1), 5000, 5060, "PA", text))
    assert (arrived.src, bytes(arrived[TCP].payload)) == (POOL, text)
    assert bytes(gateway.arrives("t", answer_to(arrived, "PA", text))[TCP].payload) == text


@proves("5382 REQ-7")
def test_two_private_ends_never_have_one_public_end(place: Bench) -> None:
    """a:5000 and b:5000 with one address for both: answers go to the one that asked."""
    gateway = Gateway(place)
    arrived = {vpc: gateway.arrives(vpc, tcp(host(vpc, 1), host("t", 1), 5000)) for vpc in ("a", "b")}
    assert {one.src for one in arrived.values()} == {POOL}
    assert arrived["a"].sport != arrived["b"].sport
    for vpc, one in arrived.items():
        back = gateway.send("t", answer_to(one, data=b""))
        assert (back.to, back.packet.dst, back.packet.dport) == (vpc, host(vpc, 1), 5000)


@proves("5382 REQ-9")
@pytest.mark.parametrize("code", range(16))
@pytest.mark.parametrize("size", [28, 40], ids=["8-bytes-quoted", "header-quoted"])
def test_destination_unreachable_reaches_the_host(place: Bench, code: int, size: int) -> None:
    """With the packet inside as a sent it, for whoever the error is from: the host itself or a router."""
    gateway = Gateway(place)
    play(gateway, HANDSHAKE)
    sent = outward("A")
    arrived = gateway.arrives("a", sent)
    for source in (host("t", 1), ROUTER):
        seen = gateway.send("t", error_about(arrived, source, 3, code, size))
        assert seen.to == "a"
        assert (seen.packet.src, seen.packet.dst) == (source, host("a", 1))
        assert (seen.packet[ICMP].type, seen.packet[ICMP].code) == (3, code)
        assert_sound(seen.packet)
        expected = IP(bytes(sent))
        expected.ttl -= 1
        del expected.chksum
        assert bytes(seen.packet[ICMP].payload) == bytes(expected)[:size]


@proves("5382 REQ-10")
@pytest.mark.parametrize("kind", [3, 11, 12])
def test_no_error_ends_a_connection_or_moves_its_end(place: Bench, kind: int) -> None:
    """Errors about it pass after an hour; it goes on until its time, and not longer than without them."""
    for since, goes_on in ((ESTABLISHED - 1, True), (ESTABLISHED + 1, False)):
        gateway = Gateway(place)
        arrived = data_at_t(gateway)
        gateway.later(3600)
        for code in range(16):
            assert gateway.send("t", error_about(arrived, ROUTER, kind, code)).to == "a"
        gateway.later(since - 3600)
        if goes_on:
            play(gateway, "<A >A")
        else:
            is_over(gateway)


@proves("5382 REQ-10")
@pytest.mark.parametrize("kind", [3, 11, 12])
def test_no_error_ends_an_opening(place: Bench, kind: int) -> None:
    """The SYN is answered after all."""
    gateway = Gateway(place)
    arrived = gateway.arrives("a", outward("S"))
    gateway.arrives("t", error_about(arrived, ROUTER, kind, 0))
    gateway.later(TRANSITORY - 1)
    play(gateway, "<SA >A")
