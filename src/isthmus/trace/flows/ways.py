"""The ways out of a flow, chosen once for both directions."""

from __future__ import annotations

from isthmus.tables.entries import Route, Tables
from isthmus.trace.flows.records import Key, Way
from isthmus.trace.lookup import longest_match, pick_next_hop


def choose_ways(tables: Tables, keys: tuple[Key, Key], route: Route) -> tuple[Way, Way | None]:
    """Along the route to the responder, and back; None: the initiator has no route, or is the gateway itself."""
    there, back = keys
    home = tables.vpcs.get(there.vpc)
    return_route = longest_match(home.routes.get(there.family, ()), there.src) if home is not None else None
    if return_route is None or return_route.local:
        return _way(route, there), None
    return _way(route, there), _way(return_route, back)


def _way(route: Route, key: Key) -> Way:
    return Way(route, pick_next_hop(key.vpc, route.next_hops, key.src, key.dst, key.port_word))
