"""What a lost way costs: packets lost, and the time until the next way carries them, from the traffic itself.

``python -m tests.measure.failover [--scale S] [--rate R] [--rounds N] [--only PART]``, as root, on a machine that does
nothing else; some two minutes a round. In a lab with two externals numbered UDP packets go to an address that both
announce, and the preferred external, vpc-e1, is lost and comes back in different manners: first in example 4 with two
BIRDs, then with a neighbour that has told the Internet's table (``--scale 0``: not that). The streams: a *conversation*
of vpc-1 through its stateful NAT, which goes on when its way dies and is not moved when a better one comes; *plain*
packets of vpc-2, of which nothing is remembered; *other* packets to a network that vpc-e2 alone announces, whose way
never changes; and while the gateway drains packets *inward*, from vpc-e1 to vpc-2.

A row: what happened; the time (ms) from there to the last packet on the way before and to the first on the next;
packets lost (sent, and come nowhere); packets on the *wrong* way (sent after the first on the next way, and still come
by the one before); the longest pause of the sender (ms), within which no time is known.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import Final, NamedTuple

from isthmus.datapath.netns import inside
from isthmus.lab.demo.outside import EXTERNALS
from isthmus.lab.externals import cables
from isthmus.lab.plan import LabPlan
from isthmus.lab.process import Process, working_below
from isthmus.lab.service.ask import ask
from isthmus.lab.state import State
from isthmus.routing.bgp.attributes import AsPath, Attributes
from isthmus.routing.bird.control import Control
from isthmus.routing.router import DRAIN_S
from isthmus.tables.address import FAMILIES, Prefix, parse_address
from isthmus.tables.learned import prefix_key
from tests.measure.internet import External, encoded, table
from tests.measure.outside import OBJECTS, Neighbour, calm, lab, spaces
from tests.measure.streams import Source, Streams, now, streams

NAME: Final = "isthmus-failover"
EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "4-two-externals-by-metric.yaml"
BOTH: Final = "8.8.8.8"
SECOND: Final = "9.9.9.9"
PLAIN: Final = """\
apiVersion: gateway.githedgehog.com/v1alpha1
kind: VPC
metadata: {name: vpc-2}
spec:
  subnets: {servers: {cidr: 10.1.2.0/24}}
  attachments: [{interface: eth4, addresses: [10.1.2.254/24]}]
"""
PEERING: Final = """\
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata: {{name: vpc-2--{external}}}
spec:
  vpc-2: {{ips: [{{cidr: 10.1.2.0/24}}]}}
  {external}: {{metric: {metric}, ips: [{{cidr: 0.0.0.0/0}}, {{not: 10.0.0.0/8}}]}}
"""
METRICS: Final = {"vpc-e1": 0, "vpc-e2": 10}
TOLD: Final = {"vpc-e1": "8.8.8.0/24 med 5", "vpc-e2": "8.8.8.0/24 med 5\n9.9.9.0/24"}
HOSTS: Final = {"vpc-e1": [BOTH], "vpc-e2": [BOTH, SECOND]}
BACK_S: Final = 60.0
"""How long a neighbour may take to come back, with all its routes."""
DRAINED_S: Final = DRAIN_S + 1
_STREAMS: Final = ("conversation", "plain", "other", "inward")
_PLAIN: Final = 1
_FIRST: Final = "vpc-e1"
_NEXT: Final = "vpc-e2"
_CALM_S: Final = 1.0
_SILENT: Final = """\
table inet silent {
  chain in { type filter hook prerouting priority 0; policy drop; }
  chain out { type filter hook output priority 0; policy drop; }
}
"""


class Manner(NamedTuple):
    """How a way is lost, and how it comes back. ``stays``: packets are to stay where they are, for so many seconds."""

    name: str
    lose: Callable[[], None]
    mend: Callable[[], None]
    stays: float = 0.0


def manners(made: LabPlan) -> Iterator[Manner]:
    """Of losing a BIRD, which does BFD at 3 x 50 ms."""
    state = State(made.name)
    folder = state.external(_FIRST)
    (daemon,) = working_below([folder])

    def nft(*words: str) -> None:
        with inside(spaces(made)[_FIRST]):
            subprocess.run(["nft", *words], check=True, timeout=10)

    def drain(on: bool) -> None:
        ask(state.socket, {"ask": "drain", "on": on})

    with closing(Control(folder / "bird.ctl")) as bird:
        yield Manner("cable", lambda: cables.pull(made, "eth2"), lambda: cables.plug(made, "eth2"))
        yield Manner("BFD, host is silent", lambda: nft(_SILENT), lambda: nft("delete table inet silent"))
        yield Manner("BFD, daemon is stopped", lambda: _signal(daemon, SIGSTOP), lambda: _signal(daemon, SIGCONT))
        yield Manner("withdrawal", lambda: bird.disable("lab_routes4"), lambda: bird.enable("lab_routes4"))
        yield Manner("session closed", lambda: bird.disable("lab_neighbor0"), lambda: bird.enable("lab_neighbor0"))
        yield Manner("gateway drains", lambda: drain(True), lambda: drain(False), DRAINED_S)


def full(made: LabPlan, updates: bytes, stack: ExitStack) -> Iterator[Manner]:
    """Of losing a neighbour that has told very many routes."""
    alive = [Neighbour(made, _FIRST, updates)]
    stack.callback(lambda: alive[0].end())

    def again() -> None:
        alive[0].end()
        alive[0] = Neighbour(made, _FIRST, updates)

    yield Manner("full table, cable", lambda: cables.pull(made, "eth3"), lambda: cables.plug(made, "eth3"))
    yield Manner("full table, killed", lambda: alive[0].end(), again)


def _signal(process: Process, number: int) -> None:
    os.kill(process.pid, number)


class Row(NamedTuple):
    """See above; times in ms, None where the way did not change."""

    last: float | None
    first: float | None
    lost: int
    wrong: int


def main() -> None:
    """Measure, and print a row for each event and stream."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the Internet; 0: no such table")
    parser.add_argument("--rate", type=int, default=9000, help="packets a second, of all streams together")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default="", help="manners that have this in their names")
    options = parser.parse_args()
    updates = internet(options.scale) if options.scale and options.only in "full table, killed, cable" else b""
    print(f"{'event':30} {'stream':12} {'last ms':>8} {'first ms':>8} {'lost':>6} {'wrong':>5} {'pause ms':>8}")

    def measure(made: LabPlan, some: Iterable[Manner]) -> None:
        for manner in some:
            if options.only in manner.name:
                one(made, manner, options.rate)

    for _ in range(options.rounds):
        if not options.only.startswith("full"):
            with tempfile.TemporaryDirectory(prefix="isthmus-failover-") as folder:
                more = Path(folder) / "plain.yaml"
                more.write_text(PLAIN + "".join(PEERING.format(external=vpc, metric=m) for vpc, m in METRICS.items()))
                with lab(NAME, [EXTERNALS, EXAMPLE, more], TOLD, HOSTS) as made:
                    measure(made, manners(made))
        if updates:
            with lab(NAME, [OBJECTS], TOLD, HOSTS) as made, ExitStack() as stack:
                measure(made, full(made, updates, stack))


