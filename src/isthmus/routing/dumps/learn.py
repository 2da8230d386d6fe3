"""From paths to routes, as BGP decides (RFC 4271 9.1.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from isthmus.routing.dumps.path import Path
from isthmus.routing.resolve import resolve
from isthmus.tables.address import FAMILIES, Family
from isthmus.tables.entries import NextHop, Origin, Route, Vpc
from isthmus.tables.layout import MAX_HOPS
from isthmus.tables.learned import Learned, key_prefix


def learn(vpcs: Mapping[str, Vpc], paths: Iterable[tuple[str, Family, int, Path]]) -> tuple[Learned, Counter[str]]:
    """What the VPCs would have learned from these paths, and how many of each had a next hop that leads nowhere.

    KeyError for a VPC that is not there.
    """
    lost: Counter[str] = Counter()
    best: dict[str, dict[Family, dict[int, tuple[Path, ...]]]] = {}
    ways = _Ways(vpcs)
    for vpc, family, key, path in paths:
        table = best.setdefault(vpc, {one: {} for one in FAMILIES})[family]
        if ways.to(vpc, path) is None:
            lost[vpc] += 1
            continue
        known = table.get(key, ())
        if not known or path.rank < known[0].rank:
            table[key] = (path,)
        elif path.rank == known[0].rank and path not in known:
            table[key] = (*known, path)
    routes = {
        vpc: {
            family: {key: ways.route(vpc, family, key, equals) for key, equals in table.items()}
            for family, table in tables.items()
        }
        for vpc, tables in best.items()
    }
    return Learned(routes), lost


class _Ways:
    """Next hops, each found once."""

    def __init__(self, vpcs: Mapping[str, Vpc]) -> None:
        self._vpcs = vpcs
        self._known: dict[tuple[str, tuple[Family, int], str], NextHop | None] = {}
        self._together: dict[tuple[str, tuple[Path, ...]], tuple[NextHop, ...]] = {}

    def to(self, vpc: str, path: Path) -> NextHop | None:
        which = vpc, path.next_hop, path.peer
        if which not in self._known:
            origin = Origin(f"VPC/{vpc}", "spec.bgp")
            self._known[which] = resolve(self._vpcs[vpc], *path.next_hop, path.peer, origin)
        return self._known[which]

    def route(self, vpc: str, family: Family, key: int, equals: tuple[Path, ...]) -> Route:
        hops = self._together.get((vpc, equals))
        if hops is None:
            found = dict.fromkeys(hop for path in equals if (hop := self.to(vpc, path)) is not None)
            ordered = sorted(
                found, key=lambda hop: (hop.attachment, -1 if hop.gateway is None else hop.gateway, hop.peer)
            )
            hops = self._together[vpc, equals] = tuple(ordered[:MAX_HOPS])
        return Route(key_prefix(family, key), equals[0].med or 0, False, hops, Origin(f"VPC/{vpc}", "spec.bgp"))
