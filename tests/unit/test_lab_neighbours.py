"""What the kernel tells of neighbours, as rtnetlink(7) writes it."""

import socket
import struct

import pytest

from isthmus.routing.neighbours import Neighbour, parse
from isthmus.tables.address import parse_address

NEWNEIGH, DELNEIGH, NEWLINK = 28, 29, 16
INCOMPLETE, REACHABLE, STALE, DELAY, PROBE, FAILED, NOARP, PERMANENT = (1 << bit for bit in range(8))
MAC = bytes.fromhex("026973010000")


def attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def message(address: str, state: int, mac: bytes | None = MAC, kind: int = NEWNEIGH) -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    body = struct.pack("=BxxxiHBB", family, 7, state, 0, 0) + attribute(1, socket.inet_pton(family, address))
    body += attribute(2, mac) if mac is not None else b""
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def told(*messages: bytes) -> list[Neighbour]:
    return list(parse(b"".join(messages)))


@pytest.mark.parametrize("address", ["10.1.1.1", "2001:db8::1"])
@pytest.mark.parametrize("state", [REACHABLE, DELAY, PROBE, NOARP, PERMANENT])
def test_a_neighbour_that_can_be_used(address: str, state: int) -> None:
    permanent = state == PERMANENT
    assert told(message(address, state)) == [Neighbour(7, *parse_address(address), MAC, permanent=permanent)]


def test_a_stale_one_can_be_used_and_is_to_be_confirmed() -> None:
    assert told(message("10.1.1.1", STALE)) == [Neighbour(7, *parse_address("10.1.1.1"), MAC, stale=True)]


@pytest.mark.parametrize(
    "of",
    [
        message("10.1.1.1", INCOMPLETE, None),
        message("10.1.1.1", FAILED),
        message("10.1.1.1", REACHABLE, kind=DELNEIGH),
        message("10.1.1.1", NOARP, bytes.fromhex("01005e000001")),
        message("10.1.1.1", NOARP, b""),
    ],
    ids=["incomplete", "failed", "deleted", "a group's", "no Ethernet"],
)
def test_one_that_can_t_be_used(of: bytes) -> None:
    assert told(of) == [Neighbour(7, *parse_address("10.1.1.1"), None)]


def test_several_in_one_datagram_and_others_between_them() -> None:
    other = struct.pack("=IHHII", 20, NEWLINK, 0, 0, 0) + bytes(4)
    found = told(message("10.1.1.1", REACHABLE), other, message("2001:db8::1", FAILED))
    assert [neighbour.mac for neighbour in found] == [MAC, None]


@pytest.mark.parametrize("length", range(48))
def test_a_cut_datagram_is_no_error(length: int) -> None:
    assert told(message("10.1.1.1", REACHABLE)[:length]) == []
