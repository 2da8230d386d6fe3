"""The long run of learned routes: random changes at length, until a table is not what a fresh build of its routes has.

``scripts/churn --changes 1000000``: so many updates and withdrawals straight into the packet path's table, and as many
paths told in UPDATEs, through reader and RIB. In between the table must equal, in canonical dump, that of a packet path
that has just been loaded, and a model that shares no code with it; and random packets go to the twin too. Tides fill
the table until its roots are largest, and empty it again. A failure prints its seed, which repeats it.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from isthmus.tables.address import FAMILIES, Family
from tests.bpf.learning import Asking, Routes, Telling, change, check
from tests.differential.compare import Bench, Difference
from tests.differential.place import XDP, loaded, ports

PACKETS = 200
"""Each time that tables are compared."""
FEW = (3, 40, 200, 200, 200)
"""Values that bytes of addresses have, in turn: prefixes nest, or are many."""
LARGEST = 5000
"""Changes in one portion."""
HIGH: dict[Family, int] = {4: 35_000, 6: 10_000}
LOW = 400
"""Routes at which the tide turns: more than any root but the largest is for, and fewer than any but the least."""
METRICS = 100
"""At a time; they move on, so that records are collected."""


@dataclass
class Tide:
    """How much of what happens is withdrawals: few until all families are full, many until all are nearly empty."""

    rng: random.Random
    rising: bool = True
    turned: int = 0
    most: dict[Family, int] = field(default_factory=lambda: dict.fromkeys(FAMILIES, 0))

    def gone(self, routes: Routes) -> float:
        """The share of withdrawals from here on."""
        counts = {family: len(of) for family, of in routes.items()}
        self.most = {family: max(count, self.most[family]) for family, count in counts.items()}
        full = all(count > HIGH[family] for family, count in counts.items())
        if full if self.rising else max(counts.values()) < LOW:
            self.rising = not self.rising
            self.turned += 1
        return self.rng.uniform(0, 0.2) if self.rising else self.rng.uniform(0.7, 1)


def portion(rng: random.Random) -> int:
    """Mostly few, sometimes thousands."""
    return int(LARGEST ** rng.random())


def straight(place: Bench, rng: random.Random, tide: Tide, every: int, events: Counter[str]) -> Iterator[Routes]:
    """The routes, each time that so many changes have been written to the table."""
    table = place.path.learned("isp")
    routes: Routes = {family: {} for family in FAMILIES}
    metric = 0
    while True:
        few, gone, done = rng.choice(FEW), tide.gone(routes), 0
        metric += METRICS // 4
        while done < every:
            count = min(portion(rng), every - done)
            change(rng, table, routes, few, count, gone=gone, metrics=range(metric, metric + METRICS))
            done += count
            events["portions"] += 1
        yield routes
        if rng.random() < 0.05:
            table.clear()
            routes = {family: {} for family in FAMILIES}
            events["cleared"] += 1


def by_session(place: Bench, rng: random.Random, tide: Tide, every: int, events: Counter[str]) -> Iterator[Routes]:
    """The same of paths that were told in UPDATEs."""
    telling = Telling(rng, place.path.learned("isp"), 3)
    routes: Routes = {family: {} for family in FAMILIES}
    while True:
        telling.few, gone, done = rng.choice(FEW), tide.gone(routes), 0
        while done < every:
            count = min(portion(rng), every - done)
            telling.tell(count, gone)
            done += count
            events["portions"] += 1
            if rng.random() < 0.02:
                telling.move()
                events["routers lost or found"] += 1
        routes = telling.flush()
        yield routes
        if rng.random() < 0.05:
            telling.lose()
            events["sessions lost"] += 1


Way = Callable[[Bench, random.Random, Tide, int, Counter[str]], Iterator[Routes]]
WAYS: dict[str, Way] = {"table": straight, "session": by_session}


def run(way: Way, ifindex: dict[str, int], seed: int, changes: int, every: int) -> str:
    """What was done, in words. ``Difference`` at the first."""
    rng, events, started = random.Random(seed), Counter[str](), time.monotonic()
    tide = Tide(rng)
    with loaded(ifindex, hooks=XDP) as place:
        asking = Asking(place)
        done = 0
        for routes in way(place, rng, tide, every, events):
            done += every
            with loaded(ifindex, hooks=XDP) as anew:
                Asking(anew)
                check(place.path, routes, anew.path)
            asking.ask(rng, routes, rng.choice(FEW), PACKETS)
            events["compared"] += 1
            print(f"{done:,}: {', '.join(f'{len(of):,} of IPv{family}' for family, of in routes.items())}", flush=True)
            if done >= changes:
                break
        verdicts = ", ".join(f"{count:,} {verdict.label}" for verdict, count in place.verdicts.most_common())
    most = " and ".join(f"{count:,} of IPv{family}" for family, count in tide.most.items())
    said = ", ".join(f"{count:,} {what}" for what, count in events.items())
    head = f"{done:,} changes in {time.monotonic() - started:,.0f} s, no difference"
    return f"{head}; {said}; at most {most}; the tide turned {tide.turned} times; packets: {verdicts}"


def main() -> int:
    """Exit status 1 at a difference."""
    parser = argparse.ArgumentParser(prog="scripts/churn", description=__doc__)
    parser.add_argument("--changes", type=int, default=1_000_000, help="either way")
    parser.add_argument("--every", type=int, default=25_000, help="changes after which tables are compared")
    parser.add_argument("--way", choices=WAYS, help="only this one")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with ports() as ifindex:
        for name in [options.way] if options.way else WAYS:
            try:
                print(f"{name}: {run(WAYS[name], ifindex, options.seed, options.changes, options.every)}", flush=True)
            except Difference as difference:
                print(f"DIFFERENCE: --way {name} --seed {options.seed}: {difference}", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
