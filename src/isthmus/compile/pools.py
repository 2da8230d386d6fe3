"""What the hosts of a stateful side share: public addresses that packets may carry, and ports."""

from __future__ import annotations

from collections.abc import Mapping

from isthmus.compile.intervals import Interval, cut, merged
from isthmus.compile.sides import Layout
from isthmus.model.types import Side
from isthmus.tables.address import Family, step
from isthmus.tables.entries import Nat, Pool
from isthmus.tables.martians import MARTIANS


def pool(side: Side, layouts: Mapping[Family, Layout]) -> Pool | None:
    """The pool of a stateful side: what it offers, without martians. A family may have no address; others: None."""
    if side.nat is not Nat.STATEFUL:
        return None
    addresses = {family: _addresses(family, layout) for family, layout in layouts.items()}
    return Pool(addresses, side.ports, side.per_destination)


def _addresses(family: Family, layout: Layout) -> tuple[Interval, ...]:
    unit = step(family)
    martians = merged(((prefix.first, prefix.last) for prefix in MARTIANS[family]), unit)
    offered = merged(((offer.first, offer.last) for offer in layout.offers), unit)
    return tuple(usable for first, last in offered for usable in cut(first, last, martians, unit)[0])
