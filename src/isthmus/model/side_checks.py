"""What one side can get wrong by itself: its lists, its translation, and its place in its VPC."""

from __future__ import annotations

from typing import Final

from isthmus.model import sets
from isthmus.model.drafts import Draft, DraftSide
from isthmus.model.martians import is_martian, without_martians
from isthmus.model.nat_size import mismatches
from isthmus.model.types import Item, Vpc
from isthmus.tables.address import FAMILIES, Family, Prefix
from isthmus.tables.entries import Nat

MOST_POOL_PORTS: Final = 1_024
"""Ranges of one pool: all pools share the table that holds them, as rules do (``rule_size``)."""


def judge_side(draft: Draft, part: DraftSide, vpc: Vpc | None) -> None:
    """Note every problem of one resolved side. ``vpc`` is None where no object defines it."""
    written, side = part.written, part.side
    if written.as_ is None:
        for key, value in (("natType", written.nat_type), ("nat", written.nat)):
            if value is not None:
                message = f"`{key}` says how addresses are translated, but there is no `as` to translate them to"
                draft.error(
                    "nat-without-as", f"{side.path}.{key}", message, f"add `as:`, or take `{key}` away", key=True
                )
    elif written.nat is not None and side.nat is Nat.STATIC:
        message = "`nat` says how ports are chosen, but this side is static: no port is changed"
        draft.error("field-value", f"{side.path}.nat", message, "add `natType: stateful`, or take `nat` away", key=True)
    for item in (*side.ips, *side.as_):
        if is_martian(item.prefix):
            message = f"{item.prefix} lies wholly in address space that never crosses the gateway"
            draft.error("cidr-martian", item.path, message, "write addresses that hosts can use", item.prefix)
    _judge_exposure(draft, part)
    if len(side.ports) > MOST_POOL_PORTS:
        message = f"`ports` has {len(side.ports):,} ranges, of at most {MOST_POOL_PORTS:,} in one pool"
        hint = 'join numbers that follow each other ("20000-29999")'
        draft.error("field-value", f"{side.path}.nat.ports", message, hint, key=True)
    if side.nat is not Nat.PLAIN:
        _judge_families(draft, part)
        _judge_overlap(draft, side.ips, "ips-overlap")
        _judge_overlap(draft, side.as_, "as-overlap")
    _judge_holes(draft, side.ips, side.ips_not)
    _judge_holes(draft, side.as_, side.as_not)
    if vpc is not None and not vpc.bgp:
        _judge_reach(draft, part, vpc)


def _judge_exposure(draft: Draft, part: DraftSide) -> None:
    """Each list has a positive item, and something that may cross the gateway is left of it.

    Of a pool in each family: a family without public addresses could start nothing.
    """
    side = part.side
    for key, items, written in (("ips", side.ips, True), ("as", side.as_, part.written.as_ is not None)):
        if written and not items:
            message = f"`{key}` lists no address" + (" but those it takes out" if side.ips_not or side.as_not else "")
            hint = f"write `- {'cidr: ' if key == 'ips' else ''}10.1.0.0/16`, with your addresses"
            draft.error("exposure-empty", f"{side.path}.{key}", message, hint, key=True)
    if not side.ips or (part.written.as_ is not None and not side.as_):
        return
    if any(is_martian(item.prefix) for item in (*side.ips, *side.as_)):
        return
    for key, holes in (("ips", side.ips_not), ("as", side.as_not)):
        if holes and not any(_left(part, key, family) for family in part.exposed):
            _refuse_empty(draft, f"{side.path}.{key}", f"`{key}`", holes)
            return
    for family in part.exposed if side.nat is Nat.STATEFUL else ():
        holes = tuple(item for item in side.as_not if item.prefix.family == family)
        if holes and not _left(part, "as", family) and _left(part, "ips", family):
            _refuse_empty(draft, f"{side.path}.as", f"IPv{family} in `as`", holes)


def _left(part: DraftSide, key: str, family: Family) -> sets.Set:
    """What of a list, ``ips`` or ``as``, may cross the gateway. Where counts differ there is no telling what meets."""
    exposure = part.exposed[family]
    offered = exposure.private if key == "ips" else exposure.public
    return offered if mismatches(part) else without_martians(family, offered)


