"""Whatever stands in an object, it ends as a problem at its place, and never as a traceback."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.api.found import shown_value
from isthmus.api.names import API_VERSION
from isthmus.api.objects import MOST_PROBLEMS, read_objects
from isthmus.api.sources import Source
from isthmus.model.build import build
from isthmus.problems import Problem


def problems_of(*objects: Any) -> list[Problem]:
    text = "\n---\n".join(one if isinstance(one, str) else json.dumps(one) for one in objects)
    read, _ = read_objects([Source("in.yaml", text.encode(), True)])
    return [problem for problem in build(read)[1] if problem.code != "vpc-undefined"]


def peering(**side: Any) -> dict[str, Any]:
    """A right peering of vpc a, with these fields changed (None: taken away), and vpc b."""
    here = {"ips": [{"cidr": "10.1.0.0/24"}]} | side
    spec = {
        "a": {key: value for key, value in here.items() if value is not None},
        "b": {"ips": [{"cidr": "10.2.0.0/24"}]},
    }
    return {"apiVersion": API_VERSION, "kind": "Peering", "metadata": {"name": "web"}, "spec": spec}


def pooled(**nat: Any) -> dict[str, Any]:
    """The fields of a stateful side with these settings."""
    return {"as": ["10.9.0.0/28"], "natType": "stateful", "nat": nat}


def vpc(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": "VPC", "metadata": {"name": "a"}, "spec": spec}


def gateway(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": "Gateway", "metadata": {"name": "n"}, "spec": spec}


def test_a_right_object_has_no_problem() -> None:
    assert problems_of(peering()) == []
    assert problems_of(vpc(subnets={"web": {"cidr": "10.1.0.0/24"}}, attachments=[{"interface": "eth1"}])) == []
    assert (
        problems_of(gateway(asn=65000, routerID="10.0.0.1", ports={"eth1": {"hook": "xdp", "unclaimed": "pass"}})) == []
    )


@pytest.mark.parametrize(
    ("side", "code", "path", "hint"),
    [
        ({"natTyp": "static"}, "field-unknown", "spec.a.natTyp", "did you mean `natType`?"),
        ({"zzz": 1}, "field-unknown", "spec.a.zzz", "known here: ips, as, natType, nat, ingress, metric, audit"),
        ({"ips": None}, "field-missing", "spec.a.ips", "write `ips:` here"),
        ({"ips": "10.0.0.0/8"}, "field-type", "spec.a.ips", "write a list: [10.0.0.0/8]"),
        ({"ips": [{"cidr": 10}]}, "field-type", "spec.a.ips[0].cidr", "write it like 10.1.0.0/16"),
        ({"ips": ["10.0.0.0/8"]}, "field-type", "spec.a.ips[0]", "write `key: value` lines below it, or {} for none"),
        ({"ips": [{}]}, "field-missing", "spec.a.ips[0]", "write `- cidr: 10.1.0.0/16`"),
        (
            {"ips": [{"cidr": "10.0.0.0/8", "not": "10.1.0.0/16"}]},
            "field-value",
            "spec.a.ips[0]",
            "begin each of them with its own `- `",
        ),
        ({"as": ["10.0.0.0/255.0.0.0"]}, "cidr-invalid", "spec.a.as[0]", "write the length of the mask: 10.0.0.0/8"),
        (
            {"as": [{"cidr": "10.1.1.7/24"}]},
            "cidr-host-bits",
            "spec.a.as[0].cidr",
            "write 10.1.1.0/24 for the whole network, or 10.1.1.7/32 for the one address",
        ),
        ({"natType": "dynamic"}, "field-value", "spec.a.natType", "write 'static' or 'stateful'"),
        ({"metric": -1}, "field-value", "spec.a.metric", "write at least 0"),
        ({"metric": 2**31}, "field-value", "spec.a.metric", "write at most 2147483647"),
        ({"metric": True}, "field-type", "spec.a.metric", "write a number"),
        ({"metric": "5"}, "field-type", "spec.a.metric", "write it without quotes: 5"),
        ({"metric": 1.5}, "field-type", "spec.a.metric", "write a number"),
        ({"ingress": {}}, "field-type", "spec.a.ingress", "begin each item with `- `"),
        ({"ingress": [{}]}, "field-missing", "spec.a.ingress[0].allow", "write `allow:` here"),
        (
            {"ingress": [{"allow": {"stateless": "yes"}}]},
            "field-type",
            "spec.a.ingress[0].allow.stateless",
            "write true or false",
        ),
        (
            {"ingress": [{"allow": {"src": "10.0.0.0/8"}}]},
            "field-type",
            "spec.a.ingress[0].allow.src",
            "write a list: [10.0.0.0/8]",
        ),
        (
            {"ingress": [{"allow": {"tcp": {"dstPort": "443-80"}}}]},
            "field-value",
            "spec.a.ingress[0].allow.tcp.dstPort",
            'write "80-443"',
        ),
        (
            {"ingress": [{"allow": {"icmp": {"type": 256}}}]},
            "field-value",
            "spec.a.ingress[0].allow.icmp.type",
            "write it like 8",
        ),
        (
            {"as": ["10.9.0.0/24"], "natType": "stateful", "nat": {"timeouts": {"udp": 300}}},
            "field-type",
            "spec.a.nat.timeouts.udp",
            "write it like 300s",
        ),
        (pooled(ports=0), "field-value", "spec.a.nat.ports", 'write it like "20000-29999"'),
        (pooled(ports="0-2000"), "field-value", "spec.a.nat.ports", 'write it like "20000-29999"'),
        (pooled(ports=[80, 65536]), "field-value", "spec.a.nat.ports", 'write it like "20000-29999"'),
        (
            pooled(ports=[]),
            "field-value",
            "spec.a.nat.ports",
            'leave it away for "1024-65535", or write "20000-29999"',
        ),
        (
            pooled(mapping="per-host"),
            "field-value",
            "spec.a.nat.mapping",
            "write 'endpoint-independent' or 'per-destination'",
        ),
        (pooled(timeouts={"udp": "0s"}), "field-value", "spec.a.nat.timeouts.udp", "write 1s to 720h, such as 5m"),
        (pooled(timeouts={"icmp": "0h0m"}), "field-value", "spec.a.nat.timeouts.icmp", "write 1s to 720h, such as 5m"),
        (
            pooled(timeouts={"tcpEstablished": "720h1s"}),
            "field-value",
            "spec.a.nat.timeouts.tcpEstablished",
            "write 1s to 720h, such as 5m",
        ),
        (
            pooled(timeouts={"tcpTransitory": "long"}),
            "field-value",
            "spec.a.nat.timeouts.tcpTransitory",
            "write hours, minutes and seconds: 60s, 5m, 2h4m",
        ),
        (
            pooled(timeouts={"tcpEstablish": "5m"}),
            "field-unknown",
            "spec.a.nat.timeouts.tcpEstablish",
            "did you mean `tcpEstablished`?",
        ),
    ],
)
def test_a_wrong_field_is_told_with_what_to_write(side: dict[str, Any], code: str, path: str, hint: str) -> None:
    found = [(problem.code, problem.path, problem.hint) for problem in problems_of(peering(**side))]
    assert (code, path, hint) in found
    assert len(found) == 1


def test_a_key_without_a_value_is_never_guessed() -> None:
    text = json.dumps(peering()).replace('"cidr": "10.1.0.0/24"}]', '"cidr": "10.1.0.0/24"}], "ingress": null')
    (problem,) = problems_of(text)
    assert (problem.code, problem.path) == ("field-type", "spec.a.ingress")
    assert "`ingress: []`" in problem.hint


@pytest.mark.parametrize(
    ("written", "ranges"),
    [
        (443, ((443, 443),)),
        ("443", ((443, 443),)),
        ("80-90", ((80, 90),)),
        ([22, "80-90", "443"], ((22, 22), (80, 90), (443, 443))),
        (0, ((0, 0),)),
        (65535, ((65535, 65535),)),
        ([443, 22, "443"], ((22, 22), (443, 443))),
        ([82, "1-80", 81, "60-70"], ((1, 82),)),
        (["0-100", "90-65535"], ((0, 65535),)),
    ],
)
def test_ports_are_numbers_ranges_and_lists(written: object, ranges: object) -> None:
    text = json.dumps(peering(ingress=[{"allow": {"tcp": {"dstPort": written}}}]))
    objects, _ = read_objects([Source("in.yaml", text.encode(), True)])
    rules = build(objects)[0].peerings["web"].sides[0].ingress
    assert rules is not None
    assert rules[0].matches[0].dport == ranges
    assert rules[0].matches[0].sport == ()


@pytest.mark.parametrize(
    ("spec", "code", "path"),
    [
        ({"attachments": [{"interface": "a/b"}]}, "field-value", "spec.attachments[0].interface"),
        ({"attachments": [{"interface": "much-too-long-name"}]}, "field-value", "spec.attachments[0].interface"),
        ({"attachments": [{"interface": "e", "vlan": 4095}]}, "field-value", "spec.attachments[0].vlan"),
        ({"attachments": [{"interface": "e", "vlan": 1, "mpls": {"label": 16}}]}, "field-value", "spec.attachments[0]"),
        ({"attachments": [{"interface": "e", "mss": 27}]}, "field-value", "spec.attachments[0].mss"),
        ({"attachments": [{"interface": "e", "mss": 65536}]}, "field-value", "spec.attachments[0].mss"),
        ({"attachments": [{"interface": "e", "mss": "1400"}]}, "field-type", "spec.attachments[0].mss"),
        ({"attachments": [{"interface": "e", "addresses": ["x"]}]}, "cidr-invalid", "spec.attachments[0].addresses[0]"),
        ({"subnets": {"A_b": {"cidr": "10.0.0.0/8"}}}, "name-invalid", "spec.subnets.A_b"),
        ({"routes": [{"to": "10.0.0.0/8", "via": "10.0.0.1/8"}]}, "field-value", "spec.routes[0].via"),
        ({"bgp": {"neighbors": [{"address": "10.0.0.1"}]}}, "field-missing", "spec.bgp.neighbors[0].asn"),
    ],
)
def test_a_wrong_vpc_is_told(spec: dict[str, Any], code: str, path: str) -> None:
    assert (code, path) in [(problem.code, problem.path) for problem in problems_of(vpc(**spec))]


@pytest.mark.parametrize("name", ["", "vpc/a", "a b", "a\t", "a\u00a0b", "a:1", "..", "sixteen-letters!", "é" * 8])
def test_what_linux_would_not_call_a_port_is_told(name: str) -> None:
    found = [
        *problems_of(vpc(attachments=[{"interface": name}], routes=[{"to": "10.0.0.0/8", "attachment": name}])),
        *problems_of(gateway(ports={name: {}}, vtep={"address": "10.0.0.1", "interface": name})),
    ]
    at = {problem.path for problem in found if problem.code == "field-value"}
    assert {"spec.attachments[0].interface", "spec.routes[0].attachment", "spec.vtep.interface"} <= at
    assert any(path.startswith("spec.ports") for path in at)


@pytest.mark.parametrize("name", ["eth1", "a.100", "é" * 7 + "1", "enp-15-letters_"])
def test_what_linux_may_call_a_port_is_right(name: str) -> None:
    assert problems_of(vpc(attachments=[{"interface": name}])) == []


def test_fields_of_later_versions_are_known_and_named() -> None:
    found = [(problem.code, problem.path) for problem in problems_of(peering(audit=True))]
    assert [path for code, path in found if code == "field-unsupported"] == ["spec.a.audit"]


def test_what_externals_need_is_carried() -> None:
    remote = {"to": "10.9.0.0/24", "vtep": "10.0.0.1", "mac": "02:00:00:00:00:01"}
    tagged = [
        {"interface": "e", "vlan": 7},
        {"interface": "e", "qinq": {"outer": 7, "inner": 8, "outerType": "802.1q"}},
        {"interface": "e", "mpls": {"label": 200, "push": [16, 17, 18, 19], "ttl": "pipe"}},
        {"interface": "eth0", "vxlan": {"vni": 5001, "remotes": [remote]}},
    ]
    neighbor = {"address": "10.9.0.1", "asn": 4200000000, "multihop": 2, "maxPrefixes": 1, "gracefulRestart": False}
    bfd = {"bfd": {"interval": "50ms", "multiplier": 3}, "passwordFile": "/etc/key"}
    bgp = {"asn": 1, "neighbors": [neighbor | bfd], "communities": ["1:2", "1:2:3", "no-export"], "advertise": "routes"}
    node = gateway(asn=1, routerID="10.0.0.1", drain=True, vtep={"address": "10.0.0.2", "interface": "eth0"})
    assert problems_of(vpc(attachments=tagged, bgp=bgp), node) == []


@pytest.mark.parametrize(
    ("spec", "code", "path"),
    [
        ({"asn": 0}, "field-value", "asn"),
        ({"communities": ["70000:1"]}, "field-value", "communities[0]"),
        ({"communities": ["1:2:3:4"]}, "field-value", "communities[0]"),
        ({"communities": ["no-exprt"]}, "field-value", "communities[0]"),
        ({"advertise": "all"}, "field-value", "advertise"),
        ({"neighbors": [{"bfd": "yes"}]}, "field-type", "neighbors[0].bfd"),
        ({"neighbors": [{"bfd": {"interval": 50}}]}, "field-type", "neighbors[0].bfd.interval"),
        ({"neighbors": [{"bfd": {"interval": "5ms"}}]}, "field-value", "neighbors[0].bfd.interval"),
        ({"neighbors": [{"bfd": {"intervall": "5s"}}]}, "field-unknown", "neighbors[0].bfd.intervall"),
        ({"neighbors": [{"bfd": {"multiplier": 0}}]}, "field-value", "neighbors[0].bfd.multiplier"),
        ({"neighbors": [{"multihop": 0}]}, "field-value", "neighbors[0].multihop"),
        ({"neighbors": [{"multihop": "2"}]}, "field-type", "neighbors[0].multihop"),
        ({"neighbors": [{"maxPrefixes": 0}]}, "field-value", "neighbors[0].maxPrefixes"),
        ({"neighbors": [{"gracefulRestart": 120}]}, "field-type", "neighbors[0].gracefulRestart"),
        ({"neighbors": [{"gracefulRestart": "2h"}]}, "field-value", "neighbors[0].gracefulRestart"),
        ({"neighbors": [{"passwordFile": "key"}]}, "field-value", "neighbors[0].passwordFile"),
        ({"neighbors": [{"password": "s3cret"}]}, "field-unknown", "neighbors[0].password"),
    ],
)
def test_wrong_bgp_is_told_and_no_secret_is_shown(spec: dict[str, Any], code: str, path: str) -> None:
    for one in spec.get("neighbors", ()):
        one |= {"address": "10.0.0.1", "asn": 1}
    problems = problems_of(vpc(bgp={"asn": 1} | spec))
    assert [(problem.code, problem.path) for problem in problems] == [(code, f"spec.bgp.{path}")]
    assert problems[0].message
    assert problems[0].hint
    assert "s3cret" not in repr(problems)


@pytest.mark.parametrize(
    ("tag", "code", "path"),
    [
        ({"qinq": {"outer": 7, "inner": 8, "outerType": "802.1Q"}}, "field-value", "qinq.outerType"),
        ({"qinq": {"outer": 7}}, "field-missing", "qinq.inner"),
        ({"mpls": {"label": 200, "push": [16, 17, 18, 19, 20]}}, "field-value", "mpls.push"),
        ({"mpls": {"label": 200, "push": [3]}}, "field-value", "mpls.push[0]"),
        ({"mpls": {"label": 15}}, "field-value", "mpls.label"),
        ({"mpls": {"label": 200, "ttl": "short"}}, "field-value", "mpls.ttl"),
        ({"vxlan": {"vni": 2**24}}, "field-value", "vxlan.vni"),
        ({"vxlan": {"vni": 1, "remotes": [{"mac": "01:00:5e:00:00:01"}]}}, "field-value", "vxlan.remotes[0].mac"),
        ({"vxlan": {"vni": 1, "remotes": [{"mac": "00:00:00:00:00:00"}]}}, "field-value", "vxlan.remotes[0].mac"),
    ],
)
def test_a_wrong_tag_is_told(tag: dict[str, Any], code: str, path: str) -> None:
    for remote in tag.get("vxlan", {}).get("remotes", ()):
        remote |= {"to": "10.9.0.0/24", "vtep": "10.0.0.1"}
    found = [(one.code, one.path) for one in problems_of(vpc(attachments=[{"interface": "e", **tag}]))]
    assert found == [(code, f"spec.attachments[0].{path}")]


def test_what_flows_need_is_carried() -> None:
    assert problems_of(vpc(attachments=[{"interface": "e", "mss": 1400}])) == []
    assert problems_of(gateway(tables={"flows": 1024})) == problems_of(gateway(tables={"flows": 2**27})) == []
    timeouts = {"udp": "1s", "tcpEstablished": "720h", "tcpTransitory": "4m", "icmp": "60s"}
    nat = {"ports": [1, "2000-65535"], "mapping": "per-destination", "timeouts": timeouts}
    assert problems_of(peering(**pooled(**nat))) == []


@pytest.mark.parametrize(
    ("tables", "code", "path", "hint"),
    [
        ({"flow": 4096}, "field-unknown", "spec.tables.flow", "did you mean `flows`?"),
        ({"neighbours": 4096}, "field-unknown", "spec.tables.neighbours", "known here: flows"),
        ({"flows": 1023}, "field-value", "spec.tables.flows", "write at least 1024"),
        ({"flows": 2**27 + 1}, "field-value", "spec.tables.flows", "write at most 134217728"),
        ({"flows": "1M"}, "field-type", "spec.tables.flows", "write a number"),
        ({"flows": None}, "field-type", "spec.tables.flows", "write its value, or leave it away"),
    ],
)
def test_a_wrong_capacity_is_told(tables: dict[str, Any], code: str, path: str, hint: str) -> None:
    assert [(one.code, one.path, one.hint) for one in problems_of(gateway(tables=tables))] == [(code, path, hint)]


def test_settings_of_ports_belong_to_a_stateful_side() -> None:
    found = problems_of(peering(**{"as": ["10.9.0.0/24"], "nat": {"ports": "2000-3000"}}))
    assert ("field-value", "spec.a.nat") in [(problem.code, problem.path) for problem in found]


def test_both_sides_of_a_peering_are_judged_though_one_has_another_shape() -> None:
    broken = peering(natTyp="static")
    broken["spec"]["b"]["ips"].append({"not": "10.2.0.0/16"})
    assert [problem.code for problem in problems_of(broken)] == ["field-unknown", "exposure-empty"]


def test_kubernetes_own_fields_mean_nothing() -> None:
    one = peering()
    one["metadata"] |= {"namespace": "n", "labels": {"a.b/c": "d"}, "uid": "u", "creationTimestamp": None}
    assert problems_of(one | {"status": {"any": "thing"}}) == []


def test_objects_of_other_groups_are_passed_over() -> None:
    other = {"apiVersion": "vpc.githedgehog.com/v1beta1", "kind": "VPC", "metadata": {"name": "x"}, "spec": {"zzz": 1}}
    assert [(problem.code, problem.object) for problem in problems_of(other)] == [("kind-foreign", "VPC/x")]


def test_of_very_many_problems_of_one_object_the_first_are_told() -> None:
    fields = {f"field-{number}": 1 for number in range(5_000)}
    assert len(problems_of(peering(**fields))) == MOST_PROBLEMS


def test_secrets_are_not_shown() -> None:
    neighbor = {"address": "10.0.0.1", "asn": 1, "password": "hunter2", "token": ["hunter2"]}
    for problem in problems_of(vpc(bgp={"neighbors": [neighbor]})):
        assert "hunter2" not in "".join(map(str, problem))
    assert shown_value("hunter2", ("spec", "sharedSecret")) == "***"
    assert shown_value("/etc/bgp", ("spec", "passwordFile")) == "/etc/bgp"


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["10.0.0.0/8", "10.1.0.0/24", "0.0.0.0/0", "::/0", "fd00::/64", "10.0.0.1", "static", "stateful", "a", "443"]
    )
)
keys = st.sampled_from(
    [
        "ips",
        "as",
        "not",
        "cidr",
        "natType",
        "nat",
        "ingress",
        "allow",
        "tcp",
        "dstPort",
        "src",
        "dst",
        "metric",
        "a",
        "b",
        "spec",
        "subnets",
        "attachments",
        "routes",
        "to",
        "via",
        "interface",
        "addresses",
        "bgp",
        "asn",
        "mss",
        "mapping",
        "timeouts",
        "udp",
        "tables",
        "flows",
        "fromVPCSubnet",
        "stateless",
        "icmp",
        "type",
        "audit",
        "ports",
        "hook",
        "name",
        "vlan",
    ]
) | st.text(max_size=4)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5), max_leaves=25
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["Peering", "VPC", "Gateway"]), trees, trees)
def test_any_spec_ends_as_problems_or_as_a_model(kind: str, spec: Any, metadata: Any) -> None:
    head = {"apiVersion": API_VERSION, "kind": kind}
    for problem in problems_of(as_yaml(head | {"metadata": metadata, "spec": spec})):
        assert problem.line > 0


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["cidr", "not"]),
            st.sampled_from(["10.0.0.0/8", "10.1.0.0/24", "10.1.0.0/25", "fd00::/64", "0.0.0.0/0"]),
        ),
        max_size=5,
    ),
    trees,
)
def test_nearly_right_sides_end_as_problems_or_as_a_model(items: list[tuple[str, str]], extra: Any) -> None:
    side = {"ips": [dict([item]) for item in items]}
    if isinstance(extra, dict):
        side |= extra
    problems_of(as_yaml(peering(**side)))


def as_yaml(value: Any) -> str:
    """JSON, but with YAML's words for what JSON has none for."""
    text = json.dumps(value)
    return text.replace("-Infinity", "-.inf").replace("Infinity", ".inf").replace("NaN", ".nan")
