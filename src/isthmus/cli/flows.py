"""``isthmus flows``: the conversations of the gateway that runs here."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from isthmus.cli import output, running
from isthmus.cli.output import Output, OutputOption
from isthmus.cli.running import NameOption
from isthmus.lab.flows.answers import MOST_SHOWN
from isthmus.lab.flows.filter import WORDS, WrongWord, parse_filter
from isthmus.lab.state import State

SHOWN = 1000
"""Conversations listed if not told otherwise."""

CLEAR = "clear"
MINUTE, HOUR = 60, 3600


HELP = f"""Which conversations does the gateway remember? Or, with `clear`: end them.

Filters, of which all must match (addresses and ports as they are in either VPC):

{chr(10).join(f"- `{key}={meta}` : {meaning}" for key, (meta, meaning) in WORDS.items())}

Try:

- `isthmus flows from=vpc-1 proto=tcp state=established`
- `isthmus flows dst=8.8.8.8 dport=53` : who asks this resolver?
- `isthmus flows src=192.168.1.0/30 --pools` : who is behind these public addresses, and how full are they?
- `isthmus flows clear src=10.1.1.5` : end all that this host has started
- `isthmus flows clear --all`

A conversation that is cleared is forgotten: its next packet is judged like a stranger's, so TCP must connect anew.
"""
"""What `isthmus flows --help` says."""


def flows(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="clear | KEY=VALUE", help="First `clear`, to end what matches; then filters."),
    ] = None,
    name: NameOption = None,
    limit: Annotated[int, typer.Option(min=0, max=MOST_SHOWN, help="List at most so many; all are counted.")] = SHOWN,
    pools: Annotated[
        bool, typer.Option("--pools", help="Show the use of public addresses too (JSON always does).")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="With clear and no filter: end every conversation.")
    ] = False,
    output_: OutputOption = Output.TEXT,
) -> None:
    """List conversations, or end them; what is typed is explained in HELP."""
    words = list(arguments or ())
    clearing = words[:1] == [CLEAR]
    if clearing:
        words = words[1:]
    try:
        parse_filter(words)
    except WrongWord as error:
        output.die(str(error), hint=error.hint)
    if clearing:
        if not words and not everything:
            output.die("flows clear without a filter would end every conversation", hint="if you mean that: --all")
        if pools:
            output.die("--pools shows, and clear ends", hint="isthmus flows --pools")
        if words and everything:
            output.die("--all is every conversation, and a filter is some of them", hint="leave one of them away")
        _clear(running.gateway(name), words, output_)
    elif everything:
        output.die("--all goes with clear; flows lists all that match", hint="isthmus flows clear --all")
    else:
        _list(running.gateway(name), words, limit, pools or output_ is Output.JSON, output_)


def _clear(gateway: State, words: list[str], output_: Output) -> None:
    answer = running.ask(gateway, {"ask": "clear", "filter": words})
    if output_ is Output.JSON:
        output.print_json(answer)
    else:
        output.out().print(f"{_conversations(answer['ended'])} ended")


def _list(gateway: State, words: list[str], limit: int, pools: bool, output_: Output) -> None:
    answer = running.ask(gateway, {"ask": "list", "filter": words, "limit": limit})
    if pools:
        answer |= running.ask(gateway, {"ask": "pools"})
    if output_ is Output.JSON:
        output.print_json(answer)
        return
    if answer["flows"]:
        output.out().print(_flow_table(answer["flows"]))
    full = f"room for {answer['capacity']:,}, of which {answer['records']:,} is taken"
    match = "" if not words else " matches" if answer["total"] == 1 else " match"
    output.out().print(f"{_conversations(answer['total'])}{match}; {full}", style="bold")
    if 0 < answer["shown"] < answer["total"]:
        output.err().print(f"note: {answer['shown']:,} of them are shown (--limit)", style="yellow")
    if pools:
        _print_pools(answer)


def _conversations(number: int) -> str:
    return f"{number:,} conversation{'' if number == 1 else 's'}"


def _flow_table(rows: list[dict[str, Any]]) -> Table:
    table = output.table("from", "to", "proto", "as it was sent", "as it is seen there", "state", "ends in", "peering")
    for row in sorted(rows, key=lambda row: (row["from"], row["to"], str(row["proto"]), str(row["sent"]))):
        sent, seen = _packet(row["sent"]), _packet(row["seen"])
        table.add_row(
            row["from"],
            row["to"],
            str(row["proto"]),
            sent,
            seen if seen != sent else "the same",
            row["state"],
            _duration(row["expires"]),
            row["peering"] or "",
        )
    return table


def _packet(ends: dict[str, Any]) -> str:
    if ends.get("id") is not None:
        return f"{ends['src']} > {ends['dst']} id {ends['id']}"
    return f"{_end(ends['src'], ends['sport'])} > {_end(ends['dst'], ends['dport'])}"


def _end(address: str, port: int | None) -> str:
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _duration(seconds: float) -> str:
    whole = int(seconds)
    if whole >= HOUR:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
    return f"{whole // MINUTE} min {whole % MINUTE} s" if whole >= MINUTE else f"{whole} s"


def _print_pools(answer: dict[str, Any]) -> None:
    console = output.out()
    console.print()
    if answer["pools"]:
        table = output.table("public address", "toward", "proto", "in use", "of", "shared by")
        for pool in answer["pools"]:
            shared = " ".join(side["vpc"] for side in pool["sides"])
            size = "" if pool["of"] is None else f"{pool['of']:,}"
            table.add_row(pool["address"], pool["to"], str(pool["proto"]), f"{pool['used']:,}", size, shared)
        console.print(table)
    else:
        console.print("no public address of a pool is in use")
    for side in answer["refused"]:
        console.print(
            f"{side['packets']:,} packets of {side['vpc']} in {side['peering']} found no free port or address",
            style="bold red",
        )
