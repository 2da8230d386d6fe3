"""
What every command prints with, so that all look and end alike.

Answers go to stdout, progress and warnings to stderr. Colour appears on a terminal only, and never with ``NO_COLOR``
(https://no-color.org). With ``-o json`` stdout holds one JSON document and nothing else.
"""

import json
import os
import sys
from enum import StrEnum
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

OK = 0
"""As asked, and fine."""
NO = 1
"""The call was right and the answer is no: errors in the objects, packet dropped, probe differs."""
USAGE = 2
"""The call itself is wrong: an unknown option, a file that does not exist, root needed and not there."""


class Output(StrEnum):
    """What ``-o`` takes."""

    TEXT = "text"
    JSON = "json"


OutputOption = Annotated[
    Output,
    typer.Option("--output", "-o", help="text: for a person. json: stable, for a program.", show_default=True),
]
"""The type of every command's ``output`` parameter; its default is ``Output.TEXT``."""

_WIDTH_OF_A_PIPE = 200


def out() -> Console:
    """The console of the answer: stdout."""
    return _console(stderr=False)


def err() -> Console:
    """The console of progress and warnings: stderr."""
    return _console(stderr=True)


def print_json(answer: object) -> None:
    """One JSON document on stdout, keys in the order they were put in."""
    sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")


def table(*columns: str) -> Table:
    """A table without lines, whose cells are never broken."""
    made = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        made.add_column(column, no_wrap=True)
    return made


def die(message: str, *, hint: str = "", status: int = USAGE) -> NoReturn:
    """End the program for a reason that its caller can act on: what is wrong, and what to do instead."""
    console = err()
    console.print(f"isthmus: {message}", style="bold red")
    if hint:
        console.print(hint)
    raise typer.Exit(status)


def _console(*, stderr: bool) -> Console:
    # Made anew each time: tests and pagers swap sys.stdout. No markup: "spec.vpc-1.as[0]" is text, not a style.
    stream = sys.stderr if stderr else sys.stdout
    terminal = stream.isatty()
    plain = not terminal or bool(os.environ.get("NO_COLOR"))
    return Console(
        stderr=stderr,
        force_terminal=terminal,
        color_system=None if plain else "auto",
        width=None if terminal else _WIDTH_OF_A_PIPE,
        soft_wrap=True,
        markup=False,
        highlight=False,
        emoji=False,
    )
