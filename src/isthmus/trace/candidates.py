"""The candidates of a destination as rows: which was chosen, and why."""

from __future__ import annotations

from typing import NamedTuple

from isthmus.tables.address import Family, Prefix
from isthmus.tables.entries import Candidate, PathKind
from isthmus.trace.judgement import Judgement, Path
from isthmus.trace.lookup import find_exposure


class CandidateRow(NamedTuple):
    """One candidate. It was compared by ``prefix`` and ``metric``; the latter is None where it has no route."""

    peering: str
    prefix: str
    metric: int | None
    chosen: bool
    why: str


def candidate_rows(judgement: Judgement) -> list[CandidateRow]:
    """All candidates, best first, then in the order of the tables."""
    key = judgement.key
    if judgement.paths:
        ordered = sorted(judgement.paths, key=lambda path: (path is not judgement.chosen, not path.live, _rank(path)))
        return [_row(judgement, path) for path in ordered]
    if judgement.stage != "path":
        return []
    exposure = find_exposure(judgement.vpc.exposures.get(key.family, ()), key.dst)
    holes = [c for c in exposure.candidates if c.kind == PathKind.HOLE] if exposure is not None else []
    return [
        CandidateRow(
            _peering(hole), _prefix(key.family, key.dst, hole.length), None, False, "hole: a `not` takes it out"
        )
        for hole in holes
    ]


def _row(judgement: Judgement, path: Path) -> CandidateRow:
    prefix = _prefix(judgement.key.family, judgement.key.dst, path.length)
    chosen = path is judgement.chosen
    metric = path.metric if path.live else None
    return CandidateRow(_peering(path.candidate), prefix, metric, chosen, _why(judgement, path))


def _why(judgement: Judgement, path: Path) -> str:
    best = judgement.chosen
    if not path.live or best is None:
        return "no route"
    if path is best:
        others = [other for other in judgement.paths if other is not best and other.live]
        if not others:
            return "only path" if len(judgement.paths) == 1 else "only path with a route"
        runner_up = min(others, key=_rank)
        if runner_up.length < best.length:
            return "longest prefix"
        return "lowest metric" if runner_up.metric > best.metric else "shares: rendezvous hash"
    if path.length < best.length:
        return "shorter prefix"
    return "higher metric" if path.metric > best.metric else "shares: rendezvous hash"


def _rank(path: Path) -> tuple[int, int]:
    return -path.length, path.metric


def _peering(candidate: Candidate) -> str:
    return candidate.there.peering if candidate.there is not None else ""


def _prefix(family: Family, address: int, length: int) -> str:
    mask = Prefix(family, 0, length).mask
    return str(Prefix(family, address & mask, length))
