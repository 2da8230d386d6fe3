"""``isthmus bench``."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from isthmus.cli.output import NO, Output, OutputOption, die, err, out, print_json

if TYPE_CHECKING:
    from isthmus.bench.run import Row

LOADED = (1, 1_000, 10_000)
"""Peerings loaded: the numbers in the rows' names."""


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and shorter rounds: seconds, and less exact.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """
    How fast is it, beside the kernel's own path?

    Packets of 64 bytes between network namespaces of this machine, on one core, to 4,000 destinations at random; then
    one TCP stream. Needs root, and leaves nothing behind.
    """
    if os.geteuid() != 0:
        die("bench makes network namespaces and loads programs into the kernel: it needs root")
    from isthmus.bench import BenchError  # here, because netlink takes longer to load than `check` does to answer

    signal.signal(signal.SIGTERM, _end)
    try:
        answer = _measure(quick)
    except BenchError as error:
        die(str(error), status=NO)
    if output is Output.JSON:
        print_json([row.as_json() for row in answer])
    else:
        out().print(_table(answer))


def _measure(quick: bool) -> list[Row]:
    from isthmus.bench import run
    from isthmus.bench.baselines import KernelForward, KernelNftablesNat, XdpRedirect
    from isthmus.bench.gateway import StaticNat, StaticNatTcp
    from isthmus.bench.machine import quietest_cpu
    from isthmus.bench.subject import Subject
    from isthmus.bench.throughput import KernelForwardTcp
    from isthmus.bench.topology import sweep

    console = err()
    effort = run.QUICK if quick else run.FULL

    def warn(line: str) -> None:
        console.print(f"warning: {line}", style="yellow")

    for name in sweep():
        console.print(f"removed {name}, which an earlier bench left behind")
    cpu = quietest_cpu()
    baselines: list[Subject] = [XdpRedirect(), KernelForward(), KernelNftablesNat()]
    packets = run.packet_rates([*baselines, *map(StaticNat, LOADED)], effort, cpu, console.print, warn)
    tcp = run.tcp_rates([KernelForwardTcp(), StaticNatTcp()], effort, cpu, console.print)
    return [
        *run.rows(packets, run.PACKET_COMPARISONS, "Mpps", 1e6),
        *run.rows(tcp, run.TCP_COMPARISONS, "Gb/s", 1e9),
    ]


def _table(answer: list[Row]) -> Table:
    table = Table("", "median", "rounds", "baseline", "its median", "ratio", box=None, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in answer:
        spread = f"{row.low:.2f}–{row.high:.2f}"
        value, baseline = f"{row.value:.2f} {row.unit}", f"{row.baseline_value:.2f} {row.unit}"
        table.add_row(row.name, value, spread, row.baseline, baseline, f"{row.ratio:.2f}")
    return table


def _end(number: int, _frame: FrameType | None) -> None:
    """On SIGTERM: end as an exit does, so that everything is taken down."""
    sys.exit(128 + number)
