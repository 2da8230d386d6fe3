"""A problem as a person reads it: what is wrong, the line with a caret under it, and what to write instead."""

import re
from collections.abc import Callable, Iterator, Mapping

from rich.cells import cell_len

from isthmus.cli.objects import place, printable, subject
from isthmus.problems import Problem, Severity

Paint = Callable[[str, str], str]
"""Text and a style of rich, to text with or without colour."""

STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.INFO: "bold cyan"}
_MARGIN = "bold blue"
_WIDEST = 120
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what YAML 1.1, and so the reader's marks, take for one
_SECRET = re.compile(r"""(?i)((?:pass(?!wordFile)|secret|token|psk|credential|key)[\w-]*["']?\s*:\s*)\S.*""")
_LOOK_BACK = 1000  # characters before what is shown that may hold the key of a secret


class SourceLines:
    """The lines of the files, cut up when first asked."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._lines: dict[str, list[str]] = {}

    def line(self, file: str, number: int) -> str | None:
        """A line by its number from 1; None if there is none."""
        if file not in self._lines:
            self._lines[file] = _LINE_END.split(self._texts.get(file, ""))
        lines = self._lines[file]
        return lines[number - 1] if 0 < number <= len(lines) else None


def problem_text(problem: Problem, lines: SourceLines, paint: Paint) -> str:
    """Several lines, the last one empty."""
    return "\n".join(_parts(problem, lines, paint)) + "\n"


def _parts(problem: Problem, lines: SourceLines, paint: Paint) -> Iterator[str]:
    style = STYLES[problem.severity]
    head = paint(f"{problem.severity.value}[{problem.code}]", style)
    yield f"{head}: {paint(printable(problem.message), 'bold')}"
    gutter = " " * len(str(problem.line))
    yield f"{gutter}{paint('-->', _MARGIN)} {printable(place(problem))}"
    line = lines.line(problem.file, problem.line)
    if line is not None and line.strip():
        shown, before, under = _excerpt(line, problem.column - 1, whole=problem.path.endswith("]"))
        yield f"{gutter} {paint('|', _MARGIN)}"
        yield f"{paint(f'{problem.line} |', _MARGIN)} {shown}"
        yield f"{gutter} {paint('|', _MARGIN)} {before}{paint('^' * under, style)}"
    if problem.object:
        yield f"{gutter} {paint('=', _MARGIN)} {printable(subject(problem))}"
    if problem.hint:
        first, *rest = printable(problem.hint).split("\n")
        yield f"{gutter} {paint('=', _MARGIN)} {paint('help', 'bold')}: {first}"
        yield from (f"{gutter}         {one}" for one in rest)


def _excerpt(line: str, column: int, whole: bool) -> tuple[str, str, int]:
    """The part of a line around a column, spaces up to there, and how many cells to underline.

    ``whole``: a list's item is meant, so of ``key: value`` both.
    """
    start = max(0, min(column - 40, len(line) - _WIDEST))
    stop = start + _WIDEST
    back = max(0, start - _LOOK_BACK)
    part = _SECRET.sub(_masked, line[back:stop])[start - back :]
    here = column - start
    shown, before = printable(part.replace("\t", " ")).rstrip(), printable(part[:here].replace("\t", " "))
    under = max(cell_len(printable(part[here : _end_of_value(part, here, whole)])), 1)
    left, right = "…" if start else "", "…" if stop < len(line) else ""
    return left + shown + right, " " * (len(left) + cell_len(before)), under


def _masked(found: re.Match[str]) -> str:
    """Stars for a secret, and spaces, so that what follows keeps its column."""
    return (found[1] + "***").ljust(len(found[0]))


def _end_of_value(line: str, column: int, whole: bool) -> int:
    """Where the value or key that begins at a column ends: its quote, a comment, or the end of the line."""
    rest = line[column:]
    if rest[:1] in ("'", '"'):
        closed = rest.find(rest[0], 1)
        return column + closed + 1 if closed > 0 else len(line)
    stop = re.search(r"\s+#|\s*$|[,\]}]" if whole else r"\s+#|\s*$|[,\]}]|:(?=\s|$)", rest)
    return column + (stop.start() if stop else len(rest))
