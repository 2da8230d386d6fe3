"""Conversations through real kernels: behind stateful NAT, under rules with memory, and as `isthmus flows` shows them.

::

    red   10.1.1.1, 2001:db8:1::1 ──┐ 192.0.2.0/31                         8.8.8.8, 9.9.9.9,
    blue  10.1.1.1, 2001:db8:1::1 ──┤ 2001:db8:a::/127 ── gateway ── isp   2001:db8:8::1
                                    └─────────────────────────────── db    10.1.1.1, may start nothing
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from isthmus.cli.main import app
from isthmus.datapath.netns import inside
from isthmus.lab.demo import clients
from isthmus.lab.demo.beyond import beyond
from isthmus.lab.demo.stage import vpc_of, watching
from tests.netns.labs import lab, of_files

NAME = "isthmus-test-flows"

OBJECTS = """
apiVersion: gateway.githedgehog.com/v1alpha1
kind: VPC
metadata: {name: isp}
spec:
  subnets: {four: {cidr: 203.0.113.0/24}, six: {cidr: "2001:db8:ff::/64"}}
  attachments: [{interface: eth1, addresses: [203.0.113.1/24, "2001:db8:ff::1/64"]}]
  routes: [{to: 0.0.0.0/0, via: 203.0.113.2}, {to: "2001:db8:8::/48", via: "2001:db8:ff::2"}]
"""
TENANT = """
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: VPC
metadata: {name: NAME}
spec:
  subnets: {four: {cidr: 10.1.1.0/24}, six: {cidr: "2001:db8:1::/64"}}
  attachments: [{interface: PORT, addresses: [10.1.1.254/24, "2001:db8:1::fe/64"]}]
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata: {name: NAME--isp}
spec:
  NAME:
    ips: [{fromVPCSubnet: four}, {fromVPCSubnet: six}]
    as: [192.0.2.0/31, "2001:db8:a::/127"]
    natType: stateful
    nat: {timeouts: {udp: 30s}}
  isp:
    ips: [{cidr: 0.0.0.0/0}, {not: 10.0.0.0/8}, {not: 192.0.2.0/24}, {cidr: "2001:db8:8::/48"}]
"""
ONE_WAY = """
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata: {name: red--db}
spec:
  red: {ips: [{cidr: 10.1.1.0/24}], as: [172.16.1.0/24]}
  db: {ips: [{cidr: 10.1.1.0/24}], as: [172.16.2.0/24], ingress: []}
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata: {name: blue--db}
spec:
  blue: {ips: [{cidr: 10.1.1.0/24}], as: [172.16.3.0/24], ingress: [{allow: {udp: {dstPort: 5000}, icmp: {}}}]}
  db: {ips: [{cidr: 10.1.1.0/24}], as: [172.16.2.0/24], ingress: []}
"""
POOL = ("192.0.2.0", "192.0.2.1", "2001:db8:a::", "2001:db8:a::1")
HOST = {4: "10.1.1.1", 6: "2001:db8:1::1"}
SERVER = {4: "8.8.8.8", 6: "2001:db8:8::1"}
DB = "172.16.2.1"
AT_DB = {"red": "172.16.1.1", "blue": "172.16.3.1"}

IP_MTU = 14  # ip(7)
ANSWER_S, SILENCE_S = 3.0, 0.3
LARGE = bytes(range(250)) * 16
"""4,000 bytes: three fragments."""


class Lab(NamedTuple):
    """A lab that is up. ``stack`` closes what one test opens."""

    name: str
    stack: ExitStack


@pytest.fixture(scope="module", params=["xdp", "tc"])
def up(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A lab on this hook."""
    file: Path = tmp_path_factory.mktemp("flows") / "objects.yaml"
    tenants = [TENANT.replace("NAME", name).replace("PORT", port) for name, port in (("red", "eth2"), ("blue", "eth3"))]
    file.write_text(OBJECTS + "".join(tenants) + ONE_WAY)
    name = f"{NAME}-{request.param}"
    objects = of_files(file, name=name, hook=request.param, isp="8.8.8.8")
    with lab(objects) as hooks:
        assert set(hooks.values()) == {request.param}
        yield name


@pytest.fixture
def here(up: str) -> Iterator[Lab]:
    with ExitStack() as stack:
        yield Lab(up, stack)


def udp(here: Lab, vpc: str, address: str, port: int = 0) -> socket.socket:
    """A socket on a host of a VPC."""
    return _bound(here, vpc, address, port, socket.SOCK_DGRAM)


def listening(here: Lab, vpc: str, address: str, port: int) -> socket.socket:
    one = _bound(here, vpc, address, port, socket.SOCK_STREAM)
    one.listen()
    return one


