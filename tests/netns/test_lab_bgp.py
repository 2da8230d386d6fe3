"""A lab whose externals speak BGP: example 4 by real daemons, the questions about routes, and what happens to traffic
when a way is lost by its cable, by silence, or by a withdrawal; and what neighbours hear of another configuration."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from isthmus.lab import control
from isthmus.lab.demo.outside import EXTERNALS
from isthmus.lab.externals import cables, daemons
from isthmus.lab.process import working_below
from isthmus.lab.state import State
from isthmus.routing.precedence import NICE, USUAL
from tests.netns.labs import EXAMPLES, isthmus

NAME = "isthmus-test-routes"
EXAMPLE = EXAMPLES / "4-two-externals-by-metric.yaml"
BOTH = "8.8.8.8"
WITHIN_S = 15.0


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder: Path = tmp_path_factory.mktemp("routes")
    options: list[str | Path] = []
    for vpc in ("vpc-e1", "vpc-e2"):
        file = folder / vpc
        file.write_text("8.8.8.0/24 med 5 path 65010\n100.64.0.0/16 med 7\n")
        options += ["--routes", f"{vpc}={file}", "--host", f"{vpc}={BOTH}"]
    done = isthmus("lab", "up", EXTERNALS, EXAMPLE, "--name", NAME, *options)
    assert done.returncode == 0, done.stderr  # then nothing is left, and a lab that was there is somebody's
    try:
        yield
    finally:
        if State(NAME).exists():
            control.down(NAME, lambda _: None)


def way() -> str:
    """Through which external a new conversation to both goes; "" if none answers, or its way is already gone again."""
    clear = isthmus("flows", "clear", "--all", "--name", NAME)
    assert clear.returncode == 0, clear.stderr
    ping = ["ping", "-n", "-c", "1", "-W", "1", BOTH]
    done = isthmus("lab", "exec", "--name", NAME, "vpc-1", "--", *ping)
    if done.returncode:
        return ""
    flows = json.loads(isthmus("flows", "--name", NAME, "-o", "json").stdout)["flows"]
    return str(flows[0]["to"]) if flows else ""


def traced(*options: str) -> dict[str, Any]:
    """What the gateway that runs would do with a packet to both."""
    packet = ["--from", "vpc-1", "--src", "10.1.1.1", "--dst", BOTH, *options]
    found: dict[str, Any] = json.loads(isthmus("trace", "--live", "--name", NAME, *packet, "-o", "json").stdout)
    return found


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not met():
        assert time.monotonic() < deadline, isthmus("neighbors", "--name", NAME).stdout
        time.sleep(0.1)


def told(external: str, words: str) -> str:
    return daemons.ask(State(NAME).external(external), "bird", words)


def test_what_was_learned_and_from_whom(up: None) -> None:
    answer = json.loads(isthmus("neighbors", "--name", NAME, "-o", "json").stdout)
    assert {(row["vpc"], row["state"], row["routes"]) for row in answer["neighbors"]} == {
        ("vpc-e1", "established", 3),
        ("vpc-e2", "established", 3),
    }
    rows = json.loads(isthmus("routes", "vpc-e2", BOTH, "--name", NAME, "-o", "json").stdout)
    text = json.dumps(rows)
    assert "8.8.8.0/24" in text
    assert "65002 65010" in text


def test_each_external_is_told_the_pool_and_nothing_else(up: None) -> None:
    for external in ("vpc-e1", "vpc-e2"):
        shown = told(external, "show route all where source = RTS_BGP")
        assert "192.168.1.0/30" in shown
        assert "AS64512" in shown
        assert "8.8.8.0/24" not in shown


def test_the_gateway_goes_before_its_daemons(up: None) -> None:
    state = State(NAME)
    keeper, birds = state.keeper(), working_below([state.bgp])
    assert keeper is not None
    assert len(birds) == 2
    assert os.getpriority(os.PRIO_PROCESS, keeper.pid) == NICE
    assert {os.getpriority(os.PRIO_PROCESS, one.pid) for one in birds} == {USUAL}


def test_a_lost_way_is_left_for_the_next_metric_and_taken_again(up: None) -> None:
    assert way() == "vpc-e1"
    plan = State(NAME).objects().plan
    cables.pull(plan, "eth2")
    try:
        until(lambda: way() == "vpc-e2")
    finally:
        cables.plug(plan, "eth2")
    until(lambda: way() == "vpc-e1")


def test_trace_knows_the_conversations_of_the_gateway(up: None) -> None:
    until(lambda: traced()["to"] == "vpc-e1")
    new = traced("--proto", "udp", "--sport", "4000", "--dport", "53")
    assert (new["flow"], new["assumed"], new["delivered"]["src"]) == ("opened", False, None)
    done = isthmus("lab", "exec", "--name", NAME, "vpc-1", "--", "bash", "-c", f"echo >/dev/udp/{BOTH}/53")
    assert done.returncode == 0, done.stderr
    (flow,) = json.loads(isthmus("flows", "proto=udp", "--name", NAME, "-o", "json").stdout)["flows"]
    same = traced("--proto", "udp", "--sport", str(flow["sent"]["sport"]), "--dport", "53")
    assert (same["flow"], same["to"]) == ("followed", "vpc-e1")
    assert {key: same["delivered"][key] for key in ("src", "dst", "sport", "dport")} == flow["seen"]


def test_a_neighbour_that_falls_silent_is_left_and_taken_again(up: None) -> None:
    """Its link is up, and the session would last for a minute and a half: BFD alone can tell."""
    until(lambda: way() == "vpc-e1")
    (daemon,) = working_below([State(NAME).external("vpc-e1")])
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        until(lambda: way() == "vpc-e2")
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    until(lambda: way() == "vpc-e1")


def test_a_withdrawn_route_is_left(up: None) -> None:
    until(lambda: way() == "vpc-e1")
    folder = State(NAME).external("vpc-e1")
    command = ["birdc", "-s", str(folder / "bird.ctl"), "disable", "lab_routes4"]
    subprocess.run(command, check=True, capture_output=True)
    try:
        until(lambda: way() == "vpc-e2")
        assert traced()["to"] == "vpc-e2"
        probed = isthmus("lab", "probe", "--name", NAME)
        assert probed.returncode == 0, probed.stdout
    finally:
        command[-2] = "enable"
        subprocess.run(command, check=True, capture_output=True)
    until(lambda: way() == "vpc-e1")


def test_who_drains_says_so_and_then_withdraws(up: None) -> None:
    assert isthmus("drain", "--name", NAME).returncode == 0
    until(lambda: "(65535,0)" in told("vpc-e1", "show route all where source = RTS_BGP").replace(" ", ""))
    until(lambda: "192.168.1.0/30" not in told("vpc-e1", "show route where source = RTS_BGP"))
    assert isthmus("drain", "--undo", "--name", NAME).returncode == 0
    until(lambda: "192.168.1.0/30" in told("vpc-e1", "show route where source = RTS_BGP"))


class Heard(NamedTuple):
    """What an external has heard from the gateway since its session came up: single prefixes, and when that was."""

    updates: int
    withdrawals: int
    since: str


def heard(external: str) -> Heard:
    text = told(external, "show protocols all lab_neighbor0")
    updates, withdrawals = (int(re.findall(rf"Import {what}: +(\d+)", text)[0]) for what in ("updates", "withdraws"))
    (since,) = re.findall(r"^lab_neighbor0 .* up +(\S+) +Established", text, re.MULTILINE)
    return Heard(updates, withdrawals, since)


def pool_of(external: str) -> str:
    return told(external, "show route all where source = RTS_BGP").replace(" ", "")


class Files:
    """Example 4, to be changed by its words."""

    def __init__(self, folder: Path) -> None:
        self.changes: tuple[tuple[str, str], ...] = ()
        self._files = {Path(file): folder / Path(file).name for file in (EXTERNALS, EXAMPLE)}

    def apply(self, *changes: tuple[str, str]) -> subprocess.CompletedProcess[str]:
        """Have the lab go over to it, with these words replaced; without any, to the example as it is."""
        self.changes = changes
        for file, copy in self._files.items():
            text = file.read_text()
            for old, new in changes:
                text = text.replace(old, new)
            copy.write_text(text)
        return isthmus("lab", "apply", *self._files.values(), "--name", NAME)


@pytest.fixture
def files(up: None, tmp_path: Path) -> Iterator[Files]:
    until(lambda: all("192.168.1.0/30" in pool_of(external) for external in ("vpc-e1", "vpc-e2")))
    files = Files(tmp_path)
    yield files
    if files.changes:
        assert files.apply().returncode == 0


TO_E1 = (
    "  vpc-1:\n    ips:\n      - cidr: 10.1.1.0/24\n    as:\n      - 192.168.1.0/30\n    natType: stateful\n  vpc-e1:"
)
TO_E2 = TO_E1.replace("vpc-e1", "vpc-e2")
BGP_OF_E2 = "bgp: {neighbors: [{address: 203.0.113.2, asn: 65002}]}"


def test_another_configuration_is_heard_by_whom_it_concerns_and_by_nobody_else(files: Files) -> None:
    before = heard("vpc-e1"), heard("vpc-e2")
    more = TO_E1.replace("192.168.1.0/30", "192.168.1.0/30\n      - 192.168.2.0/31")
    done = files.apply((TO_E1, more))
    assert done.returncode == 0, done.stderr
    until(lambda: "192.168.2.0/31" in pool_of("vpc-e1"))
    one = before[0]._replace(updates=before[0].updates + 1)
    assert (heard("vpc-e1"), heard("vpc-e2")) == (one, before[1])

    assert files.apply((TO_E2, TO_E2.replace("natType", "metric: 7\n    natType"))).returncode == 0
    until(lambda: "192.168.2.0/31" not in pool_of("vpc-e1") and "BGP.med:7" in pool_of("vpc-e2"))
    gone = one._replace(withdrawals=one.withdrawals + 1)
    other = before[1]._replace(updates=before[1].updates + 1)
    assert (heard("vpc-e1"), heard("vpc-e2")) == (gone, other)


def test_a_neighbour_comes_and_goes_beside_one_that_stays(files: Files) -> None:
    before = heard("vpc-e1"), heard("vpc-e2")
    two = BGP_OF_E2.replace("]}", ", {address: 192.0.2.9, asn: 65009, multihop: 3}]}")
    assert files.apply((BGP_OF_E2, two)).returncode == 0
    rows = json.loads(isthmus("neighbors", "--name", NAME, "-o", "json").stdout)["neighbors"]
    assert [
        (row["address"], row["state"] == "established", row["routes"]) for row in rows if row["vpc"] == "vpc-e2"
    ] == [
        ("192.0.2.9", False, 0),
        ("203.0.113.2", True, 3),
    ]
    paths = json.loads(isthmus("routes", "vpc-e2", "--name", NAME, "-o", "json").stdout)["routes"]
    assert [path["use"] for path in paths] == ["used"] * 3
    assert files.apply().returncode == 0
    rows = json.loads(isthmus("neighbors", "--name", NAME, "-o", "json").stdout)["neighbors"]
    assert [row["address"] for row in rows] == ["198.51.100.2", "203.0.113.2"]
    assert (heard("vpc-e1"), heard("vpc-e2")) == before


def test_what_is_refused_leaves_all_as_it_was(files: Files) -> None:
    before = heard("vpc-e1"), heard("vpc-e2")
    secret = BGP_OF_E2.replace("65002", "65002, passwordFile: /nowhere/secret")
    for changes, words in {
        ((BGP_OF_E2, secret), (TO_E1, TO_E1.replace("1.0/30", "3.0/30"))): "/nowhere/secret",
        (("interface: eth2", "interface: eth4"), (TO_E1, TO_E1.replace("1.0/30", "3.0/30"))): "anew",
        (("asn: 64512", "asn: 64512, tables: {flows: 5000}"),): "anew",
    }.items():
        done = files.apply(*changes)
        assert (done.returncode, words in done.stderr) == (1, True), done.stderr
    assert (heard("vpc-e1"), heard("vpc-e2")) == before
    assert "192.168.3.0/30" not in pool_of("vpc-e1")


def test_bgp_of_a_vpc_goes_and_comes_back(files: Files) -> None:
    before = heard("vpc-e1")
    assert files.apply((BGP_OF_E2, "")).returncode == 0
    rows = json.loads(isthmus("routes", "--name", NAME, "-o", "json").stdout)["routes"]
    assert {row["vpc"] for row in rows} == {"vpc-e1"}
    assert heard("vpc-e1") == before
    assert files.apply().returncode == 0
    until(lambda: "192.168.1.0/30" in pool_of("vpc-e2"))
    until(lambda: json.loads(isthmus("routes", "vpc-e2", "--name", NAME, "-o", "json").stdout)["total"] == 3)
    assert heard("vpc-e1") == before


def test_a_gateway_object_that_says_drain_is_obeyed(files: Files) -> None:
    assert files.apply(("asn: 64512", "drain: true, asn: 64512")).returncode == 0
    until(lambda: "(65535,0)" in pool_of("vpc-e1"))
    assert files.apply().returncode == 0
    until(lambda: "192.168.1.0/30" in pool_of("vpc-e1") and "(65535,0)" not in pool_of("vpc-e1"))
