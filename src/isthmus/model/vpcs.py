"""From VPC objects to routing domains: subnets find their attachments, and nobody claims what another has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from isthmus.api.found import Found
from isthmus.api.vpc import Vpc as WrittenVpc
from isthmus.model.attachments import Claims, attachment_of, claim, claim_vtep, covering, resolve_remotes
from isthmus.model.bgp import resolve_bgp
from isthmus.model.martians import is_martian
from isthmus.model.report import Report
from isthmus.model.static_routes import Links, resolve_route
from isthmus.model.types import Attachment, Gateway, Subnet, Vpc
from isthmus.problems import Problem, Severity
from isthmus.tables.address import Prefix, format_address, step


@dataclass(slots=True)
class Domains:
    """The defined VPCs that are right, the objects they came from, and the names of those that are broken."""

    vpcs: dict[str, Vpc] = field(default_factory=dict)
    objects: dict[str, Found[WrittenVpc]] = field(default_factory=dict)
    broken: dict[str, Found[WrittenVpc]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def resolve_vpcs(
    objects: Iterable[Found[WrittenVpc]], gateways: Iterable[Found[Any]] = (), gateway: Gateway | None = None
) -> Domains:
    """All VPC objects in file order. Of two that claim one port and tag the first stays.

    ``gateway``: the node that they are for, which is one of ``gateways``; None: nothing is known of it.
    """
    domains = Domains()
    claims: Claims = {}
    if gateway is not None and gateway.vtep is not None:
        claim_vtep(next(found for found in gateways if found.name == gateway.name), gateway.vtep, claims)
    for found in objects:
        first = domains.objects.get(found.name) or domains.broken.get(found.name)
        if first is not None and found.name:
            domains.problems.append(name_duplicate(found, first))
            continue
        report = Report(found, [])
        vpc = None if found.body is None else _vpc(report, found.body, gateway)
        if vpc is not None:
            claim(report, vpc.attachments, claims)
        domains.problems += report.problems
        if vpc is None or report.problems:
            domains.broken[found.name] = found
        else:
            domains.vpcs[found.name] = vpc
            domains.objects[found.name] = found
    return domains


def name_duplicate(found: Found[Any], first: Found[Any]) -> Problem:
    """Two objects of one kind and name."""
    path = "metadata.name"
    message = f"{found.label} stands twice: here and at {first.at(path)}"
    return found.problem(
        Severity.ERROR, "name-duplicate", path, message, "give one of the two another name", found.name
    )


def _vpc(report: Report, body: WrittenVpc, gateway: Gateway | None) -> Vpc:
    spec = body.spec
    attachments = tuple(attachment_of(one, f"spec.attachments[{index}]") for index, one in enumerate(spec.attachments))
    remotes = resolve_remotes(report, spec.attachments, gateway)
    subnets = []
    for name, subnet in spec.subnets.items():
        path = f"spec.subnets.{name}"
        index = _home(attachments, subnet.cidr)
        if is_martian(subnet.cidr):
            report.martian(f"{path}.cidr", subnet.cidr)
        elif index is None:
            _unattached(report, path, name, subnet.cidr)
        else:
            subnets.append(Subnet(name, subnet.cidr, index, path))
    links = Links(attachments, remotes)
    routes = [resolve_route(report, one, links, f"spec.routes[{number}]") for number, one in enumerate(spec.routes)]
    bgp = None if spec.bgp is None else resolve_bgp(report, spec.bgp, attachments, remotes, gateway)
    static = (*remotes, *(route for route in routes if route is not None))
    return Vpc(report.found.name, True, bgp, tuple(subnets), attachments, static)


def _home(attachments: Sequence[Attachment], wanted: Prefix) -> int | None:
    """The attachment on whose link a subnet is; else the only one there is."""
    index = covering(attachments, wanted)
    return 0 if index is None and len(attachments) == 1 else index


def _unattached(report: Report, path: str, name: str, cidr: Prefix) -> None:
    message = f"no attachment has an address in {cidr}, so the subnet {name} lives nowhere"
    address = format_address(cidr.family, cidr.first + (step(cidr.family) if cidr.size > 2 else 0))
    hint = f"write the gateway's address there: `addresses: [{address}/{cidr.length}]` in one of `attachments`"
    report.error("subnet-unattached", path, message, hint, cidr, key=True)
