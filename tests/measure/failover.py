"""What a lost way costs: packets lost, and the time until the next way carries them, from the traffic itself.

``python -m tests.measure.failover [--rate R] [--rounds N]``, as root, on a machine that does nothing else; some 25 s a
round. Example 4 in a lab, with two BIRDs as externals: numbered UDP packets go to an address that both announce, and
the preferred external, vpc-e1, is lost and comes back in different manners. Three streams: a *conversation* of vpc-1
through its stateful NAT, which goes on when its way dies and is not moved when a better one comes; *plain* packets of a
VPC of which nothing is remembered; and plain packets to a network that vpc-e2 alone announces, whose way never changes.

A row: what happened; the time (ms) from there to the last packet on the way before and to the first on the next;
packets lost (sent, and come nowhere); packets on the *wrong* way (sent after the first on the next way, and still come
by the one before); what became of the third stream; the longest pause of the sender (ms), within which no time is
known.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from isthmus.datapath.netns import inside
from isthmus.lab.demo.outside import EXTERNALS
from isthmus.lab.externals import cables
from isthmus.lab.plan import LabPlan
from isthmus.lab.process import working_below
from isthmus.lab.service.ask import ask
from isthmus.lab.state import State
from isthmus.routing.bird.control import Control
from tests.measure.outside import lab, spaces
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
BACK_S: Final = 25.0
"""How long a session may take to come back."""
_CONVERSATION, _PLAIN, _STEADY = range(3)
_FIRST, _NEXT = "vpc-e1", "vpc-e2"
_CALM_S: Final = 1.0
_SILENT: Final = """\
table inet silent {
  chain in { type filter hook prerouting priority 0; policy drop; }
  chain out { type filter hook output priority 0; policy drop; }
}
"""


class Manner(NamedTuple):
    """How a way is lost, and how it comes back. ``moves``: False where packets are to stay where they are."""

    name: str
    lose: Callable[[], None]
    mend: Callable[[], None]
    moves: bool = True


def manners(made: LabPlan) -> Iterator[Manner]:
    """All of them."""
    state = State(made.name)
    hosts = spaces(made)[_FIRST]
    folder = state.external(_FIRST)
    (daemon,) = working_below([folder])
    control = Control(folder / "bird.ctl")

    def nft(*words: str) -> None:
        with inside(hosts):
            subprocess.run(["nft", *words], check=True, timeout=10)

    def drain(on: bool) -> None:
        ask(state.socket, {"ask": "drain", "on": on})

    yield Manner("cable", lambda: cables.pull(made, "eth2"), lambda: cables.plug(made, "eth2"))
    yield Manner("BFD: silent host", lambda: nft(_SILENT), lambda: nft("delete table inet silent"))
    yield Manner(
        "BFD: daemon stopped",
        lambda: os.kill(daemon.pid, signal.SIGSTOP),
        lambda: os.kill(daemon.pid, signal.SIGCONT),
    )
    yield Manner("withdrawal", lambda: control.disable("lab_routes4"), lambda: control.enable("lab_routes4"))
    yield Manner("session closed", lambda: control.disable("lab_neighbor0"), lambda: control.enable("lab_neighbor0"))
    yield Manner("gateway drains", lambda: drain(True), lambda: drain(False), moves=False)


class Row(NamedTuple):
    """See above; times in ms, None where the way did not change."""

    last: float | None
    first: float | None
    lost: int
    wrong: int


def main() -> None:
    """Measure, and print a row for each event and stream."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=9000, help="packets a second, of the three streams together")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default="", help="manners that have this in their names")
    options = parser.parse_args()
    with lab() as made:
        print(f"{'event':28} {'stream':12} {'last ms':>8} {'first ms':>8} {'lost':>6} {'wrong':>5} {'other':>5} {'pause':>6}")
        for _ in range(options.rounds):
            for manner in manners(made):
                if options.only in manner.name:
                    one(made, manner, options.rate)


def one(made: LabPlan, manner: Manner, rate: int) -> None:
    """Lose the way and have it again, under traffic."""
    ask(State(made.name).socket, {"ask": "clear", "filter": []})
    spaces = {vpc.name: vpc.host_namespace for vpc in made.vpcs}
    sources = [Source(spaces["vpc-1"], BOTH), Source(spaces["vpc-2"], BOTH), Source(spaces["vpc-2"], SECOND)]
    with streams(sources, {name: spaces[name] for name in (_FIRST, _NEXT)}, rate) as running:
        if not all(running.until(running.comes_to(_FIRST, stream), 5) for stream in (_CONVERSATION, _PLAIN)):
            raise TimeoutError("packets do not take the preferred way")
        time.sleep(_CALM_S)
        events = [_happen(running, manner.lose, _NEXT if manner.moves else _FIRST)]
        time.sleep(_CALM_S)
        events.append(_happen(running, manner.mend, _FIRST))
        time.sleep(_CALM_S)
        running.stop()
        for number, (what, old, new) in enumerate((("lost", _FIRST, _NEXT), ("back", _NEXT, _FIRST))):
            began, end = events[number], [*events, now()][number + 1]
            for stream, name in ((_CONVERSATION, "conversation"), (_PLAIN, "plain")):
                row = judged(running, stream, old, new, began, end)
                print(
                    f"{manner.name + ': ' + what:28} {name:12} {_ms(row.last)} {_ms(row.first)} {row.lost:6}"
                    f" {row.wrong:5} {running.lost(_STEADY, began, end):5} {running.held_up(began, end):6.1f}",
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
