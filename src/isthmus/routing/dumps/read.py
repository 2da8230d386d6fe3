"""Any file with routes, compressed or not."""

from __future__ import annotations

import bz2
import gzip
import io
from pathlib import Path as File
from typing import BinaryIO, cast

from isthmus.routing.dumps.bird import is_bird, read_bird
from isthmus.routing.dumps.mrt import is_mrt, read_mrt
from isthmus.routing.dumps.path import DumpError, Paths
from isthmus.routing.dumps.routes_file import read_routes_file

_GZIP, _BZIP2 = b"\x1f\x8b", b"BZh"
_START = 4096  # bytes that are looked at to tell what a file is


def read_dump(file: str, vpc: str | None = None) -> Paths:
    """The paths in a file. ``vpc``: whose they are, for files that do not say: MRT and BIRD. OSError, DumpError."""
    try:
        with _open(file) as raw, io.BufferedReader(cast(io.RawIOBase, raw), 1 << 20) as stream:
            start = stream.peek(_START)[:_START]
            if is_mrt(start):
                yield from read_mrt(stream, _named(vpc, "an MRT dump"))
                return
            text = io.TextIOWrapper(stream, encoding="utf-8")
            if is_bird(start.decode(errors="replace")):
                yield from read_bird(text, _named(vpc, "a dump of BIRD"))
            elif vpc is None:
                yield from read_routes_file(text.read())
            else:
                raise DumpError("neither MRT nor what BIRD's `show route all` prints")
    except (DumpError, UnicodeDecodeError, EOFError) as error:
        raise DumpError(f"{file}: {error}") from error


def _named(vpc: str | None, what: str) -> str:
    if vpc is None:
        raise DumpError(f"{what} does not say whose routes they are: write VPC=FILE")
    return vpc


def _open(file: str) -> BinaryIO:
    with File(file).open("rb") as plain:
        start = plain.read(len(_BZIP2))
    if start.startswith(_GZIP):
        return cast(BinaryIO, gzip.open(file))
    return cast(BinaryIO, bz2.open(file)) if start == _BZIP2 else File(file).open("rb")
