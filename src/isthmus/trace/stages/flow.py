"""Stage ``flow``: a packet of a live flow follows it, and is asked nothing else up to ``ttl``.

Verdicts: ``no-flow``, ``no-route``, ``fragment-no-state``, ``icmp-malformed``; for an ICMP error of a flow also those
of ``translate`` on who tells it.
"""

from __future__ import annotations

from isthmus.tables.verdicts import Verdict
from isthmus.trace.flows.again import End
from isthmus.trace.flows.records import Flow, Way, key_of, written
from isthmus.trace.flows.tcp import bits_after
from isthmus.trace.judgement import Judgement
from isthmus.trace.packet import ECHO_REQUEST, TCP, Packet
from isthmus.trace.stages.icmp_errors import is_malformed
from isthmus.trace.stages.teller import tell


def flow(judgement: Judgement) -> Verdict | None:
    """Looks the packet up, or what its first fragment found, or the packet inside an error."""
    packet, flows = judgement.packet, judgement.flows
    if packet.error:
        return _error(judgement)
    if packet.lacks_ports:
        return _later_fragment(judgement)
    key = key_of(judgement.vpc.name, packet)
    found = flows.find(key) if key is not None else None
    if found is None or not _is_of(packet, found[1]):
        return None
    held, direction = found
    end = flows.judge(judgement.tables, judgement.learned, held)
    if end is End.OVER:
        return None
    if end is End.DEAD:
        if direction == 1:
            return Verdict.NO_ROUTE
        flows.end(held)
        judgement.reopens = held
        return None
    return _follow(judgement, held, direction)


def _is_of(packet: Packet, direction: int) -> bool:
    """False for an echo that only looks like one of the flow: with identifier 0 requests of both sides have the keys of
    answers. Only who asked first asks again."""
    return not packet.echo or (packet.sport == ECHO_REQUEST[packet.family]) == (direction == 0)


def _follow(judgement: Judgement, held: Flow, direction: int) -> Verdict | None:
    """Sends the packet along the flow. What is refused changes nothing."""
    packet, way = judgement.packet, _way(judgement, held, direction)
    if way is None:
        return Verdict.NO_ROUTE
    if packet.proto == TCP and not packet.later_fragment:
        bits = bits_after(held.bits, packet.tcp_flags, direction)
        if bits is None:
            return Verdict.NO_FLOW
        held.bits = bits
    judgement.flows.refresh(held)
    judgement.flows.note(judgement.vpc.name, packet, held, direction)
    judgement.standing = "followed"
    judgement.translated = held.translated(direction, packet)
    return None


def _later_fragment(judgement: Judgement) -> Verdict | None:
    """It follows what its first fragment followed, or is allowed what that was allowed."""
    flows = judgement.flows
    note = flows.noted(judgement.vpc.name, judgement.packet)
    if note is None:
        return None
    if note.flow is None:
        judgement.allowed_before = note.generation == flows.generation
        return None
    end = flows.judge(judgement.tables, judgement.learned, note.flow) if flows.is_live(note.flow) else End.OVER
    if end is not None:
        return Verdict.NO_ROUTE if end is End.DEAD else Verdict.FRAGMENT_NO_STATE
    return _follow(judgement, note.flow, note.direction)


def _error(judgement: Judgement) -> Verdict | None:
    """An error belongs to the flow of the packet inside: it goes to who sent that, who sees its own packet inside."""
    packet, inner, flows = judgement.packet, judgement.packet.inner, judgement.flows
    if inner is None or is_malformed(packet):
        return Verdict.ICMP_MALFORMED
    key = key_of(judgement.vpc.name, inner)
    found = flows.find(key.mirrored) if key is not None else None
    if found is None or not _is_of(inner, 1 - found[1]):
        return None
    held, direction = found
    end = flows.judge(judgement.tables, judgement.learned, held)
    if end is not None:
        return Verdict.NO_ROUTE if end is End.DEAD else None
    way, sent = _way(judgement, held, direction), held.keys[1 - direction]
    if way is None:
        return Verdict.NO_ROUTE
    verdict = tell(judgement, sent.src, written(inner, sent))
    if verdict is None:
        judgement.standing = "followed"
    return verdict


def _way(judgement: Judgement, held: Flow, direction: int) -> Way | None:
    """Tells the judgement of the flow that the packet belongs to; the way out, None: there is none."""
    judgement.flow, judgement.direction = held, direction
    judgement.here, judgement.there = (judgement.tables.sides.get(held.sides[d]) for d in (direction, 1 - direction))
    way = held.ways[direction]
    judgement.hop = way.hop if way is not None else None
    return way
