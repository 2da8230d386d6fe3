"""Objects in, the model and every problem out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from isthmus.api.found import Found
from isthmus.api.gateway import Gateway as WrittenGateway
from isthmus.api.names import nearest
from isthmus.api.objects import Objects
from isthmus.model.drafts import Draft
from isthmus.model.peerings import draft_peerings
from isthmus.model.types import Gateway, Model, Peering, Port, StaticRoute, Vpc
from isthmus.model.vpcs import Domains, inferred_attachment, resolve_vpcs
from isthmus.problems import Problem, Severity
from isthmus.tables.address import Prefix


def build(objects: Objects) -> tuple[Model, list[Problem]]:
    """The model of all that is right, and the problems of everything, in file order."""
    domains = resolve_vpcs(objects.vpcs)
    drafts = draft_peerings(objects.peerings, domains)
    problems = [*objects.problems, *domains.problems, *_undefined(drafts, domains)]
    for draft in drafts:
        problems += draft.problems
    kept = [draft for draft in drafts if not draft.broken]
    vpcs = {**domains.vpcs, **_inferred(kept, domains)}
    peerings = {draft.name: Peering(draft.name, (draft.sides[0].side, draft.sides[1].side)) for draft in kept}
    gateway, gateway_problems = _gateway(objects.gateways)
    model = Model(dict(sorted(vpcs.items())), dict(sorted(peerings.items())), gateway)
    return model, in_order([*problems, *gateway_problems])


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """By file (in the order of path bytes), line and column."""
    return sorted(problems, key=lambda one: (one.file.encode("utf-8", "surrogateescape"), one.line, one.column, one.code, one.message))


def _undefined(drafts: list[Draft], domains: Domains) -> list[Problem]:
    """One warning for each VPC that peerings name and no object defines."""
    ...
