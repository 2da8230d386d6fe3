"""FILTER of ``isthmus flows``: what matches, and what is said of a word that means nothing."""

from typing import Any

import pytest

from isthmus.datapath.conversations import Conversation, Ends
from isthmus.lab.flows.filter import WORDS, WrongWord, check_names, parse_filter
from isthmus.lab.flows.rows import State, row, state_of
from isthmus.tables.address import parse_address
from isthmus.tables.flows import TcpState


def number(text: str) -> int:
    return parse_address(text)[1]


WEB = Conversation(
    slot=7,
    version=1,
    peering="red--isp",
    initiator="red",
    responder="isp",
    family=4,
    proto=6,
    sent=Ends(number("10.1.1.5"), number("100.64.0.8"), 40000, 80),
    answered=Ends(number("172.16.0.8"), number("192.0.2.1"), 80, 50001),
    tcp=TcpState.ANSWERED | TcpState.ESTABLISHED,
    expires_s=59.94,
    mapped=True,
)
"""From behind stateful NAT to a host that static NAT shows."""

ECHO = Conversation(
    slot=8,
    version=3,
    peering=None,
    initiator="blue",
    responder="isp",
    family=6,
    proto=58,
    sent=Ends(number("2001:db8::5"), number("2001:db8:8::8"), 77, 0),
    answered=Ends(number("2001:db8:8::8"), number("2001:db8:a::1"), 0, 1024),
    tcp=TcpState(0),
    expires_s=-0.1,
    mapped=True,
)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "vpc=red",
        "vpc=isp",
        "vpc=red vpc=isp",
        "from=red to=isp peering=red--isp proto=tcp",
        "proto=6",
        "src=10.1.1.5",
        "src=192.0.2.0/31",
        "dst=100.64.0.0/16",
        "dst=172.16.0.8",
        "src=0.0.0.0/0 dst=0.0.0.0/0",
        "port=80",
        "port=40000",
        "port=50001",
        "port=1-100",
        "sport=50001 dport=80",
        "state=established",
    ],
)
def test_all_words_match(words: str) -> None:
    assert parse_filter(words.split()).matches(WEB)


@pytest.mark.parametrize(
    "words",
    [
        "vpc=blue",
        "vpc=red vpc=blue",
        "from=isp",
        "to=red",
        "peering=red",
        "proto=udp",
        "proto=icmp",
        "src=172.16.0.8",
        "dst=10.1.1.5",
        "src=::/0",
        "sport=80",
        "dport=40000-50001",
        "state=closing",
        "vpc=red proto=udp",
    ],
)
def test_one_word_does_not(words: str) -> None:
    assert not parse_filter(words.split()).matches(WEB)


def test_icmp_is_each_family_s_own_and_an_identifier_is_no_port() -> None:
    assert parse_filter(["proto=icmp"]).matches(ECHO)
    assert parse_filter(["proto=58", "src=2001:db8:a::/64", "state=open"]).matches(ECHO)
    assert not parse_filter(["proto=1"]).matches(ECHO)
    assert not parse_filter(["port=77"]).matches(ECHO)
    assert not parse_filter(["port=0"]).matches(ECHO)


@pytest.mark.parametrize(
    ("word", "text", "hint"),
    [
        ("vcp=red", "not a filter", "did you mean vpc=NAME"),
        ("red", "not a filter", "known are: vpc=NAME"),
        ("", "not a filter", "known are"),
        ("port", "not a filter", "did you mean port="),
        ("proto=tpc", "not a number", "tcp|udp"),
        ("proto=256", "0 to 255", "proto="),
        ("src=10.1.1.5/24", "host bits", "src=CIDR"),
        ("dst=example.com", "not an IP address", "dst=CIDR"),
        ("port=65536", "0 to 65535", "port="),
        ("sport=9-1", "ends before it begins", "sport="),
        ("dport=-1", "not a number", "dport="),
        ("state=open-ish", "not a state", "opening"),
    ],
)
def test_a_word_that_means_nothing_is_told_with_what_would(word: str, text: str, hint: str) -> None:
    with pytest.raises(WrongWord, match=text) as caught:
        parse_filter([word])
    assert hint in caught.value.hint


def test_every_word_is_known_to_the_parser() -> None:
    values = {
        "proto": "17",
        "src": "10.0.0.0/8",
        "dst": "::1",
        "port": "1",
        "sport": "2",
        "dport": "3",
        "state": "open",
    }
    for key in WORDS:
        parse_filter([f"{key}={values.get(key, 'name')}"]).matches(WEB)


def test_names_are_looked_up_where_they_are_known() -> None:
    asked = parse_filter(["vpc=rde", "peering=red--isp"])
    with pytest.raises(WrongWord, match="no VPC is named rde") as caught:
        check_names(asked, {"red", "isp"}, {"red--isp"})
    assert caught.value.hint == "did you mean red?"
    with pytest.raises(WrongWord, match="no peering is named red--isp"):
        check_names(asked, {"rde"}, {"other"})
    check_names(asked, {"rde"}, {"red--isp"})


@pytest.mark.parametrize(
    ("bits", "state"),
    [
        (TcpState(0), State.OPENING),
        (TcpState.ANSWERED, State.ANSWERED),
        (TcpState.ANSWERED | TcpState.ESTABLISHED, State.ESTABLISHED),
        (TcpState.ANSWERED | TcpState.ESTABLISHED | TcpState.FIN_BACK, State.CLOSING),
        (TcpState.ESTABLISHED | TcpState.FIN_OUT | TcpState.FIN_BACK, State.CLOSED),
        (TcpState.ESTABLISHED | TcpState.RESET | TcpState.FIN_OUT, State.RESET),
    ],
)
def test_a_state_of_tcp_is_the_furthest_it_has_come(bits: TcpState, state: State) -> None:
    assert state_of(WEB._replace(tcp=bits)) is state
    assert state_of(ECHO._replace(tcp=bits)) is State.OPEN


def ends(src: str, dst: str, **ports: int | None) -> dict[str, Any]:
    return {"src": src, "dst": dst, "sport": None, "dport": None, **ports}


def test_a_row_shows_the_initiator_s_packets_as_each_end_knows_them() -> None:
    assert row(WEB) == {
        "peering": "red--isp",
        "from": "red",
        "to": "isp",
        "proto": "tcp",
        "sent": ends("10.1.1.5", "100.64.0.8", sport=40000, dport=80),
        "seen": ends("192.0.2.1", "172.16.0.8", sport=50001, dport=80),
        "state": "established",
        "expires": 59.9,
        "nat": True,
    }


def test_a_row_of_an_echo_has_its_identifiers() -> None:
    found = row(ECHO)
    assert found["proto"] == "icmp"
    assert found["sent"] == ends("2001:db8::5", "2001:db8:8::8", id=77)
    assert found["seen"] == ends("2001:db8:a::1", "2001:db8:8::8", id=1024)
    assert (found["expires"], found["peering"]) == (0, None)


def test_a_protocol_without_a_name_is_its_number() -> None:
    found = row(WEB._replace(proto=47))
    assert (found["proto"], found["state"]) == (47, "open")
    assert found["sent"] == ends("10.1.1.5", "100.64.0.8")
