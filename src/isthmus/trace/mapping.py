"""``isthmus map``: one address of a side, as its own VPC and as the peer knows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from isthmus.tables.address import MASK128, Family, format_address
from isthmus.tables.entries import Range, Side
from isthmus.trace.lookup import find_range


class Mapped(NamedTuple):
    """The two forms of one address. A hole has only the one that was asked; an address of neither space has none."""

    private: str | None
    public: str | None
    hole: bool = False

    @property
    def found(self) -> bool:
        """False for an address that this side has in neither space."""
        return self.private is not None or self.public is not None


def map_address(side: Side, family: Family, address: int) -> Mapped:
    """Private to public, or back, on a plain or static side. An address that is in both spaces is taken as private."""
    offered, holes = side.private.get(family, ()), side.holes.get(family, ())
    as_asked = format_address(family, address)
    entry = find_range(offered, address)
    if entry is not None:
        return Mapped(as_asked, format_address(family, (address + entry.delta) & MASK128))
    if find_range(holes, address) is not None:
        return Mapped(as_asked, None, hole=True)
    entry = _find_public(offered, address)
    if entry is not None:
        return Mapped(format_address(family, (address - entry.delta) & MASK128), as_asked)
    if _find_public(holes, address) is not None:
        return Mapped(None, as_asked, hole=True)
    return Mapped(None, None)


def _find_public(ranges: Sequence[Range], address: int) -> Range | None:
    """The range whose public addresses hold this one."""
    for entry in ranges:
        if entry.first <= (address - entry.delta) & MASK128 <= entry.last:
            return entry
    return None
