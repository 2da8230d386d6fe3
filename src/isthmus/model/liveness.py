"""Which routes of a VPC carry an offer: only what is routed is a path, and a longer route may outrank the CIDR."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from isthmus.model import sets
from isthmus.model.exposures import Offer
from isthmus.model.types import Vpc
from isthmus.tables.address import FAMILIES, Family, Prefix
from isthmus.tables.entries import TagKind

_MOST_PIECES = 64  # an offer that more routes carry is taken as a whole, by its CIDR


class Carried(NamedTuple):
    """Addresses start..stop (excluded) whose longest route has this prefix length and metric."""

    start: int
    stop: int
    length: int
    metric: int


def routes_matter(vpc: Vpc) -> bool:
    """False where offers rank by their CIDRs alone: routes are learned, or are what is exposed and do not nest."""
    if vpc.bgp:
        return False
    if vpc.defined:
        return True
    ends = sorted((route.to.family, *sets.interval(route.to)) for route in vpc.routes)
    return any(one[0] == other[0] and other[1] < one[2] for one, other in pairwise(ends))


class RouteMap:
    """The routes of one VPC, cut into disjoint stretches by longest prefix.

    Subnets are among them, but for those on a VXLAN attachment, where the remotes are the routes.
    """

    def __init__(self, vpc: Vpc) -> None:
        on_link = [s.prefix for s in vpc.subnets if vpc.attachments[s.attachment].tag.kind is not TagKind.VXLAN]
        routes = [(prefix, 0) for prefix in on_link] + [(route.to, route.metric) for route in vpc.routes]
        self._by_family = {
            family: _flatten([(prefix, metric) for prefix, metric in routes if prefix.family == family])
            for family in FAMILIES
        }

    def of(self, family: Family) -> list[Carried]:
        """The stretches of one family, sorted."""
        return self._by_family[family]


def _flatten(routes: list[tuple[Prefix, int]]) -> list[Carried]:
    """Longest match over all addresses: prefixes nest, so a stack of those that are open is enough."""
    best: dict[Prefix, int] = {}
    for prefix, metric in routes:
        best[prefix] = min(metric, best.get(prefix, metric))
    found: list[Carried] = []
    stack: list[tuple[int, int, int]] = []  # stop, length, metric
    at = 0

    def close(until: int) -> None:
        nonlocal at
        while stack and stack[-1][0] <= until:
            stop, length, metric = stack.pop()
            if at < stop:
                found.append(Carried(at, stop, length, metric))
                at = stop
        if stack and at < until:
            found.append(Carried(at, until, stack[-1][1], stack[-1][2]))
        at = max(at, until)

    for prefix in sorted(best, key=lambda one: (one.first, one.length)):
        start, stop = sets.interval(prefix)
        close(start)
        stack.append((stop, prefix.length, best[prefix]))
    close(1 << 128)
    return found


def live_offers(offer: Offer, routes: list[Carried], plain: bool) -> Iterator[Carried]:
    """The public stretches of an offer that a route carries, with the prefix length and metric that they compete by."""
    low, high = offer.start + offer.shift, offer.stop + offer.shift
    first = max(bisect_right(routes, low, key=lambda one: one.start) - 1, 0)
    if first + _MOST_PIECES < len(routes) and routes[first + _MOST_PIECES].start < high:
        yield Carried(offer.start, offer.stop, offer.length, 0)
        return
    for route in routes[first : first + _MOST_PIECES]:
        start, stop = max(low, route.start), min(high, route.stop)
        if start < stop:
            length = max(offer.length, route.length) if plain else offer.length
            yield Carried(start - offer.shift, stop - offer.shift, length, route.metric)
