"""A lab whose externals speak BGP: example 4 by real daemons, the questions about routes, and what happens to traffic
when a way is lost by its cable, by silence, or by a withdrawal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from isthmus.lab import control
from isthmus.lab.demo.outside import EXTERNALS
from isthmus.lab.externals import cables, daemons
from isthmus.lab.process import working_below
from isthmus.lab.state import State
from tests.netns.labs import EXAMPLES, isthmus

NAME = "isthmus-test-routes"
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
    done = isthmus("lab", "up", EXTERNALS, EXAMPLES / "4-two-externals-by-metric.yaml", "--name", NAME, *options)
    try:
        assert done.returncode == 0, done.stderr
        yield
    finally:
        if State(NAME).exists():
            control.down(NAME, lambda _: None)


def way() -> str:
    """Through which external a new conversation to both goes; "" if none answers."""
    clear = isthmus("flows", "clear", "--all", "--name", NAME)
    assert clear.returncode == 0, clear.stderr
    ping = ["ping", "-n", "-c", "1", "-W", "1", BOTH]
    done = isthmus("lab", "exec", "--name", NAME, "vpc-1", "--", *ping)
    if done.returncode:
        return ""
    flows = json.loads(isthmus("flows", "--name", NAME, "-o", "json").stdout)
    return str(flows["flows"][0]["to"])


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


def test_a_lost_way_is_left_for_the_next_metric_and_taken_again(up: None) -> None:
    assert way() == "vpc-e1"
    plan = State(NAME).objects().plan
    cables.pull(plan, "eth2")
    try:
        until(lambda: way() == "vpc-e2")
    finally:
        cables.plug(plan, "eth2")
    until(lambda: way() == "vpc-e1")


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
