"""Stage ``rules``: does ``ingress`` allow it? ``not-allowed``, ``fragment-no-state``, ``not-carried``."""

from __future__ import annotations

from isthmus.tables.address import MASK128
from isthmus.tables.entries import Nat, RuleEntry, Side
from isthmus.tables.verdicts import Verdict
from isthmus.trace.judgement import Judgement
from isthmus.trace.packet import Packet
from isthmus.trace.stages.source import find_range


def rules(judgement: Judgement) -> Verdict | None:
    """The first entry that matches decides; an ICMP error meets the rules that the packet inside has met."""
    here, there, packet = judgement.here, judgement.there, judgement.packet
    chosen, source = judgement.chosen, judgement.source
    if here is None or there is None or chosen is None or source is None:
        return Verdict.INTERNAL
    if packet.inner is not None:
        return _walk(judgement, there, _as_sent(packet.inner, chosen.candidate.delta, source.delta))
    if here.rules is not None:
        verdict = _walk(judgement, here, packet)
        if verdict is not None:
            return verdict
    elif here.opens and packet.starts:
        return Verdict.NOT_CARRIED
    return Verdict.NOT_CARRIED if here.nat == Nat.STATEFUL else None


def matches(entry: RuleEntry, packet: Packet) -> bool:
    """True if family, protocol and addresses of the entry fit the packet; ports are another question."""
    if entry.proto is not None and not (packet.icmp if entry.proto == 1 else packet.proto == entry.proto):
        return False
    for wanted, address in ((entry.src, packet.src), (entry.dst, packet.dst)):
        if wanted is not None and find_range(wanted.get(packet.family, ()), address) is None:
            return False
    return True


def ports_match(entry: RuleEntry, packet: Packet) -> bool:
    """True if both ports (type and code) are in the entry's ranges, or it does not ask for any."""
    if not entry.needs_ports:
        return True
    return entry.sport[0] <= packet.sport <= entry.sport[1] and entry.dport[0] <= packet.dport <= entry.dport[1]


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
            return None if entry.stateless else Verdict.NOT_CARRIED
    return Verdict.NOT_ALLOWED


def _as_sent(inner: Packet, to_private: int, to_public: int) -> Packet:
    """The packet inside an error as the other VPC sent it: its private source, its destination as dialled there."""
    return inner._replace(src=(inner.src + to_private) & MASK128, dst=(inner.dst + to_public) & MASK128)
