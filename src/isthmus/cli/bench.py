"""``isthmus bench``."""

from __future__ import annotations

import os
import signal
import sys
from enum import StrEnum
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from isthmus.cli.output import NO, Output, OutputOption, die, err, out, print_json

if TYPE_CHECKING:
    from isthmus.bench.run import Effort, Row, Say
    from isthmus.tables.address import Family

LOADED = (1, 1_000, 10_000)
"""Peerings loaded: the numbers in the rows' names."""


class Group(StrEnum):
    """What can be measured by itself."""

    STATIC = "static"
    TCP = "tcp"
    FLOWS = "flows"
    ATTACHMENTS = "attachments"
    LOOKUPS = "lookups"
    ROUTES = "routes"


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and shorter rounds: seconds, and less exact.")] = False,
    only: Annotated[
        list[Group] | None,
        typer.Option(
            "--only",
            help="Measure only this: static NAT, one TCP stream, stateful NAT, tags and tunnels, look-ups in a full "
            "Internet table, or how it is filled, changed and withdrawn. Repeat it for two of them.",
        ),
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """
    How fast is it, beside the kernel's own path?

    Packets of 64 bytes between network namespaces of this machine, on one core, to 4,000 destinations at random; one
    TCP stream; packets of up to a million flows at random, and of flows that each of them opens.

    With tags: packets that come and leave by VLAN, QinQ, MPLS, or VXLAN over IPv4 and IPv6, beside untagged ones.
    Look-ups: packets to a host of each of a million learned routes, beside ten routes. Routes: how fast a table as full
    as the Internet's is filled, how long one change takes while packets flow, and how long a lost external is followed;
    beside the kernel's LPM trie. Needs root, and leaves nothing behind.
    """
    if os.geteuid() != 0:
        die("bench makes network namespaces and loads programs into the kernel: it needs root")
    from isthmus.bench import BenchError  # here, because netlink takes longer to load than `check` does to answer

    signal.signal(signal.SIGTERM, _end)
    try:
        answer = _measure(quick, only or list(Group))
    except BenchError as error:
        die(str(error), status=NO)
    if output is Output.JSON:
        print_json([row.as_json() for row in answer])
    else:
        out().print(_table(answer))


def _measure(quick: bool, groups: list[Group]) -> list[Row]:
    from isthmus.bench.machine import quietest_cpu
    from isthmus.bench.run import FULL, QUICK
    from isthmus.bench.topology import sweep

    console = err()

    def warn(line: str) -> None:
        console.print(f"warning: {line}", style="yellow")

    for name in sweep():
        console.print(f"removed {name}, which an earlier bench left behind")
    cpu, effort = quietest_cpu(), QUICK if quick else FULL
    measures = {
        Group.STATIC: _static,
        Group.TCP: _tcp,
        Group.FLOWS: _flows,
        Group.ATTACHMENTS: _attachments,
        Group.LOOKUPS: _lookups,
        Group.ROUTES: _routes,
    }
    return [
        row
        for group, measure in measures.items()
        if group in groups
        for row in measure(effort, cpu, console.print, warn)
    ]


def _static(effort: Effort, cpu: int, say: Say, warn: Say) -> list[Row]:
    from isthmus.bench import run
    from isthmus.bench.baselines import KernelForward, KernelNftablesNat, XdpRedirect
    from isthmus.bench.configuration import PEERINGS, static_traffic
    from isthmus.bench.gateway import StaticNat
    from isthmus.bench.subject import Subject

    baselines: list[Subject] = [XdpRedirect(static_traffic(PEERINGS)), KernelForward(), KernelNftablesNat()]
    rates = run.packet_rates(
        [*baselines, *(StaticNat(f"static-{loaded}", loaded) for loaded in LOADED)], effort, cpu, say, warn
    )
    return run.rows(rates, run.PACKET_COMPARISONS, "Mpps", 1e6)


def _tcp(effort: Effort, cpu: int, say: Say, _warn: Say) -> list[Row]:
    from isthmus.bench import run
    from isthmus.bench.gateway import StaticNatTcp
    from isthmus.bench.throughput import KernelForwardTcp

    rates = run.tcp_rates([KernelForwardTcp(), StaticNatTcp()], effort, cpu, say)
    return run.rows(rates, run.TCP_COMPARISONS, "Gb/s", 1e9)


def _flows(effort: Effort, cpu: int, say: Say, warn: Say) -> list[Row]:
    """One number of flows after another: the kernel keeps those of all namespaces in one table."""
    from isthmus.bench import run
    from isthmus.bench.baselines import KernelNftablesPool, XdpRedirect
    from isthmus.bench.configuration import stateful_traffic
    from isthmus.bench.gateway import StatefulNat
    from isthmus.bench.subject import Subject

    answer = []
    for flows in run.FLOWS:
        name, traffic = f"flows-{flows}", stateful_traffic(flows)
        subjects: list[Subject] = [XdpRedirect(traffic), KernelNftablesPool(traffic), StatefulNat(name, traffic)]
        rates = run.packet_rates(subjects, effort, cpu, say, warn, f"{flows} flows")
        answer += run.rows(rates, run.FLOW_COMPARISONS, "Mpps", 1e6)
    traffic = stateful_traffic(run.NEW_FLOWS)
    rates = run.new_flow_rates([KernelNftablesPool(traffic), StatefulNat("flows-new", traffic)], effort, cpu, say, warn)
    return answer + run.rows(rates, run.NEW_FLOW_COMPARISONS, "Mflows/s", 1e6)


def _attachments(effort: Effort, cpu: int, say: Say, warn: Say) -> list[Row]:
    from isthmus.bench import run
    from isthmus.bench.baselines import XdpRedirect
    from isthmus.bench.configuration import static_traffic
    from isthmus.bench.gateway import StaticNat
    from isthmus.bench.subject import Subject
    from isthmus.bench.tags import KINDS

    subjects: list[Subject] = [XdpRedirect(static_traffic(1)), *(StaticNat(kind, 1, kind) for kind in KINDS)]
    rates = run.packet_rates(subjects, effort, cpu, say, warn, "attachments")
    return run.rows(rates, run.TAG_COMPARISONS, "Mpps", 1e6)


def _lookups(effort: Effort, cpu: int, say: Say, warn: Say) -> list[Row]:
    from isthmus.bench import internet, run
    from isthmus.bench.baselines import LpmTrie, XdpRedirect
    from isthmus.bench.configuration import learned_traffic
    from isthmus.bench.learned import FEW, LearnedRoutes
    from isthmus.bench.subject import Subject

    full: dict[Family, list[int]] = {4: internet.full_table(4)}
    traffic = learned_traffic(full[4])
    subjects: list[Subject] = [
        XdpRedirect(traffic),
        LpmTrie(full, traffic),
        LearnedRoutes("lookups-10", {4: FEW}, traffic),
        LearnedRoutes("lookups-full", full, traffic),
    ]
    rates = run.packet_rates(subjects, effort, cpu, say, warn, "look-ups")
    return run.rows(rates, run.LOOKUP_COMPARISONS, "Mpps", 1e6)


def _routes(effort: Effort, cpu: int, say: Say, warn: Say) -> list[Row]:
    from isthmus.bench import internet, routes
    from isthmus.bench.baselines import LpmTrie
    from isthmus.bench.configuration import learned_traffic
    from isthmus.bench.learned import LearnedRoutes
    from isthmus.tables.address import FAMILIES

    full = {family: internet.full_table(family) for family in FAMILIES}
    traffic = learned_traffic(full[4])
    return routes.route_rows(LearnedRoutes("isthmus", full, traffic), LpmTrie(full, traffic), effort, cpu, say, warn)


def _table(answer: list[Row]) -> Table:
    table = Table("", "median", "rounds", "baseline", "its median", "ratio", box=None, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in answer:
        spread = f"{row.low:.2f}–{row.high:.2f}"
        value, baseline = f"{row.value:.2f} {row.unit}", f"{row.baseline_value:.2f} {row.unit}"
        table.add_row(
            row.name,
            value,
            spread,
            row.baseline,
            baseline,
            f"{row.ratio:.2f}" if row.ratio >= 0.1 else f"{row.ratio:.4f}",
        )
    return table


def _end(number: int, _frame: FrameType | None) -> None:
    """On SIGTERM: end as an exit does, so that everything is taken down."""
    sys.exit(128 + number)
