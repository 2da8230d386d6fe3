"""``isthmus lab``: up, apply, probe, exec, down, list.

What makes namespaces and sends packets is imported where it is called: loading it takes longer than `isthmus check`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.table import Table

from isthmus.cli import objects, output
from isthmus.cli.output import Output, OutputOption
from isthmus.compile import compile_tables
from isthmus.lab.externals.routes import Announced, parse_routes
from isthmus.lab.plan import LabPlan, WrongHost, plan
from isthmus.lab.probe.cases import OWN_PORTS
from isthmus.lab.state import LabError, NoSuchLab, Objects, State
from isthmus.tables.address import Family, format_address, parse_address

if TYPE_CHECKING:
    from isthmus.lab.control import Up
    from isthmus.lab.probe.run import Result

app = typer.Typer(
    no_args_is_help=True,
    help="""A real gateway with real packets on this machine, in network namespaces. Needs root.

`lab up FILE` builds the gateway and, for every VPC, a namespace with one host address for each item of its `ips`. Then
`lab exec VPC -- CMD` runs a command on those hosts, `lab probe` compares what real sockets see with `isthmus trace`,
and `lab down` removes it all.""",
)

MOST_CASES = 600
"""How many probes `lab probe` makes if not told otherwise: some seconds."""


class HookChoice(StrEnum):
    """What ``--hook`` takes."""

    AUTO = "auto"
    XDP = "xdp"
    TC = "tc"


class BgpChoice(StrEnum):
    """What ``--bgp`` takes."""

    BIRD = "bird"
    FRR = "frr"


NameOption = Annotated[str, typer.Option("--name", "-n", help="Which lab: several can be up at once.")]


@app.command()
def up(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="Objects: files, directories, or - for stdin.")],
    name: NameOption = "isthmus",
    hook: Annotated[
        HookChoice,
        typer.Option(help="Where packets are taken: auto follows the objects, else native XDP, else generic XDP."),
    ] = HookChoice.AUTO,
    host: Annotated[
        list[str] | None, typer.Option(metavar="VPC=IP", help="One more host address; may be given several times.")
    ] = None,
    routes: Annotated[
        list[str] | None,
        typer.Option(metavar="VPC=FILE", help="What the BGP neighbours of a VPC announce beside what it offers."),
    ] = None,
    bgp: Annotated[BgpChoice, typer.Option(help="The daemon that plays BGP neighbours.")] = BgpChoice.BIRD,
    output_: OutputOption = Output.TEXT,
) -> None:
    """Build a lab; returns when every address in it can be used."""
    from isthmus.lab import control

    _need_root()
    console = output.err()
    loaded = objects.load(files)
    objects.report_others(loaded)
    if not loaded.model.peerings:
        output.die("nothing to build: no peering in these files is right", status=output.NO)
    tables = compile_tables(loaded.model)
    extra = _hosts(host or [])
    try:
        planned = plan(name, loaded.model, tables, extra, hook.value, _announced(routes or []), bgp.value)
    except WrongHost as error:
        output.die(f"--host: {error}")
    if not any(True for _ in planned.links()):
        output.die("nothing to build: no VPC of these files has an attachment that is carried yet", status=output.NO)
    for notice in planned.notices:
        console.print(f"note: {notice}", style="yellow")
    try:
        with _terminable():
            made = control.up(
                Objects(planned, loaded.model, tables), files, lambda step: console.print(step, style="dim")
            )
    except LabError as error:
        _refuse(error)
    if output_ is Output.JSON:
        output.print_json(next(lab for lab in control.listing() if lab["name"] == name))
    else:
        _print_plan(planned, made)


@app.command()
def apply(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="Objects: files, directories, or - for stdin.")],
    name: NameOption = "isthmus",
) -> None:
    """Have a lab that is up go over to other objects: peerings, rules, NAT, metrics, BGP. Its wiring stays.

    What lives on keeps its conversations and BGP sessions. Objects that can't be taken leave all as it was."""
    from isthmus.lab import control

    _need_root()
    loaded = objects.load(files)
    objects.report_others(loaded)
    tables = compile_tables(loaded.model)
    try:
        control.apply(name, Objects(plan(name, loaded.model, tables), loaded.model, tables))
    except LabError as error:
        _refuse(error)
    output.out().print(f"lab {name} has these objects now")


@app.command()
def probe(
    name: NameOption = "isthmus",
    limit: Annotated[
        int, typer.Option(min=1, max=2000, help="Most probes to make; of more, an even choice is made.")
    ] = MOST_CASES,
    output_: OutputOption = Output.TEXT,
) -> None:
    """
    Send real packets between all hosts, and compare with what trace says. Exit status 1 if any differs.

    Every ordered pair of host addresses of peered VPCs: TCP, UDP, ICMP echo, with the ports that the rules name and
    one that they don't; and a few pairs of VPCs that do not peer. *answered*: it arrived and the reply came back.
    *delivered*: it arrived, and no reply came back. *dropped*: it never arrived.
    """
    from isthmus.lab import control
    from isthmus.lab.probe.run import probe as try_all

    _need_root()
    try:
        state = State(name)
        hooks = control.hooks(state)
        results, total = try_all(state.objects(), hooks, limit)
    except LabError as error:
        _refuse(error)
    if total > len(results):
        output.err().print(
            f"note: {total} probes are possible, {len(results)} of them are made (--limit)", style="yellow"
        )
    wrong = sum(1 for result in results if result.why)
    if output_ is Output.JSON:
        output.print_json([result.row() for result in results])
    else:
        _print_probe(results, wrong)
    raise typer.Exit(output.NO if wrong else output.OK)


def _refuse(error: LabError) -> NoReturn:
    """End: 2 where no such lab can be meant, 1 where it could not be done."""
    output.die(str(error), status=output.USAGE if isinstance(error, NoSuchLab) else output.NO)


