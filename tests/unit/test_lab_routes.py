"""`isthmus routes`, `neighbors` and `drain`, over a real socket, to a router that is only said to be one."""

from __future__ import annotations

import json
import select
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner, Result

from isthmus.cli import running
from isthmus.cli.main import app
from isthmus.lab.routes.answers import RouteAnswers
from isthmus.lab.routes.router import Ambiguity, LearnedPath, NeighborRow, RoutingAnswers, Use
from isthmus.lab.service.questions import Kind, Questions
from isthmus.lab.service.service import Service
from isthmus.tables.address import Family, Prefix, parse_address
from isthmus.tables.learned import Down, prefix_key


def path(peer: str, use: Use = Use.USED, as_path: str = "65001", med: int | None = None) -> LearnedPath:
    return LearnedPath(peer, parse_address(peer), as_path, "IGP", med, 100, ("65001:7",), use)


def table(**paths: LearnedPath) -> dict[int, Sequence[LearnedPath]]:
    return {prefix_key(Prefix.parse(prefix)): [one] for prefix, one in paths.items()}


class Moments(dict[int, Sequence[LearnedPath]]):
    """A table that can be changed while somebody iterates over what it was."""

    def __iter__(self) -> Iterator[int]:
        return iter(list(super().__iter__()))


ONE, OTHER, SIX = "192.0.2.1", "192.0.2.2", "2001:db8::1"


class Router:
    """Two VPCs; isp has two neighbours."""

    def __init__(self) -> None:
        self.draining = False
        self.down: frozenset[Down] = frozenset()
        self.isp: dict[Family, dict[int, Sequence[LearnedPath]]] = {
            4: {
                **table(**{"8.8.8.0/24": path(ONE), "8.8.0.0/16": path(ONE), "0.0.0.0/0": path(OTHER)}),
                prefix_key(Prefix.parse("8.8.4.0/24")): [path(OTHER, med=5), path(ONE, Use.WORSE, "65001 65010")],
            },
            6: table(**{"2001:db8:5::/48": path(SIX)}),
        }
        self.up = True

    def vpcs(self) -> list[str]:
        return ["isp", "leaf"]

    def paths(self, vpc: str) -> Mapping[Family, Mapping[int, Sequence[LearnedPath]]]:
        return self.isp if vpc == "isp" else {}

    def neighbors(self) -> Iterable[NeighborRow]:
        yield NeighborRow("isp", ONE, 65001, "established", 1e9, "", 1_050_000, 12, 0, True)
        state = "established" if self.up else "active"
        yield NeighborRow("isp", OTHER, 65002, state, 1e9, "Received: Cease", 3, 12, 1, None)
        yield NeighborRow("leaf", SIX, 65003, "established", 1e9, "", 1, 0, 0, None)

    def ambiguous(self, vpc: str | None) -> Iterable[Ambiguity | None]:
        yield None
        if vpc in (None, "leaf"):
            yield Ambiguity("leaf", ("e1", "e2"), 950_000, 12)

    def drain(self, on: bool) -> None:
        self.draining = on


_: RoutingAnswers = Router()


class Lab(NamedTuple):
    """As much of a lab's state as a command needs."""

    name: str
    socket: Path


@contextmanager
def serving(where: Path, kinds: Mapping[str, Kind]) -> Iterator[None]:
    stop = threading.Event()

    def loop() -> None:
        with select.epoll() as epoll:
            epoll.register(service.fileno(), select.EPOLLIN)
            while not stop.is_set():
                wait = service.timeout()
                epoll.poll(0.01 if wait is None else min(wait, 0.01))
                service.serve()

    with closing(Service(where, Questions(kinds).answer)) as service:
        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@pytest.fixture
def router(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Router]:
    router = Router()
    monkeypatch.setattr(running, "gateway", lambda _: Lab("here", tmp_path / "ask"))
    with serving(tmp_path / "ask", RouteAnswers(router).kinds):
        yield router


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def shown(*arguments: str) -> list[tuple[str, str]]:
    result = run("routes", *arguments, "-o", "json")
    assert result.exit_code == 0, result.output
    return [(row["prefix"], row["from"]) for row in json.loads(result.stdout)["routes"]]


@pytest.mark.usefixtures("router")
def test_an_address_is_its_longest_prefix_and_a_cidr_is_itself() -> None:
    assert shown("isp", "8.8.8.8") == [("8.8.8.0/24", ONE)]
    assert shown("isp", "8.9.8.8") == [("0.0.0.0/0", OTHER)]
    assert shown("8.8.0.0/16") == [("8.8.0.0/16", ONE)]
    assert shown("isp", "8.8.4.4", "2001:db8:5::9") == [
        ("8.8.4.0/24", OTHER),
        ("8.8.4.0/24", ONE),
        ("2001:db8:5::/48", SIX),
    ]
    assert sorted(shown("isp", "8.0.0.0/8", "--longer", "--from", ONE)) == [
        ("8.8.0.0/16", ONE),
        ("8.8.4.0/24", ONE),
        ("8.8.8.0/24", ONE),
    ]
    assert len(shown()) == 6
    assert shown("leaf") == []


