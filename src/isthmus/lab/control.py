"""``lab up``, ``apply`` and ``down``: in which order things are made and removed, and what is left if that fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from select import POLLIN, poll
from typing import Any, Final, NamedTuple

from pyroute2 import netns

from isthmus.datapath.netns import NAMED
from isthmus.lab import build
from isthmus.lab.externals import daemons
from isthmus.lab.plan import LabPlan
from isthmus.lab.process import by_network_namespace
from isthmus.lab.service.ask import NobodyAnswers, Refused, ask
from isthmus.lab.settle import settle
from isthmus.lab.state import LabError, NoSuchLab, Objects, State, labs
from isthmus.routing.bird.process import DaemonError
from isthmus.tables.address import format_address

_KEEPER_WITHIN_S: Final = 30.0
_LOG_TAIL = 15

Say = Callable[[str], None]
"""Told of every step; for a person."""


class Up(NamedTuple):
    """A lab that is up: the hook of every port of the gateway's namespace (``port0``), and the seconds it took."""

    hooks: dict[str, str]
    seconds: float


def up(objects: Objects, files: list[str], say: Say) -> Up:
    """Make a lab; every address in it can be used when this returns.

    LabError if it can't be: a lab or a namespace of that name is there, or the packet path does not come up. Then, as
    on any other exception, what was made is removed again.
    """
    began = time.monotonic()
    plan = objects.plan
    state = State(plan.name)
    if not state.exists():
        _refuse_foreign(plan)
    state.create()
    try:
        with state.locked():
            try:
                hooks = _make(state, objects, files, say)
            except BaseException:
                _remove(state, lambda _: None)
                raise
    except (OSError, DaemonError, daemons.ExternalError) as error:
        raise LabError(f"lab {plan.name} did not come up: {error}") from error
    return Up(hooks, time.monotonic() - began)


def down(name: str, say: Say) -> None:
    """Remove a lab and all that ``up`` made for it, whatever is left of it. LabError if there is none."""
    state = State(name)
    with state.locked():
        if not state.exists():  # another `down` was faster
            raise NoSuchLab(f"there is no lab {name}")
        _remove(state, say)


def apply(name: str, objects: Objects) -> None:
    """Have a lab that is up go over to other objects, all at once. Its hosts and its wiring stay as they are.

    LabError if the objects want other wiring, or the gateway can't do what they say: then all is as it was.
    """
    state = State(name)
    with state.locked():
        hooks(state)
        now = state.objects()
        if _fixed(objects) != _fixed(now):
            raise LabError(
                f"these objects want other VPCs, attachments, routers or room than lab {name} was made with; "
                f"make it anew: isthmus lab down --name {name}, isthmus lab up"
            )
        state.write_next_objects(objects._replace(plan=now.plan))
        try:
            ask(state.socket, {"ask": "apply"})
        except (NobodyAnswers, Refused) as error:
            raise LabError(f"lab {name} stays as it was: {error}") from error


def _fixed(objects: Objects) -> object:
    """All that an ``apply`` can't change. Who is on a link may change, and which hook was chosen is not asked again."""
    plan = objects.plan
    links = [
        link._replace(hook="", speakers=(), routes=tuple(each for each in link.routes if each.via or each.tunnel))
        for _, link in plan.links()
    ]
    ports = [port._replace(hook="") for port in plan.ports]
    return [vpc.name for vpc in plan.vpcs], links, ports, plan.vtep, objects.tables.flows


def listing() -> list[dict[str, Any]]:
    """Every lab of this machine: what its namespaces and interfaces are called, and whether it is up."""
    found = []
    for state in labs():
        content = state.read_json("lab.json") or {"name": state.name}
        keeper, ready = state.keeper(), state.read_json("ready.json")
        alive = keeper is not None and keeper.alive()
        status = "up" if alive and ready else "starting" if alive else "broken"
        found.append({**content, "status": status, "keeper": keeper.pid if alive and keeper else None, **(ready or {})})
    return found


def hooks(state: State) -> dict[str, str]:
    """The hook of every port of a lab that is up. LabError if it is not."""
    state.objects()  # says so if there is no lab at all
    keeper, ready = state.keeper(), state.read_json("ready.json")
    if not (keeper and keeper.alive() and ready):
        raise LabError(f"lab {state.name} is not up; remove it with: isthmus lab down --name {state.name}")
    found: dict[str, str] = ready["hooks"]
    return found


