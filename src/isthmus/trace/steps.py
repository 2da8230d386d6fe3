"""What each stage found, in one line with the entry that made it so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from isthmus.tables.entries import Origin
from isthmus.trace.judge import STAGES
from isthmus.trace.judgement import Judgement
from isthmus.trace.words import address_text, rule_words


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
        found += [Step(stage, result, str(origin or "")) for result, origin in _TELLERS[stage](judgement)]
    return found


_Found = Iterator[tuple[str, Origin | None]]


def _gateway(judgement: Judgement) -> _Found:
    yield "neither from nor to the gateway itself", None


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
            chosen.route.origin,
        )


def _source(judgement: Judgement) -> _Found:
    source, key = judgement.source, judgement.key
    if source is None:
        return
    private = address_text(key.family, key.src)
    seen = f" as {address_text(key.family, key.src + source.delta)}" if source.delta else ""
    yield f"{private} is exposed{seen}", source.origin


def _rules(judgement: Judgement) -> _Found:
    if judgement.rule is not None:
        yield f"allowed: {rule_words(judgement.rule)}", judgement.rule.origin
    elif judgement.here is not None:
        yield "no ingress on this side: everything exposed passes", judgement.here.origin


def _translate(judgement: Judgement) -> _Found:
    before, after = judgement.packet, judgement.translated
    if after is None:
        return
    ends = (("source", before.src, after.src), ("destination", before.dst, after.dst))
    changes = [
        f"{name} {address_text(before.family, old)} becomes {address_text(before.family, new)}"
        for name, old, new in ends
        if old != new
    ]
    yield ", ".join(changes) or "nothing to translate", None


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
    where = direct if hop.gateway is None else f"router {address_text(family, hop.gateway)}"
    yield f"{where}, on {hop.attachment.interface}", hop.origin


_TELLERS: dict[str, Callable[[Judgement], _Found]] = {
    "gateway": _gateway,
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
