"""Addresses that several peers show one VPC, and peers that hide a VPC's own subnets: warnings, never errors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from isthmus.model import sets
from isthmus.model.drafts import Draft, DraftSide
from isthmus.model.liveness import RouteMap, live_offers, routes_matter
from isthmus.model.sweep import Cluster, Shown, clusters
from isthmus.model.types import Vpc
from isthmus.tables.address import FAMILIES, Family
from isthmus.tables.entries import Nat

LARGEST_METRIC = 2**31 - 1  # sums saturate
_NAMED_OF_CROWD = 3


def judge_overlaps(drafts: Sequence[Draft], vpcs: Mapping[str, Vpc]) -> None:
    """Note what right peerings show a VPC twice, or in vain. ``vpcs``: all, the inferred ones too."""
    routes = {name: RouteMap(vpc) for name, vpc in vpcs.items() if routes_matter(vpc)}
    shown: defaultdict[tuple[str, Family], list[Shown]] = defaultdict(list)
    for draft in drafts:
        for here, there in (draft.sides, draft.sides[::-1]):
            if vpcs[here.side.vpc].subnets:
                _judge_shadow(draft, there, vpcs[here.side.vpc])
            if there.side.nat is not Nat.STATEFUL:
                for family in there.exposed:
                    shown[here.side.vpc, family] += _shown(draft, here, there, family, routes.get(there.side.vpc))
    for (vpc, family), offers in shown.items():
        for cluster in clusters(offers):
            _report(vpc, family, cluster)


def _shown(draft: Draft, here: DraftSide, there: DraftSide, family: Family, routes: RouteMap | None) -> Iterator[Shown]:
    """What one side shows the other, with the rank that each stretch has where its VPC's routes are known."""
    starts = starts_unremembered(there, here)
    side = there.side
    for offer in there.in_family(family).offers:
        if routes is None:
            yield Shown(offer.start, offer.stop, (-offer.length, side.metric), draft, here, there, offer.path, starts)
            continue
        for start, stop, length, metric in live_offers(offer, routes.of(family), side.nat is Nat.PLAIN):
            yield Shown(
                start,
                stop,
                (-length, min(metric + side.metric, LARGEST_METRIC)),
                draft,
                here,
                there,
                offer.path,
                starts,
            )


def starts_unremembered(one: DraftSide, other: DraftSide) -> bool:
    """True if this side may send packets that open no flow (SPEC 5), and replies may be sent: each is routed anew."""
    if other.side.nat is Nat.STATEFUL or one.side.nat is Nat.STATEFUL:
        return False
    if one.side.ingress is None:
        return other.side.ingress is None
    return other.side.ingress != () and any(rule.stateless for rule in one.side.ingress)


def _report(vpc: str, family: Family, cluster: Cluster) -> None:
    """Tell the author of the last peering in file order."""
    last = cluster.peers[-1]
    names = [shown.there.side.vpc for shown in cluster.peers]
    text = sets.describe(family, sets.union(cluster.stretches))
    if len(names) > _NAMED_OF_CROWD + 1:
        who = f"{len(names)} peers of {vpc}, {', '.join(names[:_NAMED_OF_CROWD])} among them,"
    else:
        who = (
            f"{', '.join(names[:-1])} and {names[-1]} both"
            if len(names) == 2
            else f"{', '.join(names[:-1])} and {names[-1]}"
        )
    message = f"{who} offer {vpc} the same addresses: {text}"
    metric = f"write another `metric` under {last.there.side.path}"
    if cluster.tied:
        sharing = (
            " and ".join(shown.there.side.vpc for shown in cluster.winners[:_NAMED_OF_CROWD]) or "those of best rank"
        )
        hint = f"{sharing} share the packets (ECMP), each conversation on one; {metric} to prefer one"
        last.draft.warn("route-ambiguous", last.path, message, hint, text)
    else:
        last.draft.inform("route-ambiguous", last.path, message, _decision(cluster), text)
    if cluster.astray:
        message = f"{who} show {vpc} the same addresses, so its replies may reach the wrong one: {text}"
        hint = "translate them to different addresses (`as`), or let rules without `stateless: true` remember who asked"
        last.draft.warn("return-ambiguous", last.path, message, hint, text)


def _decision(cluster: Cluster) -> str:
    """Why there is no doubt where packets go."""
    if not cluster.winners:
        return "prefix length or metric decides, everywhere"
    winner = cluster.winners[0]
    others = [shown.rank for shown in cluster.peers if shown.draft is not winner.draft]
    length, metric = winner.rank
    nearest = min(others)
    if nearest[0] != length:
        return f"{winner.there.side.vpc} is taken: its prefix is longer (/{-length}, not /{-nearest[0]})"
    return f"{winner.there.side.vpc} is taken: its metric is lower ({metric}, not {nearest[1]})"


def _judge_shadow(draft: Draft, there: DraftSide, vpc: Vpc) -> None:
    """What a VPC has in its own subnets its hosts never send to the gateway."""
    for family in FAMILIES:
        own = sets.of(subnet.prefix for subnet in vpc.subnets if subnet.prefix.family == family)
        hidden = sets.intersection(there.in_family(family).public, own)
        if hidden:
            text = sets.describe(family, hidden)
            offers = there.in_family(family).offers
            path = next(offer.path for offer in offers if sets.meets(hidden, ((offer.start, offer.stop),)))
            message = f"{vpc.name} has {text} in its own subnets, so its hosts never send that to {there.side.vpc}"
            hint = f"show {vpc.name} other addresses (`as`), or take these out with `not`"
            draft.warn("local-shadow", path, message, hint, text)
