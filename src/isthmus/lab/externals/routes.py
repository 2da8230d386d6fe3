"""What an external announces: a file of prefixes with their attributes, one a line.

::

    8.8.8.0/24  med 50  path 65010 65011  community 65001:100 65001:1:2   # two numbers or three
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from isthmus.tables.address import Prefix

_WORDS: Final = ("med", "path", "community")
_MOST_ASN: Final = 2**32 - 1


class Announced(NamedTuple):
    """A route. ``path``: the AS path behind the neighbour's own AS; ``communities`` of two numbers, or of three."""

    prefix: Prefix
    med: int | None = None
    path: tuple[int, ...] = ()
    communities: tuple[tuple[int, ...], ...] = ()


def parse_routes(text: str) -> Iterator[Announced]:
    """The routes of a file. ValueError names the first line that can't be read, and why."""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if words:
            try:
                yield _route(words)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error


def _route(words: list[str]) -> Announced:
    prefix = Prefix.parse(words[0])
    values: dict[str, list[str]] = {}
    word = ""
    for each in words[1:]:
        if each in _WORDS:
            word = each
            values[word] = []
        elif word:
            values[word].append(each)
        else:
            raise ValueError(f"{each!r} is none of {', '.join(_WORDS)}")
    if len(values.get("med", "1")) != 1:
        raise ValueError("med has one number")
    med = _number(values["med"][0], _MOST_ASN) if "med" in values else None
    path = tuple(_number(each, _MOST_ASN) for each in values.get("path", ()))
    return Announced(prefix, med, path, tuple(map(_community, values.get("community", ()))))


def _community(text: str) -> tuple[int, ...]:
    parts = text.split(":")
    if len(parts) not in (2, 3):
        raise ValueError(f"{text!r} is no community: write 65001:100, or three numbers for a large one")
    return tuple(_number(part, 2**16 - 1 if len(parts) == 2 else _MOST_ASN) for part in parts)


def _number(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > most:
        raise ValueError(f"{text!r} is no number from 0 to {most}")
    return int(text)
