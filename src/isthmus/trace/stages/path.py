"""Stage ``path``: which peering carries the packet.

Verdicts: ``no-peering``, ``nat-hole``, ``same-vpc``, ``no-route``, ``gateway-address``.
"""

from __future__ import annotations

from isthmus.tables.address import MASK128
from isthmus.tables.entries import Candidate, PathKind
from isthmus.tables.share import address_words, stable_id, weight
from isthmus.tables.verdicts import Verdict
from isthmus.trace.judgement import Judgement, Path
from isthmus.trace.lookup import find_exposure, find_route, pick_next_hop

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
        hops, down = best.route.next_hops, judgement.learned.down
        judgement.hop = pick_next_hop(judgement.vpc.name, hops, key.src, key.dst, key.port_word, down)
    return None


def _look_up(judgement: Judgement, candidate: Candidate) -> Path | None:
    """The candidate with its route and rank; None where the VPC that offers it is in no table."""
    if candidate.kind == PathKind.STATEFUL:
        return Path(candidate, True, None, candidate.length, candidate.metric)
    tables, key = judgement.tables, judgement.key
    if candidate.there is None or candidate.there.vpc not in tables.vpcs:
        return None
    private = (key.dst + candidate.delta) & MASK128
    route = find_route(tables, judgement.learned, candidate.there.vpc, key.family, private)
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
