"""Rules that cannot do what they seem to."""

import pytest

from isthmus.api.objects import read_objects
from isthmus.api.sources import Source
from isthmus.model.build import build
from isthmus.problems import Problem

HEAD = "apiVersion: gateway.githedgehog.com/v1alpha1\nkind: Peering\nmetadata: {name: web}\nspec:\n"


def problems(a: str, b: str) -> list[Problem]:
    """All problems of a peering, but for those of VPCs that no object defines."""
    text = f"{HEAD}  a: {{{a}}}\n  b: {{{b}}}\n"
    told = build(read_objects([Source("in.yaml", text.encode(), True)])[0])[1]
    return [problem for problem in told if problem.code != "vpc-undefined"]


def found(a: str, b: str = "ips: [{cidr: 10.2.0.0/24}]") -> list[tuple[str, str]]:
    """Codes and paths of a peering of a (10.1.0.0/24 as 192.168.1.0/24, if its text does not say otherwise) and b."""
    ips = "" if "ips" in a else "ips: [{cidr: 10.1.0.0/24}], as: [192.168.1.0/24], "
    return [(problem.code, problem.path) for problem in problems(ips + a, b)]


@pytest.mark.parametrize(
    ("rules", "dead"),
    [
        ("[{allow: {}}]", []),
        ("[{allow: {src: [10.1.0.0/25]}}]", []),
        ("[{allow: {src: [192.168.1.0/24]}}]", ["spec.a.ingress[0].allow.src"]),
        ("[{allow: {dst: [10.3.0.0/24]}}]", ["spec.a.ingress[0].allow.dst"]),
        ("[{allow: {src: []}}]", ["spec.a.ingress[0].allow.src"]),
        ("[{allow: {src: ['fd00::/64']}}]", ["spec.a.ingress[0].allow.src"]),
        ("[{allow: {}}, {allow: {tcp: {}}}]", ["spec.a.ingress[1]"]),
        ("[{allow: {tcp: {}}}, {allow: {}}]", []),
        ("[{allow: {tcp: {dstPort: 1-100}}}, {allow: {tcp: {dstPort: [5, 80-90]}}}]", ["spec.a.ingress[1]"]),
        ("[{allow: {tcp: {dstPort: 1-100}}}, {allow: {tcp: {dstPort: [5, 80-101]}}}]", []),
        ("[{allow: {tcp: {dstPort: 1-100}}}, {allow: {tcp: {dstPort: 5, srcPort: 7}}}]", ["spec.a.ingress[1]"]),
        ("[{allow: {tcp: {dstPort: 1-100}}}, {allow: {tcp: {dstPort: 5}, udp: {dstPort: 5}}}]", []),
        ("[{allow: {tcp: {}, udp: {}}}, {allow: {tcp: {dstPort: 5}, udp: {dstPort: 5}}}]", ["spec.a.ingress[1]"]),
        ("[{allow: {src: [10.0.0.0/8]}}, {allow: {}}]", ["spec.a.ingress[1]"]),
        ("[{allow: {src: [10.1.0.0/25]}}, {allow: {}}]", []),
        ("[{allow: {dst: [10.2.0.0/25]}}, {allow: {dst: [10.2.0.0/26], stateless: true}}]", ["spec.a.ingress[1]"]),
        ("[{allow: {icmp: {type: 8}}}, {allow: {icmp: {type: 8, code: 0}}}]", ["spec.a.ingress[1]"]),
    ],
)
def test_dead_rules(rules: str, dead: list[str]) -> None:
    assert found(f"ingress: {rules}") == [("rule-dead", path) for path in dead]


def test_rules_toward_a_stateful_side_are_never_asked() -> None:
    pool = "ips: [{cidr: 10.2.0.0/24}], as: [203.0.113.1/32], natType: stateful"
    assert found("ingress: [{allow: {}}]", pool) == [("rule-dead", "spec.a.ingress[0]")]
    assert found("ingress: []", pool) == []


