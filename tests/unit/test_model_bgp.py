"""How a VPC speaks BGP: its AS, its identifier, its neighbours."""

from __future__ import annotations

import pytest

from isthmus.compile import compile_tables
from isthmus.model.types import Bfd, Bgp, Neighbor
from isthmus.tables.address import parse_address
from tests.unit.test_model_vpcs import built

LINKS = "attachments: [{interface: e1, vlan: 7, addresses: [192.0.2.2/30, 'fe80::2/64']}, {interface: e2}]"
NODE = ("Gateway", "node", "{asn: 65000, routerID: 10.0.0.7}")


def bgp_of(bgp: str, *others: tuple[str, str, str], links: str = LINKS) -> tuple[Bgp | None, list[tuple[str, str]]]:
    model, problems = built(("VPC", "isp", f"{{{links}, bgp: {bgp}}}"), *others)
    vpc = model.vpcs.get("isp")
    return vpc and vpc.bgp, [(problem.code, problem.path) for problem in problems]


def test_what_is_written_is_in_the_model() -> None:
    bgp, problems = bgp_of(
        "{asn: 65010, communities: ['65010:1', '1:2:3', no-export], advertise: summary, neighbors: ["
        "{address: 192.0.2.1, asn: 65001, bfd: true, maxPrefixes: 1000}, "
        "{address: 'fe80::1', asn: 65001, bfd: {interval: 50ms}, gracefulRestart: 5m, passwordFile: /etc/key}, "
        "{address: 198.51.100.1, asn: 65010, multihop: true, gracefulRestart: false}]}"
    )
    assert problems == []
    assert bgp is not None
    assert (bgp.asn, bgp.communities, bgp.advertise) == (65010, ((65010, 1), (1, 2, 3), (65535, 65281)), "summary")
    first, second, third = bgp.neighbors
    where = "spec.bgp.neighbors"
    assert first == Neighbor(
        parse_address("192.0.2.1"), 65001, 0, f"{where}[0]", bfd=Bfd(300, 3), max_prefixes=1000, graceful_restart=120
    )
    assert second == Neighbor(
        parse_address("fe80::1"), 65001, 0, f"{where}[1]", "/etc/key", Bfd(50, 3), graceful_restart=300
    )
    assert third == Neighbor(
        parse_address("198.51.100.1"), 65010, None, f"{where}[2]", multihop=255, graceful_restart=0
    )


def test_as_and_identifier_are_those_of_the_gateway_where_none_is_written() -> None:
    bgp, problems = bgp_of("{}", NODE)
    assert problems == []
    assert bgp == Bgp(65000, 0x0A000007)
    assert bgp_of("{}")[1] == [("field-missing", "spec.bgp")]


def test_an_identifier_is_made_where_none_is_written() -> None:
    own, _ = bgp_of(
        "{asn: 1}", links="attachments: [{interface: e, addresses: ['fd00::1/64', 169.254.0.1/30, 10.9.0.1/24]}]"
    )
    assert own is not None
    assert own.router_id == 0x0A090001
    made, _ = bgp_of("{asn: 1}", links="attachments: [{interface: e}]")
    assert made is not None
    assert 0 < made.router_id < 1 << 32
    assert made == bgp_of("{asn: 1}", links="attachments: [{interface: other}]")[0], "the name alone makes it"


@pytest.mark.parametrize(
    "neighbor",
    [
        "{address: 198.51.100.1, asn: 1}",  # on no link
        "{address: 'fe80:1::1', asn: 1, multihop: true}",
        "{address: 224.0.0.5, asn: 1, multihop: true}",
        "{address: 127.0.0.1, asn: 1, multihop: true}",
        "{address: 192.0.2.2, asn: 1}",  # ours
    ],
)
def test_a_neighbour_that_can_be_none_is_told(neighbor: str) -> None:
    assert bgp_of(f"{{asn: 1, neighbors: [{neighbor}]}}") == (None, [("field-value", "spec.bgp.neighbors[0].address")])


def test_a_neighbour_stands_once() -> None:
    one = "{address: 192.0.2.1, asn: 1}"
    assert bgp_of(f"{{asn: 1, neighbors: [{one}, {one}]}}")[1] == [("field-value", "spec.bgp.neighbors[1].address")]


def test_a_neighbour_on_a_vxlan_attachment_is_behind_a_remote() -> None:
    links = (
        "attachments: [{{interface: eth0, addresses: [192.0.2.2/24], vxlan: {{vni: 5, "
        "remotes: [{{to: {}, vtep: 203.0.113.9, mac: '02:00:00:00:00:01'}}]}}}}]"
    )
    bgp = "{asn: 1, neighbors: [{address: 192.0.2.1, asn: 1}]}"
    assert bgp_of(bgp, links=links.format("192.0.2.0/24"))[1] == []
    assert bgp_of(bgp, links=links.format("192.0.2.128/25"))[1] == [("field-value", "spec.bgp.neighbors[0].address")]


def test_routes_are_assumed_only_where_nobody_knows_them() -> None:
    model, _ = built(
        ("VPC", "isp", f"{{{LINKS}, bgp: {{asn: 1}}}}"),
        ("Peering", "p", "{isp: {ips: [{cidr: 0.0.0.0/0}]}, b: {ips: [{cidr: 10.8.0.0/24}]}}"),
    )
    for assume, assumed in ((None, True), ((), False), (("isp",), True)):
        isp = compile_tables(model, assume).vpcs["isp"]
        assert isp.assumed is assumed
        assert any(str(route.prefix) == "0.0.0.0/0" for route in isp.routes[4]) is assumed
