"""A lab comes up whole or not at all, and goes without a trace, whatever happened to it meanwhile."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from isthmus.cli import main
from isthmus.cli.lab import app
from isthmus.datapath.netns import NAMED, inside
from isthmus.lab import build, control
from isthmus.lab.state import ROOT, LabError, State
from tests.netns.labs import EXAMPLES, isthmus, of_files

NAME = "isthmus-test-life"
OVERLAP = EXAMPLES / "5-overlapping-subnets.yaml"
EVERY_ONE = 1000


def traces() -> tuple[list[str], list[str]]:
    """What is on this machine of this test's labs: namespaces and state."""
    namespaces = sorted(path.name for path in NAMED.iterdir() if path.name.startswith(NAME)) if NAMED.is_dir() else []
    return namespaces, sorted(path.name for path in ROOT.glob(f"{NAME}*"))


def silent(_: str) -> None:
    pass


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    assert traces() == ([], [])
    yield
    left = traces()
    for name in left[1]:
        control.down(name, silent)
    assert left == ([], [])


def test_up_list_exec_down_by_the_program() -> None:
    status, text = command("up", str(OVERLAP), "--name", NAME, "-o", "json")
    assert status == 0, text
    found = json.loads(text)
    assert found["status"] == "up"
    assert found["hooks"] == {"port0": "xdp", "port1": "xdp"}
    assert [(vpc["vpc"], vpc["hosts"]) for vpc in found["vpcs"]] == [
        ("vpc-1", f"{NAME}-vpc-1"),
        ("vpc-2", f"{NAME}-vpc-2"),
    ]
    assert found in json.loads(command("list", "-o", "json")[1])
    ping_and_end_with_7 = "ping -c1 -W2 192.168.2.1 && exit 7"
    done = isthmus("lab", "exec", "--name", NAME, "vpc-1", "--", "sh", "-c", ping_and_end_with_7)
    assert done.returncode == 7, done.stdout + done.stderr
    assert command("exec", "--name", NAME, "nobody", "--", "true")[0] == 2
    assert command("down", "--name", NAME)[0] == 0
    assert command("down", "--name", NAME)[0] == 2, "there is no such lab any more"


def command(*arguments: str) -> tuple[int, str]:
    """``isthmus lab …`` in this process, for speed: its exit status and what it printed on stdout."""
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.stdout


def test_every_address_can_be_used_at_once_and_a_second_lab_of_that_name_is_refused() -> None:
    objects = of_files(OVERLAP, name=NAME)
    control.up(objects, [], silent)
    addresses = subprocess.run(
        ["ip", "-n", f"{NAME}-vpc-1", "-o", "address"], capture_output=True, text=True, check=True
    ).stdout
    assert "10.1.1.1/32" in addresses
    assert "tentative" not in addresses
    with pytest.raises(LabError, match=f"isthmus lab down --name {NAME}"):
        control.up(objects, [], silent)
    assert control.hooks(State(NAME)) == {"port0": "xdp", "port1": "xdp"}
    control.down(NAME, silent)


def test_the_gateway_s_kernels_follow_no_redirect_and_no_source_route_of_a_tenant() -> None:
    half_made(furnished=True)
    off = {
        "ipv4": ("accept_redirects", "secure_redirects", "send_redirects", "accept_source_route", "forwarding"),
        "ipv6": ("accept_redirects", "forwarding"),
    }
    with inside(f"{NAME}.gw.vpc-1"):
        for which in ("all", "default", "eth0"):
            for family, settings in off.items():
                for setting in settings:
                    assert Path(f"/proc/sys/net/{family}/conf/{which}/{setting}").read_text() == "0\n", setting
            assert Path(f"/proc/sys/net/ipv6/conf/{which}/accept_source_route").read_text() == "-1\n"
    control.down(NAME, silent)


def test_a_namespace_of_somebody_else_is_left_alone() -> None:
    theirs = f"{NAME}-vpc-2"
    subprocess.run(["ip", "netns", "add", theirs], check=True)
    try:
        with pytest.raises(LabError, match=theirs):
            control.up(of_files(OVERLAP, name=NAME), [], silent)
        assert traces() == ([theirs], [])
    finally:
        subprocess.run(["ip", "netns", "delete", theirs], check=True)


