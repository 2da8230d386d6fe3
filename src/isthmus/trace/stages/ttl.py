"""Stage ``ttl``: one hop less to live (RFC 1812 5.3.1, RFC 8200 3)."""

from __future__ import annotations

from isthmus.tables.verdicts import Verdict
from isthmus.trace.judgement import Judgement


def ttl(judgement: Judgement) -> Verdict | None:
    """TTL or hop limit goes down by one, and never leaves as 0."""
    if judgement.translated is None:
        return Verdict.INTERNAL
    if judgement.packet.ttl <= 1:
        return Verdict.TTL
    judgement.translated = judgement.translated._replace(ttl=judgement.packet.ttl - 1)
    return None
