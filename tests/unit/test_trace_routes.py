"""isthmus trace --routes: with what an external has told, instead of all that it could have."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from isthmus.cli.trace import trace

EXAMPLES = Path(__file__).parents[2] / "examples"
OBJECTS, ROUTES = EXAMPLES / "external-bgp.yaml", EXAMPLES / "external-bgp.routes"
app = typer.Typer()
app.command()(trace)

BIRD = """Table isthmus4:
198.51.100.0/24      unicast [isp_a 14:00:01.123] * (100) [AS64510i]
\tBGP.as_path: 64500 64510
\tBGP.next_hop: 192.0.2.2
\tBGP.med: 7
8.0.0.0/8            unicast [isp_a 14:00:01.123] * (100) [AS64510i]
\tBGP.next_hop: 172.16.0.1
"""


def run(dst: str, *options: str) -> Result:
    words = [str(OBJECTS), "--from", "red", "--src", "10.1.0.5", "--dst", dst, "-o", "json", *options]
    return CliRunner().invoke(app, words)


def answer(dst: str, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(dst, *options).stdout)
    return found


def hops(found: dict[str, Any]) -> list[str]:
    return [step["result"] for step in found["steps"] if step["stage"] == "next hop"]


def test_without_routes_an_external_is_taken_to_route_all_that_it_exposes() -> None:
    assert (answer("8.8.8.8")["verdict"], answer("8.8.8.8")["assumed"]) == ("forwarded", True)


def test_what_was_told_decides() -> None:
    found = answer("198.51.100.10", "--routes", str(ROUTES))
    assert (found["verdict"], found["assumed"]) == ("forwarded", False)
    (candidate,) = found["candidates"]
    assert (candidate["prefix"], candidate["metric"]) == ("198.51.100.0/24", 20 + 10)
    assert hops(found) == ["router 192.0.2.2, on eth1, VLAN 100"]
    assert hops(answer("198.51.100.200", "--routes", str(ROUTES))) == ["router 192.0.2.3, on eth1, VLAN 100"]
    assert answer("8.8.8.8", "--routes", str(ROUTES))["reason"] == "no-route"


def test_a_dump_says_less_and_is_told_whose_it_is(tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    dump.write_text(BIRD)
    found = run("198.51.100.10", "--routes", f"isp={dump}")
    assert json.loads(found.stdout)["candidates"][0]["metric"] == 17
    assert "1 path of isp left out" in found.stderr
    assert answer("8.8.8.8", "--routes", f"isp={dump}")["reason"] == "no-route"
    both = answer("198.51.100.200", "--routes", f"isp={dump}", "--routes", str(ROUTES))
    assert both["candidates"][0]["prefix"] == "198.51.100.128/25"


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("ips={}", "no VPC is named ips"),
        ("{}", "does not say whose routes they are: write VPC=FILE"),
        ("isp={}.gone", "No such file"),
        ("isp=" + str(OBJECTS), "neither MRT nor"),
        (str(OBJECTS), "not YAML"),
    ],
)
def test_a_wrong_call_is_told_what_to_write(tmp_path: Path, word: str, told: str) -> None:
    dump = tmp_path / "dump"
    dump.write_text(BIRD)
    done = run("8.8.8.8", "--routes", word.format(dump))
    assert (done.exit_code, told in done.stderr) == (2, True), done.stderr
