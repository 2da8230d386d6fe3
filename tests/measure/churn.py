"""Churn at full size: how long a change takes from the neighbour's socket to packets, and that no other packet is lost.

``python -m tests.measure.churn [--scale S] [--seconds T] [--updates U]``, as root, on a machine that does nothing else.
In a lab with two externals, vpc-e1 is a neighbour with the Internet's table (1.05 million IPv4 and 230,000 IPv6
routes), which then sends UPDATEs of one prefix each, 1,000 a second for a minute: of random prefixes, announced with
other attributes or another next hop, withdrawn, and announced again. BIRD, the session, the RIB and the packet path are
those of the lab's gateway as it runs.

Among these UPDATEs are some of *marked* prefixes, each of which moves its packets from vpc-e1 to vpc-e2 or back (by its
MED, or by a withdrawal). Numbered packets go to all of them all the time. A change took from the moment before the
UPDATE was written to the neighbour's socket until the first packet came by the new way: too much by the time between
two packets to one prefix, which is printed. *Wrong*: packets that came by the way before after that. Other packets go
to prefixes that never change, through a stateful NAT and plain: each of them has to come.
"""

from __future__ import annotations

import argparse
import gc
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Final

import numpy as np

from isthmus.lab.plan import LabPlan
from isthmus.lab.process import Process, working_below
from isthmus.lab.service.ask import ask
from isthmus.lab.state import State
from isthmus.routing.bgp import writer
from isthmus.routing.bgp.attributes import AsPath, Attributes
from isthmus.routing.bgp.wire import LONGEST
from isthmus.tables.address import FAMILIES, Family, Prefix, parse_address
from isthmus.tables.learned import prefix_key
from tests.measure.bird import cpu
from tests.measure.internet import External, Table, encoded, table
from tests.measure.outside import OBJECTS, Neighbour, Said, calm, keeper, lab, spaces
from tests.measure.streams import Source, Streams, streams

NAME: Final = "isthmus-churn"
MARKED, STEADY = 16, 8
"""Prefixes that change their ways; and prefixes of each external that do not, with two streams each."""
EACH_S: Final = 0.4
"""Between two changes of one marked prefix, at the least."""
RATE: Final = 8000
"""Packets a second."""
FIRST: Final = External(65001, {4: parse_address("198.51.100.2")[1], 6: parse_address("2001:db8:1::2")[1]})
OTHER_HOPS: Final[dict[Family, int]] = {4: parse_address("198.51.100.3")[1], 6: parse_address("2001:db8:1::3")[1]}
MEDS: Final = (5, 100)
"""Of a marked prefix: by which vpc-e1 is preferred, and vpc-e2 is, whose MED is 0, and whose metric is 10."""


def marked(number: int) -> str:
    """The network of a marked prefix, but for its last number."""
    return f"198.18.{number}."


def steady(number: int) -> str:
    """Likewise, of one that never changes: the even ones are vpc-e1's, the odd ones vpc-e2's."""
    return f"198.19.{number}."


def announced(network: str, med: int | None = None) -> bytes:
    """The UPDATE that announces a network to the gateway; without a MED: that withdraws it."""
    key = prefix_key(Prefix.parse(f"{network}0/24"))
    if med is None:
        return b"".join(writer.withdrawals(4, [key], None, longest=LONGEST))
    said = Attributes((4, FIRST.next_hops[4]), AsPath.sequence(FIRST.asn, 65010), med=med)
    return b"".join(writer.announcements(4, [key], said, None, internal=False, longest=LONGEST))


class Full:
    """What the neighbour tells: ``updates`` first, and the churn afterwards."""

    def __init__(self, scale: float, rng: random.Random) -> None:
        self._rng = rng
        self._tables: dict[Family, Table] = {f: table(FIRST, f, scale=scale) for f in FAMILIES}
        self._keys = {f: [key for _, keys in self._tables[f] for key in keys] for f in FAMILIES}
        self.routes = sum(map(len, self._keys.values()))
        own = (steady(number) for number in range(0, 2 * STEADY, 2))
        last = [announced(network, MEDS[0]) for network in (*own, *map(marked, range(MARKED)))]
        self.updates = b"".join([*(encoded(self._tables[f], f) for f in FAMILIES), *last])

    def churn(self, count: int, rate: int) -> Iterator[Said]:
        """So many UPDATEs, of which some are of marked prefixes: ``mark`` is 2 x number, + 1 where vpc-e1 loses it."""
        gone: dict[Family, list[int]] = {family: [] for family in FAMILIES}
        here = [True] * MARKED
        due = [self._rng.uniform(0, EACH_S) for _ in range(MARKED)]
        for number in range(count):
            at = number / rate
            which = min(range(MARKED), key=due.__getitem__)
            if due[which] > at:
                yield Said(self._some(4 if self._rng.random() < 0.8 else 6, gone))
                continue
            due[which] = at + EACH_S * self._rng.uniform(1, 1.5)
            here[which] = not here[which]
            med = MEDS[0] if here[which] else self._rng.choice((None, MEDS[1]))
            yield Said(announced(marked(which), med), 2 * which + (not here[which]))

    def _some(self, family: Family, gone: dict[Family, list[int]]) -> bytes:
        rng = self._rng
        kind = rng.random()
        if kind < 0.2:
            gone[family].append(key := rng.choice(self._keys[family]))
            return b"".join(writer.withdrawals(family, [key], None, longest=LONGEST))
        said = rng.choice(self._tables[family])[0]
        if kind < 0.4 and gone[family]:
            key = gone[family].pop()
        else:
            key = rng.choice(self._keys[family])
            said = said._replace(med=rng.randrange(1000))
            if kind > 0.8:
                said = said._replace(next_hop=(family, OTHER_HOPS[family]))
        return b"".join(writer.announcements(family, [key], said, None, internal=False, longest=LONGEST))


