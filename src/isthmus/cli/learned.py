"""``--routes``: learned routes from files, for commands that answer without a gateway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from isthmus.cli.objects import Loaded, printable, working
from isthmus.cli.output import die, err
from isthmus.cli.unknown import unknown
from isthmus.compile import compile_tables
from isthmus.tables.entries import Tables
from isthmus.tables.learned import NOTHING_LEARNED, Learned

if TYPE_CHECKING:
    from isthmus.routing.dumps import Paths

RoutesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--routes",
        metavar="[VPC=]FILE",
        help="Routes that VPCs have learned by BGP, instead of taking them to route all that they expose. FILE: a "
        "routes file (YAML: VPC to a list of prefix, nextHop, asPath, med, localPref, …). VPC=FILE: a dump of the "
        "VPC's router, MRT (TABLE_DUMP_V2) or what `birdc show route all` prints. Both may be .gz or .bz2; "
        "may be given several times.",
    ),
]


def learned_tables(loaded: Loaded, routes: Sequence[str]) -> tuple[Tables, Learned]:
    """The tables, and what was learned; a VPC that a file names is not taken to route anything else."""
    if not routes:
        return compile_tables(loaded.model), NOTHING_LEARNED
    from isthmus.routing.dumps import DumpError, learn

    own = compile_tables(loaded.model, assume=())
    try:
        with working("reading routes"):
            learned, lost = learn(own.vpcs, _paths(routes, own, loaded))
    except DumpError as error:
        die(printable(str(error)))
    except OSError as error:
        die(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    for vpc, number in sorted(lost.items()):
        left = "1 path" if number == 1 else f"{number:,} paths"
        err().print(f"note: {left} of {vpc} left out: nothing of {vpc} leads to the next hop", style="yellow")
    return compile_tables(loaded.model, assume=own.vpcs.keys() - learned.routes.keys()), learned


def _paths(routes: Sequence[str], tables: Tables, loaded: Loaded) -> Paths:
    """The paths of all files; a VPC that the objects do not have ends the program."""
    from isthmus.routing.dumps import read_dump

    for word in routes:
        vpc, equals, file = word.partition("=")
        if not equals or "/" in vpc:
            vpc, file = "", word
        if vpc and vpc not in tables.vpcs:
            unknown("VPC", vpc, tables.vpcs, loaded)
        for path in read_dump(file, vpc or None):
            if path[0] not in tables.vpcs:
                unknown("VPC", path[0], tables.vpcs, loaded)
            yield path
