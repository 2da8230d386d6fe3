"""Stage ``source``: may this host use the chosen path? ``no-inbound``, ``source-not-exposed``."""

from __future__ import annotations

from isthmus.tables.entries import Nat, PathKind
from isthmus.tables.verdicts import Verdict
from isthmus.trace.judgement import Judgement
from isthmus.trace.lookup import find_range


def source(judgement: Judgement) -> Verdict | None:
    """Finds both sides of the path and the sender's range in its own."""
    chosen = judgement.chosen
    if chosen is None or chosen.candidate.here is None or chosen.candidate.there is None:
        return Verdict.INTERNAL
    here = judgement.here = judgement.tables.sides.get(chosen.candidate.here)
    there = judgement.there = judgement.tables.sides.get(chosen.candidate.there)
    if here is None or there is None:
        return Verdict.INTERNAL
    if chosen.candidate.kind == PathKind.STATEFUL:
        return Verdict.NO_INBOUND
    if judgement.packet.error and here.nat == Nat.STATEFUL:
        return Verdict.NO_INBOUND
    key = judgement.key
    judgement.source = find_range(here.private.get(key.family, ()), key.src)
    return None if judgement.source is not None else Verdict.SOURCE_NOT_EXPOSED
