"""``python -m isthmus.lab.demo [PART…]``: exit status 1 if anything did not come as it must."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import isthmus
from isthmus.lab.demo.stage import Stage
from isthmus.lab.demo.story import PARTS


def main() -> int:
    """Show the parts asked for, or all; what was made is removed also on Ctrl-C and SIGTERM."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description="The gateway at work, in network namespaces.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"the number of an example: {', '.join(PARTS)}")
    parts = parser.parse_args().parts or list(PARTS)
    if unknown := [part for part in parts if part not in PARTS]:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if os.geteuid() != 0:
        print("the demo makes network namespaces and loads packet programs, so it needs root", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    examples = Path(isthmus.__file__).parents[2] / "examples"
    began = time.monotonic()
    stage = Stage()
    for part in parts:
        PARTS[part](stage, examples)
    print(f"\n{stage.met} things came as they must, {len(stage.wrong)} did not, in {time.monotonic() - began:.0f} s")
    for text in stage.wrong:
        print(f"  WRONG  {text}")
    return 1 if stage.wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has left: end without a word
        sys.exit(1)
