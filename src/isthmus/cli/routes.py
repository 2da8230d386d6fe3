"""``isthmus routes``: what the gateway that runs here has learned."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from isthmus.cli import output, running
from isthmus.cli.output import Output, OutputOption
from isthmus.cli.running import NameOption
from isthmus.lab.routes.answers import MOST_SHOWN, parse_wanted
from isthmus.lab.service.questions import WrongQuestion
from isthmus.tables.address import Prefix

SHOWN = 1000
"""Paths listed if not told otherwise."""

HELP = """Which routes did the gateway learn by BGP, from whom, and which of them carry packets?

VPC is whose neighbours are meant; all of them, if it is not given. PREFIX is an address (the longest prefix that
holds it is meant) or a CIDR (exactly that one, or with `--longer` all inside it). Every path is a line, best first:

- `used` : it carries packets, alone or with its equals
- `worse` : another path to the prefix has a higher local preference, a shorter AS path, a lower origin or MED
- `own` : the VPC has a route of its own for this prefix, a subnet or a static one
- `down` : nothing can leave to its next hop; `unresolved` : nothing of the VPC leads to its next hop

Try:

- `isthmus routes isp 8.8.8.8` : which way do packets to this address leave, once they are for isp?
- `isthmus routes isp 198.51.0.0/16 --longer --from 192.0.2.1`
- `isthmus routes --limit 0` : how many are there?
"""
"""What `isthmus routes --help` says."""


def routes(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[VPC] [PREFIX]...", help="Whose routes, and which.")
    ] = None,
    neighbour: Annotated[
        str | None, typer.Option("--from", metavar="NEIGHBOUR", help="Only what this neighbour told, by its address.")
    ] = None,
    longer: Annotated[bool, typer.Option("--longer", help="All prefixes inside those that are given.")] = False,
    limit: Annotated[int, typer.Option(min=0, max=MOST_SHOWN, help="List at most so many; all are counted.")] = SHOWN,
    name: NameOption = None,
    output_: OutputOption = Output.TEXT,
) -> None:
    """List learned routes; what is typed is explained in HELP."""
    words = list(arguments or ())
    vpc = words.pop(0) if words and not _is_prefix(words[0]) else None
    try:
        for word in words:
            parse_wanted(word)
    except WrongQuestion as error:
        output.die(str(error), hint=error.hint)
    if longer and not words:
        output.die("--longer than what?", hint="isthmus routes isp 198.51.0.0/16 --longer")
    request = {"ask": "routes", "vpc": vpc, "prefixes": words, "longer": longer, "from": neighbour, "limit": limit}
    answer = running.ask(running.gateway(name), request)
    if output_ is Output.JSON:
        output.print_json(answer)
    else:
        _print(answer)
    if words and not answer["total"]:
        raise typer.Exit(output.NO)


def ambiguities(rows: list[dict[str, Any]]) -> None:
    """Where several peers offer a VPC the same learned prefixes: a count, as there may be a million."""
    for row in rows:
        prefixes = f"{row['prefixes']:,} learned prefix{'' if row['prefixes'] == 1 else 'es'}"
        how = f"{row['tied']:,} of them tie and are shared" if row["tied"] else "metric decides"
        text = f"route-ambiguous: {' and '.join(row['peers'])} offer {row['vpc']} the same {prefixes}; {how}"
        output.out().print(text, style="yellow")


def _is_prefix(word: str) -> bool:
    return "/" in word or ":" in word or word.replace(".", "").isdigit()


def _print(answer: dict[str, Any]) -> None:
    if answer["routes"]:
        table = output.table("vpc", "prefix", "from", "next hop", "pref", "AS path", "origin", "MED", "")
        for row in sorted(answer["routes"], key=_order):  # stable: the best path of a prefix stays first
            told = [row["vpc"], row["prefix"], row["from"], row["nextHop"], row["localPref"], row["asPath"]]
            table.add_row(*map(str, told), row["origin"], "" if row["med"] is None else str(row["med"]), row["use"])
        output.out().print(table)
    output.out().print(f"{answer['total']:,} path{'' if answer['total'] == 1 else 's'}", style="bold")
    if 0 < answer["shown"] < answer["total"]:
        output.err().print(f"note: {answer['shown']:,} of them are shown (--limit)", style="yellow")
    ambiguities(answer["ambiguous"])


def _order(row: dict[str, Any]) -> tuple[str, Prefix]:
    return row["vpc"], Prefix.parse(row["prefix"])
