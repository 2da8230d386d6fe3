"""The long run: random packets over random configurations that change, with flows, twin against BPF, until they differ.

``scripts/fuzz --packets 10000000``. A difference prints its seed; ``scripts/fuzz --seed N --packets 1 --hook tc``
repeats it. Every eighth seed runs with room for few flows.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess

from isthmus.datapath import Capacity, Hook
from isthmus.tables.verdicts import Verdict
from tests.differential.compare import Difference
from tests.differential.place import loaded, ports
from tests.differential.session import run_seed

HOOKS: tuple[Hook, ...] = ("xdp", "tc")
FEW = Capacity(flows=12)
EVERY = 8
"""One seed of so many has a table for few flows."""
REPORT_S = 30


@dataclass(frozen=True)
class Share:
    """What one process does: every ``stride``-th seed from ``seed`` on, until it has sent so many packets."""

    seed: int
    stride: int
    packets: int
    each: int
    hooks: tuple[Hook, ...]


def main() -> int:
    """Exit status 1 at a difference."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--packets", type=int, default=1_000_000, help="in all, all processes and hooks together")
    parser.add_argument("--each", type=int, default=1500, help="packets for each seed and hook")
    parser.add_argument("--seed", type=int, default=1, help="the first")
    parser.add_argument("--hook", choices=HOOKS, help="only this one; otherwise each seed runs on both")
    parser.add_argument("--jobs", type=int, default=0, help="processes; otherwise one a CPU, as far as there is work")
    options = parser.parse_args()
    hooks: tuple[Hook, ...] = (options.hook,) if options.hook else HOOKS
    jobs = options.jobs or max(1, min(len(os.sched_getaffinity(0)), options.packets // options.each))
    shares = [Share(options.seed + job, jobs, options.packets // jobs or 1, options.each, hooks) for job in range(jobs)]
    return _watch(shares)


def _watch(shares: list[Share]) -> int:
    context = get_context("fork")
    started = told = time.monotonic()
    running: dict[Connection, ForkProcess] = {}
    verdicts: Counter[Verdict] = Counter()
    seeds = 0
    try:
        for share in shares:
            back, forth = context.Pipe(duplex=False)
            child = context.Process(target=_work, args=(share, forth))
            child.start()
            forth.close()
            running[back] = child
        while running:
            ready = wait(list(running))
            for back in [one for one in running if one in ready]:
                try:
                    said = back.recv()
                except EOFError:
                    child = running.pop(back)
                    child.join()
                    if child.exitcode:
                        print(f"\na process ended with status {child.exitcode}", file=sys.stderr)
                        return 1
                    continue
                if isinstance(said, str):
                    print(f"\nDIFFERENCE\n{said}", file=sys.stderr)
                    return 1
                verdicts += said
                seeds += 1
            if time.monotonic() - told > (1 if sys.stderr.isatty() else REPORT_S):
                told = time.monotonic()
                done = verdicts.total()
                rate = done / (told - started)
                print(f"\r{done:,} packets, {seeds:,} seeds, {rate:,.0f}/s", file=sys.stderr, end="", flush=True)
    finally:
        for child in running.values():
            child.terminate()
            child.join()
    took = time.monotonic() - started
    print(f"\n{verdicts.total():,} packets over {seeds:,} seeds in {took:,.0f} s: no difference. Verdicts reached:")
    for verdict, count in verdicts.most_common():
        print(f"  {verdict.label:20} {count:>9,}")
    return 0


def _work(share: Share, forth: Connection) -> None:
    """One process: says the verdicts of each seed when it is done, and a difference in words."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the namespace goes
    with ExitStack() as stack:
        ifindex = stack.enter_context(ports())
        roomy, small = stack.enter_context(loaded(ifindex)), stack.enter_context(loaded(ifindex, FEW))
        done, seed = 0, share.seed
        while done < share.packets:
            place = small if seed % EVERY == 0 else roomy
            place.verdicts.clear()
            try:
                for hook in share.hooks:
                    run_seed(place, seed, share.each, hook)
            except Difference as difference:
                forth.send(str(difference))
                return
            forth.send(Counter(place.verdicts))
            done += place.verdicts.total()
            seed += share.stride


if __name__ == "__main__":
    sys.exit(main())
