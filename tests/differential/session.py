"""One seed: a configuration, what becomes of it, and packets all the while; time passes, and both sides sweep."""

from __future__ import annotations

from random import Random

from isthmus.compile import compile_tables
from isthmus.datapath import Hook
from isthmus.datapath.conversations import Conversation
from isthmus.model.types import Model
from isthmus.tables.entries import Tables
from isthmus.tables.flows import FRAGMENT_S, HOLD_DOWN_S, TICK_SHIFT, ticks
from isthmus.tables.verdicts import Verdict
from isthmus.trace.environment import Environment
from isthmus.trace.flows import Flows
from isthmus.trace.flows.records import Key
from isthmus.trace.twin import Twin
from tests.differential.compare import SECRET, SHORTEST_SKB, Bench, Difference, Ports
from tests.differential.configuration import random_model
from tests.differential.conversations import Conversations
from tests.differential.isolation import Isolation, Passage
from tests.differential.lively import lively_model
from tests.differential.node import draw_neighbours, draw_ports, draw_tunnels
from tests.differential.teacher import Teacher
from tests.differential.variation import varied
from tests.differential.wire import Place, Wire

FAR = (Verdict.FORWARDED, Verdict.TTL, Verdict.TOO_BIG, Verdict.NEXT_HOP_UNRESOLVED, Verdict.NO_ATTACHMENT)
"""Verdicts of packets that a flow has carried, if there was one."""


def run_seed(bench: Bench, seed: int, packets: int, hook: Hook) -> None:
    """All of one seed, over nothing that was there before. Raises ``Difference``."""
    Session(bench, seed, packets, hook).run()


Remembered = tuple[tuple[Key, Key], int, int, bool]
"""The keys of a flow, its TCP bits, the ticks it has left, and whether it has a mapping."""


