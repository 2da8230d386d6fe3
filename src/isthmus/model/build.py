"""Objects in, the model and every problem out."""

from __future__ import annotations

from collections.abc import Iterable

from isthmus.api.objects import Objects
from isthmus.model.gateways import resolve_gateway
from isthmus.model.inferred import infer_vpcs, undefined_vpcs
from isthmus.model.nat_size import Move, movable
from isthmus.model.overlaps import judge_overlaps
from isthmus.model.peerings import draft_peerings
from isthmus.model.pools import judge_pools
from isthmus.model.types import Model, Peering
from isthmus.model.vpcs import resolve_vpcs
from isthmus.problems import Problem


def build(objects: Objects) -> tuple[Model, list[Problem]]:
    """The model of all that is right, and the problems of everything, in file order."""
    gateway, problems = resolve_gateway(objects.gateways)
    domains = resolve_vpcs(objects.vpcs, objects.gateways, gateway)
    drafts = draft_peerings(objects.peerings, domains)
    judge_pools(drafts)
    kept = [draft for draft in drafts if not draft.broken]
    vpcs = {**domains.vpcs, **infer_vpcs(kept, domains)}
    judge_overlaps(kept, vpcs)
    problems += [*objects.problems, *domains.problems, *undefined_vpcs(drafts, domains)]
    for draft in drafts:
        problems += draft.problems
    peerings = {draft.name: Peering(draft.name, (draft.sides[0].side, draft.sides[1].side)) for draft in kept}
    model = Model(dict(sorted(vpcs.items())), dict(sorted(peerings.items())), gateway)
    return model, in_order(problems)


def movable_nat(objects: Objects) -> list[Move]:
    """What ``check --fix`` may write: the peerings whose ``nat-size`` has one meaning (SPEC 6)."""
    gateway, _ = resolve_gateway(objects.gateways)
    drafts = draft_peerings(objects.peerings, resolve_vpcs(objects.vpcs, objects.gateways, gateway))
    return [move for draft in drafts if draft.found.body is not None and (move := movable(draft)) is not None]


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Problems by file (in the order of path bytes), line and column."""
    return sorted(
        problems, key=lambda one: (one.file.encode("utf-8", "surrogateescape"), *one[5:7], one.code, one.message)
    )
