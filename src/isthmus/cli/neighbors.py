"""``isthmus neighbors``: whom the gateway that runs here speaks BGP with."""

from __future__ import annotations

import time
from typing import Any

import typer

from isthmus.cli import output, running
from isthmus.cli.output import Output, OutputOption
from isthmus.cli.routes import ambiguities
from isthmus.cli.running import NameOption

MINUTE, HOUR, DAY = 60, 3600, 86_400
UP = "established"

HELP = """With whom does the gateway speak BGP, and how does it go?

`learned` counts the routes that a neighbour told, `told` those that it was told, `refused` what it told and was not
taken: loops, next hops that can't be. A session that is not `established` says why it ended last. A neighbour that is
`restarting` has gone for a moment, and its routes are kept meanwhile (RFC 4724).

Exit status 1 if a neighbour has no session.

- `isthmus neighbors` : all of them
- `isthmus routes isp --from 192.0.2.1` : what has this one told?
- `isthmus drain` : ask all of them to go another way
"""
"""What `isthmus neighbors --help` says."""


def neighbors(name: NameOption = None, output_: OutputOption = Output.TEXT) -> None:
    """List BGP neighbours; explained in HELP."""
    answer = running.ask(running.gateway(name), {"ask": "neighbors"})
    rows = answer["neighbors"]
    if output_ is Output.JSON:
        output.print_json(answer)
    elif rows:
        _print(rows, time.time())
        ambiguities(answer["ambiguous"])
    else:
        output.out().print("no VPC has BGP neighbours")
    if answer["draining"] and output_ is Output.TEXT:
        output.out().print("draining: isthmus drain --undo ends it", style="bold yellow")
    if any(row["state"] != UP for row in rows):
        raise typer.Exit(output.NO)


def _print(rows: list[dict[str, Any]], now: float) -> None:
    table = output.table("vpc", "neighbor", "AS", "state", "for", "learned", "told", "refused", "BFD", "")
    for row in rows:
        numbers = [f"{row[count]:,}" for count in ("routes", "announced", "refused")]
        bfd = "" if row["bfd"] is None else "up" if row["bfd"] else "down"
        style = "" if row["state"] == UP else "red"
        since = _duration(now - row["since"])
        table.add_row(
            row["vpc"], row["address"], str(row["asn"]), row["state"], since, *numbers, bfd, _words(row), style=style
        )
    output.out().print(table)


def _words(row: dict[str, Any]) -> str:
    if row["over_limit"]:
        return "it sent more than maxPrefixes"
    if row["restarting"]:
        return "restarting: its routes are kept"
    return "" if row["state"] == UP else row["error"]


def _duration(seconds: float) -> str:
    whole = max(0, int(seconds))
    for unit, size in (("d", DAY), ("h", HOUR), ("min", MINUTE)):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"
