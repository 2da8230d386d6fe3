"""One configuration after another, loaded into both; packet after packet; the first difference is an error that says
all."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from isthmus.datapath import Bindings, Hook, PacketPath, PortBinding
from isthmus.tables.address import FAMILIES, Family
from isthmus.tables.entries import AttachmentKey, Tables
from isthmus.tables.flows import ticks
from isthmus.tables.learned import NOTHING_LEARNED, Learned
from isthmus.tables.verdicts import Verdict
from isthmus.trace.environment import PortInfo
from isthmus.trace.twin import Outcome, Twin

SHORTEST_SKB = 54
"""Bytes below which BPF_PROG_TEST_RUN makes no skb: Ethernet and a whole IPv6 header."""
MAX_NAMESPACES = 18
"""Attachments that a random configuration can have; each has its own."""
SECRET = 0x0123456789ABCDEF
"""Where pools are searched from: the same for both, and in every run."""

LULL = ticks(7440)
"""Longer than anything is remembered."""

Neighbours = dict[tuple[AttachmentKey, Family, int], bytes]
Tunnels = dict[tuple[Family, int], tuple[str, bytes]]
Ports = dict[str, PortInfo]


class Difference(AssertionError):
    """The twin and the BPF program disagree, or both let a packet through that no VPC may get."""


@dataclass
class Bench:
    """A packet path in a namespace with ports p1..p7 and namespace ends n1..n18, all real devices.

    ``records``: room for so many flows, and for as many mappings. ``now``: its clock, in ticks; it never goes back,
    whatever runs."""

    path: PacketPath
    ifindex: dict[str, int]
    records: int
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    neighbours: Neighbours = field(default_factory=dict)
    tunnels: Tunnels = field(default_factory=dict)
    learned: Learned = NOTHING_LEARNED
    rooms: dict[AttachmentKey, str] = field(default_factory=dict)
    now: int = 1000

    def __post_init__(self) -> None:
        self.names = {index: name for name, index in self.ifindex.items()}

    def set_now(self, now: int) -> None:
        """The moment at which the next packets come."""
        self.now = now
        self.path.conversations.set_now(now)

    def sweep(self) -> None:
        """All that is over is gone when this returns."""
        self.path.conversations.sweep()

    def forget(self) -> None:
        """Nothing is remembered any more, and much time has passed."""
        self.path.conversations.forget()
        self.set_now(self.now + LULL)
        self.sweep()

    def apply(
        self,
        tables: Tables,
        ports: Ports,
        neighbours: Neighbours,
        judge_flows: bool,
        tunnels: Tunnels | None = None,
    ) -> None:
        """Tables, ports and MACs for the packet path; what it learned before is forgotten."""
        for key, family, address in self.neighbours:
            self.path.set_neighbor(key, family, address, None)
        for family, vtep in self.tunnels:
            self.path.set_tunnel(family, vtep, None, None)
        self.neighbours, self.tunnels = neighbours, tunnels or {}
        self.path.apply(tables, self.bindings(tables, ports), judge_flows=judge_flows)
        for (key, family, address), mac in neighbours.items():
            self.path.set_neighbor(key, family, address, mac)
        self._tell_tunnels()

    def _tell_tunnels(self) -> None:
        for (family, vtep), (port, mac) in self.tunnels.items():
            self.path.set_tunnel(family, vtep, self.ifindex[port], mac)

    def teach(self, learned: Learned) -> None:
        """What BGP has told since the last time; flows are to be judged by it at once."""
        before, self.learned = self.learned, learned
        for vpc in before.routes.keys() | learned.routes.keys():
            table = self.path.learned(vpc)
            for family in FAMILIES:
                old, new = (one.routes.get(vpc, {}).get(family, {}) for one in (before, learned))
                keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
                groups = [table.group(new[key].metric, new[key].next_hops) if key in new else 0 for key in keys]
                if keys:
                    table.update(family, keys, groups)
        self._tell_tunnels()  # a VTEP that only a learned route names was not noted before
        self.path.set_down(learned.down)
        while (early := self.path.settle()) is not None:
            time.sleep(early)

    def bindings(self, tables: Tables, ports: Ports) -> Bindings:
        """The devices for ports, and for the namespaces of all attachments."""
        self.rooms = _rooms([one.key for vpc in tables.vpcs.values() for one in vpc.attachments])
        namespaces = {key: PortBinding(self.ifindex[name], bytes(6), 1500) for key, name in self.rooms.items()}
        bound = {name: PortBinding(self.ifindex[name], info.mac, info.mtu) for name, info in ports.items()}
        return Bindings(bound, namespaces)

    def compare(self, twin: Twin, frame: bytes, interface: str, hook: Hook, where: str) -> tuple[Verdict, str, bytes]:
        """What both make of a frame: the verdict, the port that it left on (empty: none), and how.

        Raises ``Difference`` where they disagree."""
        return self._same(twin.process(frame, interface), frame, interface, hook, where)

    def compare_said(self, twin: Twin, frame: bytes, key: AttachmentKey, hook: Hook, where: str) -> None:
        """The same of a frame that the kernel of an attachment's namespace says."""
        self._same(twin.process_from_namespace(frame, key), frame, self.rooms[key], hook, where)

    def _same(self, ours: Outcome, frame: bytes, interface: str, hook: Hook, where: str) -> tuple[Verdict, str, bytes]:
        theirs = self.path.run(frame, self.ifindex[interface], hook)
        self.verdicts[ours.verdict] += 1
        sent = ours.out[-1] if ours.out else ours.answer
        left: str | None = sent[0] if sent else None
        leaves = sent[1] if sent else frame
        if ours.to_namespace is not None:
            left, leaves = self.rooms[ours.to_namespace], ours.delivered or b""
        expected = (ours.verdict, self.ifindex[left] if left else 0, leaves, ours.peering, ours.answer is not None)
        nowhere = left is None and ours.verdict is not Verdict.PASSED
        got = (theirs.verdict, theirs.ifindex, frame if nowhere else theirs.frame, theirs.peering, theirs.answered)
        if expected != got:
            raise Difference(
                f"{where}, from {interface}\n packet {frame[:200].hex()} ({len(frame)} bytes)\n"
                f" twin {_told(expected)}\n bpf  {_told(got)}"
            )
        forwarded = theirs.verdict is Verdict.FORWARDED
        return theirs.verdict, self.names[theirs.ifindex] if forwarded else "", theirs.frame


def _rooms(keys: list[AttachmentKey]) -> dict[AttachmentKey, str]:
    """The namespace ends of attachments: that of their port, for the first there, and any other for the next."""
    rooms: dict[AttachmentKey, str] = {}
    for key in keys:
        if (own := f"n{key.interface[1:]}") not in rooms.values():
            rooms[key] = own
    spare = (name for number in range(MAX_NAMESPACES) if (name := f"n{number + 1}") not in rooms.values())
    return rooms | {key: next(spare) for key in keys if key not in rooms}


def _told(outcome: tuple[Verdict, int, bytes, str | None, bool]) -> str:
    verdict, ifindex, frame, peering, answered = outcome
    head = f"{verdict.label} out {ifindex} peering {peering} answered {answered}, {len(frame)} bytes"
    return f"{head}\n      {frame[:200].hex()}"
