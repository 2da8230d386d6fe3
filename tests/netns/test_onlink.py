"""An ISP's on-link pool: its router asks on the link for the pool's addresses, and the gateway has them.

::

    red  10.1.1.1, 2001:db8:1::1 ── gateway ── isp  203.0.113.2, its router; the pool is 203.0.113.4/30 of that /29
"""

from __future__ import annotations

import select
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pyroute2 import IPRoute, netns

from isthmus.datapath.netns import inside
from isthmus.lab.state import Objects
from isthmus.routing.neighbours import Neighbours
from isthmus.routing.onlink import MOST_PROXIED, answer_for
from isthmus.tables.address import Prefix, parse_address
from tests.netns.labs import lab, of_files

NAME = "isthmus-test-onlink"
OBJECTS = """
apiVersion: gateway.githedgehog.com/v1alpha1
kind: VPC
metadata: {name: isp}
spec:
  subnets: {four: {cidr: 203.0.113.0/30}, six: {cidr: "2001:db8:ff::/125"}}
  attachments:
    - {interface: eth1, addresses: [203.0.113.1/29, "2001:db8:ff::1/64"]}
    - {interface: eth2, addresses: [198.51.100.1/24]}
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata: {name: red--isp}
spec:
  red:
    ips: [{cidr: 10.1.1.0/24}, {cidr: "2001:db8:1::/64"}]
    as: [203.0.113.4/30, "2001:db8:ff::8/125"]
    natType: stateful
  isp: {ips: [{fromVPCSubnet: four}, {fromVPCSubnet: six}]}
"""
ASKED_FOR_S, SILENCE_S = 3.0, 0.2


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Objects]:
    file: Path = tmp_path_factory.mktemp("onlink") / "objects.yaml"
    file.write_text(OBJECTS)
    objects = of_files(file, name=NAME, hook="tc")
    with lab(objects):
        for network in ("203.0.113.0/29", "2001:db8:ff::/64"):
            subprocess.run(["ip", "-n", f"{NAME}-isp", "route", "add", network, "dev", "eth0"], check=True)
        yield objects


def asked(namespace: str, text: str, within_s: float) -> bytes | None:
    """Who answers on eth0 of a namespace that this address is theirs, if anybody does."""
    family, address = parse_address(text)
    with inside(namespace), closing(Neighbours()) as neighbours:
        index = socket.if_nametoindex("eth0")
        neighbours.resolve(index, family, address)
        deadline = time.monotonic() + within_s
        while (left := deadline - time.monotonic()) > 0:
            select.select([neighbours], [], [], left)
            for found in neighbours.changes():
                if found[:3] == (index, family, address) and found.mac:
                    return found.mac
    return None


@pytest.mark.parametrize("address", ["203.0.113.4", "203.0.113.6", "2001:db8:ff::8", "2001:db8:ff::f"])
def test_the_gateway_has_the_addresses_of_the_pool(up: Objects, address: str) -> None:
    [link, *_] = [link for vpc, link in up.plan.links() if vpc.name == "isp"]
    assert asked(f"{NAME}-isp", address, ASKED_FOR_S) == bytes.fromhex(link.port_mac.replace(":", ""))


@pytest.mark.parametrize("address", ["203.0.113.3", "2001:db8:ff::10"])
def test_and_no_others(up: Objects, address: str) -> None:
    assert asked(f"{NAME}-isp", address, SILENCE_S) is None


@pytest.mark.parametrize("address", ["203.0.113.2", "2001:db8:ff::2"])
def test_answers_to_the_pool_come_back_by_way_of_what_was_answered(up: Objects, address: str) -> None:
    done = subprocess.run(
        ["ip", "netns", "exec", f"{NAME}-red", "ping", "-n", "-c2", "-i0.01", "-W1", address],
        capture_output=True,
        text=True,
        check=False,
    )
    assert " 0% packet loss" in done.stdout, done.stdout + done.stderr


def test_a_large_ipv6_pool_is_answered_for_as_far_as_the_kernel_has_room() -> None:
    name = f"{NAME}-kernel"
    netns.create(name)
    try:
        with inside(name), closing(IPRoute()) as netlink:
            netlink.link("add", ifname="eth0", kind="veth", peer={"ifname": "far"})
            netlink.link("set", index=netlink.link_lookup(ifname="eth0")[0], state="up")
            small, large, huge = (Prefix.parse(f"2001:db8:{end}") for end in (":10/124", ":1:0/112", "1::/80"))
            large4 = Prefix.parse("10.0.0.0/8")
            assert answer_for(netlink, "eth0", [large4, small, large, huge]) == [large, huge]
            assert small.size < MOST_PROXIED < large.size
            assert answer_for(netlink, "eth0", [large4, small]) == [], "a second time is no harm"
    finally:
        netns.remove(name)
