"""BIRD's configuration: BIRD itself parses all that is written, whatever the strings; what it can't hold is refused."""

import os
import shutil
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus.routing.bird.config import bird_config
from isthmus.routing.bird.speaker import MARKER_AS, Bfd, Feed, LogLevel, Neighbor, OverLimit, Speaker

FOUR, SIX, LINK_LOCAL = (ip_address(text) for text in ("192.0.2.2", "2001:db8::2", "fe80::2"))
OUR_FOUR, OUR_SIX = ip_address("192.0.2.1"), ip_address("2001:db8::1")
ROUTER = IPv4Address("10.0.0.1")
PLAIN = Neighbor(FOUR, 65001, local=OUR_FOUR)


@pytest.fixture(scope="module")
def bird() -> str:
    found = shutil.which("bird", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("there is no program `bird` (Debian: bird2)")
    return found


def refusal(bird: str, text: str) -> str:
    """What BIRD says against a configuration; empty if it takes it."""
    command = [bird, "-p", "-c", "/dev/stdin"]
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=False, timeout=10)
    return done.stderr.decode() if done.returncode else ""


NEIGHBORS = [
    PLAIN,
    replace(PLAIN, asn=65000),
    replace(PLAIN, asn=4_200_000_000, local=None, max_prefixes=1, graceful_restart=False),
    replace(PLAIN, bfd=True, multihop=True, over_limit=OverLimit.DISABLE, max_prefixes=1_500_000),
    replace(PLAIN, bfd=Bfd(50, 3), graceful_restart=30, hold_s=3),
    Neighbor(SIX, 65001, local=OUR_SIX, multihop=3, bfd=True),
    Neighbor(LINK_LOCAL, 65001, interface="eth1.100"),
    Neighbor(LINK_LOCAL, 65000, interface="A-b_c:d", bfd=Bfd(10, 2)),
]


@pytest.mark.parametrize("families", [(4,), (6,), (4, 6)])
@pytest.mark.parametrize("level", LogLevel)
def test_bird_takes_neighbours_of_all_kinds(bird: str, families: Any, level: LogLevel) -> None:
    for neighbor in NEIGHBORS:
        speaker = Speaker(65000, ROUTER, (neighbor,), families=families, log=level)
        assert refusal(bird, bird_config(speaker)) == ""
    assert refusal(bird, bird_config(Speaker(65000, ROUTER, families=families))) == ""


def test_bird_says_no_to_what_is_wrong(bird: str) -> None:
    """So that its silence above means something."""
    assert "syntax error" in refusal(bird, bird_config(Speaker(65000, ROUTER)).replace("rr client", "rr"))


@given(st.text(st.characters(exclude_characters='"\n\0', exclude_categories=["Cs"]), min_size=1, max_size=20))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_password_is_a_password_whatever_is_in_it(bird: str, password: str) -> None:
    text = bird_config(Speaker(65000, ROUTER, (replace(PLAIN, password=password),)))
    assert refusal(bird, text) == ""
    assert text.count(f'\n  password "{password}";\n') == 1


@pytest.mark.parametrize(
    "hostile", ['"; } protocol kernel { export all; } #', 'a\n"; include "/etc/passwd', "", "x" * 81, "\0", "é" * 41]
)
def test_a_password_that_bird_could_not_hold_is_refused_and_not_printed(hostile: str) -> None:
    with pytest.raises(ValueError, match="password") as refused:
        replace(PLAIN, password=hostile)
    assert not hostile or hostile not in str(refused.value)
    assert "secret" not in repr(replace(PLAIN, password="secret"))


@pytest.mark.parametrize("hostile", [None, "", 'eth0"; }', "eth 0", "eth0\n", "x" * 16, "eth0'"])
def test_an_interface_is_a_name_and_nothing_else(hostile: str | None) -> None:
    with pytest.raises(ValueError, match="interface"):
        Neighbor(LINK_LOCAL, 65001, interface=hostile)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"asn": 0}, "AS 0"),
        ({"asn": 1 << 32}, "AS"),
        ({"multihop": 256}, "multihop"),
        ({"multihop": 2, "bfd": True, "local": None}, "our own address"),
        ({"local": OUR_SIX}, "other family"),
        ({"max_prefixes": 0}, "max prefixes"),
        ({"graceful_restart": 4096}, "restart time"),
        ({"hold_s": 2}, "hold time"),
        ({"address": ip_address("fe80::1%eth0"), "local": None}, "interface"),
        ({"address": LINK_LOCAL, "local": None, "interface": "eth0", "multihop": True}, "several hops"),
    ],
)
def test_what_can_not_be_is_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        replace(PLAIN, **change)


def test_what_can_not_be_of_a_speaker_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        Speaker(65000, ROUTER, (PLAIN, replace(PLAIN, asn=65002)))
    with pytest.raises(ValueError, match="router ID"):
        Speaker(65000, IPv4Address(0))
    with pytest.raises(ValueError, match="179"):
        Feed(port=179)


def test_the_order_of_neighbours_means_nothing() -> None:
    three = (PLAIN, Neighbor(SIX, 65001, local=OUR_SIX), Neighbor(LINK_LOCAL, 65001, interface="eth0"))
    assert len({bird_config(Speaker(65000, ROUTER, neighbors)) for neighbors in permutations(three)}) == 1


def test_markers_tell_neighbours_apart_and_are_of_an_as_that_nobody_has() -> None:
    others = [replace(PLAIN, address=ip_address("192.0.2.3")), Neighbor(LINK_LOCAL, 65001, interface="eth0")]
    others += [Neighbor(LINK_LOCAL, 65001, interface="eth1")]
    assert len({neighbor.marker for neighbor in (PLAIN, *others)}) == 4
    assert PLAIN.marker.administrator == MARKER_AS == 0
    assert replace(PLAIN, asn=7, bfd=True).marker == PLAIN.marker, "the marker is the address, so settings may change"


def test_bind_is_strict_only_where_all_addresses_of_a_family_are_known() -> None:
    """A socket for all addresses, and one for one of them, would be in each other's way."""
    known, unknown = PLAIN, Neighbor(ip_address("198.51.100.2"), 65002)
    of_feed = 1
    assert bird_config(Speaker(65000, ROUTER, (known,))).count("strict bind on") == of_feed + 1
    assert bird_config(Speaker(65000, ROUTER, (known, unknown))).count("strict bind on") == of_feed
