"""A lab with externals for measurements, and a neighbour that tells as many routes as the Internet has.

A lab's own externals are BIRDs with some routes of a file. ``Neighbour`` takes the place of one of them: it speaks BGP
from among the same hosts, to the same daemon of the gateway, and says whatever is encoded beforehand.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Final, NamedTuple

from isthmus.cli.objects import load
from isthmus.compile import compile_tables
from isthmus.datapath.netns import inside
from isthmus.lab import control
from isthmus.lab.externals.routes import parse_routes
from isthmus.lab.plan import LabPlan, plan
from isthmus.lab.process import Process, working_below
from isthmus.lab.state import Objects, State
from isthmus.routing.bgp import writer
from isthmus.tables.address import FAMILIES, parse_address
from tests.measure.bird import cpu
from tests.measure.internet import greet
from tests.measure.streams import now

OBJECTS: Final = Path(__file__).with_name("outside.yaml")
"""Those of a lab in which a ``Neighbour`` can play vpc-e1."""
PATIENCE_S: Final = 60.0
_AGAIN_S: Final = 0.2
_CALM_S: Final = 1.0
_IDLE: Final = 0.05  # share of a CPU
_fork = get_context("fork")


@contextmanager
def lab(
    name: str, files: Sequence[Path], told: Mapping[str, str], hosts: Mapping[str, Sequence[str]]
) -> Iterator[LabPlan]:
    """A lab of files for a while, up when this is entered. ``told``: by external, what it announces, as a routes file
    says it; ``hosts``: further host addresses by VPC."""
    texts = [str(file) for file in files]
    model = load(texts).model
    tables = compile_tables(model)
    routes = {vpc: list(parse_routes(text)) for vpc, text in told.items()}
    extra = {vpc: [parse_address(host) for host in some] for vpc, some in hosts.items()}
    planned = plan(name, model, tables, extra, "auto", routes)
    control.up(Objects(planned, model, tables), texts, lambda _: None)
    try:
        yield planned
    finally:
        control.down(name, lambda _: None)


def spaces(made: LabPlan) -> dict[str, str]:
    """The namespace of the hosts of each VPC."""
    return {vpc.name: vpc.host_namespace for vpc in made.vpcs}


def keeper(made: LabPlan) -> Process:
    """The process that is the gateway."""
    found = State(made.name).keeper()
    if found is None:
        raise LookupError(f"lab {made.name} has no keeper")
    return found


def calm(made: LabPlan) -> None:
    """Wait until the gateway has nothing to do but to forward."""
    pid, end = keeper(made).pid, time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        before = cpu(pid)
        time.sleep(_CALM_S)
        if cpu(pid) - before <= _CALM_S * _IDLE:
            return
    raise TimeoutError("the gateway does not come to rest")


class Said(NamedTuple):
    """An UPDATE to be sent. ``mark``: what it is remembered by when it was; negative: it is not."""

    update: bytes
    mark: int = -1


class Neighbour:
    """A process that plays the only neighbour of a VPC: it says all of ``updates``, and later ``more`` at a rate."""

    def __init__(self, made: LabPlan, vpc: str, updates: bytes, more: Sequence[Said] = (), rate: int = 1) -> None:
        """In the place of the lab's own daemon, which is ended; returns at once. ``rate``: UPDATEs a second."""
        for process in working_below([State(made.name).external(vpc)]):
            process.end()
        external = next(one for one in made.externals if one.vpc == vpc)
        ends = next((_text(one.address), _text(one.gateway), one.asn) for one in external.speakers)
        self._said, theirs = _fork.Pipe(duplex=False)
        self._told, self._go = _fork.Event(), _fork.Event()
        arguments = (external.namespace, *ends, updates, more, rate, self._told, self._go, theirs)
        self._process = _fork.Process(target=_play, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def told(self) -> bool:
        """True once the daemon has taken all ``updates``."""
        return self._told.is_set()

    def go_on(self) -> None:
        """Begin with ``more``."""
        self._go.set()

    def marks(self) -> list[tuple[int, int]]:
        """When all of ``more`` was sent: the marks, and when each was written to the socket."""
        if not self._said.poll(PATIENCE_S * 10):
            raise TimeoutError("the neighbour does not come to its end")
        found: list[tuple[int, int]] = self._said.recv()
        return found

    def end(self) -> None:
        """Be gone, without a word: the kernel closes the connection."""
        self._process.kill()
        self._process.join()


def _text(address: int) -> str:
    """Of a left-aligned IPv4 address."""
    return socket.inet_ntoa((address >> 96).to_bytes(4, "big"))


def _play(
    namespace: str,
    mine: str,
    gateway: str,
    asn: int,
    updates: bytes,
    more: Sequence[Said],
    rate: int,
    told: Event,
    go: Event,
    said: Connection,
) -> None:
    with inside(namespace), _session(mine, gateway, asn) as connection:
        connection.settimeout(PATIENCE_S)
        connection.sendall(updates + b"".join(map(writer.end_of_rib, FAMILIES)))
        told.set()
        go.wait()
        marks = []
        began = time.monotonic()
        for number, (update, mark) in enumerate(more):
            if (early := began + number / rate - time.monotonic()) > 0:
                time.sleep(early)
            if mark >= 0:
                marks.append((mark, now()))
            connection.sendall(update)
        said.send(marks)
        connection.settimeout(None)
        while connection.recv(1 << 16):  # stay, until the daemon hangs up
            pass


def _session(mine: str, gateway: str, asn: int) -> socket.socket:
    """A session with a daemon that may not yet want one."""
    end = time.monotonic() + PATIENCE_S
    while True:
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # an UPDATE waits for no other
        try:
            made.settimeout(PATIENCE_S / 10)
            made.bind((mine, 0))
            made.connect((gateway, 179))
            greet(made, asn, int.from_bytes(socket.inet_aton(mine), "big"), FAMILIES)
        except OSError:
            made.close()
            if time.monotonic() > end:
                raise
            time.sleep(_AGAIN_S)
        else:
            return made