class Session:
    """The state of one seed: everything that happens follows from the seed, the number of packets and the hook."""

    def __init__(self, bench: Bench, seed: int, packets: int, hook: Hook) -> None:
        self.bench, self.packets, self.hook = bench, packets, hook
        self.where = f"seed {seed} hook {hook} packets {packets}"
        self.rng = Random(seed)
        self.friendly = self.rng.random() < 0.75
        self.flows = Flows(SECRET, bench.records)
        self.talks = Conversations(self.rng)
        self.oracle = Isolation()
        self.number = 0
        self.names: dict[Place, str] = {}
        self.wire = Wire(self.rng)
        self.teacher = Teacher(self.rng)
        self.tables = Tables()
        self.ports: Ports = {}
        self.learned = self.teacher.learned

    def run(self) -> None:
        """Several configurations, each with its share of the packets."""
        rng = self.rng
        self.bench.forget()
        self.bench.teach(self.learned)
        self.flows.now = self.bench.now
        model = lively_model(rng) if self.friendly else random_model(rng)
        seen = [model]
        phases = rng.choice([1, 2, 4, 6])
        for phase in range(phases):
            if phase:
                model = rng.choice(seen) if rng.random() < 0.2 else varied(rng, model)
                seen.append(model)
            self._configure(model, judge=rng.random() < 0.5)
            for _ in range(self.packets // phases if self.talks.places else 0):
                self._pass_time()
                if rng.random() < 0.01:
                    self._teach()
                self._packet()
            self._compare_state()

    def _configure(self, model: Model, judge: bool) -> None:
        rng = self.rng
        tables = self.tables = compile_tables(model)
        if not self.ports or rng.random() < 0.1:
            self.ports = draw_ports(rng, self.friendly)
        neighbours = draw_neighbours(rng, tables, self.friendly)
        tunnels = draw_tunnels(rng, tables, self.ports)
        self._teach(tables)
        self.bench.apply(tables, self.ports, neighbours, judge, tunnels)
        self.flows.reconfigured()
        if judge:
            self.flows.sweep(tables, self.learned)
        environment = Environment(self.ports, neighbours, "tc" if self.hook == "tc" else "xdp", tunnels=tunnels)
        self.twin = Twin(tables, environment, self.flows, self.learned)
        self.wire.configure(tables, self.ports)
        self.oracle.configure(tables)
        self.talks.configure(tables, {name: info.mac for name, info in self.ports.items()})
        self.names = {a.key[1:]: vpc.name for vpc in tables.vpcs.values() for a in vpc.attachments}
        spans = sorted({time for side in tables.sides.values() for time in side.timeouts})
        self.spans = [FRAGMENT_S, HOLD_DOWN_S, *spans, *3 * [time for time in spans if time <= 30]]

    def _teach(self, tables: Tables | None = None) -> None:
        """BGP has news; or, before other tables come, withdraws what they have no attachments for."""
        if tables is not None:
            self.teacher.configure(tables)
        else:
            self.teacher.change()
        self.learned = self.teacher.learned
        self.bench.teach(self.learned)
        if tables is None:
            self.twin.learned = self.learned
            self.oracle.reroute()

    def _pass_time(self) -> None:
        """Mostly none; often just as much as something is remembered, or a tick less or more."""
        rng = self.rng
        kind = rng.random()
        if kind > 0.07:
            return
        span = ticks(rng.choice(self.spans))
        if kind < 0.03:
            self._set_now(self.bench.now + rng.randrange(4))
        elif kind < 0.05:
            self._set_now(self.bench.now + max(0, span + rng.randint(-2, 1)))
            if rng.random() < 0.7:
                self.talks.hurry()
        elif kind < 0.055:
            self._set_now(self.bench.now + rng.randrange(span + 1))
        if kind > 0.055 or rng.random() < 0.1:
            self._sweep()

    def _sweep(self) -> None:
        self.bench.sweep()
        self.flows.sweep(self.tables, self.learned)

    def _set_now(self, now: int) -> None:
        self.bench.set_now(now)
        self.flows.now = now

    def _packet(self) -> None:
        where = f"{self.where} packet {self.number}"
        self.number += 1
        if self.rng.random() < 0.02:
            self._said_by_a_namespace(where)
            return
        interface, frame, place, plain = self.wire.enter(*self.talks.frame())
        if self.hook == "tc" and len(frame) < SHORTEST_SKB:
            return
        verdict, left, out = self.bench.compare(self.twin, frame, interface, self.hook, where)
        peer, sent, wrong = self._read(left, out) if left else (None, None, None)
        vpc = self.names[place] if place is not None else None
        if wrong is None and vpc is None and left:
            wrong = "it was nobody's, and was carried"
        if wrong is None and vpc is not None:
            wrong = self.oracle.judge(Passage(self.bench.now, vpc, plain, peer, sent, verdict in FAR))
        if wrong is not None:
            told = f" in  {frame[:200].hex()}\n out {(out if left else b'')[:200].hex()}"
            raise Difference(f"{where}, from {interface} ({vpc}) to {peer}: {wrong}\n{told}")
        if vpc is not None:
            self.talks.delivered(vpc, plain, peer, sent)

    def _read(self, interface: str, frame: bytes) -> tuple[str | None, bytes | None, str | None]:
        """The VPC that a frame left to, the frame without its tag, and what is wrong with it."""
        found = self.wire.left(interface, frame)
        return (None, None, found) if isinstance(found, str) else (found[0].key.vpc, found[1], None)

    def _said_by_a_namespace(self, where: str) -> None:
        """What a kernel says on an attachment: ARP, ND, a ping's answer."""
        keys = [one.key for vpc in self.tables.vpcs.values() for one in vpc.attachments]
        key = self.rng.choice(keys)
        frame = self.wire.said(self.tables.vpcs[key.vpc], key)
        if self.hook == "xdp" or len(frame) >= SHORTEST_SKB:
            self.bench.compare_said(self.twin, frame, key, self.hook, where)

    def _compare_state(self) -> None:
        """After a sweep both remember the same."""
        self._sweep()
        ours = {
            (one.keys, one.bits, one.deadline - self.flows.now, one.mapping is not None) for one in self.flows._records
        }
        theirs = {_told(one) for one in self.bench.path.conversations}
        where = f"{self.where} before packet {self.number}"
        if ours != theirs:
            raise Difference(f"{where}: flows\n twin alone {ours - theirs}\n bpf alone  {theirs - ours}")
        records = sum(self.bench.path.conversations.records()[:3])
        if records != self.flows.records:
            raise Difference(f"{where}: the twin has {self.flows.records} records, BPF {records}")


def _told(one: Conversation) -> Remembered:
    """A flow of the packet path as the twin would tell it."""
    family, proto, ticks_left = one.family, one.proto, round(one.expires_s * 1e9 / (1 << TICK_SHIFT))
    keys = (Key(one.initiator, family, proto, *one.sent), Key(one.responder, family, proto, *one.answered))
    return keys, int(one.tcp), ticks_left, one.mapped