def _refuse_empty(draft: Draft, path: str, what: str, holes: tuple[Item, ...]) -> None:
    message = f"nothing that may cross the gateway is left of {what} after its `not`"
    taken = ", ".join(str(item.prefix) for item in holes[:5])
    draft.error("exposure-empty", path, message, f"take out less than {taken}", key=True)


def _families(items: tuple[Item, ...]) -> set[Family]:
    return {item.prefix.family for item in items}


def _judge_families(draft: Draft, part: DraftSide) -> None:
    """What is translated has a like of its own family."""
    side = part.side
    if not side.ips or not side.as_:
        return
    inside, outside = _families(side.ips), _families(side.as_)
    for has, lacks, families in (("ips", "as", inside - outside), ("as", "ips", outside - inside)):
        for family in sorted(families):
            items = side.ips if has == "ips" else side.as_
            first = next(item for item in items if item.prefix.family == family)
            message = f"`{has}` has IPv{family} ({first.prefix}), `{lacks}` has none"
            hint = f"add IPv{family} addresses to `{lacks}`, or take {first.prefix} away"
            draft.error("family-mixed", first.path, message, hint, first.prefix)


def _judge_overlap(draft: Draft, items: tuple[Item, ...], code: str) -> None:
    """On a translated side one address must not stand twice in a list: its like would not be unique."""
    for family in FAMILIES if len(items) > 1 else ():
        ordered = sorted(
            (item for item in items if item.prefix.family == family), key=lambda item: _widest_first(item.prefix)
        )
        widest: Item | None = None
        for item in ordered:
            if widest is not None and item.prefix.overlaps(widest.prefix):
                message = f"{item.prefix} is part of {widest.prefix}, which stands in the same list"
                draft.error(code, item.path, message, f"take {item.prefix} away, or split {widest.prefix}", item.prefix)
            else:
                widest = item


def _widest_first(prefix: Prefix) -> tuple[int, int]:
    return prefix.first, prefix.length


def _judge_holes(draft: Draft, items: tuple[Item, ...], holes: tuple[Item, ...]) -> None:
    """A ``not`` outside of what the list offers, or inside another one, removes nothing."""
    for family in FAMILIES if holes and items else ():
        offered = sets.of(item.prefix for item in items if item.prefix.family == family)
        widest: Item | None = None
        mine = [hole for hole in holes if hole.prefix.family == family]
        for hole in sorted(mine, key=lambda item: _widest_first(item.prefix)):
            if widest is not None and widest.prefix.covers(hole.prefix):
                message = f"`not: {hole.prefix}` removes nothing: `not: {widest.prefix}` takes it out already"
                draft.warn("not-useless", hole.path, message, "take it away", hole.prefix)
                continue
            widest = hole
            if not sets.meets(offered, (sets.interval(hole.prefix),)):
                listed = ", ".join(str(item.prefix) for item in items[:5])
                message = f"`not: {hole.prefix}` removes nothing: it is outside of {listed}"
                draft.warn("not-useless", hole.path, message, "take it away, or mend the address", hole.prefix)


def _judge_reach(draft: Draft, part: DraftSide, vpc: Vpc) -> None:
    """A VPC offers what its subnets and static routes hold; packets to anything else would find no route."""
    for family, exposure in part.exposed.items():
        own = [subnet.prefix for subnet in vpc.subnets] + [route.to for route in vpc.routes]
        known = sets.of(prefix for prefix in own if prefix.family == family)
        beyond = sets.difference(exposure.private, known)
        if not beyond:
            continue
        text = sets.describe(family, beyond)
        outside = (item for item in part.side.ips if sets.meets((sets.interval(item.prefix),), beyond))
        path = next((item.path for item in outside), f"{part.side.path}.ips")
        message = f"{vpc.name} has no subnet and no route for {text}"
        hint = f"add a subnet or a route to VPC/{vpc.name}, or take these addresses out"
        draft.warn("outside-vpc", path, message, hint, text)
