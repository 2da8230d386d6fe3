"""The attachments of a VPC: tags and tunnels get their meaning, and each claims its port and tag for itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from isthmus.api.found import Found
from isthmus.api.vpc import Attachment as WrittenAttachment
from isthmus.api.vpc import VxlanRemote
from isthmus.model.martians import is_martian as wholly_martian
from isthmus.model.report import Report
from isthmus.model.types import Attachment, Gateway, StaticRoute
from isthmus.tables.address import BITS, Family, Prefix, format_address
from isthmus.tables.entries import Tag, TagKind, Tunnel, Vtep
from isthmus.tables.martians import is_martian

OUTER_TYPES = {"802.1ad": 0x88A8, "802.1q": 0x8100}
"""EtherTypes of a QinQ outer tag."""


def attachment_of(written: WrittenAttachment, path: str) -> Attachment:
    """One attachment, with what its tag says of packets on the way out."""
    attachment = Attachment(
        written.interface, tag_of(written), tuple(written.addresses), written.mtu or 0, path, written.mss or 0
    )
    if written.qinq is not None:
        return attachment._replace(outer_type=OUTER_TYPES[written.qinq.outer_type])
    if written.mpls is not None:
        return attachment._replace(push=tuple(written.mpls.push), uniform=written.mpls.ttl == "uniform")
    return attachment


def tag_of(written: WrittenAttachment) -> Tag:
    """What tells its packets apart on the port."""
    if written.vlan is not None:
        return Tag(TagKind.VLAN, written.vlan)
    if written.qinq is not None:
        return Tag(TagKind.QINQ, written.qinq.outer, written.qinq.inner)
    if written.vxlan is not None:
        return Tag(TagKind.VXLAN, written.vxlan.vni)
    return Tag() if written.mpls is None else Tag(TagKind.MPLS, written.mpls.label)


def covering(attachments: Sequence[Attachment], wanted: Prefix) -> int | None:
    """The attachment on whose link a prefix is, the most specific link first."""
    best: tuple[int, int] | None = None
    for index, attachment in enumerate(attachments):
        for family, address, length in attachment.addresses:
            link = Prefix(family, address & Prefix(family, 0, length).mask, length)
            if link.covers(wanted) and (best is None or length > best[0]):
                best = (length, index)
    return None if best is None else best[1]


def host(family: Family, address: int) -> Prefix:
    """The prefix of one address."""
    return Prefix(family, address, BITS[family])


def remote_covering(
    remotes: Iterable[StaticRoute], wanted: Prefix, attachment: int | None = None
) -> StaticRoute | None:
    """The remote behind which a prefix is, the most specific first; of all attachments, or of one."""
    found = (one for one in remotes if one.to.covers(wanted) and attachment in (None, one.attachment))
    return max(found, key=lambda one: one.to.length, default=None)


def resolve_remotes(
    report: Report, written: Sequence[WrittenAttachment], gateway: Gateway | None
) -> tuple[StaticRoute, ...]:
    """The remotes of all VXLAN attachments, as routes of the VPC. ``gateway`` None: nothing is known of the node."""
    routes = []
    for index, attachment in enumerate(written):
        if attachment.vxlan is None:
            continue
        path = f"spec.attachments[{index}]"
        vtep = None if gateway is None else gateway.vtep
        if gateway is not None:
            _judge_place(report, path, attachment.interface, gateway)
        seen: set[Prefix] = set()
        for number, remote in enumerate(attachment.vxlan.remotes):
            where = f"{path}.vxlan.remotes[{number}]"
            _judge_remote(report, where, remote, vtep)
            if remote.to in seen:
                message = f"{remote.to} stands twice among the remotes of this attachment"
                report.error("field-value", f"{where}.to", message, "keep one of the two", remote.to)
            seen.add(remote.to)
            tunnel = Tunnel(*remote.vtep, bytes.fromhex(remote.mac.replace(":", "")))
            routes.append(StaticRoute(remote.to, None, index, 0, where, tunnel))
    return tuple(routes)


def _judge_place(report: Report, path: str, interface: str, gateway: Gateway) -> None:
    """VXLAN segments end where the Gateway's tunnel end is."""
    name, vtep = f"Gateway/{gateway.name}", gateway.vtep
    if vtep is None:
        message = f"{name} has no `vtep`, so no VXLAN segment ends on this node"
        hint = f"write `vtep: {{address: …, interface: {interface}}}` into {name}"
        report.error("field-value", f"{path}.vxlan", message, hint, key=True)
    elif interface != vtep.interface:
        message = f"VXLAN comes in on {vtep.interface}, where {name} has its `vtep`, and not on {interface}"
        report.error("field-value", f"{path}.interface", message, f"write {vtep.interface}", interface)


