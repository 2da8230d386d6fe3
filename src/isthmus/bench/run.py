"""Measures subjects against one another: many rounds, in each of them a short burst of every subject, medians over all.

So whatever slows the machine for a while slows all of them alike, and a ratio stays what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Final

from isthmus.bench.generator import Burst, Generator, require_delivery
from isthmus.bench.machine import Neighbours, pinned
from isthmus.bench.subject import FlowSubject, Subject
from isthmus.bench.tags import KINDS
from isthmus.bench.throughput import Stream, TcpSubject
from isthmus.bench.topology import Topology

_KERNEL: Final = ("xdp-redirect", "kernel-forward", "kernel-nftables-nat")
PACKET_COMPARISONS: Final[Mapping[str, tuple[str, ...]]] = {
    "static-1": _KERNEL,
    "static-1000": (*_KERNEL, "static-1"),
    "static-10000": (*_KERNEL, "static-1"),
}
TAG_COMPARISONS: Final[Mapping[str, tuple[str, ...]]] = {
    kind: ("xdp-redirect",) if kind == "untagged" else ("xdp-redirect", "untagged") for kind in KINDS
}
LOOKUP_COMPARISONS: Final[Mapping[str, tuple[str, ...]]] = {"lookups-full": ("xdp-redirect", "lpm-trie", "lookups-10")}
FLOWS: Final = (1, 100_000, 1_000_000)
"""Flows that all exist while packets of them are sent: the numbers in the rows' names."""
NEW_FLOWS: Final = 200_000
"""Flows that one burst of ``flows-new`` opens."""
FLOW_COMPARISONS: Final[Mapping[str, tuple[str, ...]]] = {
    f"flows-{flows}": ("xdp-redirect", "kernel-nftables-nat") for flows in FLOWS
}
NEW_FLOW_COMPARISONS: Final[Mapping[str, tuple[str, ...]]] = {"flows-new": ("kernel-nftables-nat",)}
TCP_COMPARISONS: Final[Mapping[str, tuple[str, ...]]] = {"tcp-tc": ("kernel-forward",)}

FOREIGN_LIMIT: Final = 0.1  # cores of others' work from which figures are doubtful
LOSS_LIMIT: Final = 0.01  # share of packets lost from which a figure is doubtful

_PASSES: Final = 3  # over all conversations, until none is lost
_VERIFIED: Final = 20_000  # packets, each looked at, before a subject is measured
_WARM_UP: Final = 100_000  # packets that tell how many make a burst
_DIGITS: Final = 4

Rates = Mapping[str, Sequence[float]]
"""A rate for each round, by the name of the subject."""
Say = Callable[[str], None]
"""Takes a line of progress, or a warning."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure: rounds, and seconds of one burst or stream in each; how often a table is filled."""

    rounds: int
    burst: float
    tcp_rounds: int
    stream: int
    fills: int


FULL: Final = Effort(rounds=11, burst=0.3, tcp_rounds=7, stream=2, fills=5)
QUICK: Final = Effort(rounds=3, burst=0.1, tcp_rounds=1, stream=1, fills=1)


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: medians over the rounds, and how far rounds lay apart."""

    name: str
    value: float
    unit: str
    baseline: str
    baseline_value: float
    low: float
    high: float

    @property
    def ratio(self) -> float:
        """How many times as fast as the baseline."""
        return round(self.value / self.baseline_value, _DIGITS)

    def as_json(self) -> dict[str, object]:
        """Under the names that the command line promises."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "baseline": self.baseline,
            "baselineValue": self.baseline_value,
            "ratio": self.ratio,
            "low": self.low,
            "high": self.high,
        }


def rows(rates: Rates, comparisons: Mapping[str, tuple[str, ...]], unit: str, scale: float) -> list[Row]:
    """Every comparison both of whose subjects were measured, in order; ``scale`` turns a rate into ``unit``."""

    def of(name: str, pick: Callable[[Sequence[float]], float]) -> float:
        return round(pick(rates[name]) / scale, _DIGITS)

    return [
        Row(name, of(name, median), unit, baseline, of(baseline, median), of(name, min), of(name, max))
        for name, baselines in comparisons.items()
        for baseline in baselines
        if name in rates and baseline in rates
    ]


