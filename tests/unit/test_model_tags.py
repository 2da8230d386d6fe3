"""Tagged attachments: what tags and tunnels mean, and which of them can't be."""

from __future__ import annotations

import pytest

from isthmus.compile import compile_tables
from isthmus.model.types import Vpc
from isthmus.tables.address import Prefix, parse_address
from isthmus.tables.entries import AttachmentKey, NextHop, Origin, PathKind, Tag, TagKind, Tunnel, Vtep
from tests.unit.test_model_vpcs import built

NODE = ("Gateway", "node", "{vtep: {address: 192.0.2.1, interface: eth0}}")
MAC = "02:00:00:00:00:01"
FAR = Tunnel(4, parse_address("192.0.2.9")[1], bytes.fromhex("020000000001"))


def vpc_of(spec: str, *others: tuple[str, str, str]) -> tuple[Vpc | None, list[tuple[str, str]]]:
    model, problems = built(("VPC", "a", spec), *others)
    return model.vpcs.get("a"), [(problem.code, problem.path) for problem in problems if problem.object == "VPC/a"]


def remote(to: str, vtep: str = "192.0.2.9") -> str:
    return f"{{to: '{to}', vtep: '{vtep}', mac: '{MAC}'}}"


def segment(*remotes: str, interface: str = "eth0", more: str = "") -> str:
    return f"{{interface: {interface}, vxlan: {{vni: 5001, remotes: [{', '.join(remotes)}]}}{more}}}"


def test_tags_are_what_tells_attachments_apart() -> None:
    vpc, problems = vpc_of(
        "{attachments: [{interface: e, vlan: 7}, {interface: e, qinq: {outer: 7, inner: 8}}, "
        "{interface: e, qinq: {outer: 7, inner: 9, outerType: 802.1q}}, {interface: e, mpls: {label: 200}}, "
        "{interface: e, mpls: {label: 201, push: [16, 17], ttl: pipe}}, {interface: e, vxlan: {vni: 5}}, "
        "{interface: e}]}"
    )
    assert problems == []
    assert vpc is not None
    assert [attachment.tag for attachment in vpc.attachments] == [
        Tag(TagKind.VLAN, 7),
        Tag(TagKind.QINQ, 7, 8),
        Tag(TagKind.QINQ, 7, 9),
        Tag(TagKind.MPLS, 200),
        Tag(TagKind.MPLS, 201),
        Tag(TagKind.VXLAN, 5),
        Tag(),
    ]
    assert [attachment.outer_type for attachment in vpc.attachments[1:3]] == [0x88A8, 0x8100]
    assert [(attachment.push, attachment.uniform) for attachment in vpc.attachments[3:5]] == [
        ((), True),
        ((16, 17), False),
    ]


def test_what_a_tag_says_of_the_way_out_is_in_the_tables() -> None:
    spec = (
        "{attachments: [{interface: e, qinq: {outer: 7, inner: 9, outerType: 802.1q}}, "
        "{interface: e, mpls: {label: 201, push: [16, 17], ttl: pipe}}]}"
    )
    model, _ = built(("VPC", "a", spec), NODE)
    tables = compile_tables(model)
    assert tables.vtep == Vtep(*parse_address("192.0.2.1"), "eth0")
    qinq, mpls = tables.vpcs["a"].attachments
    assert (qinq.outer_type, mpls.push, mpls.uniform) == (0x8100, (16, 17), False)
    assert compile_tables(model._replace(gateway=None)).vtep is None


def test_remotes_are_the_routes_of_a_vxlan_attachment() -> None:
    """Its subnets are none, but they are subnets all the same."""
    spec = (
        f"{{attachments: [{segment(remote('10.1.1.0/24'), remote('10.1.2.0/24'), more=', addresses: [10.1.0.1/16]')}], "
        "subnets: {all: {cidr: 10.1.0.0/16}}, routes: [{to: 10.9.0.0/16, via: 10.1.1.254, metric: 5}]}"
    )
    model, problems = built(
        ("VPC", "a", spec),
        NODE,
        ("Peering", "p", "{a: {ips: [{fromVPCSubnet: all}]}, b: {ips: [{cidr: 10.8.0.0/24}]}}"),
    )
    assert [problem.code for problem in problems] == ["vpc-undefined"]
    tables = compile_tables(model)
    key = AttachmentKey("a", "eth0", Tag(TagKind.VXLAN, 5001))
    assert [(str(r.prefix), r.metric, r.next_hops) for r in tables.vpcs["a"].routes[4] if not r.local] == [
        ("10.1.1.0/24", 0, (NextHop(key, None, Origin("VPC/a", "spec.attachments[0].vxlan.remotes[0]"), FAR),)),
        ("10.1.2.0/24", 0, (NextHop(key, None, Origin("VPC/a", "spec.attachments[0].vxlan.remotes[1]"), FAR),)),
        (
            "10.9.0.0/16",
            5,
            (NextHop(key, parse_address("10.1.1.254")[1], Origin("VPC/a", "spec.routes[0]"), FAR),),
        ),
    ]
    subnet = Prefix.parse("10.1.0.0/16")
    own = tables.vpcs["a"].exposures[4][0]
    assert (own.first, own.last, own.candidates[0].kind) == (subnet.first, subnet.last, PathKind.SAME_VPC)


