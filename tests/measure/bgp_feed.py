"""How long a full table takes from a neighbour through BIRD to us, beside a reader that does as little as it can.

``python -m tests.measure.bgp_feed [--scale S] [--rounds N]``, as root. For one and for two externals (one BIRD each,
as each has a namespace of its own): neighbours send 1.05 million IPv4 and 230,000 IPv6 routes each, encoded
beforehand, as fast as BIRD takes them. BIRD tells them over its feed, which is read by a *bare reader* (it only counts
messages and prefixes) and by ours. Time: from the first byte sent to the last prefix read.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import select
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from isthmus.routing.bgp.capabilities import AddPath, Open
from isthmus.routing.bgp.nlri import PADDING
from isthmus.routing.bgp.session import Session, Speaker
from isthmus.routing.bgp.updates import Batch
from isthmus.routing.bgp.wire import HEADER_BYTES, KEEPALIVE
from isthmus.tables.address import FAMILIES
from tests.measure.bird import ASN, ROUTER_ID, Bird, bird
from tests.measure.internet import External, encoded, speak, table

FEED: Final = "127.1.0.1"
MOST_S: Final = 120.0
_IDLE_S: Final = 1.0
_fork = get_context("fork")


class Figures(NamedTuple):
    """Of one reading: seconds of time, of our CPU and of BIRD's; UPDATEs; prefixes; bytes."""

    seconds: float
    cpu: float
    bird: float
    updates: int
    prefixes: int


class Bare:
    """Counts what a session brings, and does nothing else with it."""

    def __init__(self, one: Bird) -> None:
        """Opens the session."""
        self.updates = self.prefixes = 0
        self._socket = one.connect(FEED, blocking=True)
        paths = tuple((family, AddPath.BOTH) for family in FAMILIES)
        self._socket.sendall(Open(ASN, 0, ROUTER_ID + 1, add_path=paths).encode() + KEEPALIVE)
        self._socket.setblocking(False)
        self._rest = b""

    def fileno(self) -> int:
        """For epoll."""
        return self._socket.fileno()

    def pump(self) -> None:
        """Read some."""
        data = self._rest + self._socket.recv(1 << 18)
        at, end = 0, len(data)
        data += PADDING
        while end - at >= HEADER_BYTES:
            length = data[at + 16] << 8 | data[at + 17]
            if at + length > end:
                break
            if data[at + 18] == 2:
                self._count(data, at + 19, at + length)
            at += length
        self._rest = data[at:end]

    def _count(self, data: bytes, start: int, end: int) -> None:
        self.updates += 1
        attributes = start + 4 + (data[start] << 8 | data[start + 1])
        at = attributes + (data[attributes - 2] << 8 | data[attributes - 1])
        if data[attributes + 1] == 14:
            at = attributes + 9 + data[attributes + 7]
            end = attributes + 4 + (data[attributes + 2] << 8 | data[attributes + 3])
        while at < end:
            self.prefixes += 1
            at += 5 + (data[at + 4] + 7 >> 3)

    def wait(self) -> float:
        """Seconds until there is something to do without anything to read."""
        return _IDLE_S

    def close(self) -> None:
        """End the session."""
        self._socket.close()


class Ours:
    """The same by our session."""

    def __init__(self, one: Bird) -> None:
        """Opens the session."""
        self.prefixes = 0
        self._session = Session(Speaker(ASN, ROUTER_ID + 1, ASN), lambda: one.connect(FEED))

    @property
    def updates(self) -> int:
        """Read so far."""
        return self._session.counts.updates

    def fileno(self) -> int:
        """For epoll."""
        return self._session.fileno()

    def pump(self) -> None:
        """Read some."""
        for event in self._session.pump(time.monotonic()):
            if isinstance(event, Batch):
                self.prefixes += len(event.prefixes)

    def wait(self) -> float:
        """Seconds until there is something to do without anything to read."""
        return _IDLE_S

    def close(self) -> None:
        """End the session."""
        self._session.close()


Reader = Bare | Ours