def packet_rates(
    subjects: Sequence[Subject], effort: Effort, cpu: int, say: Say, warn: Say, what: str = "packets"
) -> dict[str, list[float]]:
    """Packets a second of each subject in each round, all on one CPU; ``what`` begins lines of progress.

    Raises ``BenchError`` where a subject can not be prepared, or does not deliver what it should."""
    with ExitStack() as stack, pinned(cpu):
        generators = {subject.name: prepared(subject, stack, say, what) for subject in subjects}
        packets = {name: _burst_size(generator, effort.burst) for name, generator in generators.items()}
        bursts = {name: partial(generator.burst, packets[name]) for name, generator in generators.items()}
        return _rounds(bursts, effort.rounds, cpu, say, warn, what)


def new_flow_rates(
    subjects: Sequence[FlowSubject], effort: Effort, cpu: int, say: Say, warn: Say, what: str = "new flows"
) -> dict[str, list[float]]:
    """Flows a second that each subject opens in each round: every packet of a burst begins one, and before the burst
    there are none. Otherwise as ``packet_rates``."""

    def opened(subject: FlowSubject, generator: Generator) -> Burst:
        subject.forget()
        return generator.in_order(generator.flows)

    with ExitStack() as stack, pinned(cpu):
        bursts = {subject.name: partial(opened, subject, prepared(subject, stack, say, what)) for subject in subjects}
        return _rounds(bursts, effort.rounds, cpu, say, warn, what)


def _rounds(
    bursts: Mapping[str, Callable[[], Burst]], rounds: int, cpu: int, say: Say, warn: Say, what: str
) -> dict[str, list[float]]:
    """The rate of each burst in each round; a warning where many packets were lost, or the machine was busy."""
    rates: dict[str, list[float]] = {name: [] for name in bursts}
    sent, arrived, neighbours = dict.fromkeys(rates, 0), dict.fromkeys(rates, 0), Neighbours(cpu)
    for number in range(rounds):
        say(f"{what}: round {number + 1} of {rounds}")
        for name in _rotated(list(bursts), number):
            with neighbours.watch():
                burst = bursts[name]()
            rates[name].append(burst.rate)
            sent[name] += burst.sent
            arrived[name] += burst.arrived
    for name, rate in rates.items():
        lost = 1 - arrived[name] / sent[name]
        if lost > LOSS_LIMIT:
            warn(f"{name} lost {lost:.1%} of its packets: its {median(rate) / 1e6:.2f} Mpps are those that arrived")
    if neighbours.cores > FOREIGN_LIMIT:
        warn(f"{what}: others used {neighbours.cores:.2f} cores of the machine meanwhile, so figures are doubtful")
    return rates


def tcp_rates(subjects: Sequence[TcpSubject], effort: Effort, cpu: int, say: Say) -> dict[str, list[float]]:
    """Bits a second of one TCP stream through each subject, in each round. Raises ``BenchError`` as ``Stream`` does."""
    with ExitStack() as stack:
        streams = {subject.name: Stream(subject, stack) for subject in subjects}
        rates: dict[str, list[float]] = {name: [] for name in streams}
        for number in range(effort.tcp_rounds):
            for name in _rotated(list(streams), number):
                say(f"TCP: round {number + 1} of {effort.tcp_rounds}, {name}")
                rates[name].append(streams[name].rate(effort.stream, cpu))
    return rates


def prepared(subject: Subject, stack: ExitStack, say: Say, what: str) -> Generator:
    """A subject in a topology of its own that has delivered what it should; ``stack`` takes what is to be undone.

    Raises ``BenchError`` where it can not be prepared, or does not deliver."""
    say(f"{what}: preparing {subject.name}")
    topology = stack.enter_context(Topology(subject.name))
    stack.callback(subject.close)
    subject.prepare(topology)
    generator = stack.enter_context(Generator(topology, subject.traffic, subject.arrival))
    _establish(subject.name, generator)
    require_delivery(subject.name, generator.verify(_VERIFIED))
    return generator


def _establish(name: str, generator: Generator) -> None:
    """Send a packet of every conversation, so that a subject that remembers them knows all.

    Raises ``BenchError`` where some are lost each time."""
    for _ in range(_PASSES):
        burst = generator.in_order(generator.flows)
        if burst.arrived == burst.sent:
            return
    require_delivery(name, burst)


def _burst_size(generator: Generator, seconds: float) -> int:
    return max(round(generator.burst(_WARM_UP).rate * seconds), _WARM_UP // 10)


def _rotated(names: list[str], by: int) -> list[str]:
    """So that no subject always follows the same other, or always comes first."""
    turn = by % len(names)
    return names[turn:] + names[:turn]
