"""The answer of ``isthmus trace``: what happens to a packet, why, and what happens to its reply."""

from __future__ import annotations

from typing import NamedTuple

from isthmus.tables.entries import Tables
from isthmus.tables.learned import NOTHING_LEARNED, Learned
from isthmus.tables.verdicts import Verdict
from isthmus.trace.candidates import CandidateRow, candidate_rows
from isthmus.trace.environment import ASSUMED, Environment
from isthmus.trace.flows import Flows
from isthmus.trace.judge import judge
from isthmus.trace.judgement import Judgement, Standing
from isthmus.trace.packet import Packet
from isthmus.trace.question import Shown, shown
from isthmus.trace.refusals import refusal
from isthmus.trace.reply import reply_to
from isthmus.trace.steps import Step, steps
from isthmus.trace.words import pool_cidrs


class Answer(NamedTuple):
    """What became of a packet. ``delivered`` and ``reply`` are None where nothing arrives, or nobody would reply.

    ``flow``: what it has to do with one. ``pool``: the addresses from which the gateway chooses one, where it does.
    ``hint``: what to do about a drop.
    """

    verdict: Verdict
    sender: str
    receiver: str | None
    peering: str | None
    packet: Shown
    delivered: Shown | None
    flow: Standing
    assumed: bool
    pool: tuple[str, ...]
    candidates: tuple[CandidateRow, ...]
    steps: tuple[Step, ...]
    hint: str
    reply: Answer | None

    @property
    def word(self) -> str:
        """``forwarded``, ``local`` or ``dropped``."""
        return "dropped" if self.verdict.dropped else self.verdict.label

    def as_json(self) -> dict[str, object]:
        """The fields that programs may count on, in their order; ``pool`` and ``hint`` only where there is one."""
        answer: dict[str, object] = {
            "verdict": self.word,
            "reason": self.verdict.label if self.verdict.dropped else None,
            "from": self.sender,
            "to": self.receiver,
            "peering": self.peering,
            "packet": self.packet._asdict(),
            "delivered": self.delivered._asdict() if self.delivered is not None else None,
            "flow": self.flow,
            "assumed": self.assumed,
            "candidates": [row._asdict() for row in self.candidates],
            "steps": [step._asdict() for step in self.steps],
        }
        if self.pool:
            answer["pool"] = list(self.pool)
        if self.hint:
            answer["hint"] = self.hint
        answer["reply"] = self.reply.as_json() if self.reply is not None else None
        return answer


def explain(
    tables: Tables,
    vpc: str,
    packet: Packet,
    environment: Environment = ASSUMED,
    learned: Learned = NOTHING_LEARNED,
    flows: Flows | None = None,
) -> Answer:
    """Judges a packet and, if it arrives, what its receiver sends back, in the state that the packet left.

    ``learned``: routes of BGP. ``flows``: those there are before. KeyError if the tables know no such VPC.
    """
    flows = Flows() if flows is None else flows
    judgement = judge(tables, vpc, packet, environment, flows, learned)
    reply = None
    if judgement.verdict == Verdict.FORWARDED and judgement.translated is not None and judgement.receiver is not None:
        sent_back = reply_to(judgement.translated)
        if sent_back is not None:
            reply = _answer(judge(tables, judgement.receiver, sent_back, environment, flows, learned), None)
    return _answer(judgement, reply)


def _answer(judgement: Judgement, reply: Answer | None) -> Answer:
    found, hint = steps(judgement), ""
    if judgement.verdict != Verdict.FORWARDED:
        why = refusal(judgement)
        found.append(Step(judgement.stage, f"{judgement.verdict.label}: {why.result}", str(why.origin or "")))
        hint = why.hint
    delivered = judgement.translated if judgement.verdict == Verdict.FORWARDED else None
    if judgement.verdict == Verdict.LOCAL:
        delivered = judgement.packet
    receiver = judgement.receiver
    mapped = judgement.flow is not None and judgement.flow.mapping is not None
    answers = judgement.direction == 1
    return Answer(
        verdict=judgement.verdict,
        sender=judgement.vpc.name,
        receiver=receiver,
        peering=judgement.peering,
        packet=shown(judgement.packet, "dst" if mapped and answers else None),
        delivered=shown(delivered, "src" if mapped and not answers else None) if delivered is not None else None,
        flow=judgement.standing,
        assumed=receiver is not None and judgement.tables.vpcs[receiver].assumed,
        pool=tuple(_pool(judgement)),
        candidates=tuple(candidate_rows(judgement)),
        steps=tuple(found),
        hint=hint,
        reply=reply,
    )


def _pool(judgement: Judgement) -> list[str]:
    """The public addresses that the initiator may get, where it is behind stateful NAT."""
    initiator = judgement.there if judgement.direction == 1 else judgement.here
    return pool_cidrs(initiator.pool, judgement.key.family) if initiator is not None and initiator.pool else []
