"""``isthmus drain``: the gateway that runs here leaves politely."""

from __future__ import annotations

from typing import Annotated

import typer

from isthmus.cli import output, running
from isthmus.cli.output import Output, OutputOption
from isthmus.cli.running import NameOption

HELP = """Have the neighbours look for another way, before this gateway is taken down.

All that it announces gets the community GRACEFUL_SHUTDOWN first (RFC 8326): neighbours that know it prefer any other
path, while packets still pass here. A little later everything is withdrawn. What comes in is forwarded all the time.

- `isthmus drain` : begin
- `isthmus neighbors` : `told` has gone to 0 when it is done
- `isthmus drain --undo` : announce everything again
"""
"""What `isthmus drain --help` says."""


def drain(
    undo: Annotated[bool, typer.Option("--undo", help="Stay after all: announce everything again.")] = False,
    name: NameOption = None,
    output_: OutputOption = Output.TEXT,
) -> None:
    """Drain, or undo it; explained in HELP."""
    answer = running.ask(running.gateway(name), {"ask": "drain", "on": not undo})
    if output_ is Output.JSON:
        output.print_json(answer)
    elif answer["draining"]:
        output.out().print("draining: neighbours are told to go another way, then all is withdrawn")
    else:
        output.out().print("not draining: everything is announced")
