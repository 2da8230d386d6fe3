"""All pieces of a packet that is cut, as they come out of the port."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from isthmus.tables.verdicts import Verdict
from tests.conformance.gateway import POOL, Gateway, answer_to, host, proves, udp
from tests.conformance.test_fragments import MTU, joined
from tests.differential.compare import Bench

ALL_PROTOCOLS = 3
BIGGEST = 3400
"""The kernel runs programs on frames of a page, its own part included."""


@contextmanager
def other_end_of(port: str) -> Iterator[socket.socket]:
    """What leaves by a port arrives here: at the other end of its cable."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS)) as wire:
        wire.bind(("n" + port[1:], 0))
        wire.settimeout(0.05)
        yield wire


def read_from(wire: socket.socket, target: str) -> list[Any]:
    """The packets to a host, in the order in which they came."""
    found: list[Any] = []
    while True:
        try:
            packet = Ether(wire.recv(0xFFFF)).payload
        except TimeoutError:
            return found
        if isinstance(packet, IP) and packet.dst == target:
            found.append(IP(bytes(packet)[: packet.len]))


@proves("4787 REQ-13a")
@pytest.mark.parametrize("size", [1473, 2952, 2953, BIGGEST])
def test_pieces_leave_in_order_and_make_the_packet_again(place: Bench, size: int) -> None:
    """Each but the last as full as the MTU permits, all of them sound, from a to t and in the answer from t to a."""
    gateway = Gateway(place, hook="tc")
    data = (b"pieces of " * (1 + size // 10))[:size]
    sent = udp(host("a", 1), host("t", 1), data=data, id=9)
    for vpc, port, target in (("a", "p3", host("t", 1)), ("t", "p1", host("a", 1))):
        with other_end_of(port) as wire:
            seen = gateway.send(vpc, sent)
            assert seen.verdict is Verdict.FORWARDED
            pieces = [*read_from(wire, target), seen.packet]
        assert {len(one) for one in pieces[:-1]} == {MTU}
        assert len(pieces[-1]) <= MTU
        for one in pieces:
            again = IP(bytes(one))
            again.chksum = None
            assert bytes(again) == bytes(one)
        whole = joined(pieces)
        assert (whole.dst, whole.id, bytes(whole)[28:]) == (target, 9, data)
        assert vpc == "t" or whole.src == POOL
        sent = answer_to(whole, data=data)
        sent.id = 9
