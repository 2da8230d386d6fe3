"""ICMP errors that cross the pool, and the packets inside them (RFC 5508, section 4)."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, UDP, IPOption
from scapy.utils import checksum

from isthmus.tables.verdicts import Verdict
from tests.conformance.gateway import (
    POOL,
    Gateway,
    answer_to,
    echo,
    error_about,
    host,
    proves,
    tcp,
    udp,
)
from tests.differential.compare import Bench

RFC7600 = "192.0.0.8"
"""What the gateway calls itself where nothing else is configured."""


def quote(error: Any) -> bytes:
    """The packet inside, and what follows it."""
    return bytes(error)[28:]


def one_hop_on(packet: Any) -> bytes:
    """A packet as it would be if a plain router had passed it on."""
    again = IP(bytes(packet))
    again.ttl -= 1
    again.chksum = None
    return bytes(again)


@proves("5508 REQ-3b")
def test_the_inner_header_is_found_behind_ip_options(place: Bench) -> None:
    """a's packet had 8 bytes of options: ports and checksum inside are those of a."""
    gateway = Gateway(place)
    gateway.arrives("b", udp(host("b", 1), host("t", 2)))
    sent = udp(host("a", 1), host("t", 1), options=[IPOption(b"\x94\x04\0\0"), IPOption(b"\x01"), IPOption(b"\x01")])
    arrived = gateway.arrives("a", sent)
    assert (arrived.ihl, arrived.src) == (7, POOL)
    assert arrived[UDP].sport != 5000
    error = gateway.arrives("t", error_about(arrived, host("t", 1), size=36))
    assert quote(error) == one_hop_on(sent)[:36]


@proves("5508 REQ-3c")
def test_the_inner_checksum_is_not_verified(place: Bench) -> None:
    """One that is wrong stays wrong by as much; the error crosses."""
    gateway = Gateway(place)
    sent = udp(host("a", 1), host("t", 1))
    arrived = gateway.arrives("a", sent)
    wrong = arrived.copy()
    wrong[UDP].chksum = (arrived[UDP].chksum + 0x1234) % 0xFFFF
    error = gateway.arrives("t", error_about(wrong, host("t", 1)))
    inside = IP(quote(error))
    assert (inside.src, inside[UDP].sport) == (host("a", 1), 5000)
    right = IP(bytes(sent))[UDP].chksum
    assert inside[UDP].chksum % 0xFFFF == (right + 0x1234) % 0xFFFF


@proves("5508 REQ-3d")
def test_padding_and_extensions_are_no_part_of_the_packet_inside(place: Bench) -> None:
    """128 bytes for a packet of 32, then an MPLS label stack (RFC 4884, RFC 4950): both stay; checksums are right."""
    gateway = Gateway(place)
    gateway.arrives("b", udp(host("b", 1), host("t", 2)))
    sent = udp(host("a", 1), host("t", 1))
    arrived = gateway.arrives("a", sent)
    item = b"\0\x08\x01\x01" + b"\x12\x34\x51\xff"
    extension = b"\x20\0" + checksum(b"\x20\0\0\0" + item).to_bytes(2, "big") + item
    tail = bytes(128 - len(sent)) + extension
    head = b"\x0b\0\0\0" + b"\0\x20\0\0"
    body = head + bytes(arrived) + tail
    body = body[:2] + checksum(body).to_bytes(2, "big") + body[4:]
    seen = gateway.send("t", IP(src=host("t", 9), dst=arrived.src, proto=1) / body)
    assert (seen.verdict, seen.to) == (Verdict.FORWARDED, "a")
    out = bytes(seen.packet)
    assert checksum(out[:20]) == 0
    assert checksum(out[20:]) == 0
    assert out[24:28] == head[4:]
    assert out[28:] == one_hop_on(sent) + tail


@proves("5508 REQ-4")
def test_an_error_from_outside_about_an_unknown_packet_is_dropped_silently(place: Bench) -> None:
    """A host of a speaks with t, but from another port than the error says."""
    gateway = Gateway(place)
    arrived = gateway.arrives("a", udp(host("a", 1), host("t", 1)))
    unknown = udp(POOL, host("t", 1), arrived.sport + 1)
    assert gateway.send("t", error_about(unknown, host("t", 1))) == (Verdict.NO_INBOUND, None, None, None)


@proves("5508 REQ-4a", "5508 REQ-4b", "5508 REQ-4c")
@pytest.mark.parametrize(("kind", "code"), [(3, 1), (3, 3), (11, 0), (12, 0)])
@pytest.mark.parametrize("make", [udp, tcp, echo])
def test_an_error_from_outside_reaches_the_host_about_what_it_sent(
    place: Bench, make: Any, kind: int, code: int
) -> None:
    """a's port was taken, so all of it was translated; inside, headers and checksums are those that a wrote."""
    gateway = Gateway(place)
    gateway.arrives("b", make(host("b", 1), host("t", 2)))
    sent = make(host("a", 1), host("t", 1))
    arrived = gateway.arrives("a", sent)
    seen = gateway.send("t", error_about(arrived, host("t", 9), kind, code, size=len(arrived)))
    error = gateway.arrives("t", error_about(arrived, host("t", 9), kind, code, size=len(arrived)))
    assert seen.to == "a"
    assert quote(error) == one_hop_on(sent)
    assert (error[ICMP].type, error[ICMP].code) == (kind, code)
    assert (error.src, error.dst) == (host("t", 9), host("a", 1))


@proves("5508 REQ-5")
def test_an_error_from_inside_about_an_unknown_packet_is_dropped_silently(place: Bench) -> None:
    """t never sent what it says."""
    gateway = Gateway(place)
    gateway.arrives("a", udp(host("a", 1), host("t", 1)))
    unknown = udp(host("t", 1), host("a", 1), 53, 5001)
    assert gateway.send("a", error_about(unknown, host("a", 1))) == (Verdict.NO_INBOUND, None, None, None)


@proves("5508 REQ-5a", "5508 REQ-5b")
@pytest.mark.parametrize(("kind", "code"), [(3, 1), (3, 3), (11, 1)])
@pytest.mark.parametrize("make", [udp, tcp, echo])
def test_an_error_from_inside_is_about_what_the_host_outside_sent(
    place: Bench, make: Any, kind: int, code: int
) -> None:
    """Inside, headers and checksums are those that t wrote: to the public address and port."""
    gateway = Gateway(place)
    gateway.arrives("b", make(host("b", 1), host("t", 2)))
    sent = answer_to(gateway.arrives("a", make(host("a", 1), host("t", 1))))
    arrived = gateway.arrives("t", sent)
    error = gateway.arrives("a", error_about(arrived, host("a", 1), kind, code, size=len(arrived)))
    assert quote(error) == one_hop_on(sent)
    assert (error[ICMP].type, error[ICMP].code, error.dst) == (kind, code, host("t", 1))


@proves("5508 REQ-5c")
@pytest.mark.parametrize(("number", "source"), [(1, POOL), (9, RFC7600)])
def test_an_error_from_inside_has_a_public_source(place: Bench, number: int, source: str) -> None:
    """That of the host, where it says so itself; the gateway's own, where a router before it does."""
    gateway = Gateway(place)
    arrived = gateway.arrives("t", answer_to(gateway.arrives("a", udp(host("a", 1), host("t", 1)))))
    assert gateway.arrives("a", error_about(arrived, host("a", number))).src == source