def describe(plan: LabPlan, files: list[str]) -> dict[str, Any]:
    """What ``lab list`` shows of a lab, and the namespaces in the order of making."""
    return {
        "name": plan.name,
        "files": files,
        "gateway": plan.gateway_namespace,
        "namespaces": list(plan.namespaces),
        "externals": [
            {
                "vpc": external.vpc,
                "program": external.program,
                "neighbors": [format_address(each.family, each.address) for each in external.speakers],
                "routes": len(external.routes),
            }
            for external in plan.externals
        ],
        "vpcs": [
            {
                "vpc": vpc.name,
                "hosts": vpc.host_namespace,
                "gateway": vpc.gateway_namespace,
                "attachments": [
                    {"interface": link.attachment.interface, "port": link.port, "inside": link.inside, "mtu": link.mtu}
                    for link in vpc.links
                ],
                "addresses": [
                    {"address": format_address(host.family, host.address), "on": list(host.links), "for": host.origin}
                    for host in vpc.hosts
                ],
            }
            for vpc in plan.vpcs
        ],
    }


def _refuse_foreign(plan: LabPlan) -> None:
    for name in plan.namespaces:
        if (NAMED / name).exists():
            raise LabError(f"network namespace {name} is there already and not of this lab: choose another --name")


def _make(state: State, objects: Objects, files: list[str], say: Say) -> dict[str, str]:
    plan = objects.plan
    state.write_json("lab.json", describe(plan, files))
    state.write_objects(objects)
    for name in plan.namespaces:
        build.make_namespace(name)
        state.note_namespace(name, (NAMED / name).stat().st_ino)
    build.furnish(plan)
    say(f"{len(plan.namespaces)} namespaces, {len(plan.ports)} ports")
    for external in plan.externals:
        daemons.start(external, state.external(external.vpc))
        say(f"{external.program} plays {external.vpc}, and announces {len(external.routes)} routes")
    found = _start_keeper(state, say)
    settle(plan)
    say("every host reaches its gateway, and the gateway every host")
    return found


def _start_keeper(state: State, say: Say) -> dict[str, str]:
    """Start the keeper, and wait until it says that the lab is ready: the hook of every port."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        try:
            with (state.folder / "keeper.log").open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "isthmus.lab.keeper", state.name, str(writer)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(writer,),
                    cwd="/",
                    start_new_session=True,
                )
        finally:
            os.close(writer)
        process.returncode = 0  # it outlives us: no warning that it still runs
        for message in _messages(pipe.fileno()):
            if "hooks" in message:
                found: dict[str, str] = message["hooks"]
                return found
            if "error" in message:
                raise LabError(f"the packet path of lab {state.name} did not come up: {message['error']}")
            say(message["say"])
    raise LabError(f"the packet path of lab {state.name} did not come up{_log_tail(state)}")


def _messages(fd: int) -> Any:
    """JSON objects from the keeper, one a line, until it has no more to say or does not say it in time."""
    deadline = time.monotonic() + _KEEPER_WITHIN_S
    poller = poll()
    poller.register(fd, POLLIN)
    buffered = b""
    while poller.poll(max(0, deadline - time.monotonic()) * 1000):
        data = os.read(fd, 1 << 16)
        if not data:
            return
        *lines, buffered = (buffered + data).split(b"\n")
        yield from map(json.loads, lines)


def _log_tail(state: State) -> str:
    with suppress(FileNotFoundError):
        lines = (state.folder / "keeper.log").read_text(errors="replace").splitlines()[-_LOG_TAIL:]
        if lines:
            return "; its log ends:\n  " + "\n  ".join(lines)
    return ""


def _remove(state: State, say: Say) -> None:
    """End the keeper, remove the namespaces that are still those made, and forget the lab; never stops half-way."""
    keeper = state.keeper()
    if keeper:
        keeper.end()
    daemons.end([state.bgp, state.externals])
    users = by_network_namespace()
    for name, inode in state.made_namespaces().items():
        try:
            there = (NAMED / name).stat().st_ino
        except FileNotFoundError:
            continue
        if inode not in (None, there):
            say(f"{name} is not the namespace that this lab made: left alone")
            continue
        if there in users:
            with suppress(OSError):
                build.tear_down_links(name)
            say(f"processes still run in {name}, cut off from everything: {', '.join(map(str, sorted(users[there])))}")
        netns.remove(name)
    state.remove()
