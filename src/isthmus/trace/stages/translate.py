"""Stage ``translate``: the packet with its new addresses; where a flow is needed it is opened.

Verdicts: ``martian``; ``source-not-exposed``, for an ICMP error that nobody could send there; those of ``opening``.
"""

from __future__ import annotations

from isthmus.tables.address import MASK128
from isthmus.tables.martians import is_martian
from isthmus.tables.verdicts import Verdict
from isthmus.trace.judgement import Judgement
from isthmus.trace.stages.opening import open_flow
from isthmus.trace.stages.teller import tell


def translate(judgement: Judgement) -> Verdict | None:
    """Source by the sender's range or a mapping, destination by the candidate; nothing is written yet."""
    packet, chosen, source, here = judgement.packet, judgement.chosen, judgement.source, judgement.here
    if chosen is None or source is None or here is None:
        return Verdict.INTERNAL
    delta = chosen.candidate.delta
    if packet.inner is not None:
        host, remote = (packet.inner.src + delta) & MASK128, (packet.inner.dst + source.delta) & MASK128
        return tell(judgement, host, packet.inner._replace(src=host, dst=remote))
    if judgement.opens:
        return open_flow(judgement)
    src, dst = (packet.src + source.delta) & MASK128, (packet.dst + delta) & MASK128
    if is_martian(packet.family, src) or is_martian(packet.family, dst):
        return Verdict.MARTIAN
    if here.rules is not None:
        judgement.flows.note(judgement.vpc.name, packet)
    judgement.translated = packet._replace(src=src, dst=dst)
    return None
