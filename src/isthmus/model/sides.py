"""From a side as written to a side with a meaning: subnets looked up, lists split, rules resolved."""

from __future__ import annotations

from collections.abc import Mapping

from isthmus.api.fields import PortRanges
from isthmus.api.names import nearest
from isthmus.api.peering import IcmpMatch, NatTimeouts, PortMatch
from isthmus.api.peering import Nat as WrittenNat
from isthmus.api.peering import Rule as WrittenRule
from isthmus.api.peering import Side as WrittenSide
from isthmus.model import sets
from isthmus.model.drafts import Draft
from isthmus.model.types import Item, Match, Rule, Side, Vpc
from isthmus.tables.entries import Nat, Timeouts


def resolve_side(draft: Draft, vpc: str, written: WrittenSide, vpcs: Mapping[str, Vpc]) -> Side | None:
    """The side, or None where one of its subnets is unknown; then its problem is noted in the draft."""
    path = f"spec.{vpc}"
    ips, ips_not = [], []
    known = True
    for index, item in enumerate(written.ips):
        here = f"{path}.ips[{index}]"
        if item.cidr is not None:
            ips.append(Item(item.cidr, here))
        elif item.not_ is not None:
            ips_not.append(Item(item.not_, here))
        elif item.from_subnet is not None:
            subnet = _subnet(draft, vpc, item.from_subnet, vpcs, here)
            known = known and subnet is not None
            ips += [subnet] if subnet else []
    as_, as_not = [], []
    for index, shown in enumerate(written.as_ or ()):
        here = f"{path}.as[{index}]"
        if shown.cidr is not None:
            as_.append(Item(shown.cidr, here))
        elif shown.not_ is not None:
            as_not.append(Item(shown.not_, here))
    rules = (
        None
        if written.ingress is None
        else tuple(_rule(one.allow, f"{path}.ingress[{index}]") for index, one in enumerate(written.ingress))
    )
    if not known:
        return None
    parts = (tuple(ips), tuple(ips_not), tuple(as_), tuple(as_not))
    side = Side(draft.name, vpc, _nat(written), *parts, rules, written.metric, path)
    return side if written.nat is None else _with_settings(side, written.nat)


def _nat(written: WrittenSide) -> Nat:
    if written.as_ is None:
        return Nat.PLAIN
    return Nat.STATEFUL if written.nat_type == "stateful" else Nat.STATIC


def _with_settings(side: Side, written: WrittenNat) -> Side:
    return side._replace(
        ports=_joined(written.ports),
        per_destination=written.mapping == "per-destination",
        timeouts=_timeouts(written.timeouts),
    )


def _timeouts(written: NatTimeouts) -> Timeouts:
    return Timeouts(written.udp, written.tcp_established, written.tcp_transitory, written.icmp)


def _subnet(draft: Draft, vpc: str, name: str, vpcs: Mapping[str, Vpc], path: str) -> Item | None:
    """What ``fromVPCSubnet`` stands for."""
    where = f"{path}.fromVPCSubnet"
    if vpc not in vpcs:
        message = f"the VPC {vpc} has no object, so no subnet {name}"
        draft.error("subnet-unknown", where, message, "write the addresses: `- cidr: …`, or define the VPC", name)
        return None
    known = {subnet.name: subnet.prefix for subnet in vpcs[vpc].subnets}
    if name in known:
        return Item(known[name], path)
    meant = nearest(name, known)
    listed = f"the subnets of {vpc} are {', '.join(sorted(known))}" if known else f"{vpc} has no subnets"
    hint = f"did you mean {meant}? {listed}" if meant else listed
    draft.error("subnet-unknown", where, f"the VPC {vpc} has no subnet {name}", hint, name)
    return None


def _rule(written: WrittenRule, path: str) -> Rule:
    matches = []
    if written.tcp is not None:
        matches.append(_ports("tcp", written.tcp))
    if written.udp is not None:
        matches.append(_ports("udp", written.udp))
    if written.icmp is not None:
        matches.append(_icmp(written.icmp))
    src = None if written.src is None else tuple(written.src)
    dst = None if written.dst is None else tuple(written.dst)
    return Rule(written.name or "", written.stateless, src, dst, tuple(matches), path)


def _ports(proto: str, match: PortMatch) -> Match:
    return Match(proto, _joined(match.src_port), _joined(match.dst_port))


def _icmp(match: IcmpMatch) -> Match:
    return Match("icmp", _joined(match.type), _joined(match.code))


def _joined(ranges: PortRanges | None) -> PortRanges:
    """Sorted and disjoint; ranges that touch become one, because each that is left costs an entry in the tables."""
    if not ranges or len(ranges) == 1:
        return ranges or ()
    return tuple((first, stop - 1) for first, stop in sets.union((low, high + 1) for low, high in ranges))