def sources(made: LabPlan) -> list[Source]:
    """Streams to all marked prefixes, and to all others from both VPCs."""
    plain, behind_nat = spaces(made)["vpc-2"], spaces(made)["vpc-1"]
    found = [Source(plain, f"{marked(number)}1") for number in range(MARKED)]
    return found + [Source(space, f"{steady(n)}1") for n in range(2 * STEADY) for space in (plain, behind_nat)]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the Internet")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--updates", type=int, default=1000, help="a second")
    options = parser.parse_args()
    full = Full(options.scale, random.Random(1))
    more = list(full.churn(options.seconds * options.updates, options.updates))
    updates, routes = full.updates, full.routes
    del full
    gc.collect()
    told = {"vpc-e2": "\n".join(f"{marked(n)}0/24" for n in range(MARKED))}
    told["vpc-e2"] += "".join(f"\n{steady(n)}0/24" for n in range(1, 2 * STEADY, 2))
    hosts = {vpc: [f"{marked(n)}1" for n in range(MARKED)] for vpc in ("vpc-e1", "vpc-e2")}
    for number in range(2 * STEADY):
        hosts["vpc-e2" if number % 2 else "vpc-e1"].append(f"{steady(number)}1")
    hosts["vpc-e1"] += ["198.51.100.3", "2001:db8:1::2", "2001:db8:1::3"]
    with lab(NAME, [OBJECTS], told, hosts) as made, ExitStack() as stack:
        neighbour = Neighbour(made, "vpc-e1", updates, more, options.updates)
        stack.callback(neighbour.end)
        places = {name: spaces(made)[name] for name in ("vpc-e1", "vpc-e2")}
        with streams(sources(made), places, RATE) as running:
            began = time.monotonic()
            # the marked prefixes were told last
            if not all(running.until(running.comes_to("vpc-e1", number), 120) for number in range(MARKED)):
                raise TimeoutError("the table does not come to packets")
            print(
                f"{routes:,} routes and the marked ones were there after {time.monotonic() - began:.1f} s", flush=True
            )
            calm(made)
            ask(State(NAME).socket, {"ask": "clear", "filter": []})  # conversations by the default route of vpc-e2
            time.sleep(1)
            busy = {"the gateway's process": keeper(made), "its BIRD": _bird(made)}
            before, start = {name: cpu(one.pid) for name, one in busy.items()}, time.time_ns()
            neighbour.go_on()
            marks = neighbour.marks()
            end, seconds = time.time_ns(), (time.time_ns() - start) / 1e9
            used = {name: cpu(one.pid) - before[name] for name, one in busy.items()}
            time.sleep(1)
            running.stop()
        report(running, marks, len(more) / seconds, start, end)
        print("; ".join(f"{name} used {100 * used[name] / seconds:.0f} % of a CPU" for name in busy))


def _bird(made: LabPlan) -> Process:
    (found,) = working_below([State(made.name).bgp / "vpc-e1"])
    return found


def report(running: Streams, marks: Sequence[tuple[int, int]], rate: float, start: int, end: int) -> None:
    """Print how long changes took, and what was lost."""
    times: list[float] = []
    wrong = never = 0
    for which in range(MARKED):
        seen = {place: arrived.of(which, len(running.sources)) for place, arrived in running.arrived.items()}
        mine = [(mark & 1, at) for mark, at in marks if mark >> 1 == which]
        for (lost, at), (_, until) in zip(mine, [*mine[1:], (0, end + 10**9)], strict=True):
            old, new = (seen[place].after(at).until(until) for place in _ways(lost))
            if not len(new.times):
                never += 1
                continue
            times.append((int(new.times.min()) - at) / 1e6)
            wrong += int((old.numbers > new.numbers.min()).sum())
    p50, p90, p99 = np.percentile(times, (50, 90, 99))
    print(
        f"{rate:.0f} UPDATEs a second; {len(times)} changes of marked prefixes took p50 {p50:.1f}, p90 {p90:.1f},"
        f" p99 {p99:.1f}, max {max(times):.1f} ms (too much by {1e3 * len(running.sources) / RATE:.0f} ms at the most,"
        f" {1e3 * len(running.sources) / RATE / 2:.0f} on average; the sender's longest pause: "
        f"{running.held_up(start, end):.1f} ms); {never} never took place, {wrong} packets on the wrong way"
    )
    for name, numbers in (("marked", range(MARKED)), ("other", range(MARKED, len(running.sources)))):
        sent = sum(len(range(number, len(running.sent), len(running.sources))) for number in numbers)
        begun = [running.lost(number, start) for number in numbers]
        print(f"packets to {name} prefixes: {sent:,} sent in all, {sum(begun)} lost since the churn began")
    print(f"{running.twice()} packets came twice")


def _ways(lost: int) -> tuple[str, str]:
    """The way before, and the new one."""
    return ("vpc-e1", "vpc-e2") if lost else ("vpc-e2", "vpc-e1")


if __name__ == "__main__":
    main()
