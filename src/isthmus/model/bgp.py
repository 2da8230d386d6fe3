"""How a VPC speaks BGP: its own AS and identifier, and where its neighbours are."""

from __future__ import annotations

from collections.abc import Sequence

from isthmus.api.bgp import Bgp as WrittenBgp
from isthmus.api.bgp import Neighbor as WrittenNeighbor
from isthmus.model.attachments import covering, host, remote_covering
from isthmus.model.report import Report
from isthmus.model.types import Attachment, Bfd, Bgp, Gateway, Neighbor, StaticRoute
from isthmus.tables.address import Family, format_address
from isthmus.tables.entries import TagKind
from isthmus.tables.martians import LINK_LOCAL, is_martian
from isthmus.tables.share import stable_id


def resolve_bgp(
    report: Report,
    written: WrittenBgp,
    attachments: Sequence[Attachment],
    remotes: Sequence[StaticRoute],
    gateway: Gateway | None,
) -> Bgp | None:
    """BGP of one VPC; None where nobody says of which AS it is."""
    asn = written.asn or (gateway.asn if gateway is not None else None)
    if asn is None:
        message = "nothing says of which AS the gateway is here"
        report.error("field-missing", "spec.bgp", message, "write `asn:` here, or into the Gateway", key=True)
    neighbors = []
    seen: set[tuple[Family, int]] = set()
    for number, one in enumerate(written.neighbors):
        path = f"spec.bgp.neighbors[{number}]"
        where = covering(attachments, host(*one.address))
        _judge_neighbor(report, f"{path}.address", one, seen, where, attachments, remotes)
        seen.add(one.address)
        neighbors.append(_neighbor(one, where, path))
    if asn is None:
        return None
    return Bgp(
        asn,
        _router_id(report.found.name, attachments, gateway),
        tuple(neighbors),
        tuple(written.communities),
        written.advertise,
    )


def _neighbor(written: WrittenNeighbor, attachment: int | None, path: str) -> Neighbor:
    return Neighbor(
        written.address,
        written.asn,
        attachment,
        path,
        written.password_file,
        None if written.bfd is None else Bfd(written.bfd.interval, written.bfd.multiplier),
        written.multihop,
        written.max_prefixes,
        written.graceful_restart,
    )


def _judge_neighbor(
    report: Report,
    path: str,
    written: WrittenNeighbor,
    seen: set[tuple[Family, int]],
    where: int | None,
    attachments: Sequence[Attachment],
    remotes: Sequence[StaticRoute],
) -> None:
    """Note the first thing that keeps a neighbour from being one."""
    family, address = written.address
    text = format_address(family, address)
    link_local = address in LINK_LOCAL[family]
    if is_martian(family, address) and not link_local:
        message, hint = f"{text} can be no neighbour: it is the address of no single router", "write the router's own"
    elif any(written.address == own[:2] for attachment in attachments for own in attachment.addresses):
        message, hint = f"{text} is the gateway's own address in this VPC", "write the address of the other router"
    elif written.address in seen:
        message, hint = f"{text} stands twice among the neighbours", "keep one of the two"
    elif where is None and (link_local or not written.multihop):
        message = f"no attachment has an address on the link of {text}"
        hint = "write the gateway's address there into `addresses` of an attachment"
        hint += "" if link_local else ", or `multihop: true` if routers are between"
    elif (
        where is not None
        and attachments[where].tag.kind is TagKind.VXLAN
        and remote_covering(remotes, host(family, address), where) is None
    ):
        message = f"{text} is on a VXLAN attachment, and behind none of its remotes"
        hint = f"add `{{to: {text}, vtep: …, mac: …}}` to {attachments[where].path}.vxlan.remotes"
    else:
        return
    report.error("field-value", path, message, hint, text)


def _router_id(vpc: str, attachments: Sequence[Attachment], gateway: Gateway | None) -> int:
    """The Gateway's, else the first IPv4 address here that is one router's alone, else a number made of the name."""
    if gateway is not None and gateway.router_id is not None:
        return gateway.router_id
    own = (
        address >> 96
        for attachment in attachments
        for family, address, _ in attachment.addresses
        if family == 4 and not is_martian(family, address)
    )
    return next(own, None) or stable_id(f"VPC/{vpc}") & 0xFFFFFFFF or 1
