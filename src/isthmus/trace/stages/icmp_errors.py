"""Stage ``ICMP errors``: an error of no flow is judged as the mirror of the packet inside it."""

from __future__ import annotations

from isthmus.tables.martians import is_martian
from isthmus.tables.verdicts import Verdict
from isthmus.trace.judgement import Judgement
from isthmus.trace.packet import Packet


def icmp_errors(judgement: Judgement) -> Verdict | None:
    """From here on the key of an error is the mirror of the packet inside; ``flow`` has seen that it is fit for it."""
    if judgement.packet.inner is not None:
        judgement.key = judgement.packet.inner.mirrored
    return None


def is_malformed(packet: Packet) -> bool:
    """True for an error that says nothing about a packet of the host that is told: ``icmp-malformed``."""
    inner = packet.inner
    if inner is None or inner.error or inner.src != packet.dst:
        return True
    return is_martian(inner.family, inner.src) or is_martian(inner.family, inner.dst)
