"""What the tests of the lab share: labs of files, and the program."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isthmus.cli.objects import load
from isthmus.compile import compile_tables
from isthmus.lab import control
from isthmus.lab.plan import plan
from isthmus.lab.state import Objects
from isthmus.tables.address import parse_address

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAM = Path(sys.executable).with_name("isthmus")


def isthmus(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the program as a user does."""
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False, timeout=60)


def of_files(*files: Path, name: str, hook: str = "auto", **hosts: str) -> Objects:
    """What a lab of these files is made of; ``vpc_1="10.1.1.7"`` asks for one more host."""
    model = load([str(file) for file in files]).model
    tables = compile_tables(model)
    extra = {vpc.replace("_", "-"): [parse_address(text)] for vpc, text in hosts.items()}
    return Objects(plan(name, model, tables, extra, hook), model, tables)


@contextmanager
def lab(objects: Objects) -> Iterator[dict[str, str]]:
    """A lab for a while: the hook of every port."""
    made = control.up(objects, [], lambda _: None)
    try:
        yield made.hooks
    finally:
        control.down(objects.plan.name, lambda _: None)