def _judge_remote(report: Report, path: str, remote: VxlanRemote, own: Vtep | None) -> None:
    if wholly_martian(remote.to):
        report.martian(f"{path}.to", remote.to)
    family, address = remote.vtep
    text = format_address(family, address)
    if is_martian(family, address):
        message = f"{text} can be no tunnel end: it is of no single node, or never leaves its link"
        report.error("field-value", f"{path}.vtep", message, "write the address of the remote VTEP", text)
    elif own is not None and family != own.family:
        message = f"{text} is IPv{family}, and the Gateway's `vtep` is IPv{own.family}: a tunnel has one family"
        report.error("field-value", f"{path}.vtep", message, f"write an IPv{own.family} address", text)
    elif own is not None and address == own.address:
        message = f"{text} is the Gateway's own `vtep`"
        report.error("field-value", f"{path}.vtep", message, "write the address of the remote VTEP", text)


Claims = dict[tuple[object, ...], tuple[Found[Any], str]]
"""What is claimed, by which object, and where that is written."""
_TUNNELS = "untagged frames are tunnels, or the host's"


class _Claim(NamedTuple):
    """What no other attachment may have, in words too. ``kept`` False: others may claim the same, but not have it."""

    key: tuple[object, ...]
    words: str
    kept: bool = True


def claim(report: Report, attachments: Sequence[Attachment], claims: Claims) -> None:
    """Enter a VPC's attachments; nothing of it if it is broken, so that a broken VPC takes no port from a right one."""
    mine: Claims = {}
    for attachment in attachments:
        for one in _claims_of(attachment):
            rival = claims.get(one.key) or mine.get(one.key)
            if rival is not None:
                owner, path = rival
                message = f"{owner.label} has {one.words} already, at {owner.at(path)}"
                hint = "give one of the two another port or tag"
                report.error("attachment-conflict", attachment.path, message, hint, attachment.interface)
                break
            if one.kept:
                mine[one.key] = (report.found, attachment.path)
    if not report.problems:
        claims.update(mine)


def claim_vtep(found: Found[Any], vtep: Vtep, claims: Claims) -> None:
    """Untagged frames on the interface of the VTEP are tunnels, or the host's: ARP of MPLS attachments too."""
    claims[vtep.interface, Tag()] = claims[vtep.interface, _TUNNELS] = (found, "spec.vtep")


def _claims_of(attachment: Attachment) -> list[_Claim]:
    """A VNI is unique on the node, all else on its port."""
    port, tag = attachment.interface, attachment.tag
    if tag.kind is TagKind.VXLAN:
        return [_Claim((tag,), f"the VNI {tag.outer}")]
    claimed = [_Claim((port, tag), f"{port} {_tag_words(tag)}")]
    if tag.kind is TagKind.MPLS:  # its ARP and ND are untagged, and told apart by the address that is asked for
        claimed.append(_Claim((port, _TUNNELS), f"untagged frames on {port}, which ARP of MPLS needs,", kept=False))
        for family, address, _ in attachment.addresses:
            words = f"{format_address(family, address)} among the MPLS attachments of {port}"
            claimed.append(_Claim((port, family, address), words))
    return claimed


def _tag_words(tag: Tag) -> str:
    words = {TagKind.UNTAGGED: "untagged", TagKind.QINQ: f"QinQ {tag.outer}.{tag.inner}"}
    return words.get(tag.kind) or f"{tag.kind.name} {tag.outer}"
