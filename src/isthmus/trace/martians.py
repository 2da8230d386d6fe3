"""Addresses that never cross the gateway (SPEC 5, RFC 6890), as source or destination, before or after translation."""

from __future__ import annotations

from isthmus.tables.address import Family, Prefix

MARTIANS: dict[Family, tuple[Prefix, ...]] = {
    4: tuple(map(Prefix.parse, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"))),
    6: tuple(map(Prefix.parse, ("::/128", "::1/128", "::ffff:0:0/96", "fe80::/10", "ff00::/8"))),
}
LINK_LOCAL_V6 = Prefix.parse("fe80::/10")
MULTICAST_V6 = Prefix.parse("ff00::/8")

_TESTS = {
    family: tuple((128 - prefix.length, prefix.first >> (128 - prefix.length)) for prefix in prefixes)
    for family, prefixes in MARTIANS.items()
}


def is_martian(family: Family, address: int) -> bool:
    """True if the left-aligned address is in one of MARTIANS of its family."""
    return any(address >> shift == head for shift, head in _TESTS[family])
