"""Many rules, few of them looked at: for every family and class of protocols the rules are cut by one dimension.

A packet finds the cut that holds its port or address by binary search, and looks only at the rules that reach into it,
in their order. The dimension is the one in which the fewest rules meet. What is left of cost grows with the rules that
meet there, no more with all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from isthmus.tables.address import FAMILIES, MASK128, Family
from isthmus.tables.entries import RuleEntry
from isthmus.tables.layout import DIMENSIONS, RULE_CLASSES

FEW = 8
"""Up to so many rules are looked at one after another, without an index."""
MOST_COPIES = 8
"""A dimension is of no use if cutting by it would copy rules more often than this, on average."""

_PROTOS = {"TCP": 6, "UDP": 17, "ICMP": 1, "OTHER": None}


class Cut(NamedTuple):
    """From ``first`` on (a port, or a left-aligned address) the rules of these numbers can match, in order."""

    first: int
    rules: tuple[int, ...]


class Index(NamedTuple):
    """The cuts for one family and class of protocols; ``dimension`` is a number of DIMENSIONS."""

    dimension: int
    cuts: tuple[Cut, ...]


def index(rules: Sequence[RuleEntry]) -> list[Index]:
    """An index for every family and class of protocols, in the order of the records; empty where rules are few."""
    if len(rules) <= FEW:
        return []
    return [_best(rules, family, name) for family in FAMILIES for name in RULE_CLASSES if name != "COUNT"]


def _best(rules: Sequence[RuleEntry], family: Family, name: str) -> Index:
    fitting = [n for n, rule in enumerate(rules) if _may_match(rule, family, _PROTOS[name])]
    best = Index(DIMENSIONS["DPORT"], (Cut(0, tuple(fitting)),))
    least = len(fitting)
    for dimension in DIMENSIONS:
        cuts = _cuts([(n, _spans(rules[n], family, dimension)) for n in fitting])
        if cuts is None:
            continue
        most = max(len(cut.rules) for cut in cuts)
        if most < least:
            best, least = Index(DIMENSIONS[dimension], cuts), most
    return best


def _may_match(rule: RuleEntry, family: Family, proto: int | None) -> bool:
    reaches = all(which is None or which.get(family) for which in (rule.src, rule.dst))
    return bool(reaches) and rule.proto in (None, proto)


def _spans(rule: RuleEntry, family: Family, dimension: str) -> list[tuple[int, int]]:
    """What a rule covers of a dimension: first and last, both included."""
    if dimension == "SPORT":
        return [rule.sport]
    if dimension == "DPORT":
        return [rule.dport]
    which = rule.src if dimension == "SRC" else rule.dst
    return [(0, MASK128)] if which is None else [(r.first, r.last) for r in which[family]]


def _cuts(covered: list[tuple[int, list[tuple[int, int]]]]) -> tuple[Cut, ...] | None:
    """A sweep over the ends of all spans; None where the cuts would hold too many copies."""
    events = sorted(
        event for n, spans in covered for first, last in spans for event in ((first, 1, n), (last + 1, 0, n))
    )
    room = MOST_COPIES * len(covered) + FEW
    active: set[int] = set()
    found = [Cut(0, ())]
    for position, (edge, opens, number) in enumerate(events):
        (active.add if opens else active.discard)(number)
        if position + 1 < len(events) and events[position + 1][0] == edge:
            continue
        rules = tuple(sorted(active))
        room -= len(rules)
        if room < 0:
            return None
        if edge == found[-1].first:
            found[-1] = Cut(edge, rules)
        elif edge <= MASK128:
            found.append(Cut(edge, rules))
    return tuple(found)
