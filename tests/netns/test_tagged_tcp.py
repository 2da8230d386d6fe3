"""Bulk TCP between kernels through tags on TC: large segments, and checksums that are left to the device.

isthmus-test-tagged-a: eth0 ── p1 [gateway] p2, p3 or p7 ── eth0 :isthmus-test-tagged-b
                                                             └── far: a VLAN, a VLAN in a VLAN, or VXLAN on eth0
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest
from pyroute2 import IPRoute, netns

from isthmus.datapath import PacketPath
from isthmus.datapath.netns import anonymous, inside
from isthmus.tables.verdicts import Verdict
from tests.bpf.tags import PLACES, SMALL, UNDERLAY_MAC, VTEPS, Fabric, address, host_mac, port_mac

HOSTS = ("isthmus-test-tagged-a", "isthmus-test-tagged-b")
BYTES, WITHIN_S = 4 << 20, 10


@contextmanager
def hosts() -> Iterator[None]:
    with ExitStack() as stack:
        for name in HOSTS:
            netns.create(name)
            stack.callback(netns.remove, name)
        yield


def join(kernel: IPRoute, port: str, namespace: str, mac: str) -> int:
    """A port of the gateway, and the host's end of it."""
    with open(f"/run/netns/{namespace}") as there:
        peer = {"ifname": "eth0", "address": mac, "net_ns_fd": there.fileno()}
        kernel.link("add", ifname=port, kind="veth", address=port_mac(port), peer=peer)
    (index,) = kernel.link_lookup(ifname=port)
    kernel.link("set", index=index, state="up")
    return int(index)


def host(vpc: str, peer: str) -> None:
    """Bring a host up in this namespace: its tag, its address, and where its peer is to be found."""
    with closing(IPRoute()) as kernel:
        (lower,) = kernel.link_lookup(ifname="eth0")
        kernel.link("set", index=lower, state="up")
        device = lower
        if vpc == "f":
            own, remote = VTEPS[4]
            kernel.addr("add", index=lower, address=remote, prefixlen=24)
            kernel.neigh("add", dst=own, lladdr=port_mac("p7"), ifindex=lower, nud="permanent")
            tunnel = {"vxlan_id": 5, "vxlan_group": own, "vxlan_local": remote, "vxlan_port": 4789}
            device = _over(kernel, lower, vpc, "far", kind="vxlan", vxlan_link=lower, **tunnel)
        kernel.addr("add", index=device, address=address(vpc, 4), prefixlen=8)
        mac = port_mac(PLACES[vpc].port)
        for to in (address(peer, 4), address(vpc, 4, 1)):
            kernel.neigh("add", dst=to, lladdr=mac, ifindex=device, nud="permanent")


def _over(kernel: IPRoute, lower: int, vpc: str, name: str, **what: object) -> int:
    kernel.link("add", ifname=name, address=host_mac(vpc), **what)
    (index,) = kernel.link_lookup(ifname=name)
    kernel.link("set", index=index, state="up")
    return int(index)


@pytest.mark.parametrize("vpc", ["f"])
def test_bulk_both_ways(vpc: str) -> None:
    with hosts(), anonymous(), closing(IPRoute()) as kernel:
        mac = UNDERLAY_MAC if vpc == "f" else host_mac(vpc)
        near, far = join(kernel, "p1", HOSTS[0], host_mac("a")), join(kernel, PLACES[vpc].port, HOSTS[1], mac)
        for place in PLACES.values():
            if not kernel.link_lookup(ifname=place.port):
                kernel.link("add", ifname=place.port, kind="veth", peer={"ifname": f"{place.port}-peer"})
        ifindex = {link.get_attr("IFLA_IFNAME"): link["index"] for link in kernel.get_links()}
        with PacketPath.load(capacity=SMALL, clock="manual") as path:
            Fabric(path, ifindex).configure(4)
            for index in (near, far):
                path.attach(index, "tc")
            with inside(HOSTS[0]):
                host("a", vpc)
                listener = socket.create_server((address("a", 4), 0))
            with inside(HOSTS[1]):
                host(vpc, "a")
                client = socket.create_connection(listener.getsockname(), timeout=WITHIN_S)
            exchange(listener, client)
            counted = path.counters()
            assert not counted[Verdict.INTERNAL] + counted[Verdict.MALFORMED]
            assert counted[Verdict.FORWARDED] < BYTES // 1448 / 2, "segments were not large"


def exchange(listener: socket.socket, client: socket.socket) -> None:
    """Bulk both ways, between a client and the server that it is being connected to."""
    server = listener.accept()[0]
    server.settimeout(WITHIN_S)
    with closing(listener), closing(server), closing(client):
        for sender, receiver in ((client, server), (server, client)):
            assert transfer(sender, receiver) == BYTES


def transfer(sender: socket.socket, receiver: socket.socket) -> int:
    thread = threading.Thread(target=sender.sendall, args=(bytes(BYTES),), daemon=True)
    thread.start()
    got = 0
    while got < BYTES:
        got += len(receiver.recv(1 << 20))
    thread.join(WITHIN_S)
    return got