@pytest.mark.parametrize(
    ("rule", "back", "reported"),
    [
        ("stateless: true, tcp: {dstPort: 443}", "stateless: true, tcp: {srcPort: 443}", False),
        ("stateless: true, tcp: {dstPort: 443}", "stateless: true, tcp: {srcPort: 80-442}", True),
        ("stateless: true, tcp: {dstPort: 443}", "stateless: true, tcp: {}", False),
        ("stateless: true, tcp: {dstPort: 443}", "stateless: true", False),
        ("stateless: true, tcp: {dstPort: 443}", "stateless: false", True),
        ("stateless: true, tcp: {dstPort: 443}", "tcp: {srcPort: 443}", True),
        ("stateless: true, udp: {dstPort: 53}", "udp: {srcPort: 53}", False),
        ("stateless: true, udp: {dstPort: 53}", "stateless: true, tcp: {srcPort: 53}", True),
        ("stateless: false, tcp: {dstPort: 443}", "stateless: true, udp: {}", False),
        ("stateless: true, icmp: {type: 8}", "stateless: true, icmp: {type: 0}", False),
        ("stateless: true, icmp: {type: 8}", "stateless: true, icmp: {type: 8}", True),
        ("stateless: true, icmp: {type: 8}", "icmp: {type: 0}", True),
        ("stateless: true, icmp: {type: 8}", "stateless: false", True),
        ("stateless: true, tcp: {}, icmp: {}", "stateless: false", True),
        ("stateless: true, tcp: {}, udp: {}", "stateless: false", False),
        ("stateless: true, icmp: {type: 3}", "stateless: true, udp: {}", False),
        ("stateless: true", "udp: {}", False),
        ("stateless: true", "stateless: false", False),
        ("stateless: true", "tcp: {}, icmp: {}", True),
        ("stateless: true", "tcp: {}, udp: {}", False),
        ("stateless: true, src: [10.1.0.0/25]", "stateless: true, dst: [192.168.1.0/25]", False),
        ("stateless: true, src: [10.1.0.0/25]", "stateless: true, dst: [192.168.1.128/25]", True),
        ("stateless: true, dst: [10.2.0.0/25]", "stateless: true, src: [10.2.0.64/26]", False),
        ("stateless: true, dst: [10.2.0.0/25]", "stateless: true, src: [10.2.0.128/25]", True),
    ],
)
def test_stateless_rules_need_a_way_back(rule: str, back: str, reported: bool) -> None:
    b = f"ips: [{{cidr: 10.2.0.0/24}}], ingress: [{{allow: {{{back}}}}}]"
    assert (("stateless-no-reply", "spec.a.ingress[0]") in found(f"ingress: [{{allow: {{{rule}}}}}]", b)) == reported


def test_replies_pass_where_the_other_side_has_no_rules_and_never_where_it_allows_nothing() -> None:
    rule = "ingress: [{allow: {stateless: true}}]"
    assert found(rule) == []
    assert found(rule, "ips: [{cidr: 10.2.0.0/24}], ingress: []") == [("stateless-no-reply", "spec.a.ingress[0]")]


STARTS = "ingress: [{allow: {stateless: true, tcp: {srcPort: 443}}}]"


@pytest.mark.parametrize(
    ("pool", "b", "hint"),
    [
        ("", "", "what b starts is remembered, as it has no rules, so no reply needs this one"),
        ("", "ingress: [{allow: {stateless: true}}]", "a stateless rule has no memory; "),
        (", natType: stateful", "", "nothing can start toward a, which is stateful, so no reply needs this rule"),
        (", natType: stateful", "ingress: []", "nothing can start toward a, which is stateful"),
    ],
)
def test_what_to_write_instead_of_a_rule_for_replies(pool: str, b: str, hint: str) -> None:
    a = f"ips: [{{cidr: 10.1.0.0/24}}], as: [192.168.1.0/24]{pool}, {STARTS}"
    (problem,) = (
        one for one in problems(a, f"ips: [{{cidr: 10.2.0.0/24}}]{b and ', '}{b}") if one.code == "stateless-starts"
    )
    assert problem.hint.startswith(hint)


def test_nothing_starts_toward_a_stateful_side_by_a_stateless_rule_either() -> None:
    pool = "ips: [{cidr: 10.2.0.0/24}], as: [203.0.113.1/32], natType: stateful"
    assert found(STARTS, pool) == [("rule-dead", "spec.a.ingress[0]")]