@app.command("exec", context_settings={"allow_interspersed_args": False})
def exec_(
    vpc: Annotated[str, typer.Argument(metavar="VPC", help="On whose hosts.")],
    command: Annotated[list[str], typer.Argument(metavar="-- CMD…", help="The command and its arguments.")],
    name: NameOption = "isthmus",
) -> None:
    """Run a command on the hosts of a VPC; ends with its exit status."""
    _need_root()
    try:
        planned = State(name).objects().plan
    except LabError as error:
        _refuse(error)
    found = planned.vpc(vpc)
    if found is None:
        output.die(f"lab {name} has no VPC {vpc}; it has: {', '.join(v.name for v in planned.vpcs)}")
    try:
        os.execvp("ip", ["ip", "netns", "exec", found.host_namespace, *command[command[0] == "--" :]])
    except FileNotFoundError:
        output.die("the program ip (iproute2) is missing", hint="scripts/setup installs it")


@app.command()
def down(name: NameOption = "isthmus") -> None:
    """Remove all that `lab up` made, also after a crash half-way."""
    from isthmus.lab import control

    _need_root()
    try:
        control.down(name, lambda step: output.err().print(step, style="yellow"))
    except LabError as error:
        _refuse(error)
    output.out().print(f"lab {name} is gone")


@app.command("list")
def list_(output_: OutputOption = Output.TEXT) -> None:
    """The labs of this machine, with the names of their namespaces and interfaces."""
    from isthmus.lab import control

    _need_root()
    labs = control.listing()
    if output_ is Output.JSON:
        output.print_json(labs)
        return
    if not labs:
        output.out().print("no lab is up; make one with: isthmus lab up FILE")
    for lab in labs:
        output.out().print(f"{lab['name']}: {lab['status']}, gateway in {lab.get('gateway', '?')}", style="bold")
        table = _table("VPC", "hosts in", "gateway's kernel in", "interface", "port", "addresses")
        for vpc in lab.get("vpcs", []):
            table.add_row(*_vpc_row(vpc))
        output.out().print(table)


def _vpc_row(vpc: dict[str, Any]) -> tuple[str, ...]:
    links = vpc["attachments"]
    return (
        vpc["vpc"],
        vpc["hosts"],
        vpc["gateway"],
        " ".join(f"{link['interface']}" for link in links),
        " ".join(link["port"] for link in links),
        " ".join(found["address"] for found in vpc["addresses"]),
    )


@contextmanager
def _terminable() -> Iterator[None]:
    """Have SIGTERM end the program as Ctrl-C does, by way of what cleans up."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _need_root() -> None:
    if os.geteuid() != 0:
        output.die(
            "a lab makes network namespaces and loads packet programs, so it needs root", hint="sudo isthmus lab …"
        )


def _hosts(given: list[str]) -> dict[str, list[tuple[Family, int]]]:
    """``VPC=IP`` as addresses by VPC; ends the program if one is malformed."""
    found: dict[str, list[tuple[Family, int]]] = defaultdict(list)
    for text in given:
        vpc, equals, address = text.partition("=")
        try:
            if not (vpc and equals):
                raise ValueError("not VPC=IP")
            found[vpc].append(parse_address(address))
        except ValueError as error:
            output.die(f"--host {text}: {error}", hint="write for example: --host vpc-1=10.1.1.7")
    return found


def _announced(given: list[str]) -> dict[str, list[Announced]]:
    """``VPC=FILE`` as routes by VPC; ends the program if one can't be read."""
    found: dict[str, list[Announced]] = defaultdict(list)
    for text in given:
        vpc, _, file = text.partition("=")
        try:
            found[vpc] += parse_routes(Path(file).read_text())
        except (OSError, ValueError) as error:
            output.die(f"--routes {text}: {error}", hint="a line of the file: 8.8.8.0/24 med 50 path 65010")
    return found


def _print_plan(planned: LabPlan, made: Up) -> None:
    console = output.out()
    hooks = ", ".join(sorted(set(made.hooks.values())))
    console.print(f"lab {planned.name} is up on {hooks}, in {made.seconds:.1f} s", style="bold")
    table = _table("VPC", "namespace", "host addresses")
    for vpc in planned.vpcs:
        table.add_row(vpc.name, vpc.host_namespace, " ".join(format_address(h.family, h.address) for h in vpc.hosts))
    console.print(table)
    suffix = "" if planned.name == "isthmus" else f" --name {planned.name}"
    console.print(f"next: isthmus lab probe{suffix}; isthmus lab exec{suffix} VPC -- CMD; isthmus lab down{suffix}")


def _print_probe(results: list[Result], wrong: int) -> None:
    table = _table("from", "to", "src", "dst", "what", "hook", "expected", "seen", "as the other end saw it", "")
    for result in results:
        row = result.row()
        expected = row["expected"] + (f": {row['reason']}" if row["reason"] else "")
        sport = "" if result.case.sport in OWN_PORTS else f"{row['sport']}>"
        what = row["proto"] if row["proto"] == "icmp" else f"{row['proto']} {sport}{row['dport']}"
        arrived = "; ".join(f"{one['src']} > {one['dst']}" for one in row["arrivals"])
        verdict = f"WRONG: {row['why']}" if row["why"] else "ok"
        cells = (
            row["from"],
            row["to"],
            row["src"],
            row["dst"],
            what,
            row["hook"],
            expected,
            row["seen"],
            arrived,
            verdict,
        )
        table.add_row(*cells, style="red" if row["why"] else None)
    output.out().print(table)
    output.out().print(f"{len(results)} probes, {len(results) - wrong} as expected, {wrong} not", style="bold")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table
