"""Why a packet ended where it did, and what its sender, or who writes the objects, can do about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from isthmus.tables.address import MASK128
from isthmus.tables.entries import Nat, Origin, Side
from isthmus.tables.martians import is_martian
from isthmus.tables.verdicts import MEANING, Verdict
from isthmus.trace.judgement import Judgement
from isthmus.trace.lookup import find_exposure, longest_route
from isthmus.trace.words import address_text, exposed, first_few, offered_to, pool_words, route_origin, rule_words


class Refusal(NamedTuple):
    """What the last stage said: the reason, the entry that decided, and what to do next."""

    result: str
    origin: Origin | None
    hint: str


def refusal(judgement: Judgement) -> Refusal:
    """The reason of a packet that was not forwarded."""
    tell = _REASONS.get(judgement.verdict, _anything_else)
    return tell(judgement)


def _local(judgement: Judgement) -> Refusal:
    dst = address_text(judgement.packet.family, judgement.packet.dst)
    return Refusal(
        f"{dst} is the gateway in {judgement.vpc.name}: its own network stack answers", judgement.vpc.origin, ""
    )


def _spoof(judgement: Judgement) -> Refusal:
    src = address_text(judgement.packet.family, judgement.packet.src)
    hint = "give the host an address of its own, or choose another --src"
    return Refusal(f"{src} is the gateway's own address in {judgement.vpc.name}", judgement.vpc.origin, hint)


def _martian(judgement: Judgement) -> Refusal:
    packet = judgement.packet
    if packet.link_only:
        what = "neighbour discovery, ICMP redirects and source quench never leave their link"
        return Refusal(what, None, "they need no peering")
    if judgement.stage in ("translate", "flow"):
        hint = "move the `as` or `ips` of this peering out of loopback, link-local, multicast and reserved space"
        origin = judgement.chosen.candidate.origin if judgement.chosen is not None else None
        return Refusal("a translated address may never cross the gateway", origin, hint)
    bad = [address_text(packet.family, a) for a in (packet.src, packet.dst) if is_martian(packet.family, a)]
    hint = "loopback, link-local, multicast and reserved addresses stay in their VPC: use others"
    return Refusal(f"{' and '.join(bad)} may never cross the gateway", None, hint)


def _icmp_malformed(judgement: Judgement) -> Refusal:
    hint = "trace the packet that the error is about, from the other side: what lets it pass lets its errors back"
    return Refusal("an ICMP error is judged by the packet inside it, and here is none that fits", None, hint)


def _no_peering(judgement: Judgement) -> Refusal:
    packet, vpc = judgement.packet, judgement.vpc
    hint = f"{vpc.name} can dial {offered_to(vpc, packet.family)}; or offer the address in a peering with {vpc.name}"
    return Refusal(f"no peer of {vpc.name} offers {address_text(packet.family, judgement.key.dst)}", vpc.origin, hint)


def _nat_hole(judgement: Judgement) -> Refusal:
    hint = "a `not` of that side takes the address out, in both spaces: remove the `not`, or dial another address"
    return Refusal(
        f"{address_text(judgement.key.family, judgement.key.dst)} is a hole", _exposure_origin(judgement), hint
    )


def _same_vpc(judgement: Judgement) -> Refusal:
    name = judgement.vpc.name
    hint = f"traffic inside {name} never passes the gateway: look at its switches, or at who should offer this address"
    dst = address_text(judgement.key.family, judgement.key.dst)
    return Refusal(f"{dst} is in {name}'s own subnets", _exposure_origin(judgement), hint)


def _no_route(judgement: Judgement) -> Refusal:
    key = judgement.key
    hint = "add a subnet or a static route that covers it to that VPC object"
    if any(path.candidate.there and path.candidate.there.vpc in judgement.learned.routes for path in judgement.paths):
        hint += ", or have its BGP neighbours announce one"
    if judgement.stage == "flow":
        result = "the path of its flow is dead, and only the other side can move it to another"
        if judgement.flow is not None:
            there = judgement.flow.keys[0]
            result = f"{there.vpc} has no route to {address_text(key.family, there.src)}, or only to the gateway itself"
        return Refusal(result, _origin_of(judgement.there), hint)
    lacking = [
        f"{path.candidate.there.vpc} has {_lack(judgement, path.candidate.there.vpc, key.dst + path.candidate.delta)}"
        for path in judgement.paths
        if path.candidate.there is not None
    ]
    origin = judgement.paths[0].candidate.origin if judgement.paths else None
    return Refusal("; ".join(lacking), origin, hint)


def _lack(judgement: Judgement, vpc: str, address: int) -> str:
    family = judgement.key.family
    text = address_text(family, address)
    route = longest_route(judgement.tables, judgement.learned, vpc, family, address & MASK128)
    if route is None:
        return f"no route to {text}"
    return f"a route to {text}, {route.prefix}, and what it leads to is down ({route_origin(route)})"


def _gateway_address(judgement: Judgement) -> Refusal:
    route = judgement.chosen.route if judgement.chosen is not None else None
    peer = judgement.receiver
    hint = f"an address of the gateway answers in its own VPC only: ask from {peer}, or dial a host"
    return Refusal(f"that is the gateway's own address in {peer}", route.origin if route is not None else None, hint)


def _source_not_exposed(judgement: Judgement) -> Refusal:
    here, key = judgement.here, judgement.key
    src = address_text(key.family, key.src)
    if here is None:
        return _anything_else(judgement)
    name = here.key
    hint = (
        f"{name.vpc} exposes {exposed(here, key.family)} in {name.peering}: use one of these, or add {src} to its ips"
    )
    if judgement.stage == "translate":
        hint = (
            "give the attachment on the way out an IPv6 address: the gateway then speaks for hosts that are not exposed"
        )
    return Refusal(f"{src} is not exposed by {name.vpc} in {name.peering}", here.origin, hint)


def _not_allowed(judgement: Judgement) -> Refusal:
    side = judgement.rules_of
    if side is None:
        return _anything_else(judgement)
    looked_at = first_few([f"{entry.origin.path}: {rule_words(entry)}" for entry in side.rules or ()], "; ")
    hint = (
        f"rules looked at: {looked_at}"
        if looked_at
        else f"the ingress of {side.key.vpc} is empty: it may start nothing"
    )
    return Refusal(
        f"no rule in the ingress of {side.key.vpc} allows it", side.origin, f"{hint}; add an allow that fits"
    )


def _no_inbound(judgement: Judgement) -> Refusal:
    stateful = (
        judgement.there if judgement.there is not None and judgement.there.nat == Nat.STATEFUL else judgement.here
    )
    name = stateful.key.vpc if stateful is not None else judgement.receiver
    hint = f"only {name} can start here; for the other direction give its side static addresses (`natType: static`)"
    return Refusal(f"{name} is behind stateful NAT", _origin_of(stateful), hint)


def _fragment_no_state(judgement: Judgement) -> Refusal:
    hint = "a rule without ports lets fragments pass, or let the hosts find the path MTU"
    if judgement.rule is not None and judgement.rule.needs_ports:
        return Refusal("a later fragment has no ports, and this rule asks for them", judgement.rule.origin, hint)
    result = "a later fragment, and no flow of its first one is known"
    return Refusal(
        result, _origin_of(judgement.here), "send the first fragment first, or let the hosts find the path MTU"
    )


def _no_flow(judgement: Judgement) -> Refusal:
    rule, here = judgement.rule, judgement.here
    hint = (
        "trace the packet that starts the conversation: a TCP SYN, UDP or an echo request, from the side that starts it"
    )
    if judgement.stage == "flow":
        return Refusal("a SYN of the side that only answers, in a connection that has begun", _origin_of(here), hint)
    if judgement.packet.error:
        result = "the packet inside needs a flow, and none has it"
        return Refusal(result, rule.origin if rule is not None else None, hint)
    if here is not None and here.nat == Nat.STATEFUL:
        return Refusal(
            f"{here.key.vpc} is behind stateful NAT: this needs a flow, and can't start one", here.origin, hint
        )
    origin = rule.origin if rule is not None else None
    hint += "; or say `stateless: true` in the rule"
    return Refusal("the rule that allows it is stateful: this needs a flow, and can't start one", origin, hint)


def _nat_exhausted(judgement: Judgement) -> Refusal:
    here = judgement.here
    if here is None or here.pool is None:
        return _anything_else(judgement)
    result = f"no address and port is free: the pool is {pool_words(here.pool, judgement.packet.family)}"
    hint = "add addresses to `as`, widen `nat.ports`, or say `mapping: per-destination`"
    return Refusal(result, here.origin, hint)


def _nat_protocol(judgement: Judgement) -> Refusal:
    here, packet = judgement.here, judgement.packet
    if here is None or here.pool is None:
        return _anything_else(judgement)
    pool = pool_words(here.pool, packet.family, ports=False)
    result = f"protocol {packet.proto} has no ports, so each host needs an address of its own: {pool} is all taken"
    return Refusal(result, here.origin, "add addresses to `as`, one for each host that speaks it at a time")


def _flow_table_full(judgement: Judgement) -> Refusal:
    hint = "raise `tables.flows` of the Gateway, or shorten `nat.timeouts`; conversations that live go on"
    return Refusal("the flow table is full", _origin_of(judgement.here), hint)


def _flow_conflict(judgement: Judgement) -> Refusal:
    peer = judgement.receiver
    hint = f"two hosts are shown to {peer} as one (see return-ambiguous in isthmus check): give them different `as`"
    result = f"answers from {peer} would be taken for those of another conversation that lives"
    return Refusal(result, _origin_of(judgement.here), hint)


def _ttl(judgement: Judgement) -> Refusal:
    hint = "the gateway is one hop: send with --ttl 2 or more; the sender gets Time Exceeded"
    return Refusal(f"TTL {judgement.packet.ttl} ends here", None, hint)


def _too_big(judgement: Judgement) -> Refusal:
    hint = f"send at most {judgement.mtu} bytes, or raise the mtu of the attachment"
    result = f"{judgement.packet.length} bytes do not fit {judgement.mtu} on the way out"
    return Refusal(result, judgement.attachment.origin if judgement.attachment is not None else None, hint)


def _no_attachment(judgement: Judgement) -> Refusal:
    origin = judgement.hop.origin if judgement.hop is not None else None
    return Refusal("the way out is a port that this node has not", origin, "name a port of this node in the attachment")


def _anything_else(judgement: Judgement) -> Refusal:
    return Refusal(MEANING[judgement.verdict], None, f"docs/verdicts.md tells more of {judgement.verdict.label}")


def _exposure_origin(judgement: Judgement) -> Origin | None:
    key = judgement.key
    exposure = find_exposure(judgement.vpc.exposures.get(key.family, ()), key.dst)
    return exposure.candidates[0].origin if exposure is not None and exposure.candidates else None


def _origin_of(side: Side | None) -> Origin | None:
    return side.origin if side is not None else None


_REASONS: dict[Verdict, Callable[[Judgement], Refusal]] = {
    Verdict.LOCAL: _local,
    Verdict.MARTIAN: _martian,
    Verdict.GATEWAY_SPOOF: _spoof,
    Verdict.ICMP_MALFORMED: _icmp_malformed,
    Verdict.NO_PEERING: _no_peering,
    Verdict.NAT_HOLE: _nat_hole,
    Verdict.SAME_VPC: _same_vpc,
    Verdict.NO_ROUTE: _no_route,
    Verdict.GATEWAY_ADDRESS: _gateway_address,
    Verdict.NO_INBOUND: _no_inbound,
    Verdict.SOURCE_NOT_EXPOSED: _source_not_exposed,
    Verdict.NOT_ALLOWED: _not_allowed,
    Verdict.NO_FLOW: _no_flow,
    Verdict.FLOW_CONFLICT: _flow_conflict,
    Verdict.FLOW_TABLE_FULL: _flow_table_full,
    Verdict.FRAGMENT_NO_STATE: _fragment_no_state,
    Verdict.NAT_EXHAUSTED: _nat_exhausted,
    Verdict.NAT_PROTOCOL: _nat_protocol,
    Verdict.TTL: _ttl,
    Verdict.TOO_BIG: _too_big,
    Verdict.NO_ATTACHMENT: _no_attachment,
}
