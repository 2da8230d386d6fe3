"""A VPC's own routes and attachments: its subnets, its static routes, the gateway's own addresses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from isthmus.model.types import Attachment as ModelAttachment
from isthmus.model.types import Side, Vpc
from isthmus.tables.address import BITS, FAMILIES, Family, Prefix
from isthmus.tables.entries import Attachment, AttachmentKey, NextHop, Origin, Route, TagKind
from isthmus.tables.layout import MAX_HOPS
from isthmus.tables.martians import LINK_LOCAL


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
            attachment.outer_type,
            attachment.push,
            attachment.uniform,
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


def routes(vpc: Vpc, sides: Iterable[Side], assumed: bool) -> dict[Family, tuple[Route, ...]]:
    """The VPC's own RIB by family. ``assumed``: beside it, the VPC is taken to route all that its sides expose."""
    found: dict[Prefix, list[tuple[int, NextHop]]] = defaultdict(list)
    origins: dict[Prefix, Origin] = {}

    def add(prefix: Prefix, metric: int, hop: NextHop) -> None:
        if not any(m == metric and _end(h) == _end(hop) for m, h in found[prefix]):
            found[prefix].append((metric, hop))
        origins.setdefault(prefix, hop.origin)

    name = f"VPC/{vpc.name}"
    for subnet in vpc.subnets:
        on = vpc.attachments[subnet.attachment]
        if on.tag.kind is not TagKind.VXLAN:  # there the remotes are the routes
            add(subnet.prefix, 0, NextHop(key(vpc, on), None, Origin(name, subnet.path)))
    for route in vpc.routes:
        on = vpc.attachments[route.attachment]
        add(route.to, route.metric, NextHop(key(vpc, on), route.via, Origin(name, route.path), route.tunnel))
    if assumed:
        for side in sides:
            for item in side.ips:
                if item.prefix not in found:
                    origin = Origin(f"Peering/{side.peering}", item.path)
                    add(item.prefix, 0, NextHop(key(vpc, vpc.attachments[0]), None, origin))
    table: dict[Prefix, Route] = {prefix: _best(prefix, hops, origins[prefix]) for prefix, hops in found.items()}
    for attachment in vpc.attachments:
        for family, address, _ in attachment.addresses:
            own = Prefix(family, address, BITS[family])
            table[own] = Route(own, 0, True, (), Origin(name, attachment.path))
    ordered = sorted(table.values(), key=lambda route: (route.prefix.first, route.prefix.length))
    return {family: tuple(r for r in ordered if r.prefix.family == family) for family in FAMILIES}


def _best(prefix: Prefix, hops: list[tuple[int, NextHop]], origin: Origin) -> Route:
    """Of several routes for one prefix the lowest metric; equal ones share, the first MAX_HOPS of them."""
    lowest = min(metric for metric, _ in hops)
    best = sorted((hop for metric, hop in hops if metric == lowest), key=_end)
    return Route(prefix, lowest, False, tuple(best[:MAX_HOPS]), origin)


def _end(hop: NextHop) -> tuple[AttachmentKey, int, tuple[int, ...]]:
    """What tells next hops apart, and puts them in order, whoever wrote them."""
    tunnel = () if hop.tunnel is None else (hop.tunnel.family, hop.tunnel.vtep, int.from_bytes(hop.tunnel.mac))
    return hop.attachment, -1 if hop.gateway is None else hop.gateway, tunnel
