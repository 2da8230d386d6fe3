"""Rules that cannot do what they seem to: dead ones, and stateless ones whose replies find no way back."""

from __future__ import annotations

from typing import NamedTuple

from isthmus.model import sets
from isthmus.model.drafts import Draft, DraftSide
from isthmus.model.exposures import to_private, to_public
from isthmus.model.types import Match, Rule
from isthmus.tables.address import FAMILIES, Family, Prefix
from isthmus.tables.entries import Nat

_MOST_PAIRS = 200_000  # comparisons of one side's rules with one another; beyond, only the first ones are compared
_ANY = ((0, 65535),)
_REPLY_TYPES = {8: 0, 13: 14, 15: 16, 17: 18, 128: 129}  # RFC 792, 950, 4443: requests and their replies
Ranges = tuple[tuple[int, int], ...]


class Reach(NamedTuple):
    """What a rule can match of what is exposed: by family, sources (private) and destinations (as dialled)."""

    src: dict[Family, sets.Set]
    dst: dict[Family, sets.Set]


def judge_rules(draft: Draft, part: DraftSide, other: DraftSide) -> None:
    """Note what is wrong with the rules of one side, given the other."""
    if not part.side.ingress:
        return
    reaches = [_reach(rule, part, other) for rule in part.side.ingress]
    _judge_dead(draft, part, other, reaches)
    if other.side.nat is Nat.STATEFUL:
        return
    for rule, reach in zip(part.side.ingress, reaches, strict=True):
        if rule.stateless and reach.src:
            _judge_starts(draft, rule, part, other)
    if part.side.nat is Nat.STATEFUL or other.side.ingress is None:
        return
    backwards = [(rule, _reach(rule, other, part)) for rule in other.side.ingress]
    for rule, reach in zip(part.side.ingress, reaches, strict=True):
        if rule.stateless and reach.src:
            _judge_reply(draft, rule, reach, part, other, backwards)


def _reach(rule: Rule, part: DraftSide, other: DraftSide) -> Reach:
    """The families in which both ends are exposed and named; the others fall away."""
    src: dict[Family, sets.Set] = {}
    dst: dict[Family, sets.Set] = {}
    for family in part.exposed.keys() & other.exposed.keys():
        here = _within(part.exposed[family].private, rule.src, family)
        there = _within(other.exposed[family].public, rule.dst, family)
        if here and there:
            src[family], dst[family] = here, there
    return Reach(src, dst)


def _within(exposed: sets.Set, wanted: tuple[Prefix, ...] | None, family: Family) -> sets.Set:
    if wanted is None or not exposed:
        return exposed
    return sets.intersection(exposed, sets.of(prefix for prefix in wanted if prefix.family == family))


def _judge_dead(draft: Draft, part: DraftSide, other: DraftSide, reaches: list[Reach]) -> None:
    rules = part.side.ingress or ()
    if other.side.nat is Nat.STATEFUL:
        message = (
            f"{other.side.vpc} is stateful: nothing from {part.side.vpc} can start there, so its rules are never asked"
        )
        hint = "write `ingress: []`, or leave it away; replies pass without a rule"
        draft.warn("rule-dead", rules[0].path, message, hint, key=True)
        return
    most = max(_MOST_PAIRS // len(rules), 1)
    for index, (rule, reach) in enumerate(zip(rules, reaches, strict=True)):
        if not reach.src:
            _warn_dead(draft, rule, part, other)
            continue
        for before in range(min(index, most)):
            if _covers(rules[before], reaches[before], rule, reach):
                first = f"{rules[before].path} matches all of it before"
                draft.warn(
                    "rule-dead", rule.path, f"this rule decides nothing: {first}", "take one of the two away", rule.name
                )
                break


def _warn_dead(draft: Draft, rule: Rule, part: DraftSide, other: DraftSide) -> None:
    """A rule outside of what is exposed: which end is wrong, and what would be right."""
    sides = (("src", rule.src, part, "private"), ("dst", rule.dst, other, "public"))
    for key, wanted, owner, space in sides:
        exposed = {f: getattr(owner.in_family(f), space) for f in FAMILIES}
        if wanted is not None and not any(_within(exposed[family], wanted, family) for family in FAMILIES):
            listed = "; ".join(sets.describe(f, exposed[f], 5) for f in FAMILIES if exposed[f])
            seen = "its hosts use" if key == "src" else f"hosts of {part.side.vpc} dial"
            message = f"no `{key}` of this rule is among what {owner.side.vpc} exposes"
            hint = f"`{key}` holds addresses as {seen} them: {listed}"
            draft.warn(
                "rule-dead", f"{rule.path}.allow.{key}", message, hint, ", ".join(map(str, wanted[:5])), key=True
            )
            return
    message = "no packet can match: `src` and `dst` have no family in common that both sides expose"
    draft.warn("rule-dead", rule.path, message, "write both in one family", rule.name)


def _covers(first: Rule, before: Reach, later: Rule, reach: Reach) -> bool:
    """True if every packet that the later rule could match has matched the first."""
    for family in reach.src:
        if family not in before.src:
            return False
        if sets.difference(reach.src[family], before.src[family]) or sets.difference(
            reach.dst[family], before.dst[family]
        ):
            return False
    if not first.matches:
        return True
    return bool(later.matches) and all(
        any(_match_covers(one, other) for one in first.matches) for other in later.matches
    )


def _match_covers(one: Match, other: Match) -> bool:
    return one.proto == other.proto and _ranges_cover(one.sport, other.sport) and _ranges_cover(one.dport, other.dport)


def _ranges_cover(one: Ranges, other: Ranges) -> bool:
    return not one or (bool(other) and not sets.difference(_numbers(other), _numbers(one)))


def _numbers(ranges: Ranges) -> sets.Set:
    """Inclusive ranges of ports as a set; none written is any."""
    if len(ranges) == 1:
        return ((ranges[0][0], ranges[0][1] + 1),)
    return sets.union((low, high + 1) for low, high in ranges or _ANY)


def _judge_starts(draft: Draft, rule: Rule, part: DraftSide, other: DraftSide) -> None:
    """A rule for replies has no memory of what they answer: from its port the VPC may start, too.

    Where all that the other side can start opens a flow, or it can start nothing, no reply needs a rule.
    """
    for match in rule.matches:
        if match.proto == "icmp" or not match.sport or match.dport:
            continue
        ports = ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in match.sport)
        message = f"{part.side.vpc} may also start conversations from {match.proto} port {ports}, to any port"
        hint = "a stateless rule has no memory; `stateless: false` on the other side lets in replies only"
        if part.side.nat is Nat.STATEFUL:
            hint = f"nothing can start toward {part.side.vpc}, which is stateful, so no reply needs this rule"
        elif other.side.ingress is None:
            hint = f"what {other.side.vpc} starts is remembered, as it has no rules, so no reply needs this one"
        draft.inform("stateless-starts", rule.path, message, hint, rule.name)


