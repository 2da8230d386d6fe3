"""A VPC's own routes and attachments: its subnets, its static routes, the gateway's own addresses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from isthmus.model.types import Attachment as ModelAttachment
from isthmus.model.types import Side, Vpc
from isthmus.tables.address import BITS, FAMILIES, Family, Prefix
from isthmus.tables.entries import Attachment, AttachmentKey, NextHop, Origin, Route
from isthmus.tables.layout import MAX_HOPS

LINK_LOCAL: dict[Family, Prefix] = {4: Prefix.parse("169.254.0.0/16"), 6: Prefix.parse("fe80::/10")}


def attachments(vpc: Vpc) -> tuple[Attachment, ...]:
    """The VPC's attachments in the order of the file, with the address that the gateway's own ICMP comes from."""
    everywhere = [address for attachment in vpc.attachments for address in attachment.addresses]
    return tuple(
        Attachment(
            key(vpc, attachment),
            attachment.addresses,
            {family: _icmp_source(family, attachment, everywhere) for family in FAMILIES},
            attachment.mtu,
            Origin(f"VPC/{vpc.name}", attachment.path),
            attachment.mss,
        )
        for attachment in vpc.attachments
    )


def key(vpc: Vpc, attachment: ModelAttachment) -> AttachmentKey:
    """What names an attachment in the tables."""
    return AttachmentKey(vpc.name, attachment.interface, attachment.tag)


def _icmp_source(
    family: Family, attachment: ModelAttachment, everywhere: Iterable[tuple[Family, int, int]]
) -> int | None:
    """The gateway's routable address on this link, else elsewhere in the VPC, else its link-local one here."""
    routable = [
        address
        for kin, address, _ in (*attachment.addresses, *everywhere)
        if kin == family and address not in LINK_LOCAL[family]
    ]
    local = [address for kin, address, _ in attachment.addresses if kin == family]
    return next(iter([*routable, *local]), None)


def routes(vpc: Vpc, sides: Iterable[Side]) -> tuple[dict[Family, tuple[Route, ...]], bool]:
    """The VPC's RIB by family, and whether routes were assumed: BGP without routes is taken to route what it offers."""
    found: dict[Prefix, list[tuple[int, NextHop]]] = defaultdict(list)
    origins: dict[Prefix, Origin] = {}

    def add(prefix: Prefix, metric: int, attachment: int, via: int | None, origin: Origin) -> None:
        hop = NextHop(key(vpc, vpc.attachments[attachment]), via, origin)
        if not any(m == metric and h[:2] == hop[:2] for m, h in found[prefix]):
            found[prefix].append((metric, hop))
        origins.setdefault(prefix, origin)

    name = f"VPC/{vpc.name}"
    for subnet in vpc.subnets:
        add(subnet.prefix, 0, subnet.attachment, None, Origin(name, subnet.path))
    for route in vpc.routes:
        add(route.to, route.metric, route.attachment, route.via, Origin(name, route.path))
    assumed = vpc.bgp and bool(vpc.attachments)
    if assumed:
        for side in sides:
            for item in side.ips:
                if item.prefix not in found:
                    add(item.prefix, 0, 0, None, Origin(f"Peering/{side.peering}", item.path))
    table: dict[Prefix, Route] = {prefix: _best(prefix, hops, origins[prefix]) for prefix, hops in found.items()}
    for attachment in vpc.attachments:
        for family, address, _ in attachment.addresses:
            own = Prefix(family, address, BITS[family])
            table[own] = Route(own, 0, True, (), Origin(name, attachment.path))
    ordered = sorted(table.values(), key=lambda route: (route.prefix.first, route.prefix.length))
    return {family: tuple(r for r in ordered if r.prefix.family == family) for family in FAMILIES}, assumed


def _best(prefix: Prefix, hops: list[tuple[int, NextHop]], origin: Origin) -> Route:
    """Of several routes for one prefix the lowest metric; equal ones share, the first MAX_HOPS of them."""
    lowest = min(metric for metric, _ in hops)
    best = sorted(
        (hop for metric, hop in hops if metric == lowest), key=lambda hop: (hop.attachment, hop.gateway or -1)
    )
    return Route(prefix, lowest, False, tuple(best[:MAX_HOPS]), origin)
