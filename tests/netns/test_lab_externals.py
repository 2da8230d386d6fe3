"""An external of a lab speaks BGP by a real daemon, which goes with the lab, and its cable can be pulled.

The gateway's end is a BIRD in the namespace of the VPC, where the gateway's own would be.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from isthmus.cli.objects import load
from isthmus.compile import compile_tables
from isthmus.datapath.netns import inside
from isthmus.lab import control
from isthmus.lab.externals import cables, daemons
from isthmus.lab.externals.routes import parse_routes
from isthmus.lab.externals.speakers import Program
from isthmus.lab.plan import plan
from isthmus.lab.process import working_below
from isthmus.lab.state import LabError, Objects, State
from isthmus.routing.links import Links

NAME = "isthmus-test-bgp"
OBJECTS = """
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Gateway
metadata: {name: here}
spec: {asn: 64512, routerID: 203.0.113.1}
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: VPC
metadata: {name: isp}
spec:
  subnets: {four: {cidr: 203.0.113.0/29}, six: {cidr: "2001:db8:ff::/64"}}
  attachments: [{interface: eth1, addresses: [203.0.113.1/29, "2001:db8:ff::1/64"]}]
  bgp:
    neighbors:
      - {address: 203.0.113.2, asn: 65001, passwordFile: PASSWORD}
      - {address: "2001:db8:ff::2", asn: 65002}
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata: {name: red--isp}
spec:
  red: {ips: [{cidr: 10.1.1.0/24}], as: [203.0.113.4/30], natType: stateful}
  isp: {ips: [{cidr: 0.0.0.0/0}, {not: 10.0.0.0/8}]}
"""
SECRET = "not-for-everybody"
MANY = [f"100.{number // 256}.{number % 256}.0/24 med {number % 7} path 65010" for number in range(3000)]
ROUTES = [*MANY, "8.8.8.0/24 med 50 path 65010 65011 community 65001:7 65001:8:9", "2001:db8:8::/48 med 60"]
WITHIN_S, LOOK_S = 10.0, 0.05


def objects(folder: Path, program: Program, routes: list[str]) -> Objects:
    (folder / "password").write_text(f"{SECRET}\n")
    (folder / "objects.yaml").write_text(OBJECTS.replace("PASSWORD", str(folder / "password")))
    model = load([str(folder / "objects.yaml")]).model
    tables = compile_tables(model)
    announced = {"isp": list(parse_routes("\n".join(routes)))}
    return Objects(plan(NAME, model, tables, None, "tc", announced, program), model, tables)


@contextmanager
def up(made: Objects) -> Iterator[None]:
    control.up(made, [], lambda _: None)
    try:
        yield
    finally:
        if State(NAME).exists():
            control.down(NAME, lambda _: None)


@contextmanager
def gateway() -> Iterator[Path]:
    """The folder of the gateway's own BIRD toward the external, which the lab runs."""
    yield State(NAME).bgp / "isp"


def shown(folder: Path, command: str) -> str:
    try:
        return daemons.ask(folder, "bird", command)
    except subprocess.CalledProcessError as error:
        return str(error.stdout)


def until(met: Callable[[], bool], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not met():
        assert time.monotonic() < deadline, what()
        time.sleep(LOOK_S)


@pytest.mark.parametrize("program", ["bird", "frr"])
def test_sessions_in_both_families_bring_every_route_with_what_it_says(tmp_path: Path, program: Program) -> None:
    made = objects(tmp_path, program, ROUTES)
    with up(made), gateway() as folder:
        at = State(NAME).external("isp")
        count = "show route count table isthmus_routes"
        until(
            lambda: f"{len(MANY) + 2} of" in shown(folder, f"{count}4") and "1 of" in shown(folder, f"{count}6"),
            lambda: shown(folder, "show protocols all") + daemons.ask(at, program, "show protocols all"),
        )
        eight = shown(folder, "show route for 8.8.8.8 table isthmus_routes4 all")
        for words in ("BGP.as_path: 65001 65010 65011", "BGP.med: 50", "(65001,7)", "(65001, 8, 9)"):
            assert words in eight
        six = shown(folder, "show route for 2001:db8:8::1 table isthmus_routes6 all")
        assert "BGP.as_path: 65002" in six
        assert "BGP.med: 60" in six
    assert not working_below([at])


def test_a_cable_that_is_pulled_ends_the_sessions_and_plugged_in_again_they_come_back(tmp_path: Path) -> None:
    made = objects(tmp_path, "bird", ROUTES[-2:])
    with up(made), gateway() as folder:

        def established() -> int:
            return shown(folder, "show protocols").count("Established") - 1  # the feed

        until(lambda: established() == 2, lambda: shown(folder, "show protocols all"))
        with inside(made.plan.gateway_namespace):
            links = Links()
            before = {link.interface for link in links.changes() if link.up}
        cables.pull(made.plan, "eth1")
        until(lambda: any(not link.up for link in links.changes()), lambda: "the link did not go down")
        cables.plug(made.plan, "eth1")
        now = set(before)
        until(lambda: any(link.up for link in links.changes()), lambda: f"the link did not come up: {now}")
        links.close()
        until(lambda: established() == 2, lambda: shown(folder, "show protocols all"))


def test_the_daemon_goes_with_the_lab_also_after_a_crash(tmp_path: Path) -> None:
    made = objects(tmp_path, "bird", ROUTES[-2:])
    with up(made):
        state = State(NAME)
        keeper = state.keeper()
        assert keeper is not None
        os.kill(keeper.pid, signal.SIGKILL)
        assert len(working_below([state.externals])) == 1
        said: list[str] = []
        control.down(NAME, said.append)
        assert not working_below([state.externals])
        assert said == []


def test_a_password_file_that_is_missing_is_named(tmp_path: Path) -> None:
    made = objects(tmp_path, "bird", [])
    (tmp_path / "password").unlink()
    with pytest.raises(LabError, match="password"):
        control.up(made, [], lambda _: None)
    assert not State(NAME).exists()
