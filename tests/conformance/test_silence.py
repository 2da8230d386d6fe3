"""Packets that die here, and about which the gateway says nothing all the same (RFC 1812 4.3.2.7)."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.l2 import Ether

from isthmus.tables.verdicts import Verdict
from tests.conformance.gateway import Gateway, Seen, host, proves, udp
from tests.differential.compare import Bench
from tests.differential.frames import HOST_MAC
from tests.differential.nat import PORTS

HOOKS = pytest.mark.parametrize("hook", ["xdp", "tc"])
SILENT = Seen(Verdict.MARTIAN)


def dying(src: str, dst: str) -> Any:
    """A packet whose time ends here; from a host to a host it is answered."""
    return udp(src, dst, data=bytes(26), ttl=1)


@proves("5508 REQ-10e")
@HOOKS
@pytest.mark.parametrize("src", ["0.0.0.0", "127.0.0.1", "169.254.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"])
def test_no_error_is_said_to_what_is_no_single_host(place: Bench, hook: Any, src: str) -> None:
    gateway = Gateway(place, hook=hook)
    assert gateway.send("a", dying(host("a", 1), host("t", 1))).answer is not None
    assert gateway.send("a", dying(src, host("t", 1))) == SILENT


@proves("5508 REQ-10e")
@HOOKS
@pytest.mark.parametrize("dst", ["224.0.0.5", "239.1.1.1", "255.255.255.255"])
def test_no_error_is_said_about_multicast_and_broadcast(place: Bench, hook: Any, dst: str) -> None:
    assert Gateway(place, hook=hook).send("a", dying(host("a", 1), dst)) == SILENT


@proves("5508 REQ-10e")
@HOOKS
@pytest.mark.parametrize("mac", [b"\xff" * 6, b"\x01\x00\x5e\x00\x00\x01"], ids=["broadcast", "multicast"])
def test_no_error_is_said_about_what_all_on_the_link_get(place: Bench, hook: Any, mac: bytes) -> None:
    """A packet to one host in a frame to many."""
    Gateway(place, hook=hook)
    for target, answered in ((PORTS["p1"].mac, True), (mac, False)):
        frame = Ether(src=HOST_MAC, dst=target) / dying(host("a", 1), host("t", 1))
        assert place.path.run(bytes(frame), place.ifindex["p1"], hook).answered is answered
