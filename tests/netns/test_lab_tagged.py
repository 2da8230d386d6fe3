"""Attachments with tags carry real packets: what the twin expects is seen, and the fabric's judge finds no fault.

::

    red, green, blue   VLAN 100, QinQ 100.7 and MPLS 200 on one port (eth1)
    black              VXLAN 5001 on eth9: IPv4 behind one VTEP, IPv6 behind another
    white              two ports: eth2 untagged, and VLAN 5 on eth3

All have the same addresses, and each sees every other as 192.168.N.0/24 and 2001:db8:aN::/64.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from itertools import combinations
from pathlib import Path

import pytest

from isthmus.datapath.netns import NAMED, inside
from isthmus.lab.probe.run import probe
from isthmus.lab.service.ask import ask
from isthmus.lab.state import ROOT, Objects, State
from isthmus.lab.tagger import FAULTS, Count
from tests.netns.labs import lab, of_files

NAME = "isthmus-test-tagged"
HEAD = """
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Gateway
metadata: {name: here}
spec: {vtep: {address: 172.31.0.1, interface: eth9}}
"""
VPC = """
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: VPC
metadata: {name: NAME}
spec:
  subnets: {four: {cidr: 10.1.1.0/24}, six: {cidr: "2001:db8:1::/64"}}
  attachments:
"""
OWN = 'addresses: [10.1.1.254/24, "2001:db8:1::fe/64"]'
REMOTES = """
        remotes:
          - {to: 10.1.1.0/24, vtep: 172.31.0.4, mac: "02:00:00:00:0b:04"}
          - {to: "2001:db8:1::/64", vtep: 172.31.0.6, mac: "02:00:00:00:0b:06"}
"""
ATTACHMENTS = {
    "red": f"    - {{interface: eth1, vlan: 100, {OWN}}}\n",
    "green": f"    - {{interface: eth1, qinq: {{outer: 100, inner: 7}}, {OWN}}}\n",
    "blue": f"    - {{interface: eth1, mpls: {{label: 200, push: [1000, 16]}}, {OWN}}}\n",
    "black": f"    - interface: eth9\n      {OWN}\n      vxlan:\n        vni: 5001{REMOTES}",
    "white": "    - {interface: eth2, addresses: [10.1.1.254/24]}\n"
    '    - {interface: eth3, vlan: 5, addresses: ["2001:db8:1::fe/64"]}\n',
}
PEERING = """
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata: {name: ONE--OTHER}
spec:
  ONE: {ips: [{fromVPCSubnet: four}, {fromVPCSubnet: six}], as: [192.168.A.0/24, "2001:db8:aA::/64"]}
  OTHER: {ips: [{fromVPCSubnet: four}, {fromVPCSubnet: six}], as: [192.168.B.0/24, "2001:db8:aB::/64"]}
"""
MEGABYTE = 1 << 20
WITHIN_S = 10.0


def text() -> str:
    vpcs = (VPC.replace("NAME", name) + attachments for name, attachments in ATTACHMENTS.items())
    peerings = (
        PEERING.replace("ONE", one)
        .replace("OTHER", other)
        .replace("A.0", f"{a}.0")
        .replace("aA:", f"a{a}:")
        .replace("B.0", f"{b}.0")
        .replace("aB:", f"a{b}:")
        for (a, one), (b, other) in combinations(enumerate(ATTACHMENTS), 2)
    )
    return HEAD + "".join(vpcs) + "".join(peerings)


def counted() -> dict[Count, int]:
    told = ask(State(NAME).socket, {"ask": "tagger"})
    return {Count[name]: int(number) for name, number in told.items()}


def faults() -> dict[Count, int]:
    return {what: number for what, number in counted().items() if what in FAULTS and number}


@pytest.fixture(scope="module", params=["xdp", "tc"])
def up(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Objects, dict[str, str]]]:
    file: Path = tmp_path_factory.mktemp("tagged") / "objects.yaml"
    file.write_text(text())
    objects = of_files(file, name=NAME, hook=request.param)
    assert objects.plan.notices == ()
    with lab(objects) as hooks:
        assert set(hooks.values()) == {request.param}
        yield objects, hooks
    assert [path.name for path in NAMED.iterdir() if path.name.startswith(NAME)] == []
    assert list(ROOT.glob(f"{NAME}*")) == []


def test_every_pair_reaches_one_another_as_the_twin_says(up: tuple[Objects, dict[str, str]]) -> None:
    results, _ = probe(*up, 240)
    assert [result.row() for result in results if result.why] == []
    assert {result.seen.outcome for result in results} >= {"answered"}
    assert faults() == {}


@pytest.mark.parametrize("target", ["192.168.1.1", "192.168.2.1", "192.168.3.1", "192.168.4.1"])
def test_bulk_in_both_directions(up: tuple[Objects, dict[str, str]], target: str) -> None:
    """From red to each; red is number 0."""
    name = list(ATTACHMENTS)[int(target.split(".")[2])]
    with inside(f"{NAME}-{name}"):
        server = socket.create_server(("10.1.1.1", 5001))
    with closing(server):
        with inside(f"{NAME}-red"):
            one = socket.create_connection((target, 5001), WITHIN_S)
        other, _ = server.accept()
        with closing(one), closing(other):
            for sender, receiver in ((one, other), (other, one)):
                receiver.settimeout(WITHIN_S)
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MEGABYTE)
                sender.sendall(bytes(MEGABYTE))
                left = MEGABYTE
                while left:
                    left -= len(receiver.recv(left))
    assert faults() == {}
