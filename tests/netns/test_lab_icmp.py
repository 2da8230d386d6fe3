"""ICMP that the gateway says and that it carries, as real kernels take it: path MTU discovery and TTL through NAT."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.labs import lab, of_files

NAME = "isthmus-test-icmp"

# Wide (1500) and narrow (1300), both with the same addresses inside, in both families.
NARROW = """
apiVersion: gateway.githedgehog.com/v1alpha1
kind: VPC
metadata: {name: wide}
spec:
  subnets: {four: {cidr: 10.1.1.0/24}, six: {cidr: 2001:db8:1::/64}}
  attachments: [{interface: eth1, addresses: [10.1.1.254/24, 2001:db8:1::fe/64]}]
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: VPC
metadata: {name: narrow}
spec:
  subnets: {four: {cidr: 10.1.1.0/24}, six: {cidr: 2001:db8:1::/64}}
  attachments: [{interface: eth2, addresses: [10.1.1.254/24, 2001:db8:1::fe/64], mtu: 1300}]
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata: {name: wide--narrow}
spec:
  wide:
    ips: [{cidr: 10.1.1.0/24}, {cidr: 2001:db8:1::/64}]
    as: [192.168.1.0/24, 2001:db8:a1::/64]
  narrow:
    ips: [{cidr: 10.1.1.0/24}, {cidr: 2001:db8:1::/64}]
    as: [192.168.2.0/24, 2001:db8:a2::/64]
"""
FOUR, SIX = "192.168.2.1", "2001:db8:a2::1"

RECEIVE = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", 5000)); s.settimeout(5)
print("ready", flush=True)
data, peer = s.recvfrom(65536)
print(len(data), data == bytes(len(data)), peer[0])
"""
SEND = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER, IP_PMTUDISC_DONT: no DF
s.sendto(bytes(1440), ("192.168.2.1", 5000))
"""


@pytest.fixture(scope="module", params=["xdp", "tc"])
def hook(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The lab is up on this hook."""
    file: Path = tmp_path_factory.mktemp("icmp") / "narrow.yaml"
    file.write_text(NARROW)
    with lab(of_files(file, name=NAME, hook=request.param)) as hooks:
        assert set(hooks.values()) == {request.param}
        yield request.param


def host(vpc: str, *command: str) -> str:
    """What a command in a VPC's host namespace prints."""
    done = subprocess.run(
        ["ip", "netns", "exec", f"{NAME}-{vpc}", *command], capture_output=True, text=True, check=False, timeout=20
    )
    return done.stdout + done.stderr


def counter(vpc: str, name: str) -> int:
    """A counter of /proc/net/snmp or snmp6."""
    head, values = [
        line.split() for line in host(vpc, "cat", "/proc/net/snmp").splitlines() if line.startswith("Icmp:")
    ]
    found = dict(zip(head, values, strict=True))
    six = dict(line.split() for line in host(vpc, "cat", "/proc/net/snmp6").splitlines())
    return int(found[name]) if name in found else int(six[name])


@pytest.mark.parametrize(("target", "says"), [(FOUR, "mtu = 1300"), (SIX, "mtu=1300")])
def test_a_packet_that_is_too_big_teaches_its_sender_the_mtu(hook: str, target: str, says: str) -> None:
    said = host("wide", "ping", "-n", "-M", "do", "-s", "1400", "-c", "1", "-W", "1", target)
    assert says in said
    assert "mtu 1300" in host("wide", "ip", "route", "get", target)
    assert " 0% packet loss" in host("wide", "ping", "-n", "-M", "do", "-s", "1200", "-c", "1", "-W", "1", target)


@pytest.mark.parametrize(("target", "gateway"), [(FOUR, "10.1.1.254"), (SIX, "2001:db8:1::fe")])
def test_a_ttl_used_up_is_told_by_the_gateway(hook: str, target: str, gateway: str) -> None:
    said = host("wide", "ping", "-n", "-t", "1", "-c", "1", "-W", "1", target)
    assert f"From {gateway}" in said
    assert "exceeded" in said


@pytest.mark.parametrize("target", [FOUR, SIX])
def test_an_error_from_behind_the_gateway_reaches_who_caused_it(hook: str, target: str) -> None:
    """UDP to a port where nobody listens: the host's own error comes back through both translations."""
    probe = (
        "import socket,sys; f=socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET; "
        "s=socket.socket(f,socket.SOCK_DGRAM); s.settimeout(2); s.connect((sys.argv[1],9)); s.send(b'x'); s.recv(1)"
    )
    assert "ConnectionRefusedError" in host("wide", "python3", "-c", probe, target)


def test_no_host_has_seen_a_wrong_checksum(hook: str) -> None:
    """After all of the above: what the gateway said and translated was right, inside and outside."""
    for vpc in ("wide", "narrow"):
        assert counter(vpc, "InCsumErrors") == 0
        assert counter(vpc, "Icmp6InCsumErrors") == 0
    assert counter("wide", "InDestUnreachs") > 0


def test_a_packet_without_df_is_cut_on_tc_and_answered_on_xdp(hook: str) -> None:
    """1,440 bytes of UDP over 1,300: whole at the other end, or the sender is told."""
    host("wide", "ethtool", "-K", "eth0", "tx", "off")  # a checksum that is not there yet can't be cut (TC)
    host("wide", "ip", "route", "flush", "cache")  # else the sender knows the MTU, and cuts the packet itself
    server = subprocess.Popen(
        ["ip", "netns", "exec", f"{NAME}-narrow", "python3", "-c", RECEIVE], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        before = counter("wide", "InDestUnreachs")
        host("wide", "python3", "-c", SEND)
        if hook == "tc":
            assert server.stdout.readline() == "1440 True 192.168.1.1\n"
        else:
            assert counter("wide", "InDestUnreachs") == before + 1
    finally:
        server.kill()
        server.wait()
