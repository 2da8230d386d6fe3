"""Opens a flow, in the stage ``translate``.

Verdicts: ``martian``, ``nat-exhausted``, ``nat-protocol``, ``flow-table-full``, ``flow-conflict``.
"""

from __future__ import annotations

from isthmus.tables.address import MASK128
from isthmus.tables.entries import Nat
from isthmus.tables.martians import is_martian
from isthmus.tables.verdicts import Verdict
from isthmus.trace.flows.records import Flow, Key, Mapping, PrivateKey, key_of
from isthmus.trace.flows.ways import choose_ways
from isthmus.trace.judgement import Judgement


def open_flow(judgement: Judgement) -> Verdict | None:
    """Destination, source, record, both keys, in this order. What was mapped before a refusal stays mapped."""
    packet, chosen, here, there = judgement.packet, judgement.chosen, judgement.here, judgement.there
    key = key_of(judgement.vpc.name, packet)
    if key is None or here is None or there is None or chosen is None or chosen.route is None:
        return Verdict.INTERNAL
    remote = (packet.dst + chosen.candidate.delta) & MASK128
    if is_martian(packet.family, remote):
        return Verdict.MARTIAN
    source = _source(judgement, key, remote)
    if isinstance(source, Verdict):
        return source
    address, port, mapping = source
    keys = key, Key(there.key.vpc, key.family, key.proto, remote, address, key.dport, port)
    opened = Flow(
        keys=keys,
        sides=(here.key, there.key),
        ways=choose_ways(judgement.tables, judgement.learned, keys, chosen.route),
        timeouts=here.timeouts,
        mapping=mapping,
        code=packet.dport if packet.icmp else 0,
        revision=judgement.flows.revision(judgement.learned),
        bits=judgement.reopens.bits if judgement.reopens is not None else 0,
    )
    verdict = judgement.flows.add(opened)
    if verdict is not None:
        return verdict
    judgement.flows.note(judgement.vpc.name, packet, opened)
    judgement.flow, judgement.standing = opened, "opened"
    judgement.hop = opened.ways[0].hop
    judgement.translated = opened.translated(0, packet)
    return None


def _source(judgement: Judgement, key: Key, remote: int) -> tuple[int, int, Mapping | None] | Verdict:
    """Address and port that the receiver sees: by the sender's range, or by a mapping."""
    here, source = judgement.here, judgement.source
    if here is None or source is None:
        return Verdict.INTERNAL
    if here.nat != Nat.STATEFUL:
        address = (key.src + source.delta) & MASK128
        return Verdict.MARTIAN if is_martian(key.family, address) else (address, key.sport, None)
    if here.pool is None or judgement.receiver is None:
        return Verdict.INTERNAL
    toward = (remote, key.dport) if here.pool.per_destination else None
    private = PrivateKey(key.vpc, judgement.receiver, key.family, key.proto, key.src, key.sport, toward)
    mapping = judgement.flows.mappings.ask(private, here.pool)
    if isinstance(mapping, Verdict):
        return mapping
    return mapping.public.address, mapping.public.port, mapping