def _bound(here: Lab, vpc: str, address: str, port: int, kind: int) -> socket.socket:
    with inside(vpc_of(here.name, vpc).host_namespace):
        one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    here.stack.enter_context(closing(one))
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.settimeout(ANSWER_S)
    one.bind((address, port))
    return one


def connection(here: Lab, vpc: str, source: str, server: socket.socket) -> tuple[socket.socket, socket.socket]:
    """A TCP connection to a server that listens: both ends, the initiator's first."""
    one = _bound(here, vpc, source, 0, socket.SOCK_STREAM)
    one.connect(server.getsockname()[:2])
    other, _ = server.accept()
    here.stack.enter_context(closing(other))
    other.settimeout(ANSWER_S)
    return one, other


def exchange(one: socket.socket, other: socket.socket) -> None:
    """Something in either direction of a connection."""
    for sender, receiver in ((one, other), (other, one)):
        sender.sendall(b"something")
        assert receiver.recv(100) == b"something"


def silent(one: socket.socket) -> bool:
    """True if nothing comes for a while."""
    one.settimeout(SILENCE_S)
    try:
        one.recv(100)
    except TimeoutError:
        return True
    finally:
        one.settimeout(ANSWER_S)
    return False


def on(here: Lab, vpc: str, *command: str) -> subprocess.CompletedProcess[str]:
    """A command on the hosts of a VPC."""
    namespace = vpc_of(here.name, vpc).host_namespace
    return subprocess.run(
        ["ip", "netns", "exec", namespace, *command], capture_output=True, text=True, check=False, timeout=20
    )


