"""From what the command line names (files, directories, ``-``) to texts, in file order.

File order is by the bytes of the path, and is what "the first in file order" means everywhere.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

SUFFIXES = (".yaml", ".yml", ".json")
LARGEST = 32 << 20  # bytes; 10,000 peerings are about 5 MB


class SourceError(Exception):
    """A file that cannot be read at all; the text says which and why. The call is wrong, not the objects."""


class Source(NamedTuple):
    """One file. ``data`` is None where it holds more than ``LARGEST`` bytes; ``named``: not found in a directory."""

    path: str
    data: bytes | None
    named: bool


def read_sources(files: Sequence[str]) -> list[Source]:
    """Read FILE arguments, each file once, sorted by the bytes of its path.

    Raises SourceError for what is missing or unreadable, and for a directory without YAML files.
    """
    found: dict[str, bool] = {}
    for name in files:
        if name != "-" and os.path.isdir(name):
            found.update({path: False for path in _in_directory(name) if path not in found})
        else:
            found[name] = True
    seen: set[tuple[int, int]] = set()
    sources = []
    for path in sorted(found, key=os.fsencode):
        data = _read(path, seen)
        if data is not None:
            sources.append(Source(path, data if len(data) <= LARGEST else None, found[path]))
    return sources


def _in_directory(top: str) -> list[str]:
    """Every YAML or JSON file below; names that start with a dot are passed over, links to directories not followed."""
    paths = list(_walk(top))
    if not paths:
        raise SourceError(f"{top}: this directory holds no {', '.join('*' + s for s in SUFFIXES[:-1])} or *.json file")
    return paths


def _walk(top: str) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise SourceError(f"{error.filename}: {error.strerror}") from error

    for folder, below, names in os.walk(top, onerror=refuse):
        below[:] = [name for name in below if not name.startswith(".")]
        for name in names:
            if name.endswith(SUFFIXES) and not name.startswith("."):
                yield os.path.join(folder, name)


def _read(path: str, seen: set[tuple[int, int]]) -> bytes | None:
    """The file's bytes, at most one more than ``LARGEST``; None if the same file was read under another name."""
    if path == "-":
        return sys.stdin.buffer.read(LARGEST + 1)
    try:
        with open(path, "rb") as file:
            about = os.fstat(file.fileno())
            if stat.S_ISREG(about.st_mode):
                if (about.st_dev, about.st_ino) in seen:
                    return None
                seen.add((about.st_dev, about.st_ino))
            return file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SourceError(f"{path!a}: {reason}" if "\0" in path else f"{path}: {reason}") from error
