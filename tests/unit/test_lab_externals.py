"""What an external announces, and what its daemon is told: BIRD itself reads the text, and so does FRR's bgpd."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from isthmus.cli.objects import load
from isthmus.compile import compile_tables
from isthmus.lab.externals.bird import bird_config
from isthmus.lab.externals.frr import bgpd_config
from isthmus.lab.externals.routes import Announced, parse_routes
from isthmus.lab.externals.speakers import External
from isthmus.lab.plan import LabPlan, plan
from isthmus.tables.address import Prefix, format_address

OBJECTS = """
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Gateway
metadata: {name: here}
spec: {asn: 64512, routerID: 203.0.113.1}
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: VPC
metadata: {name: isp}
spec:
  subnets: {four: {cidr: 203.0.113.0/29}}
  attachments:
    - {interface: eth1, addresses: [203.0.113.1/29]}
    - {interface: eth2, vlan: 7, addresses: ["2001:db8:ff::1/64"]}
  routes: [{to: 192.0.2.9/32, via: 203.0.113.3}]
  bgp:
    neighbors:
      - {address: 203.0.113.2, asn: 65001, passwordFile: /secret, bfd: {interval: 50ms, multiplier: 3}}
      - {address: "2001:db8:ff::2", asn: 65002}
      - {address: 192.0.2.9, asn: 65001, multihop: 2}
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata: {name: red--isp}
spec:
  red: {ips: [{cidr: 10.1.1.0/24}], as: [198.51.100.4/30], natType: stateful}
  isp: {ips: [{cidr: 0.0.0.0/0}, {not: 10.0.0.0/8}, {fromVPCSubnet: four}, {cidr: "2001:db8:8::/48"}]}
"""
ROUTES = """
8.8.8.0/24 med 50 path 65010 65011 community 65001:100 65001:1:2  # a comment
2001:db8:8::/48 med 7
"""


@pytest.fixture
def planned(tmp_path: Path) -> LabPlan:
    file = tmp_path / "objects.yaml"
    file.write_text(OBJECTS)
    model = load([str(file)]).model
    return plan("lab", model, compile_tables(model), announced={"isp": list(parse_routes(ROUTES))})


@pytest.fixture
def isp(planned: LabPlan) -> External:
    [external] = planned.externals
    return external


def test_a_line_is_a_route_with_its_attributes() -> None:
    assert list(parse_routes(ROUTES)) == [
        Announced(Prefix.parse("8.8.8.0/24"), 50, (65010, 65011), ((65001, 100), (65001, 1, 2))),
        Announced(Prefix.parse("2001:db8:8::/48"), 7),
    ]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("8.8.8.8/24", "host bits"),
        ("8.8.8.0/24 hello", "'hello' is none of"),
        ("8.8.8.0/24 med", "one number"),
        ("8.8.8.0/24 med 1 2", "one number"),
        ("8.8.8.0/24 med x", "no number"),
        ("8.8.8.0/24 path 4294967296", "no number"),
        ("8.8.8.0/24 community 1", "no community"),
        ("8.8.8.0/24 community 65536:1", "no number"),
        ('8.8.8.0/24 path 1";', "no number"),
    ],
)
def test_a_line_that_can_t_be_read_is_named(line: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"line 2: .*{why}"):
        list(parse_routes(f"\n{line}\n"))


def test_every_neighbour_is_played_on_its_link(planned: LabPlan, isp: External) -> None:
    assert [
        (format_address(s.family, s.address), s.asn, format_address(s.family, s.gateway), s.gateway_asn, s.multihop)
        for s in isp.speakers
    ] == [
        ("203.0.113.2", 65001, "203.0.113.1", 64512, 0),
        ("2001:db8:ff::2", 65002, "2001:db8:ff::1", 64512, 0),
        ("192.0.2.9", 65001, "203.0.113.1", 64512, 2),
    ]
    vpc = planned.vpc("isp")
    assert vpc is not None
    on = {
        link.inside: [f"{format_address(family, a)}/{length}" for family, a, length in link.speakers]
        for link in vpc.links
    }
    assert on == {"eth0": ["203.0.113.2/29", "192.0.2.9/32"], "eth1": ["2001:db8:ff::2/64"]}
    assert "203.0.113.2" in {format_address(family, address) for _, family, address in vpc.next_hops()}


def test_it_announces_what_its_side_offers_but_for_its_subnets_and_what_it_is_told(isp: External) -> None:
    assert [(str(route.prefix), route.med) for route in isp.routes] == [
        ("0.0.0.0/0", None),
        ("8.8.8.0/24", 50),
        ("2001:db8:8::/48", 7),
    ]


def test_bird_takes_its_configuration(isp: External, tmp_path: Path) -> None:
    text = bird_config(isp, {"/secret": "with spaces; and { signs }"})
    file = tmp_path / "bird.conf"
    file.write_text(text)
    done = subprocess.run(["/usr/sbin/bird", "-p", "-c", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{text}"
    assert "bfd { interval 50 ms; multiplier 3; };" in text


def test_bgpd_takes_its_configuration(isp: External, tmp_path: Path) -> None:
    text = bgpd_config(isp, {"/secret": "word"})
    file = tmp_path / "bgpd.conf"
    file.write_text(text)
    done = subprocess.run(["/usr/lib/frr/bgpd", "-C", "-f", file], capture_output=True, text=True, check=False)
    assert "No such command" not in done.stdout + done.stderr, text
    assert done.returncode == 0, done.stderr
    assert "neighbor 203.0.113.1 password word" in text
