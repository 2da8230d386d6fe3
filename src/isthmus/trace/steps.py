"""What each stage found, in one line with the entry that made it so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from isthmus.tables.entries import Nat, NextHop, Origin, Side, TagKind
from isthmus.trace.flows.mappings import has_ports
from isthmus.trace.flows.records import Flow
from isthmus.trace.judge import NOT_ASKED, STAGES
from isthmus.trace.judgement import Judgement
from isthmus.trace.packet import ICMP_PROTO, TCP
from isthmus.trace.question import CHOSEN
from isthmus.trace.words import address_text, conversation, end_text, pool_words, route_origin, rule_words

TAG_NAMES = {TagKind.VLAN: "VLAN", TagKind.QINQ: "QinQ", TagKind.MPLS: "MPLS", TagKind.VXLAN: "VNI"}


class Step(NamedTuple):
    """One finding of one stage; ``origin``: object and field of the entry that decided, empty if none did."""

    stage: str
    result: str
    origin: str = ""


def steps(judgement: Judgement) -> list[Step]:
    """The stages that said "go on", in order; the one that did not is for ``refusals``."""
    if judgement.stage == "classify":
        return []
    found = [Step("classify", f"from VPC {judgement.vpc.name}", str(judgement.vpc.origin))]
    for stage, _ in STAGES:
        if stage == judgement.stage and judgement.verdict.value:
            break
        if judgement.standing == "followed" and stage in NOT_ASKED:
            continue
        found += [Step(stage, result, str(origin or "")) for result, origin in _TELLERS[stage](judgement)]
    return found


_Found = Iterator[tuple[str, Origin | str | None]]


def _gateway(judgement: Judgement) -> _Found:
    yield "neither from nor to the gateway itself", None


def _flow(judgement: Judgement) -> _Found:
    held, here = judgement.flow, judgement.there if judgement.direction == 1 else judgement.here
    if judgement.standing != "followed" or held is None:
        yield "no flow has it", None
        return
    origin = here.origin if here is not None else None
    key, what = held.keys[0], "an answer in" if judgement.direction == 1 else "of"
    yield f"{what} the flow that {key.vpc} has opened, {conversation(key)}: it follows", origin
    yield _changes(judgement) or "nothing to translate", None


def _martian(judgement: Judgement) -> _Found:
    yield "no address is a martian", None


def _icmp_errors(judgement: Judgement) -> _Found:
    if judgement.packet.error:
        yield "an ICMP error: judged by the packet inside it", None


def _path(judgement: Judgement) -> _Found:
    chosen, key = judgement.chosen, judgement.key
    if chosen is None or chosen.candidate.there is None:
        return
    there = chosen.candidate.there
    yield (
        f"{address_text(key.family, key.dst)} is offered by {there.vpc} in peering {there.peering}",
        chosen.candidate.origin,
    )
    if chosen.route is not None:
        private = address_text(key.family, key.dst + chosen.candidate.delta)
        yield (
            f"{there.vpc} has a route to {private}: {chosen.route.prefix}, metric {chosen.route.metric}",
            route_origin(chosen.route),
        )


def _source(judgement: Judgement) -> _Found:
    source, key = judgement.source, judgement.key
    if source is None:
        return
    private = address_text(key.family, key.src)
    seen = f" as {address_text(key.family, key.src + source.delta)}" if source.delta else ""
    yield f"{private} is exposed{seen}", source.origin


def _rules(judgement: Judgement) -> _Found:
    here = judgement.here
    if judgement.rule is not None:
        yield f"allowed: {rule_words(judgement.rule)}", judgement.rule.origin
    elif here is not None:
        yield "no ingress on this side: everything exposed passes", here.origin
    if here is not None and judgement.opens:
        yield f"a flow is opened: {_why_opened(judgement, here)}", here.origin


def _why_opened(judgement: Judgement, here: Side) -> str:
    if here.nat == Nat.STATEFUL:
        return f"{here.key.vpc} is behind stateful NAT"
    if judgement.rule is not None:
        return "the rule is stateful"
    return f"the ingress of {judgement.receiver} need not let answers in"


def _translate(judgement: Judgement) -> _Found:
    held, here = judgement.flow, judgement.here
    if judgement.translated is None:
        return
    yield _changes(judgement) or "nothing to translate", None
    if held is None or here is None:
        return
    if held.mapping is not None and here.pool is not None:
        ports = has_ports(held.mapping.public)
        kept = "for this destination" if here.pool.per_destination else "the same toward every destination"
        own = ", its own port if that is free" if ports else ", for this host alone"
        yield f"the pool is {pool_words(here.pool, judgement.packet.family, ports)}: {kept}{own}", here.origin
    yield f"opened: answers follow it; forgotten after {_silence(held)} s of silence", here.origin


def _silence(held: Flow) -> str:
    proto, timeouts = held.keys[0].proto, held.timeouts
    if proto == TCP:
        return f"{timeouts.tcp_transitory} (established: {timeouts.tcp_established})"
    return str(timeouts.icmp if proto == ICMP_PROTO[held.keys[0].family] else timeouts.udp)


def _changes(judgement: Judgement) -> str:
    """What becomes of both ends. Of a mapping only the private one is told: the gateway will choose the other."""
    before, after, held = judgement.packet, judgement.translated, judgement.flow
    if after is None:
        return ""
    mapped = held is not None and held.mapping is not None
    family, proto = before.family, before.proto
    changes = []
    if mapped and judgement.direction == 0:
        changes.append(f"source {end_text(family, proto, before.src, before.sport)} becomes one {CHOSEN}")
    elif before.src != after.src:
        changes.append(f"source {address_text(family, before.src)} becomes {address_text(family, after.src)}")
    if mapped and judgement.direction == 1:
        changes.append(f"destination becomes {end_text(family, proto, after.dst, after.dport)}")
    elif before.dst != after.dst:
        changes.append(f"destination {address_text(family, before.dst)} becomes {address_text(family, after.dst)}")
    return ", ".join(changes)


def _ttl(judgement: Judgement) -> _Found:
    if judgement.translated is not None:
        yield f"{judgement.packet.ttl} becomes {judgement.translated.ttl}", None


def _mtu(judgement: Judgement) -> _Found:
    if judgement.mtu is not None:
        origin = judgement.attachment.origin if judgement.attachment is not None else None
        yield f"{judgement.mtu} bytes on the way out", origin


def _next_hop(judgement: Judgement) -> _Found:
    hop, translated, receiver = judgement.hop, judgement.translated, judgement.receiver
    if hop is None or translated is None or receiver is None or not judgement.tables.vpcs[receiver].defined:
        yield f"{receiver} has no VPC object: taken to own what it exposes, and to be reached", None
        return
    family = translated.family
    direct = f"{address_text(family, translated.dst)} on-link"
    if hop.tunnel is not None:
        direct = f"{address_text(family, translated.dst)}, host {hop.tunnel.mac.hex(':')}"
    where = direct if hop.gateway is None else f"router {address_text(family, hop.gateway)}"
    told = f"BGP from {hop.peer}" if hop.peer else hop.origin
    yield f"{where}, on {hop.attachment.interface}{_tag_words(hop)}", told


def _tag_words(hop: NextHop) -> str:
    """``, VLAN 100``; of a tunnel, where it leads to."""
    tag = hop.attachment.tag
    if hop.tunnel is not None:
        return f", VNI {tag.outer} to VTEP {address_text(hop.tunnel.family, hop.tunnel.vtep)}"
    numbers = f"{tag.outer}.{tag.inner}" if tag.kind is TagKind.QINQ else str(tag.outer)
    return f", {TAG_NAMES[tag.kind]} {numbers}" if tag.kind is not TagKind.UNTAGGED else ""


_TELLERS: dict[str, Callable[[Judgement], _Found]] = {
    "gateway": _gateway,
    "flow": _flow,
    "martian": _martian,
    "ICMP errors": _icmp_errors,
    "path": _path,
    "source": _source,
    "rules": _rules,
    "translate": _translate,
    "ttl": _ttl,
    "mtu": _mtu,
    "next hop": _next_hop,
}
