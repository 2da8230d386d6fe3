"""How routes come into the packet path, change there while packets flow, and are lost all at once.

Packets are sent by a thread of its own, on one CPU; the table is changed by the caller's, on any other.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median, quantiles
from types import TracebackType
from typing import Final, NamedTuple, Self

from isthmus.bench import BenchError
from isthmus.bench.generator import Burst, Generator
from isthmus.bench.machine import pinned
from isthmus.bench.run import Effort, Row, Say, prepared, rows
from isthmus.bench.subject import RouteSubject
from isthmus.tables.address import FAMILIES

CHANGES: Final = 50_000
"""Routes that change in a round, one by one."""
FIGURES: Final[Mapping[str, tuple[str, float]]] = {
    "routes-ipv4": ("Mroutes/s", 1e6),
    "routes-ipv6": ("Mroutes/s", 1e6),
    "routes-all": ("s", 1),
    "update": ("µs", 1e-6),
    "update-p99": ("µs", 1e-6),
    "updates": ("k/s", 1e3),
    "updates-traffic": ("Mpps", 1e6),
    "withdrawal": ("ms", 1e-3),
}
"""Rows: unit, and what makes a figure of it."""

_BURST: Final = 0.05  # seconds
_SWITCH: Final = 1e-4  # seconds after which Python's lock is handed on: between bursts no packet flows
_BURSTS: Final = 5  # that tell a rate
_PATIENCE: Final = 30.0  # seconds until packets have to stop


class Flowing:
    """Packets that flow while others work: burst after burst. A context manager; inside, the first burst is over."""

    def __init__(self, generator: Generator, packets: int, cpu: int) -> None:
        """``packets`` of a burst, all of it on one CPU."""
        self._generator, self._packets, self._cpu = generator, packets, cpu
        self._bursts: list[Burst] = []
        self._changed = threading.Condition()
        self._stopped = False

    def __enter__(self) -> Self:
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH)
        self._thread = ThreadPoolExecutor(1)
        self._sending = self._thread.submit(self._send)
        self._sending.add_done_callback(lambda _: self._tell())
        try:
            self.until(bool)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        if error is None:
            self._sending.result()

    def until(self, enough: Callable[[Sequence[Burst]], bool]) -> list[Burst]:
        """The bursts that begin from now on, as soon as they are enough. Raises ``BenchError`` where that takes too
        long, and what ended the sending."""
        with self._changed:
            seen = len(self._bursts) + bool(self._bursts)  # one is on its way
            if not self._changed.wait_for(lambda: self._sending.done() or enough(self._bursts[seen:]), _PATIENCE):
                raise BenchError(f"packets did not do in {_PATIENCE:.0f} s what they should")
            if self._sending.done():
                self._sending.result()
            return self._bursts[seen:]

    def so_far(self) -> list[Burst]:
        """All bursts that are over."""
        with self._changed:
            return list(self._bursts)

    def _end(self) -> None:
        self._stopped = True
        self._thread.shutdown()
        sys.setswitchinterval(self._interval)

    def _send(self) -> None:
        with pinned(self._cpu):
            while not self._stopped:
                burst = self._generator.burst(self._packets)
                with self._changed:
                    self._bursts.append(burst)
                self._tell()

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()


class Changed(NamedTuple):
    """Of routes that change one by one: seconds that each took and all, packets a second before and meanwhile."""

    each: list[float]
    seconds: float
    quiet: float
    traffic: float
    lost: int
    sent: int


def changed(subject: RouteSubject, flowing: Flowing, changes: int) -> Changed:
    """Change so many routes while packets flow."""
    quiet = flowing.until(lambda bursts: len(bursts) >= _BURSTS)
    each, before, began = [], len(flowing.so_far()), time.perf_counter()
    for number in range(changes):
        started = time.perf_counter()
        subject.change(number)
        each.append(time.perf_counter() - started)
    seconds = time.perf_counter() - began
    during = flowing.so_far()[before + 1 :] or flowing.until(bool)
    sent, lost = sum(burst.sent for burst in during), sum(burst.sent - burst.arrived for burst in during)
    return Changed(each, seconds, median(b.rate for b in quiet), median(b.rate for b in during), lost, sent)


def withdrawn(subject: RouteSubject, flowing: Flowing) -> float:
    """Seconds until no packet follows the routes of an external that is lost, nor anybody is at work on it."""
    began = time.monotonic_ns()
    subject.lose()
    returned = time.monotonic_ns()
    flowing.until(lambda bursts: any(burst.arrived == 0 for burst in bursts))
    last = max(burst.ended for burst in flowing.so_far() if burst.arrived)
    return (max(last, returned) - began) * 1e-9


def filled(subject: RouteSubject) -> dict[str, float]:
    """Seconds and rates of all routes coming into an empty table, by the name of the row."""
    subject.forget()
    found, whole = {}, 0.0
    for family in FAMILIES:
        began = time.perf_counter()
        count = subject.learn(family)
        seconds = time.perf_counter() - began
        found[f"routes-ipv{family}"] = count / seconds
        whole += seconds
    return {**found, "routes-all": whole}


def route_rows(
    ours: RouteSubject, theirs: RouteSubject, effort: Effort, cpu: int, say: Say, warn: Say, changes: int = CHANGES
) -> list[Row]:
    """All of it, in turns. Raises ``BenchError`` where a subject can not be prepared, or does not do what it should."""
    figures: dict[str, dict[str, list[float]]] = {name: {} for name in FIGURES}

    def note(row: str, subject: str, figure: float) -> None:
        figures[row].setdefault(row if subject == ours.name else subject, []).append(figure)

    with ExitStack() as stack:
        with pinned(cpu):
            generators = {subject.name: prepared(subject, stack, say, "routes") for subject in (ours, theirs)}
        lost = sent = 0
        for number in range(effort.fills):
            for subject in (ours, theirs):
                say(f"routes: round {number + 1} of {effort.fills}, {subject.name}")
                for row, figure in filled(subject).items():
                    note(row, subject.name, figure)
                generator = generators[subject.name]
                packets = round(generator.burst(10_000).rate * _BURST)
                with Flowing(generator, packets, cpu) as flowing:
                    done = changed(subject, flowing, changes)
                    note("update", subject.name, median(done.each))
                    note("update-p99", subject.name, quantiles(done.each, n=100)[98])
                    note("updates", subject.name, changes / done.seconds)
                    note("withdrawal", subject.name, withdrawn(subject, flowing))
                if subject is ours:
                    note("updates-traffic", ours.name, done.traffic)
                    note("updates-traffic", "no-updates", done.quiet)
                    lost, sent = lost + done.lost, sent + done.sent
    say(f"routes: {lost} of {sent} packets were lost while routes changed")
    if lost:
        warn(f"{ours.name} lost {lost} of {sent} packets while routes changed")
    return [
        row
        for name, (unit, scale) in FIGURES.items()
        for row in rows(figures[name], {name: tuple(figures[name])[1:]}, unit, scale)
    ]
