"""Real packets through the real packet path: what the twin expects is what sockets see, on both hooks."""

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from isthmus.cli.lab import app
from isthmus.datapath.netns import inside
from isthmus.lab.probe.run import probe
from isthmus.lab.probe.wire import Watch
from isthmus.lab.state import Objects
from isthmus.tables.address import format_address
from tests.netns.labs import EXAMPLES, isthmus, lab, of_files

NAME = "isthmus-test-probe"
OTHER = "isthmus-test-probe-2"  # beside the one that several tests share
CARRIED = sorted(path.name for path in EXAMPLES.glob("*.yaml") if not path.name.startswith("3-"))
BY_PATH_ALONE = {"ecmp.yaml", "metric.yaml", "plain-open.yaml"}
"""Examples of stages that are the same program text on both hooks: tried on one."""

ROUTED = """
apiVersion: gateway.githedgehog.com/v1alpha1
kind: VPC
metadata: {name: app}
spec:
  subnets: {front: {cidr: 10.1.1.0/24}, back: {cidr: 10.1.2.0/24}, six: {cidr: "2001:db8:1::/64"}}
  attachments:
    - {interface: eth1, addresses: [10.1.1.1/24, "2001:db8:1::1/64"]}
    - {interface: eth2, addresses: [10.1.2.254/24], mtu: 1400}
  routes:
    - {to: 10.9.0.0/16, via: 10.1.2.7}
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata: {name: app--db}
spec:
  app:
    ips: [{fromVPCSubnet: front}, {fromVPCSubnet: back}, {cidr: 10.9.0.0/24}, {cidr: "2001:db8:1::/64"}]
    as: [192.168.0.0/23, 192.168.9.0/24, "2001:db8:a::/64"]
    ingress:
      - allow: {stateless: true, tcp: {dstPort: [5432, "6000-6010"]}, icmp: {}}
      - allow: {stateless: true, udp: {srcPort: 111, dstPort: 2049}}
  db:
    ips: [{cidr: 10.1.1.0/24}, {cidr: "2001:db8:2::/64"}]
    as: [172.16.0.0/24, "2001:db8:b::/64"]
    ingress:
      - allow: {stateless: true, tcp: {srcPort: 5432}, icmp: {}}
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata: {name: db--lone}
spec:
  db: {ips: [{cidr: 10.1.1.0/24}]}
  lone: {ips: [{cidr: 10.5.0.0/30}, {cidr: 10.6.0.0/31}]}
"""


@pytest.mark.parametrize(
    ("example", "hook"),
    [(name, hook) for name in CARRIED for hook in ("xdp", "tc") if hook == "xdp" or name not in BY_PATH_ALONE],
)
def test_an_example_passes_what_the_twin_says_and_nothing_else(example: str, hook: str) -> None:
    objects = of_files(EXAMPLES / example, name=OTHER, hook=hook)
    with lab(objects) as hooks:
        assert set(hooks.values()) == {hook}
        results, _ = probe(objects, hooks, 1000)
    assert results
    assert [result.row() for result in results if result.why] == []


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_subnets_routers_two_attachments_rules_and_strangers(tmp_path: Path, hook: str) -> None:
    file = tmp_path / "routed.yaml"
    file.write_text(ROUTED)
    objects = of_files(file, name=OTHER, hook=hook)
    with lab(objects) as hooks:
        results, _ = probe(objects, hooks, 1000)
    assert [result.row() for result in results if result.why] == []
    outcomes = {result.seen.outcome for result in results}
    assert outcomes == {"answered", "delivered", "dropped"}, "the case shows every outcome"


