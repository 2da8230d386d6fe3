"""What a demonstration needs: commands as a user types them, what the other end saw of them, and a verdict."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from isthmus.datapath.netns import inside
from isthmus.lab import control
from isthmus.lab.demo.servers import Servers
from isthmus.lab.plan import LabVpc
from isthmus.lab.probe.cases import Proto
from isthmus.lab.probe.wire import Watch
from isthmus.lab.state import State
from isthmus.tables.address import format_address

_PROGRAM: Final = Path(sys.executable).with_name("isthmus")
_PYTHON: Final = os.path.relpath(sys.executable)

CLIENTS: Final = "isthmus.lab.demo.clients"
"""The program that our clients are."""

_COMMAND_WITHIN_S: Final = 60
_LOOK_S: Final = 0.1
_DARK: Final = 0.3  # seconds after a command in which a packet that must not come might still


class Stage:
    """Runs and shows. ``wrong`` lists every expectation that was not met."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.met = 0
        self._began = time.monotonic()
        self._title = ""
        self._bold, self._plain = ("\033[1m", "\033[0m") if _coloured() else ("", "")

    def title(self, text: str) -> None:
        """Begin a part."""
        self._title = text
        print(f"\n{self._bold}{text}{self._plain}   [{time.monotonic() - self._began:.0f} s]", flush=True)

    def say(self, text: str) -> None:
        """A sentence between commands."""
        print(f"  {text}", flush=True)

    def quote(self, text: str) -> None:
        """Output, or a part of a file."""
        print("\n".join(f"    {line}".rstrip() for line in text.rstrip().splitlines()), flush=True)

    def isthmus(self, *arguments: str, shown: bool = True, status: int = 0) -> str:
        """Run our own program, whose exit status must be this; its output, which is shown too."""
        print(f"  {self._bold}$ isthmus {' '.join(arguments)}{self._plain}", flush=True)
        done = _run([str(_PROGRAM), *arguments])
        text = (done.stdout if done.returncode == status else done.stdout + done.stderr).rstrip()
        if done.returncode != status or shown:
            self.quote(text)
        if done.returncode != status:
            self.expect(False, f"isthmus {arguments[0]} ends with {status}, and ended with {done.returncode}")
        return text

    def quiet(self, *arguments: str) -> str:
        """Run our own program, whatever comes of it; its output, which is not shown."""
        return _run([str(_PROGRAM), *arguments]).stdout

    def until(self, met: Callable[[], bool], seconds: float) -> None:
        """Wait for something, so long at most."""
        deadline = time.monotonic() + seconds
        while not met() and time.monotonic() < deadline:
            time.sleep(_LOOK_S)

    def on(self, lab: str, vpc: str, *command: str) -> tuple[int, str]:
        """Run a command on the hosts of a VPC: its exit status and output."""
        print(f"  {self._bold}$ isthmus lab exec --name {lab} {vpc} -- {' '.join(command)}{self._plain}", flush=True)
        done = _run([str(_PROGRAM), "lab", "exec", "--name", lab, vpc, "--", *command])
        return done.returncode, done.stdout.strip()

    def expect(self, met: bool, text: str) -> None:
        """Say whether something came as it must."""
        print(f"    {'ok    ' if met else 'WRONG '} {text}", flush=True)
        if met:
            self.met += 1
        else:
            self.wrong.append(f"{self._title}: {text}")

    @contextmanager
    def lab(self, name: str, file: Path, *options: str) -> Iterator[None]:
        """A lab for a while; it is gone afterwards, whatever happens."""
        if State(name).exists():
            self.say(f"a lab {name} is left from a run that was killed; it goes first")
            control.down(name, self.say)
        try:
            self.isthmus("lab", "up", os.path.relpath(file), *options, "--name", name)
            yield
        finally:
            if State(name).exists():
                control.down(name, lambda _: None)  # not by the program: also when nobody reads what we print
                print(f"  (lab {name} is gone)", flush=True)

    @contextmanager
    def client(self, lab: str, vpc: str, *arguments: str) -> Iterator[None]:
        """Run one of our clients in the background for a while; it must have worked when that is over."""
        command = ["lab", "exec", "--name", lab, vpc, "--", _PYTHON, "-m", CLIENTS, *arguments]
        print(f"  {self._bold}$ isthmus {' '.join(command)} &{self._plain}", flush=True)
        started = subprocess.Popen(
            [str(_PROGRAM), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield
            said, _ = started.communicate(timeout=_COMMAND_WITHIN_S)
            self.say(f"(of {arguments[0]}, which has been running in the background)")
            self.expect(started.returncode == 0, said.strip())
        finally:
            started.kill()
            started.wait()

    def run_client(self, lab: str, vpc: str, *arguments: str) -> tuple[int, str]:
        """Run one of our clients on the hosts of a VPC: its exit status and what it says."""
        return self.on(lab, vpc, _PYTHON, "-m", CLIENTS, *arguments)

    def fetch(self, lab: str, vpc: str, server: Servers, address: str, port: int, seen_as: str | None) -> None:
        """Fetch a page; the server must have seen the request come from ``seen_as`` (an address, or a CIDR of which it
        is one); None: it must not come at all."""
        before = len(server.seen)
        with watching(lab, server.vpc) as watch:
            status, page = self.on(lab, vpc, "curl", "-sS", "-m", "1", f"http://{address}:{port}/")
            packets = _arrived(watch, "tcp")
        requests = server.seen[before:]
        if seen_as is None:
            met = status != 0 and not requests and not packets
            self.expect(met, f"{page or 'nothing'} comes back, and {server.vpc} saw {' '.join(packets) or 'nothing'}")
            return
        saw = f"{server.vpc} saw {' '.join(map(str, requests)) or 'nothing'}; curl got: {page or 'nothing'}"
        self.expect(status == 0 and len(requests) == 1 and within(requests[0].source, seen_as), saw)

    def ping(self, lab: str, vpc: str, address: str, witness: str, seen_as: str | None) -> None:
        """Ping once; ``witness`` must see the request come from ``seen_as`` (address or CIDR); None: not at all."""
        with watching(lab, witness) as watch:
            status, answer = self.on(lab, vpc, "ping", "-n", "-c", "1", "-W", "1", address)
            if seen_as is None:
                time.sleep(_DARK)
            seen = _arrived(watch, "icmp")
        reply = next((line for line in answer.splitlines() if "bytes from" in line), "no reply")
        if seen_as is None:
            self.expect(status != 0 and not seen, f"{reply}, and {witness} saw {' '.join(seen) or 'nothing'}")
        else:
            met = status == 0 and bool(seen) and all(within(s.split()[0], seen_as) for s in seen)
            self.expect(met, f"{witness} saw {' '.join(seen) or 'nothing'}; ping got: {reply}")


@contextmanager
def watching(lab: str, vpc: str) -> Iterator[Watch]:
    """See what arrives at the hosts of a VPC."""
    found = vpc_of(lab, vpc)
    with ExitStack() as stack:
        with inside(found.host_namespace):
            watch = stack.enter_context(closing(Watch(found)))
        yield watch


def _arrived(watch: Watch, proto: Proto) -> list[str]:
    """The SYNs or echo requests that have arrived: ``source > target``."""
    return [
        f"{format_address(sighting.family, sighting.source)} > {format_address(sighting.family, sighting.target)}"
        for one in watch.sockets
        for sighting in watch.sightings(one)
        if sighting.proto == proto and not (proto == "tcp" and sighting.said)
    ]


def within(address: str, seen_as: str) -> bool:
    """True if it is the address, or one of the CIDR."""
    return ipaddress.ip_address(address) in ipaddress.ip_network(seen_as)


def vpc_of(lab: str, name: str) -> LabVpc:
    """A VPC of a lab that is up."""
    found = State(lab).objects().plan.vpc(name)
    if found is None:
        raise LookupError(f"lab {lab} has no VPC {name}")
    return found


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_COMMAND_WITHIN_S,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "160"},
    )


def _coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