@pytest.mark.usefixtures("router")
def test_what_is_asked_for_and_is_not_there() -> None:
    assert run("routes", "isp", "9.0.0.0/8").exit_code == 1
    for arguments, told in {
        ("ips",): "no VPC is named ips",
        ("isp", "--from", "192.0.2.9"): "no neighbour is 192.0.2.9",
        ("isp", "--from", "nobody"): "not an IP address",
        ("isp", "8.8.8.8/24"): "host bits set",
        ("isp", "--longer"): "--longer than what?",
    }.items():
        result = run("routes", *arguments)
        assert (result.exit_code, told in result.stderr) == (2, True), result.stderr


@pytest.mark.usefixtures("router")
def test_routes_as_text_and_as_json() -> None:
    text = run("routes", "isp", "8.8.4.0/24", "--limit", "1")
    assert [line.split() for line in text.stdout.splitlines()[:3]] == [
        ["vpc", "prefix", "from", "next", "hop", "pref", "AS", "path", "origin", "MED"],
        ["isp", "8.8.4.0/24", OTHER, OTHER, "100", "65001", "IGP", "5", "used"],
        ["2", "paths"],
    ]
    assert "1 of them are shown" in text.stderr
    answer: dict[str, Any] = json.loads(run("routes", "isp", "8.8.4.0/24", "-o", "json").stdout)
    assert answer["routes"][1] == {
        "vpc": "isp",
        "prefix": "8.8.4.0/24",
        "from": ONE,
        "nextHop": ONE,
        "asPath": "65001 65010",
        "origin": "IGP",
        "med": None,
        "localPref": 100,
        "communities": ["65001:7"],
        "use": "worse",
    }
    assert (answer["total"], answer["shown"], answer["ambiguous"]) == (2, 2, [])
    everywhere = run("routes").stdout
    assert "e1 and e2 offer leaf the same 950,000 learned prefixes; 12 of them tie and are shared" in everywhere


def test_a_long_answer_is_given_while_routes_change(router: Router, tmp_path: Path) -> None:
    router.isp[4] = Moments({1 << 24 | n: [path(ONE)] for n in range(3000)})
    pieces = Questions(RouteAnswers(router).kinds).answer(
        {"ask": "routes", "vpc": "isp", "prefixes": [], "longer": False, "from": None, "limit": 10_000}
    )
    given = [next(pieces) for _ in range(100)]
    for n in range(2000):
        router.isp[4].pop(1 << 24 | n)
    answer = json.loads(b"".join([*given, *pieces]))
    assert answer["total"] == len(answer["routes"]) < 3000
    assert given.count(b"")


@pytest.mark.parametrize(
    "request_",
    [
        {"ask": "routes"},
        {"ask": "routes", "vpc": 5, "prefixes": [], "longer": False, "from": None, "limit": 1},
        {"ask": "routes", "vpc": None, "prefixes": ["1.1.1.1"] * 65, "longer": False, "from": None, "limit": 1},
        {"ask": "routes", "vpc": None, "prefixes": [], "longer": False, "from": None, "limit": -1},
        {"ask": "drain", "on": "yes"},
    ],
)
def test_what_is_no_request_is_answered_too(request_: dict[str, object]) -> None:
    (said,) = Questions(RouteAnswers(Router()).kinds).answer(request_)
    assert json.loads(said)["error"] == "not a request"


def test_neighbours_are_shown_and_one_without_a_session_is_a_no(router: Router) -> None:
    up = run("neighbors")
    assert up.exit_code == 0
    assert "1,050,000" in up.stdout
    assert "route-ambiguous" in up.stdout
    router.up = False
    down = run("neighbors")
    assert (down.exit_code, "Received: Cease" in down.stdout) == (1, True)
    answer = json.loads(run("neighbors", "-o", "json").stdout)
    assert answer["neighbors"][0] == NeighborRow(*next(iter(router.neighbors())))._asdict()
    assert answer["draining"] is False


def test_drain_and_undo(router: Router) -> None:
    assert run("drain").exit_code == 0
    assert router.draining
    assert "draining" in run("neighbors").stdout
    assert json.loads(run("drain", "--undo", "-o", "json").stdout) == {"draining": False}
    assert not router.draining
