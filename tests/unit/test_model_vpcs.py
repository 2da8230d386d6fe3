"""VPCs: what is written is linked, what is not written is inferred."""

from isthmus.api.objects import read_objects
from isthmus.api.sources import Source
from isthmus.model.build import build
from isthmus.model.types import Attachment, Model, StaticRoute, Vpc
from isthmus.problems import Problem
from isthmus.tables.address import Prefix, parse_address
from isthmus.tables.entries import Nat, Tag

HEAD = "apiVersion: gateway.githedgehog.com/v1alpha1\nkind: {}\nmetadata: {{name: {}}}\nspec: {}\n"


def built(*objects: tuple[str, str, str]) -> tuple[Model, list[Problem]]:
    text = "---\n".join(HEAD.format(*one) for one in objects)
    return build(read_objects([Source("in.yaml", text.encode(), True)])[0])


def vpc_of(spec: str) -> tuple[Vpc | None, list[tuple[str, str]]]:
    model, problems = built(("VPC", "a", spec))
    return model.vpcs.get("a"), [(problem.code, problem.path) for problem in problems]


TWO = (
    "attachments: [{interface: eth1, addresses: [10.1.0.1/16]}, "
    "{interface: eth2, addresses: [10.1.1.1/24, 'fd00::1/64']}]"
)


def test_a_subnet_lives_where_the_most_specific_link_covers_it() -> None:
    vpc, problems = vpc_of(
        f"{{{TWO}, subnets: {{x: {{cidr: 10.1.2.0/24}}, y: {{cidr: 10.1.1.0/25}}, z: {{cidr: 'fd00::/64'}}}}}}"
    )
    assert problems == []
    assert vpc is not None
    assert [(subnet.name, subnet.attachment) for subnet in vpc.subnets] == [("x", 0), ("y", 1), ("z", 1)]


def test_the_only_attachment_has_every_subnet() -> None:
    vpc, problems = vpc_of("{attachments: [{interface: eth1}], subnets: {x: {cidr: 10.1.2.0/24}}}")
    assert problems == []
    assert vpc is not None
    assert vpc.subnets[0].attachment == 0


def test_routes_find_their_attachments() -> None:
    routes = (
        "routes: [{to: 10.9.0.0/16, via: 10.1.1.9}, {to: 10.8.0.0/16, via: 10.1.2.9, metric: 5}, "
        "{to: 10.7.0.0/16, attachment: eth2}, {to: 10.6.0.0/16, attachment: 0}]"
    )
    vpc, problems = vpc_of(f"{{{TWO}, {routes}}}")
    assert problems == []
    assert vpc is not None
    assert [(route.attachment, route.via is None, route.metric) for route in vpc.routes] == [
        (1, False, 0),
        (0, False, 5),
        (1, True, 0),
        (0, True, 0),
    ]


def test_routes_that_lead_nowhere_are_told() -> None:
    routes = (
        "routes: [{to: 10.9.0.0/16, via: 192.168.0.1}, {to: 10.8.0.0/16}, {to: 10.7.0.0/16, attachment: eth9}, "
        "{to: 10.6.0.0/16, attachment: 2}, {to: 10.5.0.0/16, via: 'fd00::2'}, {to: 127.0.0.0/8, via: 10.1.1.9}]"
    )
    vpc, problems = vpc_of(f"{{{TWO}, {routes}}}")
    assert vpc is None
    assert sorted(problems) == [
        ("cidr-martian", "spec.routes[5].to"),
        ("field-missing", "spec.routes[1]"),
        ("field-value", "spec.routes[0].via"),
        ("field-value", "spec.routes[2].attachment"),
        ("field-value", "spec.routes[3].attachment"),
        ("field-value", "spec.routes[4].via"),
    ]


def test_the_only_attachment_takes_a_router_that_no_link_covers() -> None:
    vpc, problems = vpc_of("{attachments: [{interface: eth1}], routes: [{to: 0.0.0.0/0, via: 192.168.0.1}]}")
    assert problems == []
    assert vpc is not None
    assert vpc.routes == (
        StaticRoute(Prefix.parse("0.0.0.0/0"), parse_address("192.168.0.1")[1], 0, 0, "spec.routes[0]"),
    )


def test_an_attachment_has_the_segment_size_that_is_written() -> None:
    vpc, problems = vpc_of("{attachments: [{interface: e, mss: 1360}, {interface: f}]}")
    assert problems == []
    assert vpc is not None
    assert [attachment.mss for attachment in vpc.attachments] == [1360, 0]


def test_a_broken_vpc_claims_no_port() -> None:
    right = "{attachments: [{interface: eth1}]}"
    broken = "{attachments: [{interface: eth1}, {interface: eth1}]}"
    model, problems = built(("VPC", "a", broken), ("VPC", "b", right))
    assert list(model.vpcs) == ["b"]
    assert [(problem.code, problem.object) for problem in problems] == [("attachment-conflict", "VPC/a")]


