"""The packet path as tests of conformance see it: packets of hosts in, what arrives at others out, and a clock to set.

The network is that of ``tests.differential.nat``: a and b use the same addresses and share a pool toward t; c and t
are plain. Programs are the real ones, run frame by frame in the kernel; packets are scapy's, which shares nothing with
ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeVar

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether

from isthmus.datapath import Hook
from isthmus.tables.entries import Tables, Timeouts
from isthmus.tables.flows import TICK_SHIFT
from isthmus.tables.verdicts import Verdict
from tests.differential.compare import Bench
from tests.differential.frames import HOST_MAC
from tests.differential.nat import NETWORKS, PLACES, PORTS, join, network

Test = TypeVar("Test", bound=Callable[..., None])

POOL = "198.18.0.0"
"""The first public address of a and b."""


def proves(*names: str) -> Callable[[Test], Test]:
    """Marks what a test shows: ``@proves("4787 REQ-1")``. The report is made of these."""
    mark: Callable[[Test], Test] = pytest.mark.proves(*names)
    return mark


def instead(*names: str) -> Callable[[Test], Test]:
    """Marks a test of what is done instead of what these ask for, which are declined."""
    mark: Callable[[Test], Test] = pytest.mark.instead(*names)
    return mark


class Seen(NamedTuple):
    """What became of a packet. ``to``: the VPC that it arrived in, and ``packet`` as it did (scapy's IP), if it did;
    ``answer``: what the gateway said to its sender."""

    verdict: Verdict
    to: str | None = None
    packet: Any = None
    answer: Any = None


class Gateway:
    """Forgets everything when it is made."""

    _runs: ClassVar[tuple[Bench, dict[str, Any]] | None] = None
    """The last bench, and with which options: most tests want the same, and need not wait for it again."""

    def __init__(self, bench: Bench, hook: Hook = "xdp", tables: Tables | None = None, **options: Any) -> None:
        """``options``: those of ``tests.differential.nat.network``; timeouts are the defaults of a side."""
        self.bench, self.hook = bench, hook
        options.setdefault("timeouts", Timeouts())
        bench.forget()
        runs, Gateway._runs = Gateway._runs, None
        if tables is not None:
            join(bench, tables)
            return
        if runs is None or runs[0] is not bench or runs[1] != options:
            join(bench, network(**options))
        Gateway._runs = bench, options

    def send(self, vpc: str, packet: Any) -> Seen:
        """A packet (scapy's IP or IPv6) of a host of this VPC."""
        port = PLACES[vpc]
        frame = bytes(Ether(src=HOST_MAC, dst=PORTS[port].mac) / packet)
        outcome = self.bench.path.run(frame, self.bench.ifindex[port], self.hook)
        left = Ether(outcome.frame)[1] if outcome.ifindex else None
        if outcome.verdict is Verdict.FORWARDED:
            interface = self.bench.names[outcome.ifindex]
            to = next(name for name, place in PLACES.items() if place == interface)
            return Seen(outcome.verdict, to, left)
        return Seen(outcome.verdict, answer=left if outcome.answered else None)

    def arrives(self, vpc: str, packet: Any) -> Any:
        """The packet as it arrives, whole: its checksums are right if they were."""
        seen = self.send(vpc, packet)
        assert seen.verdict is Verdict.FORWARDED, seen.verdict.label
        assert_sound(seen.packet)
        return seen.packet

    def is_lost(self, vpc: str, packet: Any) -> Verdict:
        """Why a packet does not arrive."""
        seen = self.send(vpc, packet)
        assert seen.packet is None
        return seen.verdict

    def later(self, seconds: float, *, swept: bool = True) -> None:
        """Time passes, not a tick more than that; and the sweep comes round."""
        self.bench.set_now(self.bench.now + (round(seconds * 1e9) >> TICK_SHIFT))
        if swept:
            self.bench.sweep()


def host(vpc: str, number: int) -> str:
    """The address of a host, as its VPC knows it; a and b have the same. MACs are known of the first 32."""
    return f"{NETWORKS[vpc].rpartition('.')[0]}.{number}"


def udp(src: str, dst: str, sport: int = 5000, dport: int = 53, data: bytes = b"data", **ip: Any) -> Any:
    """A UDP packet."""
    return IP(src=src, dst=dst, **ip) / UDP(sport=sport, dport=dport) / data


def tcp(src: str, dst: str, sport: int = 5000, dport: int = 80, flags: str = "S", data: bytes = b"") -> Any:
    """A TCP packet; ``flags`` as scapy writes them: ``S``, ``SA``, ``A``, ``FA``, ``R``."""
    return IP(src=src, dst=dst) / TCP(sport=sport, dport=dport, flags=flags) / data


def echo(src: str, dst: str, identifier: int = 7, kind: int = 8) -> Any:
    """An echo request, or (0) reply."""
    return IP(src=src, dst=dst) / ICMP(type=kind, id=identifier, seq=1) / b"ping"


def answer_to(arrived: Any, flags: str = "SA", data: bytes = b"answer") -> Any:
    """What the receiver sends back: ports swapped (TCP with ``flags``), or an echo reply."""
    back = IP(src=arrived.dst, dst=arrived.src)
    if TCP in arrived:
        return back / TCP(sport=arrived.dport, dport=arrived.sport, flags=flags) / data
    if UDP in arrived:
        return back / UDP(sport=arrived[UDP].dport, dport=arrived[UDP].sport) / data
    return back / ICMP(type=0, id=arrived[ICMP].id, seq=1) / data


def error_about(arrived: Any, src: str, kind: int = 3, code: int = 3, size: int = 28) -> Any:
    """An ICMP error about a packet as it arrived, quoting so many bytes of it, from some router or host."""
    return IP(src=src, dst=arrived.src) / ICMP(type=kind, code=code) / bytes(arrived)[:size]


def assert_sound(packet: Any) -> None:
    """Its lengths and checksums are what scapy computes from the rest."""
    again = packet.__class__(bytes(packet))
    for layer in (IP, TCP, UDP, ICMP):
        if layer in again and not (layer is UDP and again[UDP].chksum == 0):
            again[layer].chksum = None
    assert bytes(again) == bytes(packet)
