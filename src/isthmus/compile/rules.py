"""``ingress`` rules, flattened: one entry for every protocol and port range that a rule names."""

from __future__ import annotations

from itertools import product

from isthmus.compile.intervals import merged
from isthmus.model.types import Match, Rule, Side
from isthmus.tables.address import FAMILIES, Family, Prefix, step
from isthmus.tables.entries import Origin, Range, RuleEntry

PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1}
ANY = (0, 65535)


def compile_rules(side: Side) -> tuple[RuleEntry, ...] | None:
    """The entries of a side's rules in order, or None where it has no ``ingress``."""
    if side.ingress is None:
        return None
    return tuple(entry for rule in side.ingress for entry in _entries(f"Peering/{side.peering}", rule))


def _entries(name: str, rule: Rule) -> list[RuleEntry]:
    src, dst, origin = _ranges(rule.src), _ranges(rule.dst), Origin(name, rule.path)
    if not rule.matches:
        return [RuleEntry(None, ANY, ANY, False, src, dst, rule.stateless, origin)]
    return [
        RuleEntry(PROTOCOLS[match.proto], sport, dport, (sport, dport) != (ANY, ANY), src, dst, rule.stateless, origin)
        for match in rule.matches
        for sport, dport in _port_pairs(match)
    ]


def _port_pairs(match: Match) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    return list(product(match.sport or (ANY,), match.dport or (ANY,)))


def _ranges(prefixes: tuple[Prefix, ...] | None) -> dict[Family, tuple[Range, ...]] | None:
    if prefixes is None:
        return None
    return {
        family: tuple(
            Range(first, last)
            for first, last in merged(((p.first, p.last) for p in prefixes if p.family == family), step(family))
        )
        for family in FAMILIES
    }
