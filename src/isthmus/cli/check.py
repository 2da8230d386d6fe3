"""``isthmus check``: are the objects right, and what to write where they are not."""

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, TextIO

import typer
from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style

from isthmus.api.sources import Source
from isthmus.cli.fix import Fixed, fixes, mended, write
from isthmus.cli.objects import Loaded, read, resolve, uncollected, working
from isthmus.cli.output import NO, OK, Output, OutputOption, die, err, out, print_json
from isthmus.cli.problem_text import Paint, SourceLines, problem_text
from isthmus.compile import compile_tables
from isthmus.problems import Problem, Severity

MOST_INFOS = 100
"""Infos of one code that the text form tells; JSON has all."""

Files = Annotated[list[str], typer.Argument(metavar="FILE...", help="YAML files, directories of them, or - for stdin.")]


def check(
    files: Files,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings make the exit status 1, too.")] = False,
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend in place what has one answer, then judge that. Comments stay.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --fix: print the difference, write nothing.")
    ] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """
    Are the objects right?

    All problems of all objects at once: where each stands, and what to write instead. Needs no root and no kernel.
    Exit status 1 if there are errors.
    """
    if dry_run and not fix:
        die("--dry-run says what --fix would write", hint="write --fix --dry-run")
    sources = read(files)
    from_stdin = any(source.path == "-" for source in sources)
    if fix and from_stdin and output is Output.JSON and not dry_run:
        die("--fix writes what came from stdin to stdout, where the JSON would be", hint="leave -o json away")
    loaded = resolve(sources)
    fixed: list[Fixed] = []
    if fix:
        fixed = fixes(loaded)
        sources = mended(sources, fixed)
        if not dry_run:
            _write(sources, fixed)
        if fixed:
            loaded = resolve(sources)
    with uncollected(), working("compiling"):
        compile_tables(loaded.model)
    if output is Output.JSON:
        _print_json(loaded, fixed, dry_run)
    else:
        if dry_run:
            sys.stdout.write("".join(one.diff() for one in fixed))
        stdout_taken = fix and (dry_run or from_stdin)
        _print_text(loaded, sys.stderr if stdout_taken else sys.stdout, err() if stdout_taken else out())
    raise typer.Exit(_status(loaded, strict))


def _write(sources: Sequence[Source], fixed: Sequence[Fixed]) -> None:
    """Files that changed, in place; stdin always, to stdout."""
    changed = {one.path for one in fixed}
    for source in sources:
        if source.path == "-":
            sys.stdout.write((source.data or b"").decode("utf-8", "replace"))
        elif source.path in changed:
            write(source)


def _status(loaded: Loaded, strict: bool) -> int:
    bad = {Severity.ERROR, Severity.WARNING} if strict else {Severity.ERROR}
    return NO if any(problem.severity in bad for problem in loaded.problems) else OK


def _counts(loaded: Loaded) -> dict[str, int]:
    return {f"{severity.value}s": len(loaded.of(severity)) for severity in Severity}


def _print_json(loaded: Loaded, fixed: Sequence[Fixed], dry_run: bool) -> None:
    answer: dict[str, object] = {**_counts(loaded), "problems": [_as_json(problem) for problem in loaded.problems]}
    if fixed:
        answer["fixed"] = [one.path for one in fixed]
    if dry_run:
        answer["diff"] = "".join(one.diff() for one in fixed)
    print_json(answer)


def _as_json(problem: Problem) -> dict[str, object]:
    fields = problem._asdict() | {"severity": problem.severity.value}
    fields["file"] = problem.file.encode("utf-8", "backslashreplace").decode()
    return fields


def _print_text(loaded: Loaded, stream: TextIO, console: Console) -> None:
    paint = _painter(console)
    lines = SourceLines(loaded.sources)
    told: Counter[str] = Counter()
    for problem in loaded.problems:
        told[problem.code] += 1
        if problem.severity is not Severity.INFO or told[problem.code] <= MOST_INFOS:
            stream.write(problem_text(problem, lines, paint) + "\n")
    for code in sorted({problem.code for problem in loaded.of(Severity.INFO)}):
        if told[code] > MOST_INFOS:
            stream.write(f"... and {told[code] - MOST_INFOS:,} more of {code}: -o json has them all\n\n")
    stream.write(_summary(loaded, paint) + "\n")


def _painter(console: Console) -> Paint:
    """Colour where the console has some. Written by hand: rich lays out thousands of problems too slowly."""
    if console.color_system is None:
        return lambda text, _style: text
    return lambda text, style: Style.parse(style).render(text, color_system=ColorSystem.STANDARD)


def _summary(loaded: Loaded, paint: Paint) -> str:
    counts = _counts(loaded)
    found = ", ".join(f"{count} {name if count != 1 else name[:-1]}" for name, count in counts.items())
    peerings, vpcs = len(loaded.model.peerings), len(loaded.model.vpcs)
    written = len(loaded.objects.peerings)
    right = f"peerings: {peerings}" + (f" right of {written}" if peerings < written else "") + f", VPCs: {vpcs}"
    style = "bold red" if counts["errors"] else "bold yellow" if counts["warnings"] else "bold green"
    return f"{paint(found, style)} ({right})"
