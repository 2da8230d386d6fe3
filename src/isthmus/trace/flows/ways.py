"""The ways out of a flow, chosen once for both directions."""

from __future__ import annotations

from isthmus.tables.entries import Route, Tables
from isthmus.tables.learned import Learned
from isthmus.trace.flows.records import Key, Way
from isthmus.trace.lookup import find_route, pick_next_hop


def choose_ways(tables: Tables, learned: Learned, keys: tuple[Key, Key], route: Route) -> tuple[Way, Way | None]:
    """Along the route to the responder, and back; None: the initiator has no route, or is the gateway itself."""
    there, back = keys
    return_route = find_route(tables, learned, there.vpc, there.family, there.src)
    if return_route is None or return_route.local:
        return _way(learned, route, there), None
    return _way(learned, route, there), _way(learned, return_route, back)


def _way(learned: Learned, route: Route, key: Key) -> Way:
    return Way(route, pick_next_hop(key.vpc, route.next_hops, key.src, key.dst, key.port_word, learned.down))
