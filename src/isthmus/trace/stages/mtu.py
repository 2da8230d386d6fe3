"""Stage ``mtu``: does it fit the way out? ``not-carried`` (a tagged attachment), ``no-attachment``, ``too-big``."""

from __future__ import annotations

from isthmus.tables.entries import TagKind
from isthmus.tables.verdicts import Verdict
from isthmus.trace.judgement import Judgement
from isthmus.trace.stages.teller import attachment_of


def mtu(judgement: Judgement) -> Verdict | None:
    """The lesser MTU of attachment and port counts; only IPv4 without DF, and only on TC, is fragmented instead."""
    hop, environment, packet = judgement.hop, judgement.environment, judgement.packet
    if hop is not None and hop.attachment.tag.kind is not TagKind.UNTAGGED:
        return Verdict.NOT_CARRIED
    port = environment.ports.get(hop.attachment.interface) if hop is not None else None
    if port is None and not environment.assumed:
        return Verdict.NO_ATTACHMENT
    attachment = judgement.attachment = attachment_of(judgement.tables, hop)
    if attachment is None:
        return None if hop is None or environment.assumed else Verdict.INTERNAL
    known = [size for size in (attachment.mtu, port.mtu if port is not None else 0) if size]
    judgement.mtu = min(known) if known else None
    if judgement.mtu is None or packet.length <= judgement.mtu:
        return None
    if packet.family == 4 and not packet.dont_fragment and environment.hook == "tc":
        judgement.fragmented = True
        return None
    return Verdict.TOO_BIG