@pytest.mark.parametrize("rule", ["stateless: true", "stateless: true, tcp: {dstPort: 443}", "stateless: false"])
@pytest.mark.parametrize("b", ["", ", ingress: []", ", ingress: [{allow: {stateless: true}}]"])
def test_translation_remembers_what_a_stateful_side_starts_whatever_its_rules_say(rule: str, b: str) -> None:
    a = f"ips: [{{cidr: 10.1.0.0/24}}], as: [192.168.1.0/30], natType: stateful, ingress: [{{allow: {{{rule}}}}}]"
    dead = [("rule-dead", "spec.b.ingress[0]")] if "allow" in b else []
    assert found(a, f"ips: [{{cidr: 10.2.0.0/24}}]{b}") == dead


def single(count: int) -> str:
    """So many ports, none beside another."""
    return str(list(range(1, 2 * count, 2)))


@pytest.mark.parametrize(
    ("matches", "refused"),
    [
        (f"tcp: {{srcPort: {single(32)}, dstPort: {single(32)}}}", []),
        (f"tcp: {{srcPort: {single(33)}, dstPort: {single(32)}}}", ["tcp"]),
        (f"udp: {{dstPort: {single(1024)}}}, tcp: {{dstPort: {single(1024)}}}", []),
        (f"tcp: {{dstPort: {single(1025)}}}, udp: {{dstPort: {single(1025)}}}", ["tcp", "udp"]),
        (f"tcp: {{srcPort: {list(range(2000))}, dstPort: {list(range(4000, 9000))}}}", []),
        (f"icmp: {{type: {single(33)}, code: {single(32)}}}", ["icmp"]),
    ],
)
def test_the_ranges_of_a_rule_multiply_to_so_many_pairs_at_most(matches: str, refused: list[str]) -> None:
    assert found(f"ingress: [{{allow: {{{matches}}}}}]") == [
        ("field-value", f"spec.a.ingress[0].allow.{proto}") for proto in refused
    ]


@pytest.mark.parametrize(("more", "refused"), [(0, False), (1, True)])
def test_all_rules_of_a_side_are_so_many_pairs_at_most(more: int, refused: bool) -> None:
    large = [f"{{allow: {{src: [10.1.0.{one}/32], tcp: {{dstPort: {single(1024)}}}}}}}" for one in range(15)]
    small = [f"{{allow: {{src: [10.1.0.{one}/32], tcp: {{dstPort: {single(64)}}}}}}}" for one in range(100, 115)]
    rules = [*large, *small, f"{{allow: {{src: [10.1.1.9/32], udp: {{dstPort: {single(63)}}}}}}}"]
    rules += ["{allow: {src: [10.1.1.200/32]}}", "{allow: {src: [10.1.1.201/32], tcp: {}}}"][: 1 + more]
    a = f"ips: [{{cidr: 10.1.0.0/23}}], ingress: [{', '.join(rules)}]"
    assert found(a) == ([("field-value", "spec.a.ingress")] if refused else [])


def test_a_peering_whose_rules_take_too_much_room_is_left_out_alone() -> None:
    greedy = f"ingress: [{{allow: {{tcp: {{srcPort: {single(100)}, dstPort: {single(100)}}}}}}}]"
    modest = "metadata: {name: modest}\nspec: {c: {ips: [{cidr: 10.3.0.0/24}]}, d: {ips: [{cidr: 10.4.0.0/24}]}}\n"
    text = f"{HEAD}  a: {{ips: [{{cidr: 10.1.0.0/24}}], {greedy}}}\n  b: {{ips: [{{cidr: 10.2.0.0/24}}]}}\n---\n"
    text += HEAD.partition("metadata")[0] + modest
    model, problems = build(read_objects([Source("in.yaml", text.encode(), True)])[0])
    assert list(model.peerings) == ["modest"]
    [problem] = [problem for problem in problems if problem.code == "field-value"]
    assert (
        problem.message == "100 ranges of `srcPort` and 100 of `dstPort` are 10,000 pairs, of at most 1,024 in one rule"
    )
    assert "split the rule" in problem.hint


def test_very_many_rules_take_no_quadratic_time() -> None:
    rules = ", ".join(
        f"{{allow: {{src: [10.1.0.{number % 256}/32], tcp: {{dstPort: {number}}}}}}}" for number in range(5_000)
    )
    assert found(f"ingress: [{rules}]") == []
