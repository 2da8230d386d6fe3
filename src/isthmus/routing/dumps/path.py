"""One path to a prefix, as a neighbour told it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple

from isthmus.tables.address import Family

DEFAULT_LOCAL_PREF: Final = 100


class DumpError(ValueError):
    """A file that is not what it should be; the text says where."""


class Origin(IntEnum):
    """Where a route comes from (RFC 4271 5.1.1); the lower is preferred."""

    IGP = 0
    EGP = 1
    INCOMPLETE = 2


class Path(NamedTuple):
    """``next_hop``: family and left-aligned address. ``peer``: the neighbour, by its address as text.

    ``hops``: the length of the AS path, in which a set counts once (RFC 4271 9.1.2.2 a).
    """

    next_hop: tuple[Family, int]
    peer: str
    hops: int = 0
    origin: Origin = Origin.IGP
    med: int | None = None
    local_pref: int = DEFAULT_LOCAL_PREF

    @property
    def rank(self) -> tuple[int, int, int, int]:
        """The lowest is best (RFC 4271 9.1); MEDs are always compared, none is 0. Equals share."""
        return -self.local_pref, self.hops, self.origin, self.med or 0


Paths = Iterator[tuple[str, Family, int, Path]]
"""VPC, family, prefix key, path. A prefix may come again."""