def flows(here: Lab, *arguments: str) -> Any:
    """`isthmus flows -o json`, which must end well."""
    done = CliRunner().invoke(app, ["flows", *arguments, "--name", here.name, "-o", "json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("family", [4, 6])
def test_tcp_is_seen_from_the_pool(here: Lab, family: int) -> None:
    server = listening(here, "isp", SERVER[family], 80)
    one, other = connection(here, "red", HOST[family], server)
    assert other.getpeername()[0] in POOL
    exchange(one, other)


@pytest.mark.parametrize("family", [4, 6])
def test_a_socket_has_one_public_end_for_all_that_it_asks(here: Lab, family: int) -> None:
    server, other = (udp(here, "isp", SERVER[family], port) for port in (53, 54))
    one = udp(here, "red", HOST[family])
    ends = set()
    for each in (server, other):
        one.sendto(b"question", each.getsockname()[:2])
        said, end = each.recvfrom(100)
        assert said == b"question"
        ends.add(end[:2])
        each.sendto(b"answer", end)
        assert one.recvfrom(100) == (b"answer", each.getsockname())
    [(address, _)] = ends
    assert address in POOL


def test_only_who_was_asked_may_answer(here: Lab) -> None:
    server, stranger = (udp(here, "isp", SERVER[4], port) for port in (53, 4444))
    one = udp(here, "red", HOST[4])
    one.sendto(b"question", server.getsockname())
    _, end = server.recvfrom(100)
    stranger.sendto(b"I know it too", end)
    assert silent(one)
    server.sendto(b"answer", end)
    assert one.recv(100) == b"answer"


def test_two_vpcs_with_the_same_addresses_never_see_one_another_s_packets(here: Lab) -> None:
    """The same private address and port, the same pool, the same server."""
    server = udp(here, "isp", SERVER[4], 53)
    tenants = {name: udp(here, name, HOST[4], 40000) for name in ("red", "blue")}
    ends: dict[str, tuple[str, int]] = {}
    with watching(here.name, "red") as at_red, watching(here.name, "blue") as at_blue:
        for name, one in tenants.items():
            one.sendto(name.encode(), server.getsockname())
            said, ends[name] = server.recvfrom(100)
            assert said == name.encode()
        assert ends["red"] != ends["blue"]
        for name in ("blue", "red", "blue"):
            server.sendto(f"for {name}".encode(), ends[name])
        assert [tenants["blue"].recv(100) for _ in range(2)] == [b"for blue"] * 2
        assert tenants["red"].recv(100) == b"for red"
        seen = [
            [sighting.said for one in watch.sockets for sighting in watch.sightings(one) if sighting.proto == "udp"]
            for watch in (at_red, at_blue)
        ]
    assert seen == [[b"for red"], [b"for blue"] * 2]


def test_nobody_can_start_toward_the_pool(here: Lab) -> None:
    """Also not toward an address and port in use: who it belongs to would refuse, and must not even hear of it."""
    server = listening(here, "isp", SERVER[4], 80)
    one, other = connection(here, "red", HOST[4], server)
    stranger = _bound(here, "isp", SERVER[4], 0, socket.SOCK_STREAM)
    stranger.settimeout(SILENCE_S)
    with pytest.raises(TimeoutError):
        stranger.connect(other.getpeername())
    exchange(one, other)


@pytest.mark.parametrize("size", [56, len(LARGE)])
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("vpc", ["red", "blue"])
def test_ping(here: Lab, vpc: str, family: int, size: int) -> None:
    """The large ones are in fragments, in both directions."""
    done = on(here, vpc, "ping", "-n", "-c", "2", "-i", "0.01", "-W", "1", "-s", str(size), SERVER[family])
    assert " 0% packet loss" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("size", [56, len(LARGE)])
@pytest.mark.parametrize("vpc", ["red", "blue"])
def test_ping_where_one_side_may_start_nothing(here: Lab, vpc: str, size: int) -> None:
    assert " 0% packet loss" in on(here, vpc, "ping", "-n", "-c", "1", "-W", "1", "-s", str(size), DB).stdout
    back = on(here, "db", "ping", "-n", "-c", "1", "-W", "0.3", "-s", str(size), AT_DB[vpc])
    assert " 100% packet loss" in back.stdout


@pytest.mark.parametrize("family", [4, 6])
def test_a_datagram_in_fragments_and_its_answer(here: Lab, family: int) -> None:
    server, one = udp(here, "isp", SERVER[family], 5000), udp(here, "red", HOST[family])
    one.sendto(LARGE, server.getsockname()[:2])
    said, end = server.recvfrom(1 << 16)
    assert (said == LARGE, end[0] in POOL) == (True, True)
    server.sendto(LARGE[::-1], end)
    assert one.recv(1 << 16) == LARGE[::-1]


def test_a_datagram_in_fragments_where_ports_decide(here: Lab) -> None:
    """blue may start UDP to port 5000 of db, and db answers alone."""
    server, one = udp(here, "db", "10.1.1.1", 5000), udp(here, "blue", HOST[4])
    one.sendto(LARGE, (DB, 5000))
    said, end = server.recvfrom(1 << 16)
    assert (said == LARGE, end[0]) == (True, AT_DB["blue"])
    server.sendto(LARGE[::-1], end)
    assert one.recv(1 << 16) == LARGE[::-1]
    other = udp(here, "db", "10.1.1.1", 5001)
    one.sendto(LARGE, (DB, 5001))
    assert silent(other)


def test_a_side_that_may_start_nothing_answers(here: Lab) -> None:
    server = listening(here, "db", "10.1.1.1", 5432)
    one = _bound(here, "red", HOST[4], 0, socket.SOCK_STREAM)
    one.connect((DB, 5432))
    other, peer = server.accept()
    here.stack.enter_context(closing(other))
    assert peer[0] == AT_DB["red"]
    exchange(one, other)
    listener, datagrams = listening(here, "red", HOST[4], 8080), udp(here, "red", HOST[4], 8080)
    starter = _bound(here, "db", "10.1.1.1", 0, socket.SOCK_STREAM)
    starter.settimeout(SILENCE_S)
    with pytest.raises(TimeoutError):
        starter.connect((AT_DB["red"], 8080))
    udp(here, "db", "10.1.1.1").sendto(b"hello", (AT_DB["red"], 8080))
    assert silent(datagrams)
    listener.settimeout(0)
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize(("vpc", "target"), [("red", SERVER[4]), ("red", SERVER[6]), ("red", DB), ("blue", DB)])
def test_port_unreachable_reaches_who_caused_it(here: Lab, vpc: str, target: str) -> None:
    one = udp(here, vpc, HOST[6 if ":" in target else 4])
    one.connect((target, 5000))
    one.send(b"anybody?")
    with pytest.raises(ConnectionRefusedError):
        one.recv(100)


def test_a_narrow_link_beyond_is_told_through_nat_and_so_is_who_is_on_the_way(
    here: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    far = "198.51.100.8"
    with beyond(here.name, "isp", far, 1300) as namespace:
        said = on(here, "red", "ping", "-n", "-M", "do", "-s", "1400", "-c", "1", "-W", "1", far)
        assert "mtu = 1300" in said.stdout
        with inside(vpc_of(here.name, "blue").host_namespace):
            assert clients.route(far) == 0
        assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["10.1.1.254", "1.0.0.0", far]
        sent = 1_000_000
        with inside(namespace):
            server = here.stack.enter_context(closing(socket.create_server((far, 7001))))
        with inside(vpc_of(here.name, "blue").host_namespace):
            one = here.stack.enter_context(closing(socket.create_connection((far, 7001), ANSWER_S)))
        other, _ = server.accept()
        here.stack.enter_context(closing(other))
        other.settimeout(ANSWER_S)
        one.settimeout(10)
        received = 0
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * sent)
        one.sendall(bytes(sent))
        while received < sent:
            received += len(other.recv(1 << 16))
        assert one.getsockopt(socket.IPPROTO_IP, IP_MTU) == 1300, "what the sender has learnt"


def test_flows_are_listed_as_they_are(here: Lab) -> None:
    flows(here, "clear", "--all")
    server = listening(here, "isp", SERVER[4], 80)
    one, other = connection(here, "red", HOST[4], server)
    exchange(one, other)
    found = flows(here, "proto=tcp")
    [row] = found["flows"]
    (public, public_port), private_port = other.getpeername(), one.getsockname()[1]
    dialled = {"dst": SERVER[4], "dport": 80}
    assert row["sent"] == {"src": HOST[4], "sport": private_port, **dialled}
    assert row["seen"] == {"src": public, "sport": public_port, **dialled}
    assert {key: row[key] for key in ("from", "to", "peering", "proto", "state", "nat")} == {
        "from": "red",
        "to": "isp",
        "peering": "red--isp",
        "proto": "tcp",
        "state": "established",
        "nat": True,
    }
    assert 7000 < row["expires"] < 7442
    assert (found["total"], found["shown"]) == (1, 1)
    [pool] = [pool for pool in found["pools"] if (pool["address"], pool["proto"]) == (public, "tcp")]
    assert (pool["to"], pool["of"]) == ("isp", 64512)
    assert {side["vpc"] for side in pool["sides"]} == {"red", "blue"}
    one.close()
    other.close()
    assert [row["state"] for row in flows(here, f"port={private_port}")["flows"]] == ["closed"]


def test_flows_are_filtered_by_either_space(here: Lab) -> None:
    flows(here, "clear", "--all")
    for vpc, target in (("red", SERVER[4]), ("red", SERVER[6]), ("blue", SERVER[4]), ("blue", DB)):
        udp(here, vpc, HOST[6 if ":" in target else 4]).sendto(b"hello", (target, 5000))
    for words, total in [
        ("", 4),
        ("vpc=red", 2),
        ("to=isp", 3),
        ("from=blue to=db", 1),
        ("peering=blue--db", 1),
        ("src=10.1.1.1", 3),
        ("src=192.0.2.0/31", 2),
        ("src=2001:db8:a::/64", 1),
        ("dst=10.1.1.1", 1),
        ("dst=172.16.2.0/24", 1),
        ("dport=5000 proto=udp state=open", 4),
        ("dport=5001", 0),
        ("proto=tcp", 0),
    ]:
        assert flows(here, *words.split())["total"] == total, words
    some = flows(here, "--limit", "1")
    assert (some["total"], some["shown"], len(some["flows"])) == (4, 1, 1)


def test_a_conversation_that_is_cleared_is_over(here: Lab) -> None:
    server = listening(here, "isp", SERVER[4], 80)
    one, other = connection(here, "red", HOST[4], server)
    kept, kept_other = connection(here, "blue", HOST[4], server)
    exchange(one, other)
    assert flows(here, "clear", f"sport={one.getsockname()[1]}", "vpc=red") == {"ended": 1}
    other.sendall(b"are you there?")
    assert silent(one)
    one.sendall(b"are you there?")
    assert silent(other)
    exchange(kept, kept_other)
    exchange(*connection(here, "red", HOST[4], server))


def test_the_text_for_a_person(here: Lab) -> None:
    flows(here, "clear", "--all")
    udp(here, "red", HOST[6]).sendto(b"hello", (SERVER[6], 53))
    done = CliRunner().invoke(app, ["flows", "--pools", "--name", here.name])
    assert done.exit_code == 0
    assert f"[{HOST[6]}]:" in done.stdout
    assert "1 conversation; " in done.stdout
    assert " 64,512 " in done.stdout
    done = CliRunner().invoke(app, ["flows", "clear", "--all", "--name", here.name])
    assert done.stdout == "1 conversation ended\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("vcp=red", "did you mean vpc=NAME?"),
        ("vpc=rde", "did you mean red?"),
        ("peering=red--bd", "did you mean red--db?"),
        ("clear", "--all"),
        ("clear vpc=rde", "did you mean red?"),
        ("clear --all vpc=red", "--all"),
        ("--all", "clear"),
    ],
)
def test_a_wrong_call_ends_with_2_and_teaches(here: Lab, words: str, says: str) -> None:
    done = CliRunner().invoke(app, ["flows", *words.split(), "--name", here.name])
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr
