"""Tags that stand between the MACs and the IP packet: VLAN and QinQ (IEEE 802.1Q, 802.1ad), MPLS (RFC 3032, 3443)."""

from __future__ import annotations

from struct import pack
from typing import NamedTuple

from isthmus.tables.entries import Attachment, Tag, TagKind, Vtep
from isthmus.tables.verdicts import Verdict
from isthmus.trace.header import family_of, traffic_class, ttl_of, with_ttl
from isthmus.trace.packet import Packet
from isthmus.trace.wire import ETHERTYPE_IPV4, ETHERTYPE_IPV6, TAGGED, parse_frame

MACS = 12
"""Bytes before the first tag."""
ETHERTYPE_VLAN, ETHERTYPE_MPLS = 0x8100, 0x8847
VLAN_ID = 0xFFF
EXPLICIT_NULL = (0, 2)
"""MPLS labels that say nothing but that IPv4, or IPv6, follows (RFC 3032 2.1)."""
BOTTOM, PIPE_TTL = 0x100, 255
ETHERTYPE_OF_VERSION = {4: ETHERTYPE_IPV4, 6: ETHERTYPE_IPV6}


class Read(NamedTuple):
    """The tag of a frame, and where what is behind it begins. ``tag`` None: one that nobody can have.

    ``ttl``: that of the MPLS label.
    """

    tag: Tag | None
    end: int
    ttl: int = 0


def read_tag(frame: bytes) -> Read | Verdict | None:
    """The tag of a frame of at least 14 bytes; None: it has none. ``malformed``: it does not fit."""
    ethertype = _u16(frame, MACS)
    if ethertype in TAGGED:
        return _read_vlan(frame)
    return _read_mpls(frame) if ethertype == ETHERTYPE_MPLS else None


def _read_vlan(frame: bytes) -> Read | Verdict:
    if len(frame) < MACS + 6:
        return Verdict.MALFORMED
    outer, following = _u16(frame, MACS + 2) & VLAN_ID, _u16(frame, MACS + 4)
    if following not in TAGGED:
        return Read(Tag(TagKind.VLAN, outer), MACS + 4)
    if len(frame) < MACS + 10:
        return Verdict.MALFORMED
    inner = _u16(frame, MACS + 6) & VLAN_ID
    return Read(Tag(TagKind.QINQ, outer, inner) if following == ETHERTYPE_VLAN else None, MACS + 8)


def _read_mpls(frame: bytes) -> Read | Verdict:
    """One label, and before it perhaps an explicit null."""
    at = MACS + 2
    if len(frame) < at + 4:
        return Verdict.MALFORMED
    entry = int.from_bytes(frame[at : at + 4], "big")
    if entry >> 12 in EXPLICIT_NULL and not entry & BOTTOM:
        at += 4
        if len(frame) < at + 4:
            return Verdict.MALFORMED
        entry = int.from_bytes(frame[at : at + 4], "big")
    return Read(Tag(TagKind.MPLS, entry >> 12) if entry & BOTTOM else None, at + 4, entry & 0xFF)


def take_off(frame: bytes, read: Read, attachment: Attachment) -> bytes | Verdict:
    """The frame as if it had come without its tag. ``malformed``: what is behind an MPLS label is no IP."""
    if attachment.key.tag.kind is not TagKind.MPLS:
        return frame[:MACS] + frame[read.end :]
    version = frame[read.end] >> 4 if len(frame) > read.end else 0
    if version not in ETHERTYPE_OF_VERSION:
        return Verdict.MALFORMED
    plain = frame[:MACS] + pack(">H", ETHERTYPE_OF_VERSION[version]) + frame[read.end :]
    family = family_of(plain)
    return with_ttl(plain, family, read.ttl) if attachment.uniform and family is not None else plain


def put_on(frame: bytes, attachment: Attachment) -> bytes:
    """The frame as it leaves on an attachment that is no tunnel. MPLS carries IP alone, and no ND."""
    tag, rest = attachment.key.tag, frame[MACS:]
    if tag.kind is TagKind.VLAN:
        return frame[:MACS] + pack(">HH", ETHERTYPE_VLAN, tag.outer) + rest
    if tag.kind is TagKind.QINQ:
        return frame[:MACS] + pack(">HHHH", attachment.outer_type, tag.outer, ETHERTYPE_VLAN, tag.inner) + rest
    if tag.kind is TagKind.MPLS and attachment.push and not _is_discovery(frame):
        return frame[:MACS] + pack(">H", ETHERTYPE_MPLS) + _labels(frame, attachment) + rest[2:]
    return frame


def _labels(frame: bytes, attachment: Attachment) -> bytes:
    """The stack: the traffic class is the three high bits of DSCP."""
    family = family_of(frame)
    traffic = traffic_class(frame, family) >> 5 if family is not None else 0
    ttl = ttl_of(frame, family) if family is not None and attachment.uniform else PIPE_TTL
    last = len(attachment.push) - 1
    return b"".join(
        pack(">I", label << 12 | traffic << 9 | (BOTTOM if index == last else 0) | ttl)
        for index, label in enumerate(attachment.push)
    )


def _is_discovery(frame: bytes) -> bool:
    """True for ARP, and for ICMPv6 133 to 137."""
    parsed = parse_frame(frame)
    if isinstance(parsed, Verdict):
        return False
    return parsed.ip is None or is_nd(parsed.ip.packet)


def is_nd(packet: Packet) -> bool:
    """True for ICMPv6 133 to 137 (RFC 4861)."""
    return packet.family == 6 and packet.link_only


def overhead(attachment: Attachment, vtep: Vtep | None) -> int:
    """Bytes that the tag takes from the MTU of the port. Ports carry one VLAN tag beside their MTU."""
    kind = attachment.key.tag.kind
    if kind is TagKind.VXLAN:
        return 70 if vtep is not None and vtep.family == 6 else 50
    return 4 if kind is TagKind.QINQ else 4 * len(attachment.push)


def _u16(frame: bytes, at: int) -> int:
    return int.from_bytes(frame[at : at + 2], "big")
