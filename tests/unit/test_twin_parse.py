"""Stage parse: what is malformed, what a fragment is, and which extension headers are stepped over."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
)
from scapy.packet import Packet as Layer

from isthmus.tables.verdicts import Verdict
from isthmus.trace.packet import Packet
from isthmus.trace.wire import parse_frame
from tests.scenarios.packets.frames import frame

V4, V6 = ("10.1.1.5", "192.168.2.7"), ("2001:db8:a::5", "2001:db8:2::7")


def v4(**fields: object) -> Layer:
    return IP(src=V4[0], dst=V4[1], **fields)


def v6(**fields: object) -> Layer:
    return IPv6(src=V6[0], dst=V6[1], **fields)


def parsed(layer: Layer) -> Packet:
    read = parse_frame(frame(layer))
    assert not isinstance(read, Verdict)
    assert read.ip is not None
    return read.ip.packet


def changed(layer: Layer, offset: int, value: bytes) -> bytes:
    """The frame with other bytes at an offset into the IP packet."""
    data = bytearray(frame(layer))
    data[14 + offset : 14 + offset + len(value)] = value
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        frame(v4())[:13],
        frame(v4())[:14],
        frame(v4())[:33],
        changed(v4() / UDP(), 0, b"\x65"),  # version 6 under the EtherType of IPv4
        changed(v4() / UDP(), 0, b"\x44"),  # a header of 16 bytes
        changed(v4() / UDP(), 0, b"\x4f"),  # a header of 60 bytes, of which 28 are there
        changed(v4(proto=99, ihl=15) / bytes(40), 2, b"\x00\x3b"),  # total length 59, and a header of 60
        changed(v4() / UDP(), 2, b"\x00\x13"),  # total length 19
        changed(v4() / UDP(), 2, b"\x00\x1d"),  # total length one more than is there
        changed(v4() / UDP(), 2, b"\x00\x1b"),  # total length leaves 7 bytes of UDP
        frame(v4(proto=6) / bytes(19)),
        frame(v4(proto=17) / bytes(7)),
        frame(v4(proto=1) / bytes(7)),
        frame(v4(proto=6, flags="MF") / bytes(16)),
        changed(v6() / UDP(), 0, b"\x40"),
        frame(v6())[:53],
        changed(v6() / UDP(), 4, b"\x00\x09"),
        frame(v6(nh=58) / bytes(7)),
        frame(v6(nh=60) / bytes(7)),
        frame(v6(nh=60) / b"\x11\x01" / bytes(6)),
        frame(v6(nh=51) / b"\x11\x04" / bytes(8)),
        frame(v6(nh=44) / bytes(7)),
    ],
)
def test_malformed(data: bytes) -> None:
    assert parse_frame(data) == Verdict.MALFORMED


def test_exactly_enough_is_enough() -> None:
    assert parsed(v4(proto=6) / bytes(20)).proto == 6
    assert parsed(v4(proto=17) / bytes(8)).proto == 17
    assert parsed(v6(nh=58) / bytes(8)).icmp


def test_lengths_count_the_packet_and_not_the_frame() -> None:
    read = parse_frame(frame(v4() / UDP(), padding=bytes(30)))
    assert not isinstance(read, Verdict)
    assert read.ip is not None
    assert read.ip.packet.length == 28
    assert read.ip.layout.end == 14 + 28


def test_icmp_of_the_other_family_is_another_protocol() -> None:
    assert not parsed(v4(proto=58) / bytes(4)).icmp
    assert not parsed(v6(nh=1) / bytes(4)).icmp


def test_type_and_code_stand_where_ports_do() -> None:
    echo = parsed(v4() / ICMP(type=8, code=3))
    assert (echo.sport, echo.dport) == (8, 3)


@pytest.mark.parametrize(
    ("flags", "offset", "fragment", "later"),
    [
        ("", 0, False, False),
        ("DF", 0, False, False),
        ("MF", 0, True, False),
        ("", 5, True, True),
        ("MF", 5, True, True),
    ],
)
def test_ipv4_fragments(flags: str, offset: int, fragment: bool, later: bool) -> None:
    packet = parsed(v4(flags=flags, frag=offset, proto=6) / TCP(sport=1, dport=2))
    assert (packet.fragment, packet.later_fragment) == (fragment, later)
    assert packet.dont_fragment == (flags == "DF")
    assert (packet.sport, packet.dport) == ((0, 0) if later else (1, 2))


@pytest.mark.parametrize(
    ("more", "offset", "fragment", "later"), [(0, 0, False, False), (1, 0, True, False), (0, 5, True, True)]
)
def test_ipv6_fragments(more: int, offset: int, fragment: bool, later: bool) -> None:
    packet = parsed(v6() / IPv6ExtHdrFragment(m=more, offset=offset, nh=17) / UDP(sport=1, dport=2))
    assert (packet.fragment, packet.later_fragment, packet.proto) == (fragment, later, 17)
    assert (packet.sport, packet.dport) == ((0, 0) if later else (1, 2))


def test_reserved_bits_of_a_fragment_header_make_no_fragment() -> None:
    packet = parsed(v6() / IPv6ExtHdrFragment(res2=3, nh=17) / UDP())
    assert not packet.fragment


def test_behind_a_later_fragment_nothing_is_read() -> None:
    packet = parsed(v6() / IPv6ExtHdrFragment(offset=1, nh=60) / bytes(3))
    assert (packet.proto, packet.later_fragment) == (60, True)


def test_six_extension_headers_pass_and_the_seventh_does_not() -> None:
    def chain(count: int) -> Layer:
        layer = v6()
        for _ in range(count):
            layer /= IPv6ExtHdrDestOpt()
        return layer / UDP(sport=5, dport=6)

    assert parsed(chain(6)).sport == 5
    assert parse_frame(frame(chain(7))) == Verdict.IPV6_EXT


def test_a_seventh_header_that_does_not_fit_is_still_the_seventh() -> None:
    six = bytes([60, 0, 1, 4, 0, 0, 0, 0]) * 6
    assert parse_frame(frame(v6(nh=60) / six / b"\x11")) == Verdict.IPV6_EXT


@pytest.mark.parametrize("header", [0, 43, 60, 135, 139, 140])
def test_headers_in_units_of_eight(header: int) -> None:
    body = bytes([17, 1]) + bytes(14)
    assert parsed(v6(nh=header) / body / UDP(sport=7, dport=8)).dport == 8


def test_the_authentication_header_counts_in_units_of_four() -> None:
    body = bytes([17, 4]) + bytes(22)
    assert parsed(v6(nh=51) / body / UDP(sport=7, dport=8)).dport == 8


def test_esp_and_no_next_header_are_other_protocols() -> None:
    assert parsed(v6(nh=50) / bytes(4)).proto == 50
    assert parsed(v6(nh=59)).proto == 59


def test_only_a_syn_without_ack_starts_tcp() -> None:
    assert parsed(v4() / TCP(flags="S")).starts
    assert not parsed(v4() / TCP(flags="SA")).starts
    assert not parsed(v4() / TCP(flags="R")).starts


def test_what_else_starts_a_conversation() -> None:
    assert parsed(v4() / UDP()).starts
    assert parsed(v4(proto=132) / bytes(4)).starts
    assert parsed(v4() / ICMP(type=8)).starts
    assert parsed(v6() / ICMPv6EchoRequest()).starts
    assert not parsed(v4() / ICMP(type=0)).starts
    assert not parsed(v4() / ICMP(type=13)).starts
    assert not parsed(v4(proto=6, frag=4) / bytes(4)).starts
    assert not parsed(v4(proto=1, frag=4) / bytes(4)).starts
    assert not parsed(v4(proto=17, frag=4) / bytes(4)).starts
    assert parsed(v4(proto=132, frag=4) / bytes(4)).starts


def test_a_tcp_fragment_over_the_flags_is_malformed() -> None:
    """RFC 3128: with offset 1 it would write over flags that were judged. Quoted in an error it harms nobody."""
    assert parse_frame(frame(v4(proto=6, frag=1) / bytes(16))) == Verdict.MALFORMED
    assert parse_frame(frame(v6() / IPv6ExtHdrFragment(offset=1, nh=6) / bytes(16))) == Verdict.MALFORMED
    assert parsed(v4(proto=6, frag=2) / bytes(16)).later_fragment
    assert parsed(v4(proto=17, frag=1) / bytes(16)).later_fragment
    quoting = parsed(v4() / ICMP(type=11) / IP(src=V4[1], dst=V4[0], proto=6, frag=1) / bytes(16))
    assert quoting.inner is not None
    assert quoting.inner.later_fragment


def test_the_identification_of_a_fragment() -> None:
    assert parsed(v4(id=4711, flags="MF") / UDP()).identification == 4711
    assert parsed(v4(id=4711, frag=4, proto=17) / bytes(4)).identification == 4711
    assert parsed(v6() / IPv6ExtHdrFragment(id=2**31, m=1, nh=17) / UDP()).identification == 2**31
    assert parsed(v6() / IPv6ExtHdrFragment(id=2**31, offset=9, nh=17) / bytes(4)).identification == 2**31
    assert parsed(v4(id=4711) / UDP()).identification == 0
    assert parsed(v6() / IPv6ExtHdrFragment(id=5, nh=17) / UDP()).identification == 0


def test_only_echoes_have_an_identifier() -> None:
    assert parsed(v4() / ICMP(type=8, id=7)).echo_id == 7
    assert parsed(v4() / ICMP(type=0, id=7)).echo_id == 7
    assert parsed(v6() / ICMPv6EchoRequest(id=7)).echo_id == 7
    assert parsed(v4() / ICMP(type=13, id=7)).echo_id == 0
