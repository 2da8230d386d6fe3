"""``isthmus trace``."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import typer

from isthmus.cli.learned import RoutesOption, learned_tables
from isthmus.cli.objects import load, report_others
from isthmus.cli.output import NO, OK, Output, OutputOption, die, out, print_json
from isthmus.cli.running import NameOption
from isthmus.cli.unknown import unknown
from isthmus.tables.verdicts import Verdict
from isthmus.trace.explain import Answer, explain
from isthmus.trace.packet import Packet
from isthmus.trace.question import DEFAULT_DPORT, DEFAULT_SPORT, DEFAULT_TTL, Question, packet_of
from isthmus.trace.report import caution, headline, lines

HIGHEST_PORT, HIGHEST_BYTE = 65535, 255


def trace(
    vpc: Annotated[str, typer.Option("--from", metavar="VPC", help="The VPC that the packet comes from.")],
    src: Annotated[str, typer.Option(metavar="IP", help="Source, as its own VPC knows it.")],
    dst: Annotated[str, typer.Option(metavar="IP", help="Destination, as the sender dials it.")],
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE...", help="YAML files, directories, or - for stdin.")
    ] = None,
    proto: Annotated[str, typer.Option(help="tcp (a SYN), udp, icmp (the family's own) or a number.")] = "tcp",
    sport: Annotated[
        int | None, typer.Option(help=f"Source port; default {DEFAULT_SPORT}.", min=0, max=HIGHEST_PORT)
    ] = None,
    dport: Annotated[
        int | None, typer.Option(help=f"Destination port; default {DEFAULT_DPORT}.", min=0, max=HIGHEST_PORT)
    ] = None,
    type_: Annotated[
        int | None, typer.Option("--type", help="ICMP type; echo request if not given.", min=0, max=HIGHEST_BYTE)
    ] = None,
    code: Annotated[int | None, typer.Option(help="ICMP code; 0 if not given.", min=0, max=HIGHEST_BYTE)] = None,
    ttl: Annotated[int, typer.Option(help="TTL or hop limit.", min=0, max=HIGHEST_BYTE)] = DEFAULT_TTL,
    routes: RoutesOption = None,
    live: Annotated[
        bool, typer.Option("--live", help="Ask the gateway that runs here, instead of FILE: its routes, its flows.")
    ] = False,
    name: NameOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """What happens to this packet, and to its reply?

    Follows one packet through the stages of the packet path and prints what each decided, by which line of whose
    object. Needs no root, no kernel and no running gateway, but for `--live`. Exit status 1 if the packet is dropped.
    """
    packet = _asked(Question(src, dst, proto, sport, dport, type_, code, ttl))
    if live == bool(files) or (live and routes):
        die(
            "either FILE..., or --live alone", hint="isthmus trace peering.yaml --from …; isthmus trace --live --from …"
        )
    answer = _live(name, vpc, packet) if live else _offline(files or [], routes or (), vpc, packet)
    if output is Output.JSON:
        print_json(answer.as_json())
    else:
        _print(answer)
    raise typer.Exit(NO if answer.verdict.dropped else OK)


def _offline(files: list[str], routes: Sequence[str], vpc: str, packet: Packet) -> Answer:
    loaded = load(files)
    report_others(loaded)
    tables, learned = learned_tables(loaded, routes)
    if vpc not in tables.vpcs:
        unknown("VPC", vpc, tables.vpcs, loaded)
    return explain(tables, vpc, packet, learned=learned)


def _live(name: str | None, vpc: str, packet: Packet) -> Answer:
    """By the objects, the learned routes and the flows of a gateway that runs."""
    from isthmus.cli import running
    from isthmus.lab.apply import own_tables
    from isthmus.lab.live import live_flows, live_routes
    from isthmus.lab.state import LabError

    which = running.gateway(name)
    try:
        tables = own_tables(which.objects())
    except LabError as error:
        die(str(error), status=NO)
    if vpc not in tables.vpcs:
        die(f"no VPC is named {vpc}", hint=f"there are: {', '.join(sorted(tables.vpcs))}")
    ask = partial(running.ask, which)
    learned = live_routes(tables, ask)
    return explain(tables, vpc, packet, learned=learned, flows=live_flows(tables, learned, ask, vpc, packet))


def _asked(question: Question) -> Packet:
    try:
        return packet_of(question)
    except ValueError as error:
        die(str(error))


def _print(answer: Answer) -> None:
    _print_one(answer, "")
    if answer.reply is not None:
        out().print()
        _print_one(answer.reply, "reply: ")
    elif answer.verdict == Verdict.FORWARDED:
        out().print("\nreply: nobody replies to this")
    warning = caution(answer)
    if warning is not None:
        out().print(f"\ncaution: {warning}", style="bold yellow")


def _print_one(answer: Answer, prefix: str) -> None:
    out().print(prefix + headline(answer), style="bold red" if answer.verdict.dropped else "bold green")
    for line in lines(answer):
        out().print(line)
