"""isthmus map on the examples: what it prints, how it ends, and how it tells files from addresses."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from isthmus.cli.mapping import mapping, split

EXAMPLES = Path(__file__).parents[2] / "examples"
OVERLAP = str(EXAMPLES / "5-overlapping-subnets.yaml")
app = typer.Typer()
app.command()(mapping)


def run(*arguments: str, peering: str = "vpc-1--vpc-2", vpc: str = "vpc-1") -> Result:
    files, addresses = split(arguments)
    return CliRunner().invoke(app, [*files, "--peering", peering, "--vpc", vpc, *addresses])


def test_in_the_order_asked_as_json() -> None:
    done = CliRunner().invoke(
        app,
        [OVERLAP, "--peering", "vpc-1--vpc-2", "--vpc", "vpc-1", "192.168.1.9", "10.1.1.5", "10.1.1.42", "-o", "json"],
    )
    assert done.exit_code == 0
    assert json.loads(done.stdout) == [
        {"private": "10.1.1.9", "public": "192.168.1.9", "hole": False},
        {"private": "10.1.1.5", "public": "192.168.1.5", "hole": False},
        {"private": "10.1.1.42", "public": None, "hole": True},
    ]


def test_as_text() -> None:
    done = run(OVERLAP, "10.1.1.5", "192.168.1.200", "192.168.1.42")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "10.1.1.5   -> 192.168.1.5",
        "10.1.1.200 -> 192.168.1.200",
        "192.168.1.42: a hole, taken out by a `not`",
    ]


def test_an_address_in_neither_space_ends_with_1() -> None:
    done = run(OVERLAP, "10.1.1.5", "10.9.9.9")
    assert done.exit_code == 1
    assert "10.9.9.9: in neither space of this side" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "peering", "vpc", "message"),
    [
        ([OVERLAP, "10.1.1.5"], "vpc-1--vpc-3", "vpc-1", "did you mean vpc-1--vpc-2?"),
        ([OVERLAP, "10.1.1.5"], "vpc-1--vpc-2", "vpc-3", "did you mean vpc-"),
        ([OVERLAP, "10.1.1.555"], "vpc-1--vpc-2", "vpc-1", "not an IP address: '10.1.1.555'"),
        ([OVERLAP, "10.1.1.5/32"], "vpc-1--vpc-2", "vpc-1", "not an IP address: '10.1.1.5/32'"),
        ([OVERLAP], "vpc-1--vpc-2", "vpc-1", "FILE, then IP"),
        (["10.1.1.5"], "vpc-1--vpc-2", "vpc-1", "FILE, then IP"),
        (["no-such-file.yaml", "10.1.1.5"], "vpc-1--vpc-2", "vpc-1", "no-such-file.yaml"),
        (
            [str(EXAMPLES / "4-two-externals-by-metric.yaml"), "10.1.1.5"],
            "vpc-1--vpc-e1",
            "vpc-1",
            "only static sides can be mapped",
        ),
    ],
)
def test_a_wrong_call_ends_with_2(arguments: list[str], peering: str, vpc: str, message: str) -> None:
    done = run(*arguments, peering=peering, vpc=vpc)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stdout == ""


def test_a_peering_with_errors_ends_with_1() -> None:
    done = run(str(EXAMPLES / "3-internet-ambiguous.yaml"), "10.1.1.5", peering="vpc-1--vpc-e1")
    assert done.exit_code == 1
    assert "nat-size" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "files", "addresses"),
    [
        (["a.yaml", "b", "10.0.0.1", "::1"], ["a.yaml", "b"], ["10.0.0.1", "::1"]),
        (["-", "fe80::1"], ["-"], ["fe80::1"]),
        ([".", "10.0.0.1", "a.yaml"], ["."], ["10.0.0.1", "a.yaml"]),
        (["a.yaml"], ["a.yaml"], []),
    ],
)
def test_files_come_first(arguments: list[str], files: list[str], addresses: list[str]) -> None:
    assert split(arguments) == (files, addresses)