def test_a_router_is_behind_the_longest_remote_that_holds_it() -> None:
    spec = (
        f"{{attachments: [{segment(remote('10.0.0.0/8'), remote('10.1.0.0/16', '192.0.2.7'))}, {{interface: e}}], "
        "routes: [{to: 172.16.0.0/12, via: 10.1.0.9}]}"
    )
    vpc, problems = vpc_of(spec, NODE)
    assert problems == []
    assert vpc is not None
    assert vpc.routes[-1].tunnel == Tunnel(4, parse_address("192.0.2.7")[1], FAR.mac)
    assert vpc.routes[-1].attachment == 0


@pytest.mark.parametrize(
    ("spec", "code", "path"),
    [
        (segment(interface="eth1"), "field-value", "attachments[0].interface"),
        (segment(remote("127.0.0.0/8")), "cidr-martian", "attachments[0].vxlan.remotes[0].to"),
        (segment(remote("10.0.0.0/8"), remote("10.0.0.0/8")), "field-value", "attachments[0].vxlan.remotes[1].to"),
        (segment(remote("10.0.0.0/8", "2001:db8::1")), "field-value", "attachments[0].vxlan.remotes[0].vtep"),
        (segment(remote("10.0.0.0/8", "224.0.0.1")), "field-value", "attachments[0].vxlan.remotes[0].vtep"),
        (segment(remote("10.0.0.0/8", "192.0.2.1")), "field-value", "attachments[0].vxlan.remotes[0].vtep"),
        (
            segment(remote("10.0.0.0/8")) + "], routes: [{to: 10.9.0.0/16, via: 172.16.0.1}",
            "field-value",
            "routes[0].via",
        ),
        (segment(remote("10.0.0.0/8")) + "], routes: [{to: 10.9.0.0/16}", "field-missing", "routes[0]"),
    ],
)
def test_a_tunnel_that_leads_nowhere_is_told(spec: str, code: str, path: str) -> None:
    vpc, problems = vpc_of(f"{{attachments: [{spec}]}}", NODE)
    assert vpc is None
    assert problems == [(code, f"spec.{path}")]


def test_a_segment_needs_the_gateways_tunnel_end_where_there_is_a_gateway() -> None:
    spec = f"{{attachments: [{segment(remote('10.0.0.0/8'), interface='eth7')}]}}"
    assert vpc_of(spec)[1] == []
    assert vpc_of(spec, ("Gateway", "node", "{}"))[1] == [("field-value", "spec.attachments[0].vxlan")]


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ("{vtep: {address: 127.0.0.1, interface: eth0}}", "spec.vtep.address"),
        ("{vtep: {address: 'ff02::1', interface: eth0}}", "spec.vtep.address"),
        ("{routerID: 0.0.0.0}", "spec.routerID"),
    ],
)
def test_a_gateway_is_one_node(spec: str, path: str) -> None:
    model, problems = built(("Gateway", "wrong", spec), ("Gateway", "right", "{asn: 65000, drain: true}"))
    assert [(problem.object, problem.code, problem.path) for problem in problems] == [
        ("Gateway/wrong", "field-value", path)
    ]
    assert model.gateway is not None
    assert (model.gateway.name, model.gateway.asn, model.gateway.drain) == ("right", 65000, True)


def test_a_vni_is_one_segment_on_any_port() -> None:
    one, other = segment(interface="eth1"), segment(interface="eth2")
    _, problems = built(("VPC", "a", f"{{attachments: [{one}]}}"), ("VPC", "b", f"{{attachments: [{other}]}}"))
    assert [(problem.code, problem.object) for problem in problems] == [("attachment-conflict", "VPC/b")]


@pytest.mark.parametrize(("remotes", "shared"), [("10.1.1.0/24", False), ("10.1.0.0/16", True)])
def test_peers_offer_the_same_only_where_remotes_lead(remotes: str, shared: bool) -> None:
    """A subnet on a VXLAN attachment is no route: nothing there competes with another peer."""
    link = segment(remote(remotes), more=", addresses: [10.1.0.1/16]")
    _, problems = built(
        ("VPC", "a", f"{{attachments: [{link}], subnets: {{all: {{cidr: 10.1.0.0/16}}}}}}"),
        ("VPC", "b", "{attachments: [{interface: eth1}], subnets: {all: {cidr: 10.1.2.0/24}}}"),
        ("Peering", "p", "{a: {ips: [{cidr: 10.1.0.0/16}]}, c: {ips: [{cidr: 10.8.0.0/24}]}}"),
        ("Peering", "q", "{b: {ips: [{cidr: 10.1.2.0/24}]}, c: {ips: [{cidr: 10.8.0.0/24}]}}"),
    )
    assert ("route-ambiguous" in {problem.code for problem in problems}) is shared