def test_a_namespace_made_anew_by_somebody_else_is_left_alone() -> None:
    half_made()
    theirs = f"{NAME}-vpc-2"
    subprocess.run(["ip", "netns", "delete", theirs], check=True)
    subprocess.run(["ip", "netns", "add", theirs], check=True)
    try:
        said: list[str] = []
        control.down(NAME, said.append)
        assert traces() == ([theirs], [])
        assert any(theirs in line for line in said)
    finally:
        subprocess.run(["ip", "netns", "delete", theirs], check=True)


def test_down_after_the_keeper_was_killed() -> None:
    control.up(of_files(OVERLAP, name=NAME), [], silent)
    keeper = State(NAME).keeper()
    assert keeper is not None
    os.kill(keeper.pid, signal.SIGKILL)
    while keeper.alive():
        os.sched_yield()
    [found] = [lab for lab in control.listing() if lab["name"] == NAME]
    assert found["status"] == "broken"
    with pytest.raises(LabError, match="is not up"):
        control.hooks(State(NAME))
    asked = CliRunner().invoke(main.app, ["flows", "--name", NAME])
    assert asked.exit_code == 1
    assert f"isthmus lab down --name {NAME}" in asked.stderr
    control.down(NAME, silent)


def test_down_after_a_namespace_was_lost() -> None:
    control.up(of_files(OVERLAP, name=NAME), [], silent)
    subprocess.run(["ip", "netns", "delete", f"{NAME}.gw.vpc-1"], check=True)
    control.down(NAME, silent)


@pytest.mark.parametrize("lost", ["lab.json", "made", "objects.pickle", "keeper.json"])
def test_down_with_a_file_of_the_state_cut_short(lost: str) -> None:
    """What is written when the machine goes down: the last file, half."""
    state = half_made(stop_after=3)
    if lost in ("objects.pickle", "keeper.json"):
        (state.folder / lost).write_bytes(b"\x80")
    elif lost == "made":
        with (state.folder / lost).open("a") as file:
            file.write(f"{NAME}.gw.vp")
    else:
        (state.folder / f".{lost}.new").write_bytes(b'{"na')
    control.down(NAME, silent)


@pytest.mark.parametrize("stop_after", range(6))
def test_down_after_up_was_killed_half_way(stop_after: int) -> None:
    half_made(stop_after)
    control.down(NAME, silent)


def half_made(stop_after: int = EVERY_ONE, *, furnished: bool = False) -> State:
    """What is there when ``up`` is killed: right after it made so many namespaces, all but the last of them noted; or
    if it made them all, before it started the keeper."""
    objects = of_files(OVERLAP, name=NAME)
    state = State(NAME)
    state.create()
    state.write_json("lab.json", control.describe(objects.plan, []))
    state.write_objects(objects)
    names = objects.plan.namespaces[:stop_after]
    for number, name in enumerate(names, 1):
        build.make_namespace(name)
        if number != stop_after:
            state.note_namespace(name, (NAMED / name).stat().st_ino)
    if furnished:
        build.furnish(objects.plan)
    return state


def test_up_that_fails_takes_back_what_it_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("the kernel is out of sorts")

    monkeypatch.setattr(build, "furnish", refuse)
    with pytest.raises(LabError, match="out of sorts"):
        control.up(of_files(OVERLAP, name=NAME), [], silent)
    assert traces() == ([], [])


def test_up_tells_why_the_packet_path_did_not_come_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(LabError, match="packet path"):
        control.up(of_files(OVERLAP, name=NAME), [], silent)


def test_a_process_that_stays_behind_is_named_and_cut_off() -> None:
    half_made(furnished=True)
    with inside(f"{NAME}-vpc-1"):
        process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    try:
        said: list[str] = []
        control.down(NAME, said.append)
        assert any(str(process.pid) in line for line in said)
        links = Path(f"/proc/{process.pid}/net/dev").read_text()
        assert "eth0" not in links
        assert process.poll() is None, "it is not ours to end"
    finally:
        process.communicate()


def test_names_that_can_t_be_a_lab_s() -> None:
    for name in ("", "UPPER", "a.b", "../x", "-x", "x" * 41):
        with pytest.raises(LabError, match="no name for a lab"):
            State(name)
