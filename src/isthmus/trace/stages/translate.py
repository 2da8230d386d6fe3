"""Stage ``translate``: the packet with its new addresses.

Verdicts: ``martian``; ``source-not-exposed``, for an ICMP error that nobody could send there.
"""

from __future__ import annotations

from isthmus.tables.address import MASK128, Family, parse_address
from isthmus.tables.entries import Attachment, Nat, NextHop, Tables
from isthmus.tables.martians import is_martian
from isthmus.tables.verdicts import Verdict
from isthmus.trace.judgement import Judgement
from isthmus.trace.packet import Packet
from isthmus.trace.stages.source import find_range

DUMMY_V4 = parse_address("192.0.0.8")[1]
"""What stands for a gateway without an IPv4 address of its own (RFC 7600)."""


def translate(judgement: Judgement) -> Verdict | None:
    """Source by the sender's range, destination by the candidate; nothing is written yet."""
    packet, chosen, source = judgement.packet, judgement.chosen, judgement.source
    if chosen is None or source is None:
        return Verdict.INTERNAL
    delta = chosen.candidate.delta
    if packet.inner is not None:
        return _translate_error(judgement, packet.inner, delta, source.delta)
    src, dst = (packet.src + source.delta) & MASK128, (packet.dst + delta) & MASK128
    if is_martian(packet.family, src) or is_martian(packet.family, dst):
        return Verdict.MARTIAN
    judgement.translated = packet._replace(src=src, dst=dst)
    return None


def _translate_error(judgement: Judgement, inner: Packet, to_private: int, to_public: int) -> Verdict | None:
    """The host that is told: private, inside and outside. The host it dialled: public. Who tells it: see below."""
    packet = judgement.packet
    host, remote = (inner.src + to_private) & MASK128, (inner.dst + to_public) & MASK128
    teller = _translated_teller(judgement)
    asked = [host, remote] if teller is None else [host, remote, teller]
    if teller is None:
        teller = gateway_source(packet.family, attachment_of(judgement.tables, judgement.hop))
        if teller is None:
            return Verdict.SOURCE_NOT_EXPOSED
    if any(is_martian(packet.family, address) for address in asked):
        return Verdict.MARTIAN
    judgement.translated = packet._replace(src=teller, dst=host, inner=inner._replace(src=host, dst=remote))
    return None


def _translated_teller(judgement: Judgement) -> int | None:
    """The outer source of an error in the other VPC's eyes; None: it has none, and the gateway speaks for it."""
    packet, here = judgement.packet, judgement.here
    if here is None:
        return None
    found = find_range(here.private.get(packet.family, ()), packet.src)
    if found is not None:
        return (packet.src + found.delta) & MASK128
    return packet.src if here.nat == Nat.PLAIN else None


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
