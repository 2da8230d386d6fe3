"""Stage ``classify``: whose frame is it? ``unknown-tag``, ``passed``, ``local`` (ARP), ``not-ip``, ``not-our-mac``."""

from __future__ import annotations

from isthmus.tables.entries import Attachment, Tables, Tag, TagKind, Vpc
from isthmus.tables.martians import is_martian
from isthmus.tables.verdicts import Verdict
from isthmus.trace.environment import PortInfo
from isthmus.trace.wire import ETHERTYPE_ARP, Frame

Claims = dict[tuple[str, Tag], Attachment]


def claims(tables: Tables) -> Claims:
    """(port, tag) to the one attachment that claims it."""
    return {
        (attachment.key.interface, attachment.key.tag): attachment
        for vpc in tables.vpcs.values()
        for attachment in vpc.attachments
    }


def only_tagged(vpc: Vpc) -> bool:
    """True if the VPC has attachments and all have tags, which this version carries nothing on."""
    kinds = {attachment.key.tag.kind for attachment in vpc.attachments}
    return bool(kinds) and TagKind.UNTAGGED not in kinds


def unclaimed(tables: Tables, interface: str) -> Verdict:
    """What becomes of a frame with a tag that nobody claims on this port."""
    policy = tables.ports.get(interface)
    return Verdict.PASSED if policy is not None and policy.unclaimed == "pass" else Verdict.UNKNOWN_TAG


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
