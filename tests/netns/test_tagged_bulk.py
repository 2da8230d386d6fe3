"""Bulk TCP on TC over links between two gateways: what one sends with a tag the other takes off, in large segments.

    isthmus-test-bulk-a ── p1 [gateway] p2..p5 ── VLAN, QinQ, MPLS ── p2..p5 [gateway] p1 ── isthmus-test-bulk-b

The second gateway has the prefixes of the two VPCs the other way round.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import NamedTuple

import pytest
from pyroute2 import IPRoute, netns

from isthmus.datapath import PacketPath
from isthmus.datapath.netns import NAMED, inside
from isthmus.tables.address import parse_address
from isthmus.tables.verdicts import Verdict
from tests.bpf.tags import NUMBERS, PLACES, SMALL, Fabric, address, host_mac, key, port_mac, raw
from tests.netns.test_tagged_tcp import BYTES, WITHIN_S, exchange

A, B = "isthmus-test-bulk-a", "isthmus-test-bulk-b"
GATEWAYS = "isthmus-test-bulk-1", "isthmus-test-bulk-2"
THERE = "02:aa:ff:00:00:05"
KINDS = "bcde"
PORTS = [PLACES[kind].port for kind in KINDS]


class Pair(NamedTuple):
    """Both packet paths."""

    near: Fabric
    far: Fabric


def veth(kernel: IPRoute, name: str, mac: str, peer: str, peer_mac: str, namespace: str) -> None:
    with open(NAMED / namespace) as there:
        end = {"ifname": peer, "address": peer_mac, "net_ns_fd": there.fileno()}
        kernel.link("add", ifname=name, kind="veth", address=mac, peer=end)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with ExitStack() as stack:
        for name in (A, B, *GATEWAYS):
            netns.create(name)
            stack.callback(netns.remove, name)
        found = []
        for gateway, host, mac in zip(GATEWAYS, (A, B), (host_mac("a"), THERE), strict=True):
            with inside(gateway), closing(IPRoute()) as kernel:
                veth(kernel, "p1", port_mac("p1"), "eth0", mac, host)
                for port in ("p6", "p7"):  # nothing passes there
                    veth(kernel, port, port_mac(port), f"{port}-peer", THERE, gateway)
                for port in PORTS if gateway == GATEWAYS[0] else ():
                    veth(kernel, port, port_mac(port), port, port_mac(port), GATEWAYS[1])
        for gateway in GATEWAYS:
            with inside(gateway), closing(IPRoute()) as kernel:
                for link in kernel.get_links():
                    kernel.link("set", index=link["index"], state="up")
                ifindex = {link.get_attr("IFLA_IFNAME"): link["index"] for link in kernel.get_links()}
                path = stack.enter_context(PacketPath.load(capacity=SMALL, clock="manual"))
                for port in ("p1", *PORTS):
                    path.attach(ifindex[port], "tc")
                found.append(Fabric(path, ifindex))
        for host, own in ((A, "a"), (B, KINDS)):
            with inside(host):
                _addresses(own, KINDS if own == "a" else "a")
        yield Pair(*found)


def _addresses(own: str, peers: str) -> None:
    with closing(IPRoute()) as kernel:
        (index,) = kernel.link_lookup(ifname="eth0")
        kernel.link("set", index=index, state="up")
        for vpc in own:
            kernel.addr("add", index=index, address=address(vpc, 4), prefixlen=8)
        for vpc in peers:
            kernel.neigh("add", dst=address(vpc, 4), lladdr=port_mac("p1"), ifindex=index, nud="permanent")
        kernel.neigh("add", dst=address("a", 4, 1), lladdr=port_mac("p1"), ifindex=index, nud="permanent")


def learn(net: Fabric, vpc: str, mac: str) -> None:
    assert net.path.set_neighbor(key(vpc), 4, parse_address(address(vpc, 4))[1], raw(mac))


@contextmanager
def the_other_way_round(vpc: str) -> Iterator[None]:
    NUMBERS["a"], NUMBERS[vpc] = NUMBERS[vpc], NUMBERS["a"]
    try:
        yield
    finally:
        NUMBERS["a"], NUMBERS[vpc] = NUMBERS[vpc], NUMBERS["a"]


@pytest.mark.parametrize("vpc", KINDS)
def test_bulk_both_ways(pair: Pair, vpc: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if vpc in "de":  # each pushes what the other takes
        labels = {"d": (0, 200), "e": (300,)}[vpc]
        monkeypatch.setitem(PLACES, vpc, PLACES[vpc]._replace(push=labels))
    link = port_mac(PLACES[vpc].port)
    with inside(GATEWAYS[0]):
        pair.near.has = ()
        pair.near.configure(4)
        learn(pair.near, vpc, link)
    with inside(GATEWAYS[1]), the_other_way_round(vpc):
        pair.far.has = ()
        pair.far.configure(4)
        learn(pair.far, "a", THERE)
        learn(pair.far, vpc, link)
    before = [one.path.counters() for one in pair]
    with inside(B):
        listener = socket.create_server((address(vpc, 4), 0))
    with inside(A):
        client = socket.create_connection(listener.getsockname(), timeout=WITHIN_S)
    exchange(listener, client)
    for one, old in zip(pair, before, strict=True):
        counted = one.path.counters()
        assert counted[Verdict.INTERNAL] == old[Verdict.INTERNAL]
        assert counted[Verdict.FORWARDED] - old[Verdict.FORWARDED] < BYTES // 1448 / 2, "segments were not large"
