"""The packet that is asked about: what is filled in, and what is refused with a reason."""

import pytest

from isthmus.trace.packet import TCP_ACK, TCP_SYN, Packet
from isthmus.trace.question import Question, packet_of, shown
from isthmus.trace.reply import reply_to
from tests.scenarios.packets.builder import number

V4, V6 = ("10.1.1.5", "192.168.2.7"), ("2001:db8:a::5", "2001:db8:2::7")


def test_a_tcp_packet_is_a_syn() -> None:
    packet = packet_of(Question(*V4))
    assert packet == Packet(4, number(V4[0]), number(V4[1]), 6, 40000, 80, tcp_flags=TCP_SYN)


@pytest.mark.parametrize(
    ("question", "proto", "first", "second"),
    [
        (Question(*V4, proto="udp", sport=53, dport=0), 17, 53, 0),
        (Question(*V4, proto="UDP"), 17, 40000, 80),
        (Question(*V4, proto="17", dport=9), 17, 40000, 9),
        (Question(*V4, proto="icmp"), 1, 8, 0),
        (Question(*V6, proto="icmp"), 58, 128, 0),
        (Question(*V6, proto="icmp6", type=1, code=4), 58, 1, 4),
        (Question(*V4, proto="icmp", type=0), 1, 0, 0),
        (Question(*V4, proto="132"), 132, 0, 0),
        (Question(*V6, proto="1"), 1, 0, 0),
        (Question(*V4, proto="0"), 0, 0, 0),
    ],
)
def test_protocols(question: Question, proto: int, first: int, second: int) -> None:
    packet = packet_of(question)
    assert (packet.proto, packet.sport, packet.dport) == (proto, first, second)


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        (Question("10.1.1", "10.1.1.1"), "10.1.1"),
        (Question("10.1.1.1", "10.1.1.1/32"), "10.1.1.1/32"),
        (Question(V4[0], V6[1]), "one packet has one family"),
        (Question(*V4, proto="icmp6"), "say icmp"),
        (Question(*V4, proto="tpc"), "tcp, udp, icmp"),
        (Question(*V4, proto="256"), "0 to 255"),
        (Question(*V4, proto="icmp", dport=80), "--type and --code"),
        (Question(*V4, proto="132", sport=80), "no ports"),
        (Question(*V4, type=8), "--proto icmp"),
        (Question(*V6, proto="1", code=0), "no type"),
    ],
)
def test_what_is_refused(question: Question, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        packet_of(question)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (Question(*V4), "tcp 10.1.1.5:40000 -> 192.168.2.7:80, ttl 64"),
        (Question(*V6, proto="udp"), "udp [2001:db8:a::5]:40000 -> [2001:db8:2::7]:80, ttl 64"),
        (Question(*V6, proto="icmp", ttl=1), "icmp type 128 code 0 2001:db8:a::5 -> 2001:db8:2::7, ttl 1"),
        (Question(*V4, proto="132"), "protocol 132 10.1.1.5 -> 192.168.2.7, ttl 64"),
    ],
)
def test_a_packet_in_words(question: Question, words: str) -> None:
    assert str(shown(packet_of(question))) == words


def test_fields_that_a_protocol_has_not_are_null() -> None:
    echo = shown(packet_of(Question(*V4, proto="icmp")))
    assert (echo.sport, echo.dport, echo.type, echo.code) == (None, None, 8, 0)
    other = shown(packet_of(Question(*V4, proto="50")))
    assert (other.proto, other.sport, other.type) == (50, None, None)


def test_replies() -> None:
    syn_ack = reply_to(packet_of(Question(*V4, ttl=7)))
    assert syn_ack is not None
    assert (syn_ack.sport, syn_ack.dport, syn_ack.ttl, syn_ack.tcp_flags) == (80, 40000, 64, TCP_SYN | TCP_ACK)
    assert (syn_ack.src, syn_ack.dst) == (number(V4[1]), number(V4[0]))
    datagram = reply_to(packet_of(Question(*V4, proto="udp", sport=1, dport=2)))
    assert datagram is not None
    assert (datagram.sport, datagram.dport) == (2, 1)
    for hosts, kind in ((V4, 0), (V6, 129)):
        echo = reply_to(packet_of(Question(*hosts, proto="icmp")))
        assert echo is not None
        assert (echo.sport, echo.dport) == (kind, 0)


def test_nobody_replies_to_a_reply() -> None:
    assert reply_to(packet_of(Question(*V4, proto="icmp", type=0))) is None
    assert reply_to(packet_of(Question(*V6, proto="icmp", type=129))) is None
