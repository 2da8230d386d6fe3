"""The way to an address, and which links can carry packets, as the kernel changes its mind.

::

    here: near0, near1  ---  far0, far1: 192.0.2.7 and 192.0.2.8 on both, and the routers 10.0.0.2, 10.1.0.2
"""

from __future__ import annotations

import select
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import pytest

from isthmus.datapath.netns import inside
from isthmus.routing.links import Links
from isthmus.routing.underlay import Underlay
from isthmus.tables.address import Family, format_address, parse_address

HERE, THERE = "isthmus-test-underlay", "isthmus-test-underlay-far"
WITHIN_S = 3.0
MACS = ("02:00:00:00:0f:00", "02:00:00:00:0f:01")
ENDS = [parse_address(text) for text in ("192.0.2.7", "2001:db8:2::7")]
ROUTERS: dict[Family, tuple[str, str]] = {4: ("10.0.0.2", "10.1.0.2"), 6: ("2001:db8:0::2", "2001:db8:1::2")}


def ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True)


class Place(NamedTuple):
    """Indexes of near0 and near1."""

    near: tuple[int, int]


@pytest.fixture
def place() -> Iterator[Place]:
    for name in (HERE, THERE):
        ip(f"netns add {name}")
        with inside(name):
            Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")  # link-local addresses are there at once
    try:
        for number, mac in enumerate(MACS):
            ip(f"-n {HERE} link add near{number} type veth peer name far{number} address {mac} netns {THERE}")
            for namespace, interface, host in ((HERE, f"near{number}", 1), (THERE, f"far{number}", 2)):
                ip(f"-n {namespace} link set {interface} up")
                ip(f"-n {namespace} address add 10.{number}.0.{host}/24 dev {interface}")
                ip(f"-n {namespace} address add 2001:db8:{number}::{host}/64 dev {interface} nodad")
        with inside(HERE), closing(Links()) as links:
            names = [link.interface for link in links.changes() if link.up]
        yield Place((names[-2], names[-1]))
    finally:
        for name in (HERE, THERE):
            ip(f"netns delete {name}")


class Follower(Protocol):
    def fileno(self) -> int: ...


Told = TypeVar("Told")


def until(follower: Follower, changes: Callable[[], Iterator[Told]], met: Callable[[Told], bool]) -> list[Told]:
    """What is told up to and including what meets a wish."""
    deadline = time.monotonic() + WITHIN_S
    found: list[Told] = []
    while not any(met(each) for each in found):
        assert time.monotonic() < deadline, found
        select.select([follower], [], [], 0.5)
        found += changes()
    return found


def route(family: Family, end: int, number: int, command: str = "replace") -> None:
    version = "-6" if family == 6 else "-4"
    text = format_address(family, end)
    ip(f"{version} -n {HERE} route {command} {text} via {ROUTERS[family][number]} dev near{number}")


@pytest.mark.parametrize(("family", "end"), ENDS, ids=["IPv4", "IPv6"])
def test_the_way_follows_the_route(place: Place, family: Family, end: int) -> None:
    with inside(HERE):
        underlay = Underlay([(family, end)])
    with closing(underlay):
        [first] = underlay.changes()
        assert first == (family, end, None, None), "there is no route"
        for number in (0, 1, 0):
            route(family, end, number)
            mac = bytes.fromhex(MACS[number].replace(":", ""))
            way = until(underlay, underlay.changes, lambda way, mac=mac: way.mac == mac)[-1]  # type: ignore[misc]
            assert way.interface == place.near[number]
        route(family, end, 0, "delete")
        assert until(underlay, underlay.changes, lambda way: way.mac is None)[-1].interface is None


def test_the_way_follows_the_router_s_mac_address_and_the_link(place: Place) -> None:
    family, end = ENDS[0]
    with inside(HERE):
        underlay = Underlay([(family, end)])
    with closing(underlay):
        route(family, end, 0)
        until(underlay, underlay.changes, lambda way: way.mac is not None)
        ip(f"-n {THERE} link set far0 address 02:00:00:00:0f:09")
        ip(f"-n {HERE} neigh flush dev near0")
        underlay.resolve(family, end)
        until(underlay, underlay.changes, lambda way: way.mac == bytes.fromhex("020000000f09"))
        ip(f"-n {HERE} link set near0 down")
        until(underlay, underlay.changes, lambda way: way.mac is None)


def test_an_address_on_the_link_itself_and_one_that_comes_later(place: Place) -> None:
    on_link = parse_address("10.0.0.2")
    with inside(HERE):
        underlay = Underlay([on_link])
    with closing(underlay):
        until(underlay, underlay.changes, lambda way: way.mac is not None)
        later = parse_address("2001:db8:1::2")
        underlay.follow([on_link, later])
        way = until(underlay, underlay.changes, lambda way: way.mac is not None)[-1]
        assert way == (*later, place.near[1], bytes.fromhex(MACS[1].replace(":", "")))


def test_a_link_whose_cable_is_pulled_is_down_and_one_that_goes_too(place: Place) -> None:
    with inside(HERE):
        links = Links()
    with closing(links):
        up = {link.interface for link in links.changes() if link.up}
        assert set(place.near) <= up
        ip(f"-n {THERE} link set far0 down")
        assert until(links, links.changes, lambda link: not link.up) == [(place.near[0], False)]
        ip(f"-n {THERE} link set far0 up")
        assert until(links, links.changes, lambda link: link.up) == [(place.near[0], True)]
        ip(f"-n {HERE} link delete near1")
        until(links, links.changes, lambda link: link == (place.near[1], False))
