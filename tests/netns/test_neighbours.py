"""Neighbours are followed as they come and go, also where the kernel has more to tell than there is room."""

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pyroute2 import IPRoute, netns

from isthmus.datapath.netns import inside
from isthmus.routing.neighbours import Neighbours
from isthmus.tables.address import format_address

NAME = "isthmus-test-neighbours"
MANY = 600  # beneath the kernel's gc_thresh3
SMALLEST = 1  # of a receive buffer: the kernel makes 2,304 bytes of it, which holds a few messages


@pytest.fixture
def link() -> Iterator[tuple[IPRoute, int]]:
    """A netlink socket in a namespace of its own, and an interface there."""
    netns.create(NAME)
    try:
        with inside(NAME), closing(IPRoute()) as netlink:
            netlink.link("add", ifname="near", kind="veth", peer={"ifname": "far"})
            index = netlink.link_lookup(ifname="near")[0]
            Path("/proc/sys/net/ipv6/conf/near/disable_ipv6").write_text("1")
            netlink.link("set", index=index, state="up")
            yield netlink, index
    finally:
        netns.remove(NAME)


def address(number: int) -> str:
    return f"10.1.{number // 200}.{number % 200 + 1}"


def change(link: tuple[IPRoute, int], command: str, numbers: range) -> None:
    netlink, index = link
    for number in numbers:
        netlink.neigh(command, dst=address(number), lladdr="02:69:73:01:00:00", ifindex=index, nud="permanent")


def told(neighbours: Neighbours, index: int) -> dict[str, bool]:
    """Who can be reached, and who not any more, by what is told now."""
    found = [one for one in neighbours.changes() if one.interface == index]
    return {format_address(one.family, one.address): one.mac is not None for one in found}


def with_room_for_few(neighbours: Neighbours) -> None:
    with socket.fromfd(neighbours.fileno(), socket.AF_NETLINK, socket.SOCK_RAW) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALLEST)


def test_what_was_there_what_comes_and_what_goes(link: tuple[IPRoute, int]) -> None:
    change(link, "add", range(2))
    with closing(Neighbours()) as neighbours:
        assert told(neighbours, link[1]) == {address(0): True, address(1): True}
        change(link, "add", range(2, 3))
        change(link, "del", range(1))
        assert told(neighbours, link[1]) == {address(2): True, address(0): False}


def test_nothing_is_missed_where_there_was_no_room_to_tell_it(link: tuple[IPRoute, int]) -> None:
    with closing(Neighbours()) as neighbours:
        with_room_for_few(neighbours)
        change(link, "add", range(MANY))
        assert told(neighbours, link[1]) == {address(number): True for number in range(MANY)}
        change(link, "del", range(MANY))
        assert told(neighbours, link[1]) == {address(number): False for number in range(MANY)}


def test_nothing_is_missed_where_room_runs_out_while_the_table_is_told(link: tuple[IPRoute, int]) -> None:
    """The kernel refuses to tell the table a second time while it tells it the first time."""
    change(link, "add", range(MANY))
    with closing(Neighbours()) as neighbours:
        with_room_for_few(neighbours)
        changes = neighbours.changes()
        first = {format_address(one.family, one.address) for one, _ in zip(changes, range(10), strict=False)}
        change(link, "add", range(MANY, MANY + 100))
        change(link, "del", range(100))
        later = {
            format_address(one.family, one.address): one.mac is not None for one in changes if one.interface == link[1]
        }
        everyone = dict.fromkeys(first, True) | later
        assert {name for name, there in everyone.items() if there} == {
            address(number) for number in range(100, MANY + 100)
        }
