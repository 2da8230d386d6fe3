"""Static routes: each finds the attachment that it leaves by, and on a VXLAN attachment the tunnel."""

from __future__ import annotations

from typing import NamedTuple

from isthmus.api.vpc import Route as WrittenRoute
from isthmus.model.attachments import covering, host, remote_covering
from isthmus.model.martians import is_martian
from isthmus.model.report import Report
from isthmus.model.types import Attachment, StaticRoute
from isthmus.tables.address import Family, format_address
from isthmus.tables.entries import TagKind


class Links(NamedTuple):
    """Where the routers of a VPC may be: its attachments, and what is behind the remotes of those that are tunnels."""

    attachments: tuple[Attachment, ...]
    remotes: tuple[StaticRoute, ...]

    def holding(self, family: Family, address: int) -> int | None:
        """The attachment on whose link, or behind whose remotes, a router is; else the only one there is."""
        router = host(family, address)
        index = covering(self.attachments, router)
        if index is None and (remote := remote_covering(self.remotes, router)) is not None:
            index = remote.attachment
        return 0 if index is None and len(self.attachments) == 1 else index

    def named(self, wanted: str | int) -> int | None:
        """The index of the attachment that ``attachment:`` means, by place or by port; None if none or several."""
        if isinstance(wanted, int):
            return wanted if wanted < len(self.attachments) else None
        found = [index for index, attachment in enumerate(self.attachments) if attachment.interface == wanted]
        return found[0] if len(found) == 1 else None


def resolve_route(report: Report, written: WrittenRoute, links: Links, path: str) -> StaticRoute | None:
    """A static route with its attachment; None: the report says why it has none."""
    if is_martian(written.to):
        report.martian(f"{path}.to", written.to)
        return None
    if written.via is not None and written.via[0] != written.to.family:
        message = f"`via` is not of the family of {written.to}"
        report.error("field-value", f"{path}.via", message, "write a router of the same family")
        return None
    index = _attachment(report, written, links, path)
    if index is None:
        return None
    route = StaticRoute(written.to, written.via and written.via[1], index, written.metric, path)
    if links.attachments[index].tag.kind is not TagKind.VXLAN:
        return route
    return _through_tunnel(report, written, links, route)


def _attachment(report: Report, written: WrittenRoute, links: Links, path: str) -> int | None:
    if written.attachment is not None:
        index = links.named(written.attachment)
        if index is None:
            ports = ", ".join(f"{number} ({one.interface})" for number, one in enumerate(links.attachments)) or "none"
            message = f"`attachment: {written.attachment}` does not name one attachment of this VPC"
            hint = f"write its place in `attachments`: {ports}"
            report.error("field-value", f"{path}.attachment", message, hint, written.attachment)
        return index
    if written.via is not None:
        index = links.holding(*written.via)
        if index is None:
            text = format_address(*written.via)
            hint = "write a router on one of the links, or add `attachment:`"
            report.error(
                "field-value", f"{path}.via", f"no attachment has an address on the link of {text}", hint, text
            )
        return index
    if len(links.attachments) == 1:
        return 0
    message = "the route has neither `via` nor `attachment`"
    report.error("field-missing", path, message, "write `via:` and a router's address")
    return None


def _through_tunnel(report: Report, written: WrittenRoute, links: Links, route: StaticRoute) -> StaticRoute | None:
    """The route through the remote behind which its router is."""
    remotes = f"{links.attachments[route.attachment].path}.vxlan.remotes"
    if written.via is None:
        message = "a route on a VXLAN attachment needs a router, which says through which tunnel it goes"
        hint = f"write `via:`, or make it one of {remotes}"
        report.error("field-missing", route.path, message, hint)
        return None
    remote = remote_covering(links.remotes, host(*written.via), route.attachment)
    if remote is None:
        text = format_address(*written.via)
        message = f"the router {text} is behind none of the remotes of its VXLAN attachment"
        report.error(
            "field-value", f"{route.path}.via", message, f"add `{{to: {text}, vtep: …, mac: …}}` to {remotes}", text
        )
        return None
    return route._replace(tunnel=remote.tunnel)
