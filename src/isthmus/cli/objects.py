"""Loading objects for the commands: files in, the model and its problems out, and how problems are told in passing."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from isthmus.api.objects import read_objects
from isthmus.api.sources import SourceError, read_sources
from isthmus.cli.output import die, err
from isthmus.model.build import build
from isthmus.model.types import Model
from isthmus.problems import Problem, Severity


class Loaded(NamedTuple):
    """What the FILE arguments mean: the model of all that is right, every problem, and the files' texts by path."""

    model: Model
    problems: list[Problem]
    sources: dict[str, str]

    def of(self, severity: Severity) -> list[Problem]:
        """The problems of one severity."""
        return [problem for problem in self.problems if problem.severity is severity]


def load(files: Sequence[str]) -> Loaded:
    """Read, validate and resolve. A file that cannot be read ends the program with status 2; all else is a problem."""
    try:
        sources = read_sources(files)
    except SourceError as error:
        die(str(error), hint="FILE is a YAML file, a directory of such files, or `-` for stdin")
    with _without_collector():
        objects, texts = read_objects(sources)
        model, problems = build(objects)
    return Loaded(model, problems, texts)


def report_others(loaded: Loaded) -> None:
    """Name on stderr what is wrong, one line each, for commands that go on with the rest."""
    console = err()
    for problem in loaded.of(Severity.ERROR):
        console.print(f"{place(problem)}: error[{problem.code}] {subject(problem)}: {problem.message}", style="red")


def place(problem: Problem) -> str:
    """``FILE:LINE:COLUMN``, which editors and terminals can open."""
    return f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file


def subject(problem: Problem) -> str:
    """The object and the path inside it: ``Peering/web spec.vpc-1.as[0]``."""
    return f"{problem.object} {problem.path}".strip()


@contextmanager
def _without_collector() -> Iterator[None]:
    """Hold Python's cycle collector: a large configuration is millions of objects, none of them garbage."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
