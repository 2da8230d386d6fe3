"""The examples mean what they say."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from isthmus.api.documents import read_documents
from isthmus.api.schema import json_schema
from isthmus.cli.objects import load
from isthmus.problems import Severity
from isthmus.tables.entries import Nat, Timeouts

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.name for path in EXAMPLES.glob("*.yaml"))
MISTAKES = {"3-internet-ambiguous.yaml": ["nat-size"]}
HINTS = {
    "1-static-nat.yaml": {"stateless-starts"},
    "stateless-rules.yaml": {"stateless-starts"},
    "ecmp.yaml": {"route-ambiguous", "return-ambiguous"},
    "metric.yaml": {"route-ambiguous", "return-ambiguous"},
    "4-two-externals-by-metric.yaml": {"route-ambiguous"},
}


@pytest.mark.parametrize("name", NAMES)
def test_an_example_has_the_problems_that_it_is_about_and_no_others(name: str) -> None:
    problems = load([str(EXAMPLES / name)]).problems
    assert [problem.code for problem in problems if problem.severity is Severity.ERROR] == MISTAKES.get(name, [])
    others = {problem.code for problem in problems if problem.severity is not Severity.ERROR}
    assert others - {"vpc-undefined"} == HINTS.get(name, set())


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_valid_by_the_schema(name: str) -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    for document in yaml.safe_load_all((EXAMPLES / name).read_text()):
        validator.validate(document)


BASE = {"apiVersion": "gateway.githedgehog.com/v1alpha1", "kind": "Peering", "metadata": {"name": "web"}}
SIDE: dict[str, Any] = {"ips": [{"cidr": "10.1.0.0/24"}]}


@pytest.mark.parametrize(
    "spec",
    [
        {"a": SIDE},
        {"a": SIDE, "B_": SIDE},
        {"a": SIDE, "b": {}},
        {"a": SIDE, "b": SIDE | {"natTyp": "static"}},
        {"a": SIDE, "b": SIDE | {"ingress": None}},
        {"a": SIDE, "b": {"ips": [{"cidr": "10.1.0.0/24", "not": "10.1.0.1"}]}},
        {"a": SIDE, "b": SIDE | {"metric": "5"}},
        {"a": SIDE, "b": SIDE | {"as": ["192.0.2.0/30"], "natType": "stateful", "nat": {"ports": 0}}},
        {"a": SIDE, "b": SIDE | {"as": ["192.0.2.0/30"], "natType": "stateful", "nat": {"timeouts": {"udp": 300}}}},
        {"a": SIDE, "b": SIDE | {"ingress": [{"allow": {"tcp": {"dstPort": 70000}}}]}},
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(spec: object) -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    assert validator.is_valid(BASE | {"spec": {"a": SIDE, "b": SIDE}})
    assert not validator.is_valid(BASE | {"spec": spec})


def test_a_default_of_the_schema_may_be_written() -> None:
    schema = json_schema()
    for name, definition in schema["$defs"].items():
        for field, part in definition.get("properties", {}).items():
            if "default" in part:
                validator = jsonschema.Draft202012Validator(part | {"$defs": schema["$defs"]})
                assert validator.is_valid(part["default"]), f"{name}.{field}"


def test_the_schema_describes_every_field() -> None:
    for name, definition in json_schema()["$defs"].items():
        assert definition["description"]
        if name not in ("Metadata", "Peering", "Vpc", "Gateway"):
            for field, part in definition["properties"].items():
                assert part.get("description"), f"{name}.{field}"


def sides(name: str, peering: str) -> dict[str, Any]:
    return {side.vpc: side for side in load([str(EXAMPLES / name)]).model.peerings[peering].sides}


def test_static_nat() -> None:
    both = sides("1-static-nat.yaml", "vpc-1--vpc-2")
    assert [str(item.prefix) for item in both["vpc1"].as_] == ["192.168.1.0/24"]
    assert both["vpc1"].nat is Nat.STATIC
    assert both["vpc1"].ingress[0].stateless
    assert both["vpc1"].ingress[0].matches == (("tcp", (), ((443, 443),)),)
    assert both["vpc2"].nat is Nat.PLAIN
    assert both["vpc2"].ingress[0].matches == (("tcp", ((443, 443),), ()),)


def test_stateful_rules() -> None:
    both = sides("stateful-rules.yaml", "app--db")
    assert (both["app"].ingress, both["db"].ingress) == (None, ())
    both = sides("stateful-rules.yaml", "users--app")
    assert [rule.stateless for rule in both["users"].ingress] == [False, False]
    assert both["app"].ingress == ()


def test_stateful_nat() -> None:
    red, blue = (sides("stateful-nat.yaml", f"{vpc}--isp")[vpc] for vpc in ("red", "blue"))
    for side in (red, blue):
        assert side.nat is Nat.STATEFUL
        assert (side.ports, side.per_destination) == (((20000, 59999),), True)
        assert side.timeouts == Timeouts(120, 14_400, 240, 60)
    assert [str(item.prefix) for item in (*red.ips, *red.as_)] == [str(item.prefix) for item in (*blue.ips, *blue.as_)]
    assert load([str(EXAMPLES / "stateful-nat.yaml")]).model.vpcs["isp"].attachments[0].mss == 1360


def test_two_externals() -> None:
    loaded = load([str(EXAMPLES / "4-two-externals-by-metric.yaml")])
    (overlap,) = (problem for problem in loaded.problems if problem.code == "route-ambiguous")
    assert overlap.severity is Severity.INFO
    assert overlap.value == "0.0.0.0/0 except 1.2.3.0/30, 3.2.1.0/30, 10.0.0.0/8, 192.168.0.0/16"
    assert overlap.hint == "vpc-e1 is taken: its metric is lower (0, not 10)"
    assert sides("4-two-externals-by-metric.yaml", "vpc-1--vpc-e2")["vpc-1"].nat is Nat.STATEFUL


def test_the_fixed_example_is_what_fix_writes() -> None:
    fixed = read_documents((EXAMPLES / "3-internet-fixed.yaml").read_text())[0][0].data
    both = sides("3-internet-fixed.yaml", "vpc-1--vpc-e1")
    assert both["vpc-1"].nat is Nat.STATEFUL
    assert fixed["spec"]["vpc-1"]["as"] == ["192.168.1.0/30"]
    assert "as" not in fixed["spec"]["vpc-e1"]
