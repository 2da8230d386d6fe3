"""Stage ``ICMP errors``: an error is judged by the packet inside it. ``icmp-malformed``."""

from __future__ import annotations

from isthmus.tables.martians import is_martian
from isthmus.tables.verdicts import Verdict
from isthmus.trace.judgement import Judgement


def icmp_errors(judgement: Judgement) -> Verdict | None:
    """From here on the key of an error is the mirror of the packet inside, if that is fit to be one."""
    packet = judgement.packet
    if not packet.error:
        return None
    inner = packet.inner
    if inner is None or inner.error or inner.src != packet.dst:
        return Verdict.ICMP_MALFORMED
    if is_martian(inner.family, inner.src) or is_martian(inner.family, inner.dst):
        return Verdict.ICMP_MALFORMED
    judgement.key = inner.mirrored
    return None