def internet(scale: float) -> bytes:
    """The UPDATEs of a whole table; the route that the traffic takes is the last."""
    neighbour = External(65001, {4: parse_address("198.51.100.2")[1], 6: parse_address("2001:db8:1::2")[1]})
    last = Attributes((4, neighbour.next_hops[4]), AsPath.sequence(neighbour.asn), med=5)
    told = [encoded(table(neighbour, family, scale=scale), family) for family in FAMILIES]
    return b"".join((*told, encoded([(last, [prefix_key(Prefix.parse("8.8.8.0/24"))])], 4)))


def one(made: LabPlan, manner: Manner, rate: int) -> None:
    """Lose the way and have it again, under traffic."""
    where = spaces(made)
    sources = [Source(where["vpc-1"], BOTH), Source(where["vpc-2"], BOTH), Source(where["vpc-2"], SECOND)]
    places = [_FIRST, _NEXT]
    if manner.stays:
        sources.append(Source(where[_FIRST], "10.1.2.1"))
        places.append("vpc-2")
    with streams(sources, {name: where[name] for name in places}, rate) as running:
        if not running.until(running.comes_to(_FIRST, _PLAIN), BACK_S):
            raise TimeoutError("packets do not take the preferred way")
        calm(made)
        ask(State(made.name).socket, {"ask": "clear", "filter": []})  # the conversation may have gone another
        time.sleep(_CALM_S)
        events = []
        for event, to in ((manner.lose, _FIRST if manner.stays else _NEXT), (manner.mend, _FIRST)):
            events.append(_happen(running, event, to))
            time.sleep(manner.stays)
            calm(made)
        running.stop()
        lost, back = events
        for what, old, new, began, end in (("lost", _FIRST, _NEXT, lost, back), ("back", _NEXT, _FIRST, back, now())):
            for stream in range(len(sources)):
                row = judged(running, stream, old, new, began, end)
                print(
                    f"{f'{manner.name}: {what}':30} {_STREAMS[stream]:12} {_ms(row.last)} {_ms(row.first)}"
                    f" {row.lost:6} {row.wrong:5} {running.held_up(began, end):8.1f}",
                    flush=True,
                )
        if again := running.twice():
            print(f"{again} packets came twice")


def _happen(running: Streams, event: Callable[[], None], to: str) -> int:
    """Have something happen, and wait until plain packets go where they are to; when it was."""
    came = running.comes_to(to, _PLAIN)
    began = now()
    event()
    if not running.until(came, BACK_S):
        raise TimeoutError(f"packets do not come to {to}")
    return began


def judged(running: Streams, stream: int, old: str, new: str, began: int, end: int) -> Row:
    """What an event did to a stream."""
    before, after = (running.arrived[place].of(stream, len(running.sources)) for place in (old, new))
    mine, there = before.after(began).until(end), after.after(began).until(end)
    lost = running.lost(stream, began, end)
    if not len(there.numbers) or not len(before.until(began).after(began - 100_000_000).numbers):
        return Row(None, None, lost, 0)
    first = there.numbers.min()
    last = (int(mine.times.max()) - began) / 1e6 if len(mine.times) else 0.0
    return Row(last, (int(there.times.min()) - began) / 1e6, lost, int((mine.numbers > first).sum()))


def _ms(value: float | None) -> str:
    return f"{'stays':>8}" if value is None else f"{value:8.1f}"


if __name__ == "__main__":
    main()
