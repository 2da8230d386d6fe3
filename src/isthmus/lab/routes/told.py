"""What the router knows, in the words of the questions that are asked about it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final, NamedTuple

from isthmus.lab.routes.router import Ambiguity, LearnedPath, NeighborRow, Use
from isthmus.routing.bgp.attributes import Attributes
from isthmus.routing.domain import Domain
from isthmus.routing.rib import Path, best, in_order
from isthmus.routing.router import Router
from isthmus.tables.address import FAMILIES, Family
from isthmus.tables.entries import PathKind, Vpc
from isthmus.tables.learned import Down, is_down, prefix_key

_AT_ONCE: Final = 64  # prefixes that are counted between two moments to pause: a millisecond at most
_RESTS: Final = 20  # so many times as long as the counting took, its result is good enough


class _Counted(NamedTuple):
    """Prefixes that two VPCs have learned, by what the first one's metric is above the other's."""

    differences: Counter[int]
    good_until: float


class ToldOf:
    """The answers of one router (``RoutingAnswers``)."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._counted: dict[tuple[str, str], _Counted] = {}

    def vpcs(self) -> Collection[str]:
        """See ``RoutingAnswers``."""
        return self._router.domains.keys()

    def paths(self, vpc: str) -> Mapping[Family, Mapping[int, Sequence[LearnedPath]]]:
        """See ``RoutingAnswers``."""
        domain = self._router.domains.get(vpc)
        return {family: _Paths(self._router, domain, family) for family in FAMILIES} if domain else {}

    def neighbors(self) -> Iterable[NeighborRow]:
        """See ``RoutingAnswers``."""
        for name, domain in self._router.domains.items():
            known = domain.neighbors()
            for neighbor in domain.speaker.neighbors:
                status = known.get(neighbor.name)
                if status is None:
                    silent = "the daemon does not answer"
                    yield NeighborRow(name, neighbor.name, neighbor.asn, "down", 0, silent, 0, 0, 0, None)
                    continue
                yield NeighborRow(
                    name,
                    status.name,
                    status.asn,
                    str(status.state),
                    status.since,
                    status.error,
                    status.imported,
                    status.exported,
                    status.refused,
                    status.bfd,
                    status.restarting,
                    status.over_limit,
                )

    def ambiguous(self, vpc: str | None) -> Iterator[Ambiguity | None]:
        """See ``RoutingAnswers``."""
        tables, domains = self._router.tables, self._router.domains
        for name in sorted(tables.vpcs) if vpc is None else [vpc]:
            yield None
            added = _added(tables.vpcs[name])
            for pair in combinations(sorted(added.keys() & domains.keys()), 2):
                yield from self._count(*pair)
                ways = self._counted[pair].differences
                if both := ways.total():
                    yield Ambiguity(name, pair, both, ways[added[pair[1]] - added[pair[0]]])

    def _count(self, one: str, other: str) -> Iterator[None]:
        """Count the prefixes that both have learned, unless that was done not long ago."""
        known, began = self._counted.get((one, other)), time.monotonic()
        if known and began < known.good_until:
            return
        ribs = [self._router.domains[name].rib for name in (one, other)]
        differences: Counter[int] = Counter()
        for family in FAMILIES:
            mine, theirs = (rib.paths(family) for rib in ribs)
            fewer, sign = (mine, 1) if len(mine) <= len(theirs) else (theirs, -1)
            more = theirs if sign > 0 else mine
            for index, key in enumerate(fewer):
                if index % _AT_ONCE == 0:
                    yield None
                here, there = best(fewer.get(key, ())), best(more.get(key, ()))
                if here and there:
                    differences[sign * (here[0].metric - there[0].metric)] += 1
        now = time.monotonic()
        self._counted[one, other] = _Counted(differences, now + _RESTS * (now - began))

    @property
    def down(self) -> frozenset[Down]:
        """See ``RoutingAnswers``."""
        return self._router.down

    @property
    def draining(self) -> bool:
        """See ``RoutingAnswers``."""
        return self._router.draining

    def drain(self, on: bool) -> None:
        """See ``RoutingAnswers``."""
        self._router.drain(on)


class _Paths(Mapping[int, Sequence[LearnedPath]]):
    """All paths of one VPC and family, made as they are asked for."""

    def __init__(self, router: Router, domain: Domain, family: Family) -> None:
        self._router, self._paths = router, domain.rib.paths(family)
        self._own = {prefix_key(route.prefix) for route in router.tables.vpcs[domain.vpc].routes.get(family, ())}

    def __getitem__(self, key: int) -> Sequence[LearnedPath]:
        there = self._paths[key]
        used = best(there)
        return [_row(path, self._use(key, path, used)) for path in in_order(there)]

    def __iter__(self) -> Iterator[int]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def _use(self, key: int, path: Path, used: tuple[Path, ...]) -> Use:
        if path.hop is None:
            return Use.UNRESOLVED
        if is_down(path.hop, self._router.down):
            return Use.DOWN
        if key in self._own:
            return Use.OWN
        return Use.USED if path in used else Use.WORSE


def _row(path: Path, use: Use) -> LearnedPath:
    said: Attributes = path.attributes
    words = [f"{value >> 16}:{value & 0xFFFF}" for value in said.communities.values]
    words += [":".join(map(str, value)) for value in said.large_communities.values if value[0]]
    return LearnedPath(
        path.peer,
        said.next_hop,
        str(said.as_path),
        said.origin.name.lower(),
        said.med,
        said.local_pref,
        words,
        use,
    )


def _added(vpc: Vpc) -> dict[str, int]:
    """The peers that offer a VPC something without stateful NAT, and what their sides add to metrics."""
    return {
        candidate.there.vpc: candidate.metric
        for exposures in vpc.exposures.values()
        for exposure in exposures
        for candidate in exposure.candidates
        if candidate.there is not None and candidate.kind in (PathKind.PLAIN, PathKind.STATIC)
    }