def _judge_reply(
    draft: Draft, rule: Rule, reach: Reach, part: DraftSide, other: DraftSide, backwards: list[tuple[Rule, Reach]]
) -> None:
    """What a stateless rule lets in is answered by packets that need a rule of the other side."""
    if not _has_reply(rule):
        return
    for back, back_reach in backwards:
        if _answers(rule, back) and _reaches_back(reach, part, other, back, back_reach):
            return
    what = " ".join(_reply_words(match) for match in rule.matches)
    message = f"replies to what this rule lets in are dropped: no rule under {other.side.path}.ingress lets them in"
    hint = f"add `- allow: {{stateless: true{what and f', {what}'}}}` there, or write `stateless: false` here"
    draft.warn("stateless-no-reply", rule.path, message, hint, rule.name)


def _reaches_back(reach: Reach, part: DraftSide, other: DraftSide, back: Rule, back_reach: Reach) -> bool:
    """True if some reply, by its addresses, is among what a rule of the other side can match."""
    for family in reach.src.keys() & back_reach.src.keys():
        if back.src is None and back.dst is None:
            return True
        src = to_private(other.in_family(family), reach.dst[family])
        dst = to_public(part.in_family(family), reach.src[family])
        if sets.meets(src, back_reach.src[family]) and sets.meets(dst, back_reach.dst[family]):
            return True
    return False


def _has_reply(rule: Rule) -> bool:
    """False only for ICMP that nothing answers: replies and errors."""
    return not rule.matches or any(match.proto != "icmp" or _reply_types(match) for match in rule.matches)


def _reply_types(match: Match) -> sets.Set:
    asked = _numbers(match.sport)
    return sets.union(
        (reply, reply + 1) for kind, reply in _REPLY_TYPES.items() if sets.meets(asked, ((kind, kind + 1),))
    )


def _answers(rule: Rule, back: Rule) -> bool:
    """True if some reply to what a rule lets in matches a rule of the other side, addresses aside.

    A stateful rule lets no reply of TCP or ICMP in: without a flow, what starts nothing is ``no-flow``. A reply of UDP
    looks like any packet that starts.
    """
    if not back.matches:
        return back.stateless or not rule.matches or any(match.proto == "udp" for match in rule.matches)
    if not rule.matches:
        return back.stateless or any(match.proto == "udp" for match in back.matches)
    return any(_answers_match(match, other, back.stateless) for match in rule.matches for other in back.matches)


def _answers_match(match: Match, back: Match, stateless: bool) -> bool:
    if match.proto != back.proto or not (stateless or match.proto == "udp"):
        return False
    if match.proto == "icmp":
        return sets.meets(_reply_types(match), _numbers(back.sport))
    return sets.meets(_numbers(match.sport), _numbers(back.dport)) and sets.meets(
        _numbers(match.dport), _numbers(back.sport)
    )


def _reply_words(match: Match) -> str:
    """The match of the replies, as it is written."""
    if match.proto == "icmp":
        return f"icmp: {{type: {_words(tuple((low, high - 1) for low, high in _reply_types(match)))}}}"
    parts = [f"srcPort: {_words(match.dport)}"] if match.dport else []
    parts += [f"dstPort: {_words(match.sport)}"] if match.sport else []
    return f"{match.proto}: {{{', '.join(parts)}}}"


def _words(ranges: Ranges) -> str:
    texts = [str(low) if low == high else f'"{low}-{high}"' for low, high in ranges]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