def neighbour(one: Bird, number: int, updates: bytes, start: Event, end: Event) -> None:
    """In a process of its own: a neighbour of BIRD, silent until ``start`` and there until ``end``."""
    os.setsid()  # the scheduler has groups of sessions
    with one.connect(f"127.2.0.{number}", blocking=True) as connection:
        connection.settimeout(MOST_S)
        start.wait(MOST_S)
        speak(connection, ASN + number, ROUTER_ID + 100 + number, FAMILIES, updates)
        end.wait(MOST_S)


def measure(
    kind: Callable[[Bird], Reader],
    tables: list[bytes],
    expected: int,
    around: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Figures:
    """One reading of the tables of all externals, each through a BIRD of its own. ``around``: the reading, not what is
    started for it."""
    with ExitStack() as stack:
        start, end = _fork.Event(), _fork.Event()
        birds, readers = [], []
        for number, updates in enumerate(tables, 1):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            one = stack.enter_context(bird(f"isthmus-feed-{number}", folder, externals=number))
            sender = _fork.Process(target=neighbour, args=(one, number, updates, start, end), daemon=True)
            sender.start()
            stack.callback(sender.join, 10)
            readers.append(kind(one))
            birds.append(one)
        stack.callback(end.set)
        stack.enter_context(around())
        return read(birds, readers, start, expected)


def read(birds: list[Bird], readers: list[Reader], start: Event, expected: int) -> Figures:
    """Until that many prefixes have come."""
    with ExitStack() as stack:
        epoll = stack.enter_context(select.epoll())
        by_fd = {reader.fileno(): reader for reader in readers}
        for fd, reader in by_fd.items():
            epoll.register(fd, select.EPOLLIN)
            stack.callback(reader.close)
            if isinstance(reader, Ours):
                reader.pump()
        before, cpu, began = sum(one.cpu() for one in birds), time.process_time(), time.monotonic()
        start.set()
        while sum(reader.prefixes for reader in readers) < expected:
            if time.monotonic() - began > MOST_S:
                raise TimeoutError(f"{sum(reader.prefixes for reader in readers)} of {expected} prefixes came")
            ready = {fd for fd, _ in epoll.poll(min(reader.wait() for reader in readers))}
            for fd, reader in by_fd.items():
                if fd in ready or not reader.wait():
                    reader.pump()
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu
        told = sum(reader.updates for reader in readers)
        return Figures(seconds, cpu, sum(one.cpu() for one in birds) - before, told, expected)


class Feed(NamedTuple):
    """What an external tells: its UPDATEs, and how many prefixes that are."""

    updates: bytes
    prefixes: int


def asked(about: str | None) -> tuple[int, list[Feed]]:
    """What the command line asks for: rounds, and the feeds of two externals, with nothing else left to collect."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--scale", type=float, default=1.0, help="of the Internet")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    feeds = []
    for number in (1, 2):
        external = External(ASN + number, {4: 0x0A090001 + number << 96, 6: (0xFD09 << 112) + 1 + number})
        routes = {family: table(external, family, scale=options.scale) for family in FAMILIES}
        updates = b"".join(encoded(routes[family], family) for family in FAMILIES)
        feeds.append(Feed(updates, sum(len(keys) for family in FAMILIES for _, keys in routes[family])))
        del routes
    gc.collect()
    gc.freeze()
    return options.rounds, feeds


def main() -> None:
    """Measure, and print a line for each way."""
    rounds, feeds = asked(__doc__)
    tables, sizes = [feed.updates for feed in feeds], [feed.prefixes for feed in feeds]
    print("externals reader      s  CPU s BIRD s   updates  prefixes  µs CPU/prefix")
    for externals in (1, 2):
        times: dict[str, list[Figures]] = {"bare": [], "ours": []}
        for _ in range(rounds):
            for name, kind in (("bare", Bare), ("ours", Ours)):
                times[name].append(measure(kind, tables[:externals], sum(sizes[:externals])))
        for name, rows in times.items():
            row = Figures(*(median(column) for column in zip(*rows, strict=True)))
            print(
                f"{externals:9} {name:>6} {row.seconds:6.2f} {row.cpu:6.2f} {row.bird:6.2f} {row.updates:9,} "
                f"{row.prefixes:9,} {row.cpu / row.prefixes * 1e6:13.2f}",
                flush=True,
            )
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MB")


if __name__ == "__main__":
    main()
