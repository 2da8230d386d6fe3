"""One configuration, loaded into both; packet after packet; the first difference is an error that says it all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from isthmus.compile import compile_tables
from isthmus.datapath import Bindings, Hook, PacketPath, PortBinding
from isthmus.tables.address import Family, step
from isthmus.tables.entries import AttachmentKey, Tables
from isthmus.tables.verdicts import Verdict
from isthmus.trace.environment import Environment, PortInfo
from isthmus.trace.twin import Twin
from tests.differential.configuration import MAX_PORTS, random_model
from tests.differential.packets import Packets

SHORTEST_SKB = 54
"""Bytes below which BPF_PROG_TEST_RUN makes no skb: Ethernet and a whole IPv6 header."""

Neighbours = dict[tuple[AttachmentKey, Family, int], bytes]


class Difference(AssertionError):
    """The twin and the BPF program disagree."""


@dataclass
class Bench:
    """A packet path in a namespace with ports p1..p7 and namespace ends n1..n7, both real devices."""

    path: PacketPath
    ifindex: dict[str, int]
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    neighbours: Neighbours = field(default_factory=dict)

    def configuration(self, seed: int, packets: int, hook: Hook) -> None:
        """Load the configuration of a seed over the last one, and hold both against each other."""
        rng = Random(seed)
        tables = compile_tables(random_model(rng))
        ports = {
            f"p{i}": PortInfo(bytes([2, 0, 0, 0, 0, i]), rng.choice([1280, 1500, 1500, 9000]))
            for i in range(1, MAX_PORTS + 1)
            if rng.random() < 0.88
        }
        self._apply(tables, ports)
        self._learn(rng, tables)
        twin = Twin(tables, Environment(ports=ports, neighbors=self.neighbours, hook="tc" if hook == "tc" else "xdp"))
        senders = [
            (Packets(rng, tables, vpc), attachment)
            for vpc in tables.vpcs.values()
            for attachment in vpc.attachments
            if attachment.key.interface in ports
        ]
        for number in range(packets if senders else 0):
            sender, attachment = rng.choice(senders)
            interface = attachment.key.interface
            frame = sender.frame(ports[interface].mac)
            self._compare(twin, frame, interface, hook, f"seed {seed} hook {hook} packet {number}")

    def _apply(self, tables: Tables, ports: dict[str, PortInfo]) -> None:
        namespaces = {
            a.key: PortBinding(self.ifindex["n" + a.key.interface[1:]], bytes(6), 1500)
            for vpc in tables.vpcs.values()
            for a in vpc.attachments
        }
        bound = {name: PortBinding(self.ifindex[name], info.mac, info.mtu) for name, info in ports.items()}
        for key, family, address in self.neighbours:
            self.path.set_neighbor(key, family, address, None)
        self.neighbours.clear()
        self.path.apply(tables, Bindings(bound, namespaces))

    def _learn(self, rng: Random, tables: Tables) -> None:
        """MACs for routers and for addresses at the ends of on-link routes, most of them."""
        for vpc in tables.vpcs.values():
            for family, routes in vpc.routes.items():
                unit = step(family)
                for route in routes:
                    for hop in route.next_hops:
                        ends = (route.prefix.first + unit * k for k in range(4))
                        tails = (route.prefix.last - unit * k for k in range(2))
                        for address in (hop.gateway,) if hop.gateway is not None else (*ends, *tails):
                            if rng.random() < 0.8 and 0 <= address < 1 << 128:
                                mac = bytes([2, 0xBB]) + rng.randbytes(4)
                                self.neighbours[hop.attachment, family, address] = mac
        for (key, family, address), mac in self.neighbours.items():
            self.path.set_neighbor(key, family, address, mac)

    def _compare(self, twin: Twin, frame: bytes, interface: str, hook: Hook, where: str) -> None:
        if hook == "tc" and len(frame) < SHORTEST_SKB:
            return
        ours = twin.process(frame, interface)
        theirs = self.path.run(frame, self.ifindex[interface], hook)
        self.verdicts[ours.verdict] += 1
        sent = ours.out[-1] if ours.out else ours.answer
        left: str | None = sent[0] if sent else None
        if ours.to_namespace is not None:
            left = "n" + ours.to_namespace.interface[1:]
        expected = (
            ours.verdict,
            self.ifindex[left] if left else 0,
            sent[1] if sent else frame,
            ours.peering,
            ours.answer is not None,
        )
        dropped = ours.verdict.dropped and ours.answer is None
        got = (theirs.verdict, theirs.ifindex, frame if dropped else theirs.frame, theirs.peering, theirs.answered)
        if expected != got:
            raise Difference(
                f"{where}, from {interface}\n packet {frame[:200].hex()} ({len(frame)} bytes)\n"
                f" twin {_told(expected)}\n bpf  {_told(got)}"
            )


def _told(outcome: tuple[Verdict, int, bytes, str | None, bool]) -> str:
    verdict, ifindex, frame, peering, answered = outcome
    head = f"{verdict.label} out {ifindex} peering {peering} answered {answered}, {len(frame)} bytes"
    return f"{head}\n      {frame[:200].hex()}"
