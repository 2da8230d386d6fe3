"""Stage ``rules``: does ``ingress`` allow it, and does it need a flow?

Verdicts: ``not-allowed``, ``no-flow``, ``fragment-no-state``.
"""

from __future__ import annotations

from isthmus.tables.address import MASK128
from isthmus.tables.entries import Nat, Side
from isthmus.tables.verdicts import Verdict
from isthmus.trace.judgement import Judgement
from isthmus.trace.lookup import matches, ports_match
from isthmus.trace.packet import Packet


def rules(judgement: Judgement) -> Verdict | None:
    """The first entry that matches decides; an ICMP error meets the rules that the packet inside has met."""
    here, there, packet = judgement.here, judgement.there, judgement.packet
    chosen, source = judgement.chosen, judgement.source
    if here is None or there is None or chosen is None or source is None:
        return Verdict.INTERNAL
    if packet.inner is not None:
        verdict = _walk(judgement, there, _as_sent(packet.inner, chosen.candidate.delta, source.delta))
        return verdict or (Verdict.NO_FLOW if _is_stateful(judgement) else None)
    if not judgement.allowed_before:
        verdict = _walk(judgement, here, packet)
        if verdict is not None:
            return verdict
    starts = packet.starts or judgement.reopens is not None
    if here.nat == Nat.STATEFUL or _is_stateful(judgement):
        judgement.opens = starts
        if not starts:
            return Verdict.FRAGMENT_NO_STATE if packet.lacks_ports else Verdict.NO_FLOW
    else:
        judgement.opens = here.rules is None and here.opens and starts
    return None


def _is_stateful(judgement: Judgement) -> bool:
    """True if the rule that matched lets conversations begin, and not single packets pass."""
    return judgement.rule is not None and not judgement.rule.stateless


def _walk(judgement: Judgement, side: Side, packet: Packet) -> Verdict | None:
    if side.rules is None:
        return None
    judgement.rules_of = side
    for entry in side.rules:
        if not matches(entry, packet):
            continue
        if entry.needs_ports and packet.later_fragment:
            judgement.rule = entry
            return Verdict.FRAGMENT_NO_STATE
        if ports_match(entry, packet):
            judgement.rule = entry
            return None
    return Verdict.NOT_ALLOWED


def _as_sent(inner: Packet, to_private: int, to_public: int) -> Packet:
    """The packet inside an error as the other VPC sent it: its private source, its destination as dialled there."""
    return inner._replace(src=(inner.src + to_private) & MASK128, dst=(inner.dst + to_public) & MASK128)
