"""``isthmus check --fix``: writes what a problem has one answer to, into the files themselves."""

import difflib
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from isthmus.api.sources import Source
from isthmus.cli.objects import Loaded
from isthmus.cli.output import die, err

_BOM = b"\xef\xbb\xbf"


class Fixed(NamedTuple):
    """One file before and after."""

    path: str
    before: str
    after: str

    def diff(self) -> str:
        """The difference, as ``patch`` reads it."""
        lines = (self.before.splitlines(keepends=True), self.after.splitlines(keepends=True))
        return "".join(_ended(difflib.unified_diff(*lines, fromfile=self.path, tofile=self.path)))


def _ended(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def fixes(loaded: Loaded) -> list[Fixed]:
    """What can be mended, by file; what cannot, and what was, is told on stderr."""
    from isthmus.api.rewrite import Edit, NotRewritable, move_as  # here: ruamel takes long to load, and few need it
    from isthmus.model.build import movable_nat

    console = err()
    edits: defaultdict[str, list[Edit]] = defaultdict(list)
    for move in movable_nat(loaded.objects):
        found = move.draft.found
        edits[found.file].append(Edit(found.document.outline, found.base, move.source, move.target))
        console.print(
            f"{found.file}: {found.label}: `as` moves from {move.source} to {move.target}, which becomes stateful"
        )
    fixed = []
    for path, some in edits.items():
        before = loaded.sources[path]
        try:
            fixed.append(Fixed(path, before, move_as(before, some)))
        except NotRewritable as error:
            console.print(f"{path}: not written: {error}", style="yellow")
    return fixed


def mended(sources: Sequence[Source], fixed: Sequence[Fixed]) -> list[Source]:
    """The sources with what was fixed in place of what was there."""
    after = {one.path: one.after for one in fixed}
    return [one._replace(data=_bytes(one, after[one.path])) if one.path in after else one for one in sources]


def _bytes(source: Source, text: str) -> bytes:
    mark = _BOM if source.data is not None and source.data.startswith(_BOM) else b""
    return mark + text.encode()


def write(source: Source) -> None:
    """Replace a file at once, so that it is never half written; its mode stays. Status 2 if that is not allowed."""
    path = os.path.realpath(source.path)
    try:
        handle, beside = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".isthmus-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(source.data or b"")
            shutil.copymode(path, beside)
            os.replace(beside, path)
        except OSError:
            os.unlink(beside)
            raise
    except OSError as error:
        die(f"{source.path}: cannot be written: {error.strerror}")
