"""The compiler's one call: Model in, Tables out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from isthmus.compile import exposure, routes
from isthmus.compile.pools import pool
from isthmus.compile.rules import compile_rules
from isthmus.compile.sides import Layout, lay_out
from isthmus.model.types import Model, Peering
from isthmus.model.types import Side as ModelSide
from isthmus.model.types import Vpc as ModelVpc
from isthmus.tables.address import FAMILIES, Family, step
from isthmus.tables.entries import Candidate, Origin, PortPolicy, Side, SideKey, Tables, Vpc

Offered = dict[str, dict[Family, list[tuple[int, int, Candidate]]]]


def compile_tables(model: Model, assume: Collection[str] | None = None) -> Tables:
    """The whole configuration as tables; pure, and sorted by name.

    ``assume``: the VPCs with BGP that are taken to route all that they expose, as nobody knows what they learn;
    None: every one. A gateway that speaks BGP assumes nothing.
    """
    sides: dict[SideKey, Side] = {}
    offered: Offered = defaultdict(lambda: {4: [], 6: []})
    of_vpc: dict[str, list[ModelSide]] = defaultdict(list)
    for name in sorted(model.peerings):
        _peering(model.peerings[name], sides, offered, of_vpc)
    vpcs = {}
    for name in sorted(model.vpcs):
        vpc = model.vpcs[name]
        assumed = vpc.bgp is not None and bool(vpc.attachments) and (assume is None or name in assume)
        vpcs[name] = _vpc(vpc, offered[name], of_vpc[name], sides, assumed)
    gateway, ordered = model.gateway, dict(sorted(sides.items()))
    if gateway is None:
        return Tables(vpcs, ordered)
    ports = {port.name: PortPolicy(port.hook, port.unclaimed) for port in sorted(gateway.ports)}
    return Tables(vpcs, ordered, ports, gateway.flows, gateway.vtep)


def _peering(
    peering: Peering, sides: dict[SideKey, Side], offered: Offered, of_vpc: dict[str, list[ModelSide]]
) -> None:
    layouts = [lay_out(side) for side in peering.sides]
    for index, side in enumerate(peering.sides):
        other = peering.sides[1 - index]
        of_vpc[side.vpc].append(side)
        sides[SideKey(peering.name, side.vpc)] = _side(side, other, layouts[index])
        for family, layout in layouts[index].items():
            offered[other.vpc][family] += exposure.candidates(other, side, layout.offers)


def _side(side: ModelSide, other: ModelSide, layouts: dict[Family, Layout]) -> Side:
    return Side(
        SideKey(side.peering, side.vpc),
        side.nat,
        {family: layout.private for family, layout in layouts.items()},
        {family: layout.holes for family, layout in layouts.items()},
        compile_rules(side),
        side.ingress is None and other.ingress is not None,
        Origin(f"Peering/{side.peering}", side.path),
        pool(side, layouts),
        side.timeouts,
    )


def _vpc(
    vpc: ModelVpc,
    offered: dict[Family, list[tuple[int, int, Candidate]]],
    mine: list[ModelSide],
    sides: dict[SideKey, Side],
    assumed: bool,
) -> Vpc:
    table = routes.routes(vpc, mine, assumed)
    name = f"VPC/{vpc.name}"
    exposures = {
        family: exposure.sweep(offered[family], _own(vpc, family, mine, sides), step(family)) for family in FAMILIES
    }
    return Vpc(vpc.name, vpc.defined, assumed, routes.attachments(vpc), exposures, table, Origin(name))


def _own(vpc: ModelVpc, family: Family, mine: list[ModelSide], sides: dict[SideKey, Side]) -> list[exposure.Own]:
    """The VPC's own addresses: its subnets; of one that no object defines exactly what it exposes."""
    if vpc.defined:
        name = f"VPC/{vpc.name}"
        return [
            exposure.Own(s.prefix.first, s.prefix.last, False, Origin(name, s.path))
            for s in vpc.subnets
            if s.prefix.family == family
        ]
    exposed = {
        (r.first, r.last): r.origin
        for side in mine
        for r in sides[SideKey(side.peering, side.vpc)].private.get(family, ())
        if r.origin
    }
    return [exposure.Own(first, last, True, origin) for (first, last), origin in exposed.items()]
