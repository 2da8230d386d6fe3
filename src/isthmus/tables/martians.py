"""Addresses that never cross the gateway, as source or destination, before or after translation (RFC 6890)."""

from __future__ import annotations

from isthmus.tables.address import Family, Prefix

LINK_LOCAL_V6 = Prefix.parse("fe80::/10")
LINK_LOCAL: dict[Family, Prefix] = {4: Prefix.parse("169.254.0.0/16"), 6: LINK_LOCAL_V6}
MULTICAST_V6 = Prefix.parse("ff00::/8")
MARTIANS: dict[Family, tuple[Prefix, ...]] = {
    4: tuple(
        Prefix.parse(text)
        for text in (
            "0.0.0.0/8",  # "this network", RFC 1122
            "127.0.0.0/8",  # loopback, RFC 1122
            "169.254.0.0/16",  # link-local, RFC 3927
            "224.0.0.0/4",  # multicast, RFC 5771
            "240.0.0.0/4",  # reserved, RFC 1112, and broadcast
        )
    ),
    6: (
        Prefix.parse("::/128"),
        Prefix.parse("::1/128"),
        Prefix.parse("::ffff:0:0/96"),  # IPv4-mapped, RFC 4291
        LINK_LOCAL_V6,
        MULTICAST_V6,
    ),
}

_TESTS = {
    family: tuple((128 - prefix.length, prefix.first >> (128 - prefix.length)) for prefix in prefixes)
    for family, prefixes in MARTIANS.items()
}


def is_martian(family: Family, address: int) -> bool:
    """True if the left-aligned address is in one of MARTIANS of its family."""
    return any(address >> shift == head for shift, head in _TESTS[family])
