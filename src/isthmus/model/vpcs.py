"""From VPC objects to routing domains: subnets and routes find their attachments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from isthmus.api.found import Found
from isthmus.api.vpc import Attachment as WrittenAttachment
from isthmus.api.vpc import Route as WrittenRoute
from isthmus.api.vpc import Vpc as WrittenVpc
from isthmus.model.martians import is_martian
from isthmus.model.types import Attachment, StaticRoute, Subnet, Vpc
from isthmus.problems import Problem, Severity
from isthmus.tables.address import Family, Prefix, format_address
from isthmus.tables.entries import Tag, TagKind


@dataclass(slots=True)
class Domains:
    """The defined VPCs that are right, the objects they came from, and the names of those that are broken."""

    vpcs: dict[str, Vpc] = field(default_factory=dict)
    objects: dict[str, Found[WrittenVpc]] = field(default_factory=dict)
    broken: dict[str, Found[WrittenVpc]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def resolve_vpcs(objects: Iterable[Found[WrittenVpc]]) -> Domains:
    """All VPC objects in file order. Of two that claim one port and tag the first stays."""
    domains = Domains()
    claimed: dict[tuple[str, Tag], tuple[Found[WrittenVpc], str]] = {}
    for found in objects:
        first = domains.objects.get(found.name) or domains.broken.get(found.name)
        if first is not None and found.name:
            domains.problems.append(name_duplicate(found, first))
            continue
        problems: list[Problem] = []
        vpc = None if found.body is None else _vpc(found, found.body, problems)
        if vpc is not None:
            _claim(found, vpc, claimed, problems)
        domains.problems += problems
        if vpc is None or problems:
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


def _vpc(found: Found[WrittenVpc], body: WrittenVpc, problems: list[Problem]) -> Vpc:
    attachments = tuple(
        Attachment(
            one.interface, _tag(one), tuple(one.addresses), one.mtu or 0, f"spec.attachments[{index}]", one.mss or 0
        )
        for index, one in enumerate(body.spec.attachments)
    )
    subnets = []
    for name, subnet in body.spec.subnets.items():
        path = f"spec.subnets.{name}"
        index = _covering(attachments, subnet.cidr)
        if is_martian(subnet.cidr):
            problems.append(martian(found, f"{path}.cidr", subnet.cidr))
        elif index is None:
            problems.append(_unattached(found, path, name, subnet.cidr))
        else:
            subnets.append(Subnet(name, subnet.cidr, index, path))
    routes = []
    for number, written in enumerate(body.spec.routes):
        route = _route(found, written, attachments, f"spec.routes[{number}]", problems)
        routes += [route] if route else []
    return Vpc(found.name, True, body.spec.bgp is not None, tuple(subnets), attachments, tuple(routes))


def martian(found: Found[WrittenVpc], path: str, prefix: Prefix) -> Problem:
    """Addresses that no packet may carry across the gateway."""
    message = f"{prefix} lies wholly in address space that never crosses the gateway"
    return found.problem(Severity.ERROR, "cidr-martian", path, message, "write addresses that hosts can use", prefix)


def _tag(written: WrittenAttachment) -> Tag:
    if written.vlan is not None:
        return Tag(TagKind.VLAN, written.vlan)
    if written.qinq is not None:
        return Tag(TagKind.QINQ, written.qinq.outer, written.qinq.inner)
    if written.vxlan is not None:
        return Tag(TagKind.VXLAN, written.vxlan.vni)
    return Tag() if written.mpls is None else Tag(TagKind.MPLS, written.mpls.label)


def _link(family: Family, address: int, length: int) -> Prefix:
    """The network of an address of ours."""
    return Prefix(family, address & Prefix(family, 0, length).mask, length)


def _covering(attachments: tuple[Attachment, ...], wanted: Prefix) -> int | None:
    """The attachment whose link covers a prefix, the most specific first; else the only one there is."""
    best: tuple[int, int] | None = None
    for index, attachment in enumerate(attachments):
        for family, address, length in attachment.addresses:
            if _link(family, address, length).covers(wanted) and (best is None or length > best[0]):
                best = (length, index)
    if best is not None:
        return best[1]
    return 0 if len(attachments) == 1 else None


def _unattached(found: Found[WrittenVpc], path: str, name: str, cidr: Prefix) -> Problem:
    message = f"no attachment has an address in {cidr}, so the subnet {name} lives nowhere"
    unit = 1 << (128 - (32 if cidr.family == 4 else 128))
    address = format_address(cidr.family, cidr.first + (unit if cidr.size > 2 else 0))
    hint = f"write the gateway's address there: `addresses: [{address}/{cidr.length}]` in one of `attachments`"
    return found.problem(Severity.ERROR, "subnet-unattached", path, message, hint, cidr, key=True)


def _route(
    found: Found[WrittenVpc],
    written: WrittenRoute,
    attachments: tuple[Attachment, ...],
    path: str,
    problems: list[Problem],
) -> StaticRoute | None:
    """A static route with its attachment, or the reason why it has none."""

    def refuse(code: str, field_name: str, message: str, hint: str, value: object = "") -> None:
        problems.append(found.problem(Severity.ERROR, code, f"{path}{field_name}", message, hint, value))

    if is_martian(written.to):
        problems.append(martian(found, f"{path}.to", written.to))
        return None
    if written.via is not None and written.via[0] != written.to.family:
        refuse(
            "field-value", ".via", f"`via` is not of the family of {written.to}", "write a router of the same family"
        )
        return None
    index: int | None = None
    if written.attachment is not None:
        index = _named(attachments, written.attachment)
        if index is None:
            ports = ", ".join(f"{number} ({one.interface})" for number, one in enumerate(attachments)) or "none"
            message = f"`attachment: {written.attachment}` does not name one attachment of this VPC"
            refuse(
                "field-value", ".attachment", message, f"write its place in `attachments`: {ports}", written.attachment
            )
            return None
    elif written.via is not None:
        family, address = written.via
        index = _covering(attachments, Prefix(family, address, 32 if family == 4 else 128))
        if index is None:
            text = format_address(family, address)
            hint = "write a router on one of the links, or add `attachment:`"
            refuse("field-value", ".via", f"no attachment has an address on the link of {text}", hint, text)
            return None
    elif len(attachments) == 1:
        index = 0
    else:
        refuse(
            "field-missing", "", "the route has neither `via` nor `attachment`", "write `via:` and a router's address"
        )
        return None
    return StaticRoute(written.to, written.via and written.via[1], index, written.metric, path)


def _named(attachments: tuple[Attachment, ...], wanted: str | int) -> int | None:
    """The index of the attachment that ``attachment:`` means, by place or by port; None if none or several."""
    if isinstance(wanted, int):
        return wanted if wanted < len(attachments) else None
    found = [index for index, attachment in enumerate(attachments) if attachment.interface == wanted]
    return found[0] if len(found) == 1 else None


def _claim(
    found: Found[WrittenVpc],
    vpc: Vpc,
    claimed: dict[tuple[str, Tag], tuple[Found[WrittenVpc], str]],
    problems: list[Problem],
) -> None:
    """Enter a VPC's attachments; nothing of it if it is broken, so that a broken VPC takes no port from a right one."""
    mine: dict[tuple[str, Tag], tuple[Found[WrittenVpc], str]] = {}
    for attachment in vpc.attachments:
        key = (attachment.interface, attachment.tag)
        rival = claimed.get(key) or mine.get(key)
        if rival is not None:
            owner, path = rival
            what = _tag_words(attachment.tag)
            message = f"{owner.label} has {attachment.interface} {what} already, at {owner.at(path)}"
            hint = "give one of the two another port or tag"
            problems.append(
                found.problem(
                    Severity.ERROR, "attachment-conflict", attachment.path, message, hint, attachment.interface
                )
            )
        mine[key] = (found, attachment.path)
    if not problems:
        claimed.update(mine)


def _tag_words(tag: Tag) -> str:
    words = {TagKind.UNTAGGED: "untagged", TagKind.QINQ: f"QinQ {tag.outer}.{tag.inner}"}
    return words.get(tag.kind) or f"{tag.kind.name} {tag.outer}"
