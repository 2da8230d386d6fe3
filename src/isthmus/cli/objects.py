"""Loading objects for the commands: files in, the model and its problems out, and how problems are told in passing.

What validates is imported where it is called: `--help` need not wait for it.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from isthmus.api.sources import Source, SourceError, read_sources
from isthmus.cli.output import die, err
from isthmus.model.types import Model
from isthmus.problems import Problem, Severity

if TYPE_CHECKING:
    from isthmus.api.objects import Objects

_PATIENCE = 0.5  # seconds until a terminal is told what takes so long


class Loaded(NamedTuple):
    """What the FILE arguments mean: the model of all that is right, every problem, the files' texts by path."""

    model: Model
    problems: list[Problem]
    sources: dict[str, str]
    objects: Objects

    def of(self, severity: Severity) -> list[Problem]:
        """The problems of one severity."""
        return [problem for problem in self.problems if problem.severity is severity]


def load(files: Sequence[str]) -> Loaded:
    """Read, validate and resolve. A file that cannot be read ends the program with status 2; all else is a problem."""
    return resolve(read(files))


def read(files: Sequence[str]) -> list[Source]:
    """The files' bytes, in file order; status 2 for what is missing or unreadable."""
    try:
        return read_sources(files)
    except SourceError as error:
        die(str(error), hint="FILE is a YAML file, a directory of such files, or `-` for stdin")


def resolve(sources: Sequence[Source]) -> Loaded:
    """From bytes to the model."""
    from isthmus.api.objects import read_objects
    from isthmus.model.build import build

    with uncollected(), working("reading the objects"):
        objects, texts = read_objects(sources)
    with uncollected(), working("resolving the objects"):
        model, problems = build(objects)
    return Loaded(model, problems, texts, objects)


def report_others(loaded: Loaded) -> None:
    """Name on stderr what is wrong, one line each, for commands that go on with the rest."""
    console = err()
    for problem in loaded.of(Severity.ERROR):
        line = f"{place(problem)}: error[{problem.code}] {subject(problem)}: {problem.message}"
        console.print(printable(line), style="red")


def place(problem: Problem) -> str:
    """``FILE:LINE:COLUMN``, which editors and terminals can open."""
    return f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file


def subject(problem: Problem) -> str:
    """The object and the path inside it: ``Peering/web spec.vpc-1.as[0]``."""
    return f"{problem.object} {problem.path}".strip()


def printable(text: str) -> str:
    """Text from files as it may go to a terminal: line ends stay, other control characters are spelled out."""
    return "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in text)


@contextmanager
def uncollected() -> Iterator[None]:
    """Hold Python's cycle collector: a large configuration is millions of objects, none of them garbage."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # what was made stays: or the collector would go through all of it at once
        if was_on:
            gc.enable()


@contextmanager
def working(what: str) -> Iterator[None]:
    """Say on a terminal what is being done, once it has taken a while."""
    console = err()
    if not console.is_terminal:
        yield
        return
    status = console.status(f"{what} ...")
    timer = threading.Timer(_PATIENCE, status.start)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()
