"""Where a BGP next hop is: through which attachment of its VPC, and which router. Pure."""

from __future__ import annotations

from isthmus.tables.address import Family, Prefix
from isthmus.tables.entries import NextHop, Origin, TagKind, Vpc
from isthmus.tables.martians import LINK_LOCAL


def resolve(vpc: Vpc, family: Family, address: int, peer: str, origin: Origin) -> NextHop | None:
    """The way to a next hop (left-aligned address) that ``peer`` told of; None: there is none.

    The longest of what covers it counts: the link of an attachment, or an own route of the VPC, whose router or tunnel
    is taken then. A link-local address is on the only link.
    """
    if any((kin, own) == (family, address) for attachment in vpc.attachments for kin, own, _ in attachment.addresses):
        return None
    found: list[tuple[int, NextHop]] = []
    for attachment in vpc.attachments:
        if attachment.key.tag.kind is TagKind.VXLAN:  # there the remotes, which are routes, are the ways
            continue
        if address in LINK_LOCAL[family] and len(vpc.attachments) == 1:
            return NextHop(attachment.key, address, origin, None, peer)
        for kin, own, length in attachment.addresses:
            if kin == family and (own ^ address) >> (128 - length) == 0:
                found.append((length, NextHop(attachment.key, address, origin, None, peer)))
    for route in vpc.routes.get(family, ()):
        if _covers(route.prefix, address) and route.next_hops:
            hop = route.next_hops[0]
            router = address if hop.gateway is None else hop.gateway
            found.append((route.prefix.length, NextHop(hop.attachment, router, origin, hop.tunnel, peer)))
    return max(found, key=lambda one: one[0])[1] if found else None


def _covers(prefix: Prefix, address: int) -> bool:
    return (prefix.first ^ address) >> (128 - prefix.length) == 0
