"""Entries of the tables in the words of the objects they came from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from isthmus.tables.address import MASK128, Family, format_address, range_prefixes
from isthmus.tables.entries import Nat, PathKind, Pool, Range, Route, RuleEntry, Side, Vpc
from isthmus.trace.flows.records import Key
from isthmus.trace.packet import ICMP_PROTO, TCP, UDP

PROTOCOLS = {None: "any protocol", 1: "icmp", 6: "tcp", 17: "udp"}
ANY_PORT = (0, 65535)
MOST_NAMED = 8
"""What is beyond this many of a list is only counted."""


def span(low_high: tuple[int, int]) -> str:
    """A range of ports."""
    low, high = low_high
    return str(low) if low == high else f"{low}-{high}"


def rule_words(entry: RuleEntry) -> str:
    """``tcp dstPort 443 to 10.2.1.1/32, stateless``."""
    first, second = ("type", "code") if entry.proto == 1 else ("srcPort", "dstPort")
    words = [PROTOCOLS.get(entry.proto, f"protocol {entry.proto}")]
    words += [
        f"{name} {span(ports)}" for name, ports in ((first, entry.sport), (second, entry.dport)) if ports != ANY_PORT
    ]
    for name, wanted in (("from", entry.src), ("to", entry.dst)):
        if wanted is not None:
            words.append(
                f"{name} {cidrs((family, r.first, r.last) for family, ranges in wanted.items() for r in ranges)}"
            )
    return " ".join(words) + (", stateless" if entry.stateless else ", stateful")


def cidrs(ranges: Iterable[tuple[Family, int, int]]) -> str:
    """Ranges, each a CIDR, or first-last where one CIDR will not do; ``nothing`` if there are none."""
    return first_few([_range(*ends) for ends in ranges]) or "nothing"


def first_few(names: Sequence[str], separator: str = ", ") -> str:
    """The first MOST_NAMED, and how many more there are."""
    more = len(names) - MOST_NAMED
    return separator.join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _range(family: Family, first: int, last: int) -> str:
    whole = range_prefixes(family, first, last)
    if len(whole) == 1:
        return str(whole[0])
    return f"{format_address(family, first)}-{format_address(family, last)}"


def exposed(side: Side, family: Family) -> str:
    """The private addresses that a side offers, and as what."""
    ranges = side.private.get(family, ())
    private = cidrs((family, r.first, r.last) for r in ranges)
    if side.nat != Nat.STATIC or not ranges:
        return private
    return f"{private} as {cidrs((family, *public(r)) for r in ranges)}"


def public(entry: Range) -> tuple[int, int]:
    """First and last public address of a private range."""
    return (entry.first + entry.delta) & MASK128, (entry.last + entry.delta) & MASK128


def offered_to(vpc: Vpc, family: Family) -> str:
    """What a VPC can dial, by peer: ``192.168.2.0/24 (vpc-2)``."""
    by_peer: dict[str, list[tuple[Family, int, int]]] = {}
    for exposure in vpc.exposures.get(family, ()):
        for candidate in exposure.candidates:
            if candidate.there is not None and candidate.kind not in (PathKind.HOLE, PathKind.SAME_VPC):
                by_peer.setdefault(candidate.there.vpc, []).append((family, exposure.first, exposure.last))
    return first_few([f"{cidrs(_joined(ranges))} ({peer})" for peer, ranges in by_peer.items()], "; ") or "nothing"


def learned_from(route: Route) -> str:
    """``BGP from 192.0.2.1``; empty for a route that nobody told of."""
    peers = list(dict.fromkeys(hop.peer for hop in route.next_hops if hop.peer))
    return f"BGP from {first_few(peers)}" if peers else ""


def route_origin(route: Route) -> str:
    """Who told of a route: a BGP neighbour, or the field of an object."""
    return learned_from(route) or str(route.origin)


def pool_cidrs(pool: Pool, family: Family) -> list[str]:
    """The public addresses of a pool, as CIDRs."""
    return [
        str(prefix) for first, last in pool.addresses.get(family, ()) for prefix in range_prefixes(family, first, last)
    ]


def pool_words(pool: Pool, family: Family, ports: bool = True) -> str:
    """``203.0.113.0/30, ports 1024-65535``."""
    addresses = first_few(pool_cidrs(pool, family)) or "no address"
    return f"{addresses}, ports {first_few([span(ends) for ends in pool.ports])}" if ports else addresses


def conversation(key: Key) -> str:
    """What the packets of one direction of a flow have in common: ``tcp 10.1.1.5:40000 -> 10.3.1.7:80``."""
    name = "icmp" if key.proto == ICMP_PROTO[key.family] else PROTOCOLS.get(key.proto, f"protocol {key.proto}")
    src, dst = (end_text(key.family, key.proto, *end) for end in ((key.src, key.sport), (key.dst, key.dport)))
    return f"{name} {src} -> {dst}"


def end_text(family: Family, proto: int, address: int, port: int) -> str:
    """An address, with its port in TCP and UDP."""
    text = address_text(family, address)
    if proto not in (TCP, UDP):
        return text
    return f"[{text}]:{port}" if family == 6 else f"{text}:{port}"


def _joined(ranges: Sequence[tuple[Family, int, int]]) -> list[tuple[Family, int, int]]:
    """Sorted ranges, neighbours made one: an exposure is cut where offers of others begin and end."""
    found: list[tuple[Family, int, int]] = []
    for family, first, last in ranges:
        unit = 1 << 96 if family == 4 else 1
        if found and found[-1][2] + unit >= first:
            found[-1] = (family, found[-1][1], max(last, found[-1][2]))
        else:
            found.append((family, first, last))
    return found


def address_text(family: Family, address: int) -> str:
    """An address of the tables, in digits."""
    return format_address(family, address & MASK128)
