"""The node's own object: what it says of the node is checked here, and what VPCs need of it is handed to them."""

from __future__ import annotations

from collections.abc import Iterable

from isthmus.api.found import Found
from isthmus.api.gateway import Gateway as WrittenGateway
from isthmus.model.report import Report
from isthmus.model.types import Gateway, Port
from isthmus.problems import Problem
from isthmus.tables.address import format_address
from isthmus.tables.entries import Vtep
from isthmus.tables.martians import is_martian


def resolve_gateway(objects: Iterable[Found[WrittenGateway]]) -> tuple[Gateway | None, list[Problem]]:
    """The first Gateway that is right, and what is wrong with any; others are other nodes' own."""
    first: Gateway | None = None
    problems: list[Problem] = []
    for found in objects:
        if found.body is None:
            continue
        report = Report(found, [])
        gateway = _gateway(report, found.body)
        problems += report.problems
        if first is None and not report.problems:
            first = gateway
    return first, problems


def _gateway(report: Report, body: WrittenGateway) -> Gateway:
    spec = body.spec
    vtep = None
    if spec.vtep is not None:
        family, address = spec.vtep.address
        vtep = Vtep(family, address, spec.vtep.interface)
        if is_martian(family, address):
            text = format_address(family, address)
            message = f"{text} can be no tunnel end: it is of no single node, or never leaves its link"
            report.error("field-value", "spec.vtep.address", message, "write an address of this node", text)
    router_id = spec.router_id and spec.router_id[1] >> 96
    if router_id == 0:
        message = "a BGP identifier is never 0 (RFC 6286)"
        report.error("field-value", "spec.routerID", message, "write an IPv4 address of this node", "0.0.0.0")
    ports = tuple(Port(name, port.hook, port.unclaimed) for name, port in spec.ports.items())
    return Gateway(report.found.name, ports, spec.tables.flows, spec.asn, router_id, vtep, spec.drain)
