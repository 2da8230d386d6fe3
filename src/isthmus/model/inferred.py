"""VPCs that peerings name and no object defines: taken to own exactly what they expose."""

from __future__ import annotations

from collections.abc import Sequence

from isthmus.api.names import nearest
from isthmus.model.drafts import Draft
from isthmus.model.types import Attachment, StaticRoute, Vpc
from isthmus.model.vpcs import Domains
from isthmus.problems import Problem, Severity
from isthmus.tables.address import Prefix, parse_address
from isthmus.tables.entries import Tag

_MOST_NAMES = 100  # of one peering; more than two are an error by themselves
_MOST_GUESSES = 200  # VPCs whose nearest name is looked for; more are no slips of the keyboard


def infer_vpcs(drafts: Sequence[Draft], domains: Domains) -> dict[str, Vpc]:
    """A VPC for every undefined name, with one on-link route for each positive item of its sides, in file order."""
    routes: dict[str, dict[Prefix, StaticRoute]] = {}
    for draft in drafts:
        for part in draft.sides:
            if part.side.vpc not in domains.vpcs:
                own = routes.setdefault(part.side.vpc, {})
                for item in part.side.ips:
                    if item.prefix not in own:
                        own[item.prefix] = StaticRoute(item.prefix, None, 0, 0, item.path)
    return {name: _vpc(name, tuple(own.values())) for name, own in routes.items()}


def _vpc(name: str, routes: tuple[StaticRoute, ...]) -> Vpc:
    """Attached by a port ``vpc/NAME``, on which the gateway is 169.254.0.1 and fe80::1.

    No interface of Linux has a slash in its name, so this is never a port that a Gateway or a VPC object means.
    """
    addresses = ((*parse_address("169.254.0.1"), 32), (*parse_address("fe80::1"), 64))
    return Vpc(name, False, None, (), (Attachment(f"vpc/{name}", Tag(), addresses, 0, ""),), routes)


def undefined_vpcs(drafts: Sequence[Draft], domains: Domains) -> list[Problem]:
    """One warning for each VPC that peerings name and no object defines, where it is named first."""
    first: dict[str, Draft] = {}
    for draft in drafts:
        for name in draft.names[:_MOST_NAMES]:
            if name not in domains.vpcs and name not in domains.broken:
                first.setdefault(name, draft)
    known = [*domains.vpcs, *domains.broken]
    problems = []
    for number, (name, draft) in enumerate(first.items()):
        meant = nearest(name, known) if number < _MOST_GUESSES else None
        message = f"no object defines the VPC {name}: it is taken to own exactly what it exposes"
        hint = f"did you mean {meant}?" if meant else f"define it: `kind: VPC` with `name: {name}`"
        problem = draft.found.problem(Severity.WARNING, "vpc-undefined", f"spec.{name}", message, hint, name, key=True)
        problems.append(problem)
    return problems
