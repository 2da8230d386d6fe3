"""Stage ``mtu``: does it fit the way out? ``no-attachment``, ``too-big``."""

from __future__ import annotations

from isthmus.tables.verdicts import Verdict
from isthmus.trace.judgement import Judgement
from isthmus.trace.stages.teller import attachment_of
from isthmus.trace.tags import overhead


def mtu(judgement: Judgement) -> Verdict | None:
    """The lesser MTU of attachment and port counts, of the latter what its tag leaves.

    Only IPv4 without DF, and only on TC, is fragmented instead.
    """
    hop, environment, packet = judgement.hop, judgement.environment, judgement.packet
    port = environment.ports.get(hop.attachment.interface) if hop is not None else None
    if port is None and not environment.assumed:
        return Verdict.NO_ATTACHMENT
    attachment = judgement.attachment = attachment_of(judgement.tables, hop)
    if attachment is None:
        return None if hop is None or environment.assumed else Verdict.INTERNAL
    room = port.mtu - overhead(attachment, judgement.tables.vtep) if port is not None else 0
    known = [size for size in (attachment.mtu, room) if size]
    judgement.mtu = min(known) if known else None
    if judgement.mtu is None or packet.length <= judgement.mtu:
        return None
    if packet.family == 4 and not packet.dont_fragment and environment.hook == "tc":
        judgement.fragmented = True
        return None
    return Verdict.TOO_BIG
