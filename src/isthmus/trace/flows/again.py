"""After a change of the configuration, or of the learned routes: may a flow go on as it is?"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from isthmus.tables.address import MASK128
from isthmus.tables.entries import Candidate, Nat, PathKind, Route, Side, SideKey, Tables, Timeouts
from isthmus.tables.learned import Learned
from isthmus.trace.flows.mappings import allows
from isthmus.trace.flows.records import Flow, Way
from isthmus.trace.flows.ways import choose_ways
from isthmus.trace.lookup import find_exposure, find_range, find_route, matches, ports_match


class End(Enum):
    """Why a flow does not go on. Without one of its VPCs it is over."""

    OVER = "it is not permitted, or not translated so, any more"
    DEAD = "the path is dead; another may carry the conversation"


class Terms(NamedTuple):
    """On what a flow goes on."""

    sides: tuple[SideKey, SideKey]
    ways: tuple[Way, Way | None]
    timeouts: Timeouts


def judge_again(tables: Tables, learned: Learned, flow: Flow) -> Terms | End:
    """Path, source and translation, rules, in this order, as these tables, and the learned routes, have them."""
    if any(key.vpc not in tables.vpcs for key in flow.keys):
        return End.OVER
    found = _path(tables, learned, flow)
    if found is None:
        return End.DEAD
    candidate, route = found
    if candidate.here is None or candidate.there is None or route.local:
        return End.OVER
    side = tables.sides.get(candidate.here)
    if (flow.keys[0].dst + candidate.delta) & MASK128 != flow.keys[1].src or side is None:
        return End.OVER
    if not _is_translated_so(side, flow) or not _is_allowed(side, flow):
        return End.OVER
    return Terms((candidate.here, candidate.there), choose_ways(tables, learned, flow.keys, route), side.timeouts)


def _path(tables: Tables, learned: Learned, flow: Flow) -> tuple[Candidate, Route] | None:
    """The offer of the flow's own peer that any packet may go to, and its route; None: the path is dead."""
    key, peer = flow.keys[0], flow.keys[1].vpc
    exposure = find_exposure(tables.vpcs[key.vpc].exposures.get(key.family, ()), key.dst)
    for candidate in exposure.candidates if exposure is not None else ():
        if candidate.kind in (PathKind.PLAIN, PathKind.STATIC) and candidate.there and candidate.there.vpc == peer:
            route = find_route(tables, learned, peer, key.family, (key.dst + candidate.delta) & MASK128)
            return None if route is None else (candidate, route)
    return None


def _is_translated_so(side: Side, flow: Flow) -> bool:
    source, public = flow.keys[0].src, flow.keys[1].dst
    found = find_range(side.private.get(flow.keys[0].family, ()), source)
    if found is None:
        return False
    if side.nat != Nat.STATEFUL:
        return flow.mapping is None and (source + found.delta) & MASK128 == public
    return flow.mapping is not None and side.pool is not None and allows(side.pool, flow.mapping.public)


def _is_allowed(side: Side, flow: Flow) -> bool:
    packet = flow.first_packet
    return side.rules is None or any(matches(rule, packet) and ports_match(rule, packet) for rule in side.rules)
