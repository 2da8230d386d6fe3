"""The program ``isthmus``: its commands, and how it ends."""

import os
import sys
from typing import Annotated

import typer

import isthmus
from isthmus.cli import bench, check, drain, flows, lab, mapping, neighbors, output, routes, schema, trace

app = typer.Typer(
    name="isthmus",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,  # a traceback here is a bug: plain text can be pasted into a report
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""
Try, with no root and no kernel:

- `isthmus check examples/5-overlapping-subnets.yaml` : are the objects right?
- `isthmus trace FILE --from vpc-1 --src 10.1.1.5 --dst 192.168.2.7` : what happens to this packet, and to its reply?
- `isthmus map FILE --peering vpc-1--vpc-2 --vpc vpc-1 10.1.1.5` : how does the peer see this address?

Then, as root, with real packets: `isthmus lab up FILE`, `isthmus lab probe`, `isthmus flows`, `isthmus lab down`.

Exit status: 0 as asked and fine, 1 the answer is no, 2 the call itself is wrong.
""",
)


def _version(asked: bool) -> None:
    if asked:
        output.out().print(f"isthmus {isthmus.__version__}")
        raise typer.Exit(output.OK)


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version, and end.")
    ] = False,
) -> None:
    """
    isthmus peers VPCs, also when they use the same addresses.

    FILE is a YAML file (several documents allowed), a directory of such files, or `-` for stdin.
    """


# In the order of `isthmus --help`, which is the order in which one meets them.
app.command()(check.check)
app.command()(trace.trace)
app.command(name="map")(mapping.mapping)
app.add_typer(lab.app, name="lab")
app.command(help=flows.HELP)(flows.flows)
app.command(help=routes.HELP)(routes.routes)
app.command(help=neighbors.HELP)(neighbors.neighbors)
app.command(help=drain.HELP)(drain.drain)
app.command()(bench.bench)
app.command()(schema.schema)


def main() -> None:
    """Run the command line, and end the process with one of the statuses of ``isthmus.cli.output``."""
    try:
        try:
            app(prog_name="isthmus")
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader has left (`isthmus trace ... | head`): say nothing, also not when Python flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(output.NO)
