"""How the tables are asked: exposures, routes, next hops, ranges, rules. Each answer depends on its arguments alone."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from operator import itemgetter

from isthmus.tables.address import Family
from isthmus.tables.entries import Exposure, NextHop, Range, Route, RuleEntry, Tables
from isthmus.tables.learned import Down, Learned, is_down
from isthmus.tables.share import address_words, next_hop_id, stable_id, weight
from isthmus.trace.packet import Packet


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


def longest_route(tables: Tables, learned: Learned, vpc: str, family: Family, address: int) -> Route | None:
    """The route of a VPC to an address, whether it is down or not: the longest prefix, of equals its own."""
    own = longest_match(tables.vpcs[vpc].routes.get(family, ()), address)
    taught = learned.find(vpc, family, address)
    if taught is None or (own is not None and own.prefix.length >= taught.prefix.length):
        return own
    return taught


def find_route(tables: Tables, learned: Learned, vpc: str, family: Family, address: int) -> Route | None:
    """The route of a VPC to an address. One whose next hops are all down is none, and stands in the way of shorter
    ones."""
    route = longest_route(tables, learned, vpc, family, address)
    if route is None or not route.next_hops:
        return route
    return None if all(is_down(hop, learned.down) for hop in route.next_hops) else route


def pick_next_hop(
    sender: str, hops: Sequence[NextHop], src: int, dst: int, port_word: int, down: frozenset[Down] = frozenset()
) -> NextHop | None:
    """The next hop with the highest rendezvous weight, of equals the first; None if there are none.

    The seed is the sending VPC, the addresses are those before translation; ``port_word``: source port << 16 |
    destination port, 0 where a packet has none. ``down``: what is passed over.
    """
    hops = [hop for hop in hops if not is_down(hop, down)]
    if len(hops) < 2:
        return hops[0] if hops else None
    words = (*address_words(src), *address_words(dst), port_word)
    return max(hops, key=lambda hop: weight(stable_id(sender), *words, next_hop_id(hop)))


def find_range(ranges: Sequence[Range], address: int) -> Range | None:
    """The range that holds the address."""
    for candidate in ranges:
        if candidate.first <= address <= candidate.last:
            return candidate
    return None


def matches(entry: RuleEntry, packet: Packet) -> bool:
    """True if family, protocol and addresses of the entry fit the packet; ports are another question."""
    if entry.proto is not None and not (packet.icmp if entry.proto == 1 else packet.proto == entry.proto):
        return False
    for wanted, address in ((entry.src, packet.src), (entry.dst, packet.dst)):
        if wanted is not None and find_range(wanted.get(packet.family, ()), address) is None:
            return False
    return True


def ports_match(entry: RuleEntry, packet: Packet) -> bool:
    """True if both ports (type and code) are in the entry's ranges, or it does not ask for any."""
    if not entry.needs_ports:
        return True
    return entry.sport[0] <= packet.sport <= entry.sport[1] and entry.dport[0] <= packet.dport <= entry.dport[1]
