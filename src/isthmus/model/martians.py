"""Addresses that never cross the gateway, so that offering nothing else is a mistake."""

from __future__ import annotations

from isthmus.model import sets
from isthmus.tables.address import Family, Prefix
from isthmus.tables.martians import MARTIANS

_SETS: dict[Family, sets.Set] = {family: sets.of(prefixes) for family, prefixes in MARTIANS.items()}


def without_martians(family: Family, addresses: sets.Set) -> sets.Set:
    """What of a set may cross the gateway."""
    return sets.difference(addresses, _SETS[family])


def is_martian(prefix: Prefix) -> bool:
    """True if every address of the prefix is a martian."""
    start, stop = sets.interval(prefix)
    return any(low <= start and stop <= high for low, high in _SETS[prefix.family])
