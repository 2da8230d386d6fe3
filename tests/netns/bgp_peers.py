"""BGP daemons of others, as neighbours in network namespaces: FRR, GoBGP, and BIRD with a configuration of its own.

A BIRD also plays our end of the feed: it shows every path that it is told, and announces what it is given.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from isthmus.datapath.netns import inside
from isthmus.routing.bird.control import Control
from isthmus.routing.bird.process import Daemon

_FRR: Final = Path("/usr/lib/frr")
_GOBGP_API: Final = "127.0.0.1:50051"
_WAIT_S, _LOOK_S = 15.0, 0.03
_HEAD: Final = re.compile(r"(\S+)? +(?:unicast|unreachable|blackhole) \[(\S+) ")

T = TypeVar("T")
Numbers = frozenset[tuple[int, ...]]


class Shown(NamedTuple):
    """A path to a prefix, as who holds it shows it. ``teller``: the session that it came by; only BIRD tells."""

    as_path: tuple[int, ...]
    med: int | None
    communities: Numbers
    large: Numbers
    teller: str = ""


def until(what: str, find: Callable[[], T | None], wait_s: float = _WAIT_S) -> T:
    """What is found, once there is something. Daemons of others do not tell, so they are asked again and again."""
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        if found := find():
            return found
        time.sleep(_LOOK_S)
    raise AssertionError(f"not within {wait_s:.0f} s: {what}")


def bird_paths(control: Control, table: str) -> dict[str, list[Shown]]:
    """What is in a table of BIRD."""
    found: dict[str, list[Shown]] = {}
    prefix, attributes = "", dict[str, str]()
    for _, text in control.ask(f"show route table {table} all"):
        if head := _HEAD.match(text):
            prefix = head[1] or prefix
            attributes = {"teller": head[2]}
            found.setdefault(prefix, []).append(_of_bird(attributes))
        elif text.strip().startswith("BGP."):
            key, _, value = text.strip().removeprefix("BGP.").partition(": ")
            attributes[key] = value
            found[prefix][-1] = _of_bird(attributes)
    return found


class Bird:
    """BIRD with this configuration."""

    def __init__(self, directory: Path, namespace: str, text: str) -> None:
        with inside(namespace):
            self.daemon = Daemon(directory, text)

    def path(self, prefix: str) -> Shown | None:
        """What it prefers for a prefix."""
        return next(iter(self.paths(prefix)), None)

    def paths(self, prefix: str) -> list[Shown]:
        """All that it knows of a prefix, the preferred first."""
        return bird_paths(self.daemon.control, f"master{6 if ':' in prefix else 4}").get(prefix, [])

    def stop(self) -> None:
        self.daemon.stop()


class Frr:
    """FRR's zebra, bfdd and bgpd. They run as Debian's user frr, in a directory that it can reach."""

    def __init__(self, namespace: str, bgpd: str, bfdd: str) -> None:
        self._namespace = namespace
        self._directory = Path(tempfile.mkdtemp(prefix="isthmus-frr-"))
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        for daemon, text in (("zebra", ""), ("bfdd", bfdd), ("bgpd", bgpd)):
            (self._directory / f"{daemon}.conf").write_text(text)
        shutil.chown(self._directory, "frr", "frr")
        try:
            for daemon, ready in (("zebra", "zserv.api"), ("bfdd", "bfdd.vty"), ("bgpd", "bgpd.vty")):
                self.start(daemon)
                until(f"{daemon} runs", (self._directory / ready).exists)
        except BaseException:
            self.stop()
            raise

    def start(self, daemon: str) -> None:
        at = self._directory
        command: list[str | Path] = [
            _FRR / daemon,
            "-f",
            at / f"{daemon}.conf",
            "-i",
            at / f"{daemon}.pid",
            "-z",
            at / "zserv.api",
        ]
        command += ["--vty_socket", at, "-P", "0"]
        if daemon == "bfdd":
            command += ["--bfdctl", at / "bfdd.sock"]
        with inside(self._namespace), (at / f"{daemon}.log").open("ab") as log:
            self._running[daemon] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def signal(self, number: signal.Signals, *daemons: str) -> None:
        for daemon in daemons:
            self._running[daemon].send_signal(number)

    def kill(self, daemon: str) -> None:
        self._running[daemon].kill()
        self._running.pop(daemon).wait()

    def path(self, prefix: str) -> Shown | None:
        """What it prefers for a prefix."""
        family = "ipv6" if ":" in prefix else "ipv4"
        command: list[str | Path] = [
            "vtysh",
            "--vty_socket",
            self._directory,
            "-c",
            f"show bgp {family} unicast {prefix} json",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
        paths: list[dict[str, Any]] = json.loads(done.stdout or "{}").get("paths", [])
        best = next((path for path in paths if path.get("bestpath", {}).get("overall")), None)
        if best is None:
            return None
        communities = best.get("community", {}).get("list", [])
        return Shown(
            _numbers(best["aspath"]["string"]),
            best.get("metric"),
            frozenset(_numbers(text) for text in communities),
            frozenset(_numbers(text) for text in best.get("largeCommunity", {}).get("list", [])),
        )

    def stop(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)


class Gobgp:
    """GoBGP's daemon with this configuration (TOML). Routes are injected as by its command."""

    def __init__(self, directory: Path, namespace: str, text: str) -> None:
        directory.mkdir()
        self._namespace = namespace
        (directory / "gobgpd.toml").write_text(text)
        command: list[str | Path] = [
            "gobgpd",
            "-f",
            directory / "gobgpd.toml",
            "--api-hosts",
            _GOBGP_API,
            "--pprof-disable",
            "-p",
        ]
        with inside(namespace), (directory / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            until("gobgpd runs", lambda: self._ask("global").returncode == 0)
        except BaseException:
            self.stop()
            raise

    def announce(self, prefix: str, *attributes: str) -> None:
        assert self._ask("global", "rib", "add", *_family(prefix), prefix, *attributes).returncode == 0

    def path(self, prefix: str) -> Shown | None:
        """What it prefers for a prefix."""
        done = self._ask("global", "rib", *_family(prefix), prefix, "-j")
        paths: list[dict[str, Any]] = (
            next(iter(json.loads(done.stdout).values()), []) if done.stdout.startswith("{") else []
        )
        if not paths:
            return None
        attributes = {attribute["type"]: attribute for attribute in paths[0]["attrs"]}
        segments = attributes.get(2, {}).get("as_paths") or []
        return Shown(
            tuple(number for segment in segments for number in segment["asns"]),
            attributes.get(4, {}).get("metric"),
            frozenset(divmod(number, 1 << 16) for number in attributes.get(8, {}).get("communities", [])),
            frozenset(tuple(value.values()) for value in attributes.get(32, {}).get("value", [])),
        )

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        with inside(self._namespace):
            return subprocess.run(["gobgp", *arguments], capture_output=True, text=True, check=False, timeout=10)


def _family(prefix: str) -> tuple[str, str]:
    return "-a", "ipv6" if ":" in prefix else "ipv4"


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))


def _of_bird(attributes: dict[str, str]) -> Shown:
    def sets(key: str) -> Numbers:
        return frozenset(_numbers(found) for found in re.findall(r"\([^)]*\)", attributes.get(key, "")))

    med = attributes.get("med")
    return Shown(
        _numbers(attributes.get("as_path", "")),
        None if med is None else int(med),
        sets("community"),
        sets("large_community"),
        attributes["teller"],
    )
