"""Stage ``martian``: addresses that never cross, as they came in."""

from __future__ import annotations

from isthmus.tables.martians import is_martian
from isthmus.tables.verdicts import Verdict
from isthmus.trace.judgement import Judgement


def martian(judgement: Judgement) -> Verdict | None:
    """No packet from or to a martian address."""
    packet = judgement.packet
    if is_martian(packet.family, packet.src) or is_martian(packet.family, packet.dst):
        return Verdict.MARTIAN
    return None
