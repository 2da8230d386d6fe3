"""Addresses that never cross the gateway, so that offering nothing else is a mistake."""

from __future__ import annotations

from isthmus.model import sets
from isthmus.tables.address import FAMILIES, Family, Prefix

MARTIANS: tuple[Prefix, ...] = tuple(
    Prefix.parse(text)
    for text in (
        "0.0.0.0/8",  # "this network", RFC 1122
        "127.0.0.0/8",  # loopback, RFC 1122
        "169.254.0.0/16",  # link-local, RFC 3927
        "224.0.0.0/4",  # multicast, RFC 5771
        "240.0.0.0/4",  # reserved, RFC 1112, and broadcast
        "::/128",
        "::1/128",
        "::ffff:0:0/96",  # IPv4-mapped, RFC 4291
        "fe80::/10",  # link-local
        "ff00::/8",  # multicast
    )
)
_SETS: dict[Family, sets.Set] = {
    family: sets.of(prefix for prefix in MARTIANS if prefix.family == family) for family in FAMILIES
}


def is_martian(prefix: Prefix) -> bool:
    """True if every address of the prefix is a martian."""
    start, stop = sets.interval(prefix)
    return any(low <= start and stop <= high for low, high in _SETS[prefix.family])
