"""Pools for random models, such that real ones could have them: what one VPC is shown as a pool means one thing."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from isthmus.model.types import Item, Model, Peering, Side
from isthmus.tables.address import Family, Prefix
from isthmus.tables.entries import Nat, Timeouts

PORTS: tuple[tuple[tuple[int, int], ...], ...] = (
    ((1024, 65535),), ((1024, 1027),), ((1024, 1027),), ((1024, 1024),), ((0, 65535),), ((2, 3), (1025, 1028)),
    ((5, 5), (80, 80), (1024, 2500)), ((0, 0), (65535, 65535)),
)  # fmt: skip
LENGTHS: dict[Family, tuple[int, ...]] = {4: (32, 31, 30, 30, 29, 24), 6: (128, 127, 126, 126, 124, 64)}


class Terms(NamedTuple):
    """All that sides which share addresses toward one VPC have to agree on."""

    ports: tuple[tuple[int, int], ...]
    per_destination: bool
    timeouts: Timeouts

    @classmethod
    def draw(cls, rng: Random) -> Terms:
        """Few ports more often than many, and short timeouts."""
        return cls(rng.choice(PORTS), rng.random() < 0.4, draw_timeouts(rng))

    @classmethod
    def of(cls, side: Side) -> Terms:
        """Those of a side."""
        return cls(side.ports, side.per_destination, side.timeouts)

    def given_to(self, side: Side) -> Side:
        """The side on these terms."""
        return side._replace(ports=self.ports, per_destination=self.per_destination, timeouts=self.timeouts)


def draw_timeouts(rng: Random) -> Timeouts:
    """Seconds, mostly few."""
    return Timeouts(rng.choice([1, 3, 30, 300]), rng.choice([5, 60, 7440]), rng.choice([1, 4, 240]), rng.choice([1, 9]))


class Group(NamedTuple):
    """Blocks of addresses that one VPC is shown as pools on the same terms."""

    blocks: dict[Family, Prefix]
    terms: Terms


class Pools:
    """Hands out pools; groups shown to one VPC are disjoint."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.groups: dict[str, list[Group]] = {}

    def draw(
        self, shown_to: str, families: list[Family], anywhere: Callable[[Family], Prefix] | None = None
    ) -> tuple[list[Prefix], Terms]:
        """A pool for a side, often one that overlaps that of another side; ``anywhere`` says where new ones may be."""
        rng = self.rng
        groups = self.groups.setdefault(shown_to, [])
        if not groups or rng.random() < 0.3:
            blocks: dict[Family, Prefix] = {
                4: Prefix.parse(f"198.18.{len(groups)}.0/24"),
                6: Prefix.parse(f"2001:db8:ff{len(groups):02x}::/64"),
            }
            if anywhere is not None and rng.random() < 0.4:
                blocks = {family: anywhere(family) for family in blocks}
            if not any(one.overlaps(old) for one in blocks.values() for g in groups for old in g.blocks.values()):
                groups.append(Group(blocks, Terms.draw(rng)))
        group = rng.choice(groups)
        found: list[Prefix] = []
        for family in families:
            for _ in range(rng.choice([1, 1, 1, 2])):
                one = part_of(rng, group.blocks[family])
                if not any(one.overlaps(other) for other in found):
                    found.append(one)
        return found, group.terms


def part_of(rng: Random, block: Prefix) -> Prefix:
    """A few addresses near the start of a block, or all of it."""
    length = max(block.length, rng.choice(LENGTHS[block.family]))
    if rng.random() < 0.05:
        return block
    offset = rng.choice([0, 0, 0, 1, 2]) if length - block.length >= 2 else 0
    return Prefix(block.family, block.first + (offset << (128 - length)), length)


def without_pools(model: Model) -> Model:
    """The model with holes in plain and static sides where they would show a VPC addresses of a pool."""
    pools: dict[str, list[Prefix]] = {}
    for peering in model.peerings.values():
        for side, other in (peering.sides, peering.sides[::-1]):
            if side.nat is Nat.STATEFUL:
                pools.setdefault(other.vpc, []).extend(item.prefix for item in side.as_)
    peerings = {}
    for name, (_, (left, right)) in model.peerings.items():
        peerings[name] = Peering(name, (_cut(left, pools.get(right.vpc, [])), _cut(right, pools.get(left.vpc, []))))
    return model._replace(peerings=peerings)


def _cut(side: Side, pools: list[Prefix]) -> Side:
    if side.nat is Nat.STATEFUL:
        return side
    static = side.nat is Nat.STATIC
    shown, holes = (side.as_, side.as_not) if static else (side.ips, side.ips_not)
    known = {item.prefix for item in holes}
    more = [
        pool for pool in dict.fromkeys(pools) if pool not in known and any(pool.overlaps(item.prefix) for item in shown)
    ]
    if not more:
        return side
    path = f"{side.path}.{'as' if static else 'ips'}.not"
    holes += tuple(Item(prefix, f"{path}[{len(holes) + index}]") for index, prefix in enumerate(more))
    return side._replace(as_not=holes) if static else side._replace(ips_not=holes)