def test_a_vpc_outside_of_the_peering_never_receives(tmp_path: Path) -> None:
    """It has the very addresses that are dialled, and is on the same gateway."""
    file = tmp_path / "bystander.yaml"
    file.write_text(
        (EXAMPLES / "5-overlapping-subnets.yaml").read_text()
        + """
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata: {name: bystander--friend}
spec:
  bystander: {ips: [{cidr: 192.168.2.0/24}, {cidr: 10.1.1.0/24}]}
  friend: {ips: [{cidr: 10.8.0.0/24}]}
"""
    )
    objects = of_files(file, name=OTHER)
    bystander = objects.plan.vpc("bystander")
    assert bystander is not None
    assert "192.168.2.1" in {format_address(host.family, host.address) for host in bystander.hosts}
    with lab(objects) as hooks:
        with inside(bystander.host_namespace):
            watch = Watch(bystander)
        with closing(watch):
            results, _ = probe(objects, hooks, 1000)
            sources = {
                format_address(sighting.family, sighting.source)
                for one in watch.sockets
                for sighting in watch.sightings(one)
            }
    assert [result.row() for result in results if result.why] == []
    assert sources == {"10.8.0.1"}, "its friend reaches it, and nobody else"


@pytest.fixture(scope="module")
def overlapping() -> Iterator[tuple[Objects, dict[str, str]]]:
    """One lab of example 5 for the tests below, with a host in its hole; and the hooks of its ports."""
    objects = of_files(EXAMPLES / "5-overlapping-subnets.yaml", name=NAME, vpc_1="10.1.1.42")
    with lab(objects) as hooks:
        yield objects, hooks


def test_the_program_s_probe_says_what_it_saw(overlapping: tuple[Objects, dict[str, str]]) -> None:
    done = CliRunner().invoke(app, ["probe", "--name", NAME, "-o", "json"])
    assert done.exit_code == 0
    rows = json.loads(done.stdout)
    fields = {"from", "to", "src", "dst", "proto", "dport", "hook", "expected", "seen", "ok"}
    assert all(fields <= set(row) and row["ok"] and row["hook"] == "xdp" for row in rows)
    [ping] = [
        row
        for row in rows
        if (row["from"], row["src"], row["dst"], row["proto"]) == ("vpc-1", "10.1.1.1", "192.168.2.1", "icmp")
    ]
    assert ping["arrivals"] == [{"vpc": "vpc-2", "src": "192.168.1.1", "dst": "10.1.1.1"}]
    assert {row["reason"] for row in rows if row["dst"] == "192.168.1.42"} == {"nat-hole"}


def test_a_packet_path_that_does_otherwise_is_found_out(overlapping: tuple[Objects, dict[str, str]]) -> None:
    """The twin is asked about a configuration whose rules let vpc-1 say nothing, which is not what the lab runs."""
    objects, hooks = overlapping
    sides = {
        key: side._replace(rules=() if key.vpc == "vpc-1" else side.rules) for key, side in objects.tables.sides.items()
    }
    results, _ = probe(objects._replace(tables=replace(objects.tables, sides=sides)), hooks, 1000)
    passed = [result for result in results if result.seen.outcome == "answered"]
    assert {result.case.source_vpc for result in passed} == {"vpc-1", "vpc-2"}
    assert all(result.why for result in passed), "from vpc-1 nothing may arrive, and from vpc-2 no reply may come back"


def test_a_host_that_comes_later_is_found_when_a_packet_wants_it(overlapping: object) -> None:
    later = ["ip", "-n", f"{NAME}-vpc-2", "address", "add", "10.1.1.77/32", "dev", "eth0"]
    subprocess.run(later, check=True)
    done = isthmus("lab", "exec", "--name", NAME, "vpc-1", "--", "ping", "-c3", "-i0.2", "-W2", "192.168.2.77")
    assert done.returncode == 0, "the first is dropped (next-hop-unresolved) and asks for the host; the next ones pass"
    assert " 2 received" in done.stdout or " 3 received" in done.stdout


def test_a_server_of_somebody_s_own_does_not_disturb(overlapping: tuple[Objects, dict[str, str]]) -> None:
    with inside(f"{NAME}-vpc-2"):
        web = socket.create_server(("", 80))
        dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        dns.bind(("", 53))
    with closing(web), closing(dns):
        results, _ = probe(*overlapping, 1000)
    assert [result.row() for result in results if result.why] == []
