"""Prefixes like those of today's Internet, the same for the same seed, and a host in each."""

from __future__ import annotations

import random
from typing import Final

from isthmus.tables.address import BITS, Family
from isthmus.tables.learned import prefix_key
from isthmus.tables.martians import LINK_LOCAL, is_martian

ROUTES: Final[dict[Family, int]] = {4: 1_050_000, 6: 230_000}
"""Of a full table."""
LENGTHS: Final[dict[Family, dict[int, int]]] = {  # share of each prefix length, in thousandths
    4: {24: 630, 22: 110, 23: 100, 21: 50, 20: 43, 19: 25, 18: 14, 16: 14, 17: 8, 15: 2, 14: 2, 13: 1, 12: 1},
    6: {48: 470, 32: 120, 44: 120, 40: 100, 36: 60, 29: 50, 46: 30, 42: 20, 33: 10, 47: 10, 28: 10},
}
_REGISTRIES: Final = (0x2001, 0x2400, 0x2600, 0x2800, 0x2A00, 0x2C0F)
"""First two bytes of what the registries give out of IPv6, with some of what follows."""
_LINK_LOCAL: Final = prefix_key(LINK_LOCAL[4])
_ALLOCATIONS: Final = 0.2
"""IPv6: /32s that holders have been given, as a share of the routes; all longer prefixes lie inside of one."""


def prefixes(family: Family, count: int, rng: random.Random) -> list[int]:
    """Different prefix keys, in no order; no martians, nor any of 10.0.0.0/8."""
    lengths = rng.choices(list(LENGTHS[family]), list(LENGTHS[family].values()), k=count + count // 4)
    draw = _drawn_4 if family == 4 else _Drawn6(count, rng)
    found = {draw(length, rng): None for length in lengths}
    found.pop(0, None)
    return list(found)[:count]


def _drawn_4(length: int, rng: random.Random) -> int:
    top = rng.randint(1, 223)
    key = (1 << 8 | top) << (length - 8) | rng.getrandbits(length - 8)
    return 0 if top in (10, 127) or key >> max(length - 16, 0) == _LINK_LOCAL else key


class _Drawn6:
    """Holders have /32s, of which a few are cut into very many routes; inside of one, low numbers are used most."""

    def __init__(self, count: int, rng: random.Random) -> None:
        self._held = [self._given(rng) for _ in range(max(1, int(count * _ALLOCATIONS)))]

    def __call__(self, length: int, rng: random.Random) -> int:
        if length <= 32:
            return self._given(rng) >> (32 - length)
        holder = self._held[int(len(self._held) * rng.random() ** 2)]
        return holder << (length - 32) | int((1 << (length - 32)) * rng.random() ** 2)

    @staticmethod
    def _given(rng: random.Random) -> int:
        return (1 << 16 | rng.choice(_REGISTRIES) + rng.randrange(16)) << 16 | rng.getrandbits(16)


def full_table(family: Family, seed: int = 1) -> list[int]:
    """Keys of as many prefixes as the Internet has, in no order."""
    return prefixes(family, ROUTES[family], random.Random(f"{seed} {family}"))


def hosts(family: Family, keys: list[int], rng: random.Random) -> list[int]:
    """A left-aligned address in each of these prefixes, at random; no martian."""
    return [_host(family, key, rng) for key in keys]


def _host(family: Family, key: int, rng: random.Random) -> int:
    bits = BITS[family] - key.bit_length() + 1
    while True:  # short prefixes may hold martians
        found = ((key << bits | rng.getrandbits(bits)) ^ 1 << BITS[family]) << 128 - BITS[family]
        if not is_martian(family, found):
            return found
