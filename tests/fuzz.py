"""The long run: random packets over random configurations, twin against BPF, until the first difference.

``scripts/fuzz --packets 1000000``. A difference prints its seed; ``--seed N --packets 1`` repeats it.
"""

from __future__ import annotations

import argparse
import sys
import time

from isthmus.datapath import Hook
from tests.differential.compare import Difference
from tests.differential.place import bench

HOOKS: tuple[Hook, ...] = ("xdp", "tc")


def main() -> int:
    """Exit status 1 at a difference."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--packets", type=int, default=1_000_000, help="in all, both hooks together")
    parser.add_argument("--each", type=int, default=500, help="packets for each configuration and hook")
    parser.add_argument("--seed", type=int, default=1, help="of the first configuration")
    options = parser.parse_args()
    started = time.monotonic()
    done, seed = 0, options.seed
    with bench() as place:
        try:
            while done < options.packets:
                for hook in HOOKS:
                    place.configuration(seed, options.each, hook)
                seed += 1
                done = sum(place.verdicts.values())
                if sys.stderr.isatty() or seed % 100 == 0:
                    rate = done / (time.monotonic() - started)
                    print(
                        f"\r{done:,} packets, {seed - options.seed:,} configurations, {rate:,.0f}/s",
                        file=sys.stderr,
                        end="",
                    )
        except Difference as difference:
            print(f"\nDIFFERENCE\n{difference}", file=sys.stderr)
            return 1
    print(f"\n{done:,} packets over {seed - options.seed:,} configurations: no difference. Verdicts reached:")
    for verdict, count in place.verdicts.most_common():
        print(f"  {verdict.label:20} {count:>9,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
