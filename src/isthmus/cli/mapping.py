"""``isthmus map``."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.objects import load, report_others
from isthmus.cli.output import NO, OK, Output, OutputOption, die, out, print_json
from isthmus.cli.unknown import unknown
from isthmus.compile import compile_tables
from isthmus.tables.address import Family, parse_address
from isthmus.tables.entries import Nat, Side, SideKey
from isthmus.trace.mapping import Mapped, map_address

LIKE_AN_ADDRESS = re.compile(r"[0-9A-Fa-f]*[.:][0-9A-Fa-f.:]*(/\d*)?")


def mapping(
    arguments: Annotated[list[str], typer.Argument(metavar="FILE... IP...", help="Objects, then addresses to map.")],
    peering: Annotated[str, typer.Option(metavar="NAME", help="The peering.")],
    vpc: Annotated[str, typer.Option(metavar="VPC", help="The VPC whose side of it is meant.")],
    output: OutputOption = Output.TEXT,
) -> None:
    """How does the peer see this address, and back?

    Maps addresses of one side of a peering from private to public, or from public to private; an address that is in
    both spaces is taken as private. Exit status 1 if one is in neither.
    """
    files, addresses = split(arguments)
    asked = _parsed(addresses)
    if not files or not asked:
        die("what is asked is missing: FILE, then IP", hint="isthmus map FILE --peering NAME --vpc VPC 10.1.1.5")
    side = _side(files, peering, vpc)
    answers = [map_address(side, family, address) for family, address in asked]
    if output is Output.JSON:
        print_json([answer._asdict() for answer in answers])
    else:
        _print(addresses, answers)
    raise typer.Exit(OK if all(answer.found for answer in answers) else NO)


def _side(files: Sequence[str], peering: str, vpc: str) -> Side:
    """The side that is meant; where there is none, or none that can be mapped, the program ends."""
    loaded = load(files)
    tables = compile_tables(loaded.model)
    report_others(loaded)
    names = {key.peering for key in tables.sides}
    if peering not in names:
        unknown("peering", peering, names, loaded)
    side = tables.sides.get(SideKey(peering, vpc))
    if side is None:
        unknown(f"side of {peering}", vpc, [key.vpc for key in tables.sides if key.peering == peering], loaded)
    if side.nat is Nat.STATEFUL:
        hint = "stateful NAT picks address and port anew for each flow: only static sides can be mapped"
        die(f"the side of {vpc} in {peering} is stateful", hint=hint)
    return side


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Files first, then addresses: from the first on that looks like one and is no file."""
    for index, argument in enumerate(arguments):
        if LIKE_AN_ADDRESS.fullmatch(argument) and not Path(argument).exists():
            return list(arguments[:index]), list(arguments[index:])
    return list(arguments), []


def _parsed(addresses: Sequence[str]) -> list[tuple[Family, int]]:
    try:
        return [parse_address(address) for address in addresses]
    except ValueError as error:
        die(str(error), hint="files come first, then addresses: isthmus map FILE --peering NAME --vpc VPC 10.1.1.5")


def _print(asked: Sequence[str], answers: Sequence[Mapped]) -> None:
    """One line an address: private, an arrow, public."""
    width = max(len(answer.private or "") for answer in answers)
    for address, answer in zip(asked, answers, strict=True):
        if not answer.found:
            out().print(f"{address}: in neither space of this side", style="red")
        elif answer.hole:
            out().print(f"{address}: a hole, taken out by a `not`", style="yellow")
        else:
            out().print(f"{(answer.private or '').ljust(width)} -> {answer.public}")
