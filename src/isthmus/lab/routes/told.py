"""What the router knows, in the words of the questions that are asked about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import combinations

from isthmus.lab.routes.router import Ambiguity, LearnedPath, NeighborRow, Use
from isthmus.routing.bgp.attributes import Attributes
from isthmus.routing.domain import Domain
from isthmus.routing.rib import Path, best, in_order
from isthmus.routing.router import Router
from isthmus.tables.address import FAMILIES, Family
from isthmus.tables.entries import PathKind, Tables
from isthmus.tables.learned import is_down, prefix_key


class ToldOf:
    """The answers of one router (``RoutingAnswers``)."""

    def __init__(self, router: Router) -> None:
        self._router = router

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

    def ambiguous(self) -> Iterable[Ambiguity]:
        """See ``RoutingAnswers``."""
        for vpc, added in sorted(_metrics(self._router.tables).items()):
            for one, other in combinations(sorted(added.keys() & self._router.domains.keys()), 2):
                ribs = self._router.domains[one].rib, self._router.domains[other].rib
                both = tied = 0
                for family in FAMILIES:
                    mine, theirs = ribs[0].paths(family), ribs[1].paths(family)
                    for key in mine.keys() & theirs.keys():
                        found = best(mine[key]), best(theirs[key])
                        both += all(found)
                        tied += all(found) and found[0][0].metric + added[one] == found[1][0].metric + added[other]
                if both:
                    yield Ambiguity(vpc, (one, other), both, tied)

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


def _metrics(tables: Tables) -> dict[str, dict[str, int]]:
    """Of each VPC: the peers that offer it something without stateful NAT, and what their sides add to metrics."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for name, vpc in tables.vpcs.items():
        for exposures in vpc.exposures.values():
            for exposure in exposures:
                for candidate in exposure.candidates:
                    if candidate.there is not None and candidate.kind in (PathKind.PLAIN, PathKind.STATIC):
                        found[name][candidate.there.vpc] = candidate.metric
    return found
