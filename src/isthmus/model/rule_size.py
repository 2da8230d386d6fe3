"""How much room rules take: the packet path keeps an entry for every pair of a rule's ranges of ports.

All rules of all peerings share its tables, so what would fill them is refused here, in the one object that asks for it.
"""

from __future__ import annotations

from typing import Final

from isthmus.model.drafts import Draft
from isthmus.model.types import Match, Rule, Side

MOST_OF_A_PROTOCOL: Final = 1_024
"""Pairs of one protocol of one rule, such as 32 ranges of source ports and 32 of destination ports."""

MOST_OF_A_SIDE: Final = 16_384
"""Pairs of all rules of a side together; a protocol without ports, and a rule without protocols, count as one."""

_KEYS = {"tcp": ("srcPort", "dstPort"), "udp": ("srcPort", "dstPort"), "icmp": ("type", "code")}


def judge_rule_sizes(draft: Draft, side: Side) -> None:
    """Note the rules of a side that take too much room, or if it is none of them alone, the side."""
    rules = side.ingress or ()
    too_large = [(rule, match) for rule in rules for match in rule.matches if _pairs(match) > MOST_OF_A_PROTOCOL]
    for rule, match in too_large:
        _refuse(draft, rule, match)
    total = sum(sum(map(_pairs, rule.matches)) or 1 for rule in rules)
    if total > MOST_OF_A_SIDE and not too_large:
        message = f"these rules are {total:,} pairs of ranges in all, of at most {MOST_OF_A_SIDE:,} on one side"
        hint = "join rules that differ in one thing only, or write ranges of ports instead of single ones"
        draft.error("field-value", f"{side.path}.ingress", message, hint, key=True)


def _pairs(match: Match) -> int:
    return (len(match.sport) or 1) * (len(match.dport) or 1)


def _refuse(draft: Draft, rule: Rule, match: Match) -> None:
    one, other = _KEYS[match.proto]
    count = f"{len(match.sport)} ranges of `{one}` and {len(match.dport)} of `{other}` are {_pairs(match):,} pairs"
    if not (match.sport and match.dport):
        key, ranges = (one, match.sport) if match.sport else (other, match.dport)
        count = f"`{key}` has {len(ranges):,} ranges"
    message = f"{count}, of at most {MOST_OF_A_PROTOCOL:,} in one rule"
    hint = 'join numbers that follow each other ("80-90"), or split the rule'
    draft.error("field-value", f"{rule.path}.allow.{match.proto}", message, hint, key=True)
