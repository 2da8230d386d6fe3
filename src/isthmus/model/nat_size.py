"""Static translation needs as many public addresses as private ones; what to write where they differ (SPEC 6)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from isthmus.model.drafts import Draft, DraftSide
from isthmus.model.types import Item
from isthmus.tables.address import BITS, FAMILIES, Family, Prefix
from isthmus.tables.entries import Nat


class Move(NamedTuple):
    """What ``check --fix`` writes: ``as`` leaves one side for the other, which becomes stateful."""

    draft: Draft
    source: str
    target: str


def judge_nat_size(draft: Draft, short: DraftSide, other: DraftSide) -> None:
    """Note ``nat-size`` for each family of a static side whose counts, before ``not``, differ."""
    for family, private, public in mismatches(short):
        side = short.side
        listed = ", ".join(str(item.prefix) for item in side.as_ if item.prefix.family == family)
        message = (
            f"static NAT is one address to one address, but IPv{family} `ips` of {side.vpc} holds {private:,} "
            f"and `as` {public:,} ({listed})"
        )
        hint = _hint(short, other, family)
        path = next((item.path for item in side.as_ if item.prefix.family == family), f"{side.path}.as")
        draft.error("nat-size", path, message, hint, listed)


def mismatches(part: DraftSide) -> list[tuple[Family, int, int]]:
    """(family, private count, public count) where a static side's counts differ."""
    side = part.side
    if side.nat is not Nat.STATIC:
        return []
    counts = [(family, _count(side.ips, family), _count(side.as_, family)) for family in FAMILIES]
    return [(family, private, public) for family, private, public in counts if private and public and private != public]


def _count(items: tuple[Item, ...], family: Family) -> int:
    return sum(item.prefix.size for item in items if item.prefix.family == family)


def movable(draft: Draft) -> Move | None:
    """The one case that has one meaning: too few addresses for a side with a default route, facing a plain side."""
    for short, other in (draft.sides, draft.sides[::-1]) if draft.sides else ():
        if _has_one_meaning(short, other):
            return Move(draft, short.side.vpc, other.side.vpc)
    return None


def _has_one_meaning(short: DraftSide, other: DraftSide) -> bool:
    """True if all of ``as`` is too few for default routes, and the other side could take it as it stands."""
    families = {item.prefix.family for item in short.side.as_}
    defaults = {item.prefix.family for item in short.side.ips if item.prefix.length == 0}
    mismatched = {family for family, _, _ in mismatches(short)}
    free = other.written.as_ is None and other.written.nat_type is None and other.written.nat is None
    same = {item.prefix.family for item in other.side.ips} == families
    return bool(families) and families == mismatched <= defaults and free and same and short.written.nat is None


def _hint(short: DraftSide, other: DraftSide, family: Family) -> str:
    listed = ", ".join(str(item.prefix) for item in short.side.as_)
    private, public = _count(short.side.ips, family), _count(short.side.as_, family)
    if _has_one_meaning(short, other):
        return (
            f"`as` says how {short.side.vpc} itself is seen. If the hosts of {other.side.vpc} are to share {listed}, "
            f"it belongs to their side (`isthmus check --fix` writes this):\n"
            + _stateful(other.side.vpc, other.side.ips, listed)
        )
    here = _stateful(short.side.vpc, short.side.ips, listed)
    if other.side.nat is Nat.PLAIN and private > public:
        there = _stateful(other.side.vpc, other.side.ips, listed)
        return (
            f"if the hosts of {short.side.vpc} are to share these addresses, and only they start:\n{here}\n"
            f"if the hosts of {other.side.vpc} are to share them, write them there instead:\n{there}"
        )
    fitting = ", ".join(str(prefix) for prefix in _fitting(short, family))
    return (
        f"for one address each, write as many, such as:\n  {short.side.vpc}:\n    as: [{fitting}]\n"
        f"if the hosts of {short.side.vpc} are to share these addresses, and only they start:\n{here}"
    )


def _stateful(vpc: str, ips: Iterable[Item], listed: str) -> str:
    inside = ", ".join(f"{{cidr: {item.prefix}}}" for item in ips)
    return f"  {vpc}:\n    ips: [{inside}]\n    as: [{listed}]\n    natType: stateful"


def _fitting(short: DraftSide, family: Family) -> list[Prefix]:
    """Public CIDRs of the private ones' lengths, beginning where the written ones do."""
    start = next(item.prefix.first for item in short.side.as_ if item.prefix.family == family)
    found = []
    for item in short.side.ips:
        if item.prefix.family == family:
            prefix = Prefix(family, start & Prefix(family, 0, item.prefix.length).mask, item.prefix.length)
            start = min(prefix.first + (1 << (128 - prefix.length)), ((1 << BITS[family]) - 1) << (128 - BITS[family]))
            found.append(prefix)
    return found
