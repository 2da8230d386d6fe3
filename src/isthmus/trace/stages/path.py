"""Stage ``path``: which peering carries the packet.

Verdicts: ``no-peering``, ``nat-hole``, ``same-vpc``, ``no-route``, ``gateway-address``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from operator import itemgetter

from isthmus.tables.address import MASK128
from isthmus.tables.entries import Candidate, Exposure, NextHop, PathKind, Route
from isthmus.tables.share import address_words, next_hop_id, stable_id, weight
from isthmus.tables.verdicts import Verdict
from isthmus.trace.judgement import Judgement, Path
from isthmus.trace.packet import Packet

HIGHEST_METRIC = (1 << 32) - 1
_ENDS = {PathKind.HOLE: Verdict.NAT_HOLE, PathKind.SAME_VPC: Verdict.SAME_VPC}


def path(judgement: Judgement) -> Verdict | None:
    """Takes the best of the live paths, and of its route the next hop."""
    key = judgement.key
    exposure = find_exposure(judgement.vpc.exposures.get(key.family, ()), key.dst)
    if exposure is None or not exposure.candidates:
        return Verdict.NO_PEERING
    end = _ENDS.get(exposure.candidates[0].kind)
    if end is not None:
        return end
    for candidate in exposure.candidates:
        found = _look_up(judgement, candidate)
        if found is None:
            return Verdict.INTERNAL
        judgement.paths.append(found)
    best = _best(judgement)
    if best is None:
        return Verdict.NO_ROUTE
    judgement.chosen = best
    if best.route is not None:
        if best.route.local:
            return Verdict.GATEWAY_ADDRESS
        judgement.hop = pick_next_hop(judgement.vpc.name, best.route.next_hops, key)
    return None


def find_exposure(exposures: Sequence[Exposure], address: int) -> Exposure | None:
    """The entry (sorted, disjoint) that holds the address."""
    at = bisect_right(exposures, address, key=itemgetter(0))
    if at and address <= exposures[at - 1].last:
        return exposures[at - 1]
    return None


def longest_match(routes: Sequence[Route], address: int) -> Route | None:
    """The route with the longest prefix that holds the address."""
    best: Route | None = None
    for route in routes:
        _family, first, length = route.prefix
        if (address ^ first) >> (128 - length) == 0 and (best is None or length > best.prefix.length):
            best = route
    return best


def pick_next_hop(sender: str, hops: Sequence[NextHop], key: Packet) -> NextHop | None:
    """The next hop with the highest rendezvous weight, of equals the first; None if there are none.

    The seed is the sending VPC, the addresses are those before translation.
    """
    if len(hops) < 2:
        return hops[0] if hops else None
    seed, source, destination = stable_id(sender), address_words(key.src), address_words(key.dst)
    return max(hops, key=lambda hop: weight(seed, *source, *destination, key.port_word, next_hop_id(hop)))


def _look_up(judgement: Judgement, candidate: Candidate) -> Path | None:
    """The candidate with its route and rank; None where the VPC that offers it is in no table."""
    if candidate.kind == PathKind.STATEFUL:
        return Path(candidate, True, None, candidate.length, candidate.metric)
    offers = judgement.tables.vpcs.get(candidate.there.vpc) if candidate.there else None
    if offers is None:
        return None
    family = judgement.key.family
    route = longest_match(offers.routes.get(family, ()), (judgement.key.dst + candidate.delta) & MASK128)
    if route is None:
        return Path(candidate, False, None, candidate.length, candidate.metric)
    length = candidate.length
    if candidate.kind == PathKind.PLAIN:
        length = max(length, route.prefix.length)
    return Path(candidate, True, route, length, min(route.metric + candidate.metric, HIGHEST_METRIC))


def _best(judgement: Judgement) -> Path | None:
    """Longest prefix, then lowest metric, then the rendezvous hash among those that are equal; of equals the first."""
    live = [path for path in judgement.paths if path.live]
    if not live:
        return None
    rank = min((-path.length, path.metric) for path in live)
    equal = [path for path in live if (-path.length, path.metric) == rank]
    if len(equal) == 1:
        return equal[0]
    judgement.paths = [_weighed(judgement, path) if path in equal else path for path in judgement.paths]
    return max((path for path in judgement.paths if path.weight is not None), key=lambda path: path.weight or 0)


def _weighed(judgement: Judgement, path: Path) -> Path:
    key, there = judgement.key, path.candidate.there
    name = there.peering if there else ""
    seed = stable_id(judgement.vpc.name)
    return path._replace(weight=weight(seed, *address_words(key.src), *address_words(key.dst), stable_id(name)))
