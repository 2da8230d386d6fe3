"""From Peering objects to drafts: names and pairs are unique, VPCs are right, sides have a meaning."""

from __future__ import annotations

from collections.abc import Iterable

from isthmus.api.found import Found
from isthmus.api.peering import Peering
from isthmus.model.drafts import Draft, DraftSide
from isthmus.model.exposures import expose
from isthmus.model.nat_size import judge_nat_size
from isthmus.model.rule_size import judge_rule_sizes
from isthmus.model.rules import judge_rules
from isthmus.model.side_checks import judge_side
from isthmus.model.sides import resolve_side
from isthmus.model.vpcs import Domains, name_duplicate
from isthmus.tables.entries import Nat


def draft_peerings(objects: Iterable[Found[Peering]], domains: Domains) -> list[Draft]:
    """Every Peering object, right or broken, with all problems that it has by itself, in file order."""
    drafts = []
    names: dict[str, Found[Peering]] = {}
    pairs: dict[frozenset[str], Found[Peering]] = {}
    for order, found in enumerate(objects):
        draft = Draft(found, order, tuple(found.sides), broken=found.body is None)
        drafts.append(draft)
        if found.name and names.setdefault(found.name, found) is not found:
            draft.problems.append(name_duplicate(found, names[found.name]))
            draft.broken = True
        elif len(found.sides) == 2:
            _judge_pair(draft, pairs)
        if len(found.sides) != 2 and not found.doubled and isinstance(found.data.get("spec"), dict):
            _wrong_sides(draft)
        _judge_vpcs(draft, domains)
        _judge_sides(draft, domains)
    return drafts


def _wrong_sides(draft: Draft) -> None:
    if len(draft.names) > 2:
        message = f"a peering joins exactly two VPCs, found {len(draft.names)}: {', '.join(draft.names[:5])}"
        draft.error("peering-sides", "spec", message, "write one Peering for each pair", key=True)
    else:
        message = f"a peering joins exactly two VPCs, found {draft.names[0] + ' alone' if draft.names else 'none'}"
        draft.error("peering-sides", "spec", message, "add the other VPC as a second key of `spec`", key=True)


def _judge_pair(draft: Draft, pairs: dict[frozenset[str], Found[Peering]]) -> None:
    """The first peering of a pair in file order stays, be it right or not."""
    first = pairs.setdefault(frozenset(draft.names), draft.found)
    if first is not draft.found:
        one, other = draft.names
        message = f"{one} and {other} have a peering already: {first.label} at {first.at('spec')}"
        draft.error("peering-duplicate-pair", "spec", message, f"move what is new here into {first.label}", key=True)


def _judge_vpcs(draft: Draft, domains: Domains) -> None:
    for name in draft.names:
        if name in domains.broken:
            vpc = domains.broken[name]
            message = f"{vpc.label} has errors, at {vpc.at('metadata.name')}, so this peering is left out"
            draft.error("vpc-broken", f"spec.{name}", message, f"mend {vpc.label}", name, key=True)


def _judge_sides(draft: Draft, domains: Domains) -> None:
    """Resolve and judge every side that is right in shape, then both together."""
    sides = []
    for name, written in draft.found.sides.items():
        if written is None or name in domains.broken:
            continue
        side = resolve_side(draft, name, written, domains.vpcs)
        if side is not None:
            sides.append(DraftSide(written, side, expose(side)))
            judge_side(draft, sides[-1], domains.vpcs.get(name))
            judge_rule_sizes(draft, side)
    if len(sides) != 2 or len(draft.names) != 2:
        return
    draft.sides = tuple(sides)
    _judge_both(draft)


def _judge_both(draft: Draft) -> None:
    one, other = draft.sides
    judge_nat_size(draft, one, other)
    judge_nat_size(draft, other, one)
    if one.side.nat is Nat.STATEFUL and other.side.nat is Nat.STATEFUL:
        message = "both sides are stateful, so neither could start a conversation"
        hint = "leave `natType: stateful` to the side whose hosts start, and write a static `as`, or none, on the other"
        draft.error("nat-both-stateful", f"{other.side.path}.natType", message, hint, "stateful")
    if not draft.broken:
        judge_rules(draft, one, other)
        judge_rules(draft, other, one)
