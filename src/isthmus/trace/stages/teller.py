"""Who tells an ICMP error, in the eyes of the host that is told. ``martian``, ``source-not-exposed``."""

from __future__ import annotations

from isthmus.tables.address import MASK128, Family, parse_address
from isthmus.tables.entries import Attachment, Nat, NextHop, Tables
from isthmus.tables.martians import is_martian
from isthmus.tables.verdicts import Verdict
from isthmus.trace.judgement import Judgement
from isthmus.trace.lookup import find_range
from isthmus.trace.packet import Packet

DUMMY_V4 = parse_address("192.0.0.8")[1]
"""What stands for a gateway without an IPv4 address of its own (RFC 7600)."""


def tell(judgement: Judgement, host: int, inner: Packet) -> Verdict | None:
    """The error as it leaves: to ``host``, about ``inner`` as that host sent it. An address that the gateway itself
    sets is not asked for martians."""
    packet, teller = judgement.packet, _seen_teller(judgement)
    asked = [inner.src, inner.dst]
    if teller is not None:
        asked.append(teller)
    else:
        teller = gateway_source(packet.family, attachment_of(judgement.tables, judgement.hop))
        if teller is None:
            return Verdict.SOURCE_NOT_EXPOSED
    if any(is_martian(packet.family, address) for address in asked):
        return Verdict.MARTIAN
    judgement.translated = packet._replace(src=teller, dst=host, inner=inner)
    return None


def _seen_teller(judgement: Judgement) -> int | None:
    """The outer source of an error in the other VPC's eyes; None: it has none, and the gateway speaks for it."""
    packet, here = judgement.packet, judgement.here
    if here is None:
        return None
    if here.nat == Nat.STATEFUL:
        return _public_of_flow(judgement)
    found = find_range(here.private.get(packet.family, ()), packet.src)
    if found is not None:
        return (packet.src + found.delta) & MASK128
    return packet.src if here.nat == Nat.PLAIN else None


def _public_of_flow(judgement: Judgement) -> int | None:
    """The address that the flow's own host has behind stateful NAT; other hosts there have none."""
    held, direction = judgement.flow, judgement.direction
    if held is None or judgement.packet.src != held.keys[direction].src:
        return None
    return held.keys[1 - direction].dst


def gateway_source(family: Family, attachment: Attachment | None) -> int | None:
    """The source of ICMP that the gateway itself sends on an attachment; None: it sends none."""
    own = attachment.icmp_source.get(family) if attachment is not None else None
    return DUMMY_V4 if own is None and family == 4 else own


def attachment_of(tables: Tables, hop: NextHop | None) -> Attachment | None:
    """The attachment that a next hop names."""
    vpc = tables.vpcs.get(hop.attachment.vpc) if hop is not None else None
    if vpc is None or hop is None:
        return None
    for attachment in vpc.attachments:
        if attachment.key == hop.attachment:
            return attachment
    return None
