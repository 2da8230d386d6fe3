"""isthmus trace on the examples: the answer, the exit status, and what a wrong call is told."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from isthmus.cli.trace import trace

EXAMPLES = Path(__file__).parents[2] / "examples"
app = typer.Typer()
app.command()(trace)


def run(file: str, vpc: str, src: str, dst: str, *options: str) -> Result:
    return CliRunner().invoke(app, [str(EXAMPLES / file), "--from", vpc, "--src", src, "--dst", dst, *options])


def answer(file: str, vpc: str, src: str, dst: str, *options: str) -> dict[str, Any]:
    done = run(file, vpc, src, dst, "-o", "json", *options)
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.exit_code == (1 if found["verdict"] == "dropped" else 0)
    return found


STATIC = "1-static-nat.yaml"
OVERLAP = "5-overlapping-subnets.yaml"


@pytest.mark.parametrize(
    ("file", "vpc", "src", "dst", "options", "delivered"),
    [
        (STATIC, "vpc1", "10.1.1.5", "10.2.1.1", ["--dport", "443"], ("192.168.1.5", "10.2.1.1")),
        (STATIC, "vpc2", "10.2.1.1", "192.168.1.9", ["--sport", "443"], ("10.2.1.1", "10.1.1.9")),
        (OVERLAP, "vpc-1", "10.1.1.5", "192.168.2.7", [], ("192.168.1.5", "10.1.1.7")),
        (OVERLAP, "vpc-2", "10.1.1.7", "192.168.1.255", ["--proto", "icmp"], ("192.168.2.7", "10.1.1.255")),
        ("2-external-transit.yaml", "vpc-e1", "8.8.8.8", "9.9.9.9", ["--proto", "udp"], ("8.8.8.8", "9.9.9.9")),
        ("ipv6.yaml", "left", "fd00:1::5", "2001:db8:2::7", ["--proto", "132"], ("2001:db8:1::5", "fd00:1::7")),
        ("vpc-objects.yaml", "lab", "10.1.1.5", "10.1.128.9", [], ("172.20.1.5", "10.1.128.9")),
        ("qinq.yaml", "customer-7", "10.1.1.5", "172.20.8.9", [], ("172.20.7.5", "10.1.1.9")),
        ("vxlan.yaml", "office", "10.9.0.5", "10.1.2.9", [], ("10.9.0.5", "10.1.2.9")),
        ("mpls.yaml", "servers", "10.2.0.5", "10.1.1.9", [], ("10.2.0.5", "10.1.1.9")),
    ],
)
def test_what_the_other_end_sees(
    file: str, vpc: str, src: str, dst: str, options: list[str], delivered: tuple[str, str]
) -> None:
    found = answer(file, vpc, src, dst, *options)
    assert found["verdict"] == "forwarded"
    assert (found["delivered"]["src"], found["delivered"]["dst"]) == delivered
    assert found["reply"]["verdict"] == "forwarded"
    assert (found["reply"]["delivered"]["src"], found["reply"]["delivered"]["dst"]) == (dst, src)


@pytest.mark.parametrize(
    ("file", "vpc", "src", "dst", "options", "reason"),
    [
        (STATIC, "vpc1", "10.1.1.5", "10.2.1.1", ["--dport", "80"], "not-allowed"),
        (STATIC, "vpc1", "10.1.1.5", "10.2.1.1", ["--proto", "udp", "--dport", "443"], "not-allowed"),
        (STATIC, "vpc1", "10.1.2.5", "10.2.1.1", ["--dport", "443"], "source-not-exposed"),
        (STATIC, "vpc1", "10.1.1.5", "10.2.1.2", [], "no-peering"),
        (STATIC, "vpc1", "10.1.1.5", "10.2.1.1", ["--dport", "443", "--ttl", "1"], "ttl"),
        (OVERLAP, "vpc-1", "10.1.1.42", "192.168.2.7", [], "source-not-exposed"),
        (OVERLAP, "vpc-2", "10.1.1.7", "192.168.1.42", [], "nat-hole"),
        (OVERLAP, "vpc-1", "10.1.1.5", "224.0.0.1", [], "martian"),
        (
            "4-two-externals-by-metric.yaml",
            "vpc-1",
            "10.1.1.5",
            "8.8.8.8",
            ["--proto", "icmp", "--type", "0"],
            "no-flow",
        ),
        ("4-two-externals-by-metric.yaml", "vpc-e1", "8.8.8.8", "192.168.1.1", [], "no-inbound"),
        ("vpc-objects.yaml", "prod", "10.1.1.5", "10.1.1.9", [], "same-vpc"),
    ],
)
def test_drops(file: str, vpc: str, src: str, dst: str, options: list[str], reason: str) -> None:
    found = answer(file, vpc, src, dst, *options)
    assert (found["verdict"], found["reason"]) == ("dropped", reason)


def test_the_metric_chooses_between_externals() -> None:
    file = "4-two-externals-by-metric.yaml"
    rows = answer(file, "vpc-1", "10.1.1.5", "8.8.8.8")["candidates"]
    assert [(row["peering"], row["metric"], row["chosen"]) for row in rows] == [
        ("vpc-1--vpc-e1", 0, True),
        ("vpc-1--vpc-e2", 10, False),
    ]
    only = answer(file, "vpc-1", "10.1.1.5", "1.2.3.1")
    assert (only["peering"], only["pool"]) == ("vpc-1--vpc-e2", ["192.168.1.0/30"])


def test_the_text_tells_all() -> None:
    text = run(STATIC, "vpc1", "10.1.1.5", "10.2.1.1", "--dport", "443").stdout
    for line in (
        "FORWARDED  vpc1 -> vpc2 via peering vpc-1--vpc-2",
        "  sent       tcp 10.1.1.5:40000 -> 10.2.1.1:443, ttl 64",
        "  delivered  tcp 192.168.1.5:40000 -> 10.2.1.1:443, ttl 63",
        "reply: FORWARDED  vpc2 -> vpc1 via peering vpc-1--vpc-2",
    ):
        assert line in text.splitlines()
    assert "Peering/vpc-1--vpc-2 spec.vpc1.ingress[0]" in text


def test_a_refusal_names_the_rules_and_ends_with_1() -> None:
    done = run(STATIC, "vpc1", "10.1.1.5", "10.2.1.1", "--dport", "80")
    assert done.exit_code == 1
    assert done.stdout.startswith("DROPPED  not-allowed  vpc1 -> vpc2 via peering vpc-1--vpc-2\n")
    assert "rules looked at: spec.vpc1.ingress[0]: tcp dstPort 443, stateless" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((STATIC, "vpc11", "10.1.1.5", "10.2.1.1"), "did you mean vpc1?"),
        ((STATIC, "zzz", "10.1.1.5", "10.2.1.1"), "there are: vpc1, vpc2"),
        ((STATIC, "vpc1", "10.1.1.555", "10.2.1.1"), "not an IP address: '10.1.1.555'"),
        ((STATIC, "vpc1", "10.1.1.5", "2001:db8::1"), "one packet has one family"),
        ((STATIC, "vpc1", "10.1.1.5", "10.2.1.1", "--proto", "tpc"), "not a protocol: 'tpc'"),
        ((STATIC, "vpc1", "10.1.1.5", "10.2.1.1", "--dport", "65536"), "65535"),
        (("no-such-file.yaml", "vpc1", "10.1.1.5", "10.2.1.1"), "no-such-file.yaml"),
    ],
)
def test_a_wrong_call_ends_with_2(arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stdout == ""


def test_errors_elsewhere_are_named_and_the_answer_is_given(tmp_path: Path) -> None:
    for name in (STATIC, "3-internet-ambiguous.yaml"):
        (tmp_path / name).write_bytes((EXAMPLES / name).read_bytes())
    files, hosts = [str(tmp_path), "--from"], ["--src", "10.1.1.5", "--dst", "10.2.1.1", "--dport", "443"]
    done = CliRunner().invoke(app, [*files, "vpc1", *hosts])
    assert (done.exit_code, "nat-size" in done.stderr) == (0, True)
    needs_the_broken = CliRunner().invoke(app, [*files, "vpc-e1", *hosts])
    assert (needs_the_broken.exit_code, "left out" in needs_the_broken.stderr) == (1, True)
    unheard_of = CliRunner().invoke(app, [*files, "vpc-9", *hosts])
    assert unheard_of.exit_code == 2


BEHIND_NAT = ("4-two-externals-by-metric.yaml", "vpc-1", "10.1.1.5", "8.8.8.8")


@pytest.mark.parametrize("proto", ["tcp", "udp", "icmp", "132"])
def test_a_conversation_from_behind_nat(proto: str) -> None:
    """What the gateway will choose is null, and the answer comes back to the host."""
    found = answer(*BEHIND_NAT, "--proto", proto)
    reply = found["reply"]
    assert (found["flow"], reply["flow"]) == ("opened", "followed")
    assert found["pool"] == reply["pool"]
    assert found["delivered"] == found["packet"] | {"src": None, "sport": None, "ttl": 63}
    assert (reply["packet"]["src"], reply["packet"]["dst"], reply["packet"]["dport"]) == ("8.8.8.8", None, None)
    assert (reply["delivered"]["src"], reply["delivered"]["dst"]) == ("8.8.8.8", "10.1.1.5")
    assert reply["delivered"]["dport"] == found["packet"]["sport"]


def test_the_text_names_the_pool() -> None:
    text = run(*BEHIND_NAT).stdout
    assert "delivered  tcp chosen from the pool -> 8.8.8.8:80, ttl 63" in text
    assert "sent       tcp 8.8.8.8:80 -> chosen from the pool, ttl 64" in text
    assert "pool       192.168.1." in text


@pytest.mark.parametrize("words", [[], [str(EXAMPLES / STATIC), "--live"], ["--live", "--routes", "somewhere"]])
def test_it_answers_by_files_or_by_the_gateway_that_runs(words: list[str]) -> None:
    done = CliRunner().invoke(app, [*words, "--from", "vpc1", "--src", "10.1.1.5", "--dst", "10.2.1.1"])
    assert done.exit_code == 2
    assert "either FILE..., or --live alone" in done.stderr
