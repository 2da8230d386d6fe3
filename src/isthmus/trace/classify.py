"""Stage ``classify``: whose frame is it? ``unknown-tag``, ``passed``, ``local`` (ARP), ``not-ip``, ``not-our-mac``."""

from __future__ import annotations

from typing import NamedTuple

from isthmus.tables.address import Family, address_from_bytes
from isthmus.tables.entries import Attachment, Tables, Tag, TagKind, Vtep
from isthmus.tables.martians import is_martian
from isthmus.tables.verdicts import Verdict
from isthmus.trace.environment import Environment, PortInfo
from isthmus.trace.tags import is_nd, read_tag, take_off
from isthmus.trace.vxlan import Underlay, read_tunnel, received
from isthmus.trace.wire import ETHERNET, ETHERTYPE_ARP, Frame, parse_frame

UNTAGGED = Tag()
ARP_TARGET = slice(ETHERNET + 24, ETHERNET + 28)
"""Where the target protocol address stands in ARP for IPv4 (RFC 826)."""
NEIGHBOUR_SOLICITATION, ND_TARGET = 135, 8
"""Of ICMPv6: the type, and where its target stands in the message (RFC 4861 4.3)."""


class Arrival(NamedTuple):
    """A frame as its attachment sees it, without tag. ``back``: the way back through the tunnel that it came by."""

    attachment: Attachment
    frame: bytes
    back: Underlay | None = None


class Arrivals:
    """Who claims what on the ports of a node."""

    def __init__(self, tables: Tables, environment: Environment) -> None:
        self._tables, self._ports = tables, environment.ports
        self._attachments = [attachment for vpc in tables.vpcs.values() for attachment in vpc.attachments]
        self._claims = {(one.key.interface, one.key.tag): one for one in self._attachments}

    def find(self, frame: bytes, interface: str) -> Arrival | Verdict:
        """Whose frame, of at least 14 bytes, it is; the verdict on one that is nobody's, or can't be read so far."""
        port, vtep = self._ports.get(interface), self._tables.vtep
        read = read_tag(frame)
        if isinstance(read, Verdict):
            return read
        if read is None:
            if port is not None and vtep is not None and vtep.interface == interface:
                return self._from_tunnel(frame, vtep, port)
            return self._untagged(frame, interface)
        attachment = None if read.tag is None else self._claims.get((interface, read.tag))
        if attachment is None or port is None:
            return self._unclaimed(interface)
        plain = take_off(frame, read, attachment)
        return plain if isinstance(plain, Verdict) else Arrival(attachment, plain)

    def _unclaimed(self, interface: str) -> Verdict:
        """What becomes of a frame with a tag that nobody claims on this port."""
        policy = self._tables.ports.get(interface)
        return Verdict.PASSED if policy is not None and policy.unclaimed == "pass" else Verdict.UNKNOWN_TAG

    def _untagged(self, frame: bytes, interface: str) -> Arrival | Verdict:
        parsed = parse_frame(frame)
        if isinstance(parsed, Verdict):
            return parsed
        attachment = self._claims.get((interface, UNTAGGED)) or self._asked_for(frame, parsed, interface)
        if attachment is None or interface not in self._ports:
            return self._unclaimed(interface)
        return Arrival(attachment, frame)

    def _asked_for(self, frame: bytes, parsed: Frame, interface: str) -> Attachment | None:
        """ARP and ND of MPLS attachments come untagged: the one that has the address which they are about."""
        about = _asks(frame, parsed)
        mpls = (one for one in self._attachments if (one.key.interface, one.key.tag.kind) == (interface, TagKind.MPLS))
        return next((one for one in mpls if any(own[:2] == about for own in one.addresses)), None)

    def _from_tunnel(self, frame: bytes, vtep: Vtep, port: PortInfo) -> Arrival | Verdict:
        """What is no VXLAN to the VTEP is the host's."""
        tunnelled = read_tunnel(frame, vtep)
        if tunnelled is None:
            return Verdict.PASSED
        if isinstance(tunnelled, Verdict):
            return tunnelled
        attachment = self._claims.get((vtep.interface, Tag(TagKind.VXLAN, tunnelled.vni)))
        if attachment is None:
            return Verdict.UNKNOWN_TAG
        inner = received(tunnelled.frame, tunnelled.ecn)
        if isinstance(inner, Verdict):
            return inner
        return Arrival(attachment, inner, Underlay(vtep, tunnelled.remote, port.mac, frame[6:12]))


def _asks(frame: bytes, parsed: Frame) -> tuple[Family, int] | None:
    """The address that ARP or ND is about; None: it is neither, or too short for one."""
    if parsed.ethertype == ETHERTYPE_ARP:
        target = frame[ARP_TARGET]
        return address_from_bytes(target) if len(target) == 4 else None
    if parsed.ip is None or not is_nd(parsed.ip.packet):
        return None
    packet, layout = parsed.ip.packet, parsed.ip.layout
    if packet.sport != NEIGHBOUR_SOLICITATION:
        return 6, packet.dst
    target = frame[layout.transport + ND_TARGET : min(layout.transport + ND_TARGET + 16, layout.end)]
    return address_from_bytes(target) if len(target) == 16 else None


def classify(frame: Frame, port: PortInfo) -> Verdict | None:
    """The verdict on a frame of an attachment that its EtherType and destination MAC alone decide; None: go on."""
    if frame.ethertype == ETHERTYPE_ARP:
        return Verdict.LOCAL
    if frame.ip is None:
        return Verdict.NOT_IP
    if not frame.destination[0] & 1:
        return None if frame.destination == port.mac else Verdict.NOT_OUR_MAC
    packet = frame.ip.packet
    if packet.link_only or is_martian(packet.family, packet.dst):
        return None
    return Verdict.NOT_OUR_MAC