def test_an_undefined_vpc_is_inferred_from_all_its_right_peerings() -> None:
    model, problems = built(
        (
            "Peering",
            "one",
            "{a: {ips: [{cidr: 10.1.0.0/24}, {not: 10.1.0.7}, {cidr: 'fd00::/64'}]}, b: {ips: [{cidr: 10.2.0.0/24}]}}",
        ),
        ("Peering", "two", "{a: {ips: [{cidr: 10.3.0.0/24}, {cidr: 10.1.0.0/24}]}, c: {ips: [{cidr: 10.2.0.0/24}]}}"),
        ("Peering", "broken", "{a: {ips: [{cidr: 10.9.0.0/24}]}}"),
    )
    assert [problem.object for problem in problems if problem.code == "vpc-undefined"] == [
        "Peering/one",
        "Peering/one",
        "Peering/two",
    ]
    a = model.vpcs["a"]
    assert (a.defined, a.bgp, a.subnets) == (False, None, ())
    addresses = ((*parse_address("169.254.0.1"), 32), (*parse_address("fe80::1"), 64))
    assert a.attachments == (Attachment("vpc/a", Tag(), addresses, 0, ""),)
    assert [(str(route.to), route.via, route.attachment, route.metric, route.path) for route in a.routes] == [
        ("10.1.0.0/24", None, 0, 0, "spec.a.ips[0]"),
        ("fd00::/64", None, 0, 0, "spec.a.ips[2]"),
        ("10.3.0.0/24", None, 0, 0, "spec.a.ips[0]"),
    ]


def test_the_port_of_an_inferred_vpc_is_no_port_that_an_object_means() -> None:
    model, problems = built(
        ("VPC", "a", "{attachments: [{interface: b}], subnets: {x: {cidr: 10.1.0.0/24}}}"),
        ("Gateway", "here", "{ports: {b: {hook: tc}}}"),
        ("Peering", "one", "{a: {ips: [{cidr: 10.1.0.0/24}]}, b: {ips: [{cidr: 10.2.0.0/24}]}}"),
    )
    assert [problem.code for problem in problems] == ["vpc-undefined"]
    assert [vpc.attachments[0].interface for vpc in model.vpcs.values()] == ["b", "vpc/b"]


def test_sides_are_resolved_in_the_order_they_are_written() -> None:
    vpc = "VPC", "a", "{attachments: [{interface: eth1}], subnets: {web: {cidr: 10.1.0.0/24}}}"
    spec = (
        "{z: {ips: [{cidr: 10.5.0.0/24}], metric: 7}, a: {ips: [{fromVPCSubnet: web}, {not: 10.1.0.7}], "
        "as: [{cidr: 10.9.0.0/24}, {not: 10.9.0.8}], "
        "ingress: [{allow: {name: web, dst: [10.5.0.0/25], tcp: {dstPort: 443}, icmp: {type: 8, code: 0}}}]}}"
    )
    model, _ = built(vpc, ("Peering", "p", spec))
    first, second = model.peerings["p"].sides
    assert (first.vpc, first.metric, first.nat, first.ingress) == ("z", 7, Nat.PLAIN, None)
    assert (second.vpc, second.nat, second.path) == ("a", Nat.STATIC, "spec.a")
    assert [(str(item.prefix), item.path) for item in (*second.ips, *second.ips_not, *second.as_, *second.as_not)] == [
        ("10.1.0.0/24", "spec.a.ips[0]"),
        ("10.1.0.7/32", "spec.a.ips[1]"),
        ("10.9.0.0/24", "spec.a.as[0]"),
        ("10.9.0.8/32", "spec.a.as[1]"),
    ]
    assert second.ingress is not None
    (rule,) = second.ingress
    assert (rule.name, rule.stateless, rule.src, rule.dst) == ("web", False, None, (Prefix.parse("10.5.0.0/25"),))
    assert [tuple(match) for match in rule.matches] == [("tcp", (), ((443, 443),)), ("icmp", ((8, 8),), ((0, 0),))]
    assert rule.path == "spec.a.ingress[0]"


def test_the_gateway_is_the_first_that_is_right() -> None:
    model, problems = built(
        ("Gateway", "broken", "{zzz: 1}"),
        ("Gateway", "n1", "{ports: {eth1: {hook: tc}, eth2: {unclaimed: pass}}, tables: {flows: 4096}}"),
        ("Gateway", "n2", "{tables: {flows: 8192}}"),
    )
    assert [problem.code for problem in problems] == ["field-unknown"]
    assert model.gateway is not None
    assert (model.gateway.name, model.gateway.flows) == ("n1", 4096)
    assert [tuple(port) for port in model.gateway.ports] == [("eth1", "tc", "drop"), ("eth2", "auto", "pass")]
