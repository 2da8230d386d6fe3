"""What to try: every ordered pair of host addresses of peered VPCs, with the ports that tell rules apart. Pure.

Of VPCs that do not peer a few pairs too: nothing may pass between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import permutations
from typing import Final, Literal, NamedTuple

from isthmus.lab.plan import Host, LabPlan, LabVpc
from isthmus.lab.state import Objects
from isthmus.model.types import Peering, Side
from isthmus.tables.address import MASK128, Family
from isthmus.tables.entries import Nat, SideKey, Tables

Proto = Literal["tcp", "udp", "icmp"]

_ALWAYS: Final[dict[Proto, tuple[int, ...]]] = {"tcp": (443, 80), "udp": (53,)}
_ODD: Final = (4321, 8642, 12321, 23432)  # the first that no rule names is tried too
_MOST_PORTS: Final = 32  # of one end, for a protocol and a pair of sides
_MOST_STRANGERS: Final = 8

OWN_PORTS: Final = range(20_000, 28_000)
"""Handed out one by one, so that every packet can be told from all others."""


class Case(NamedTuple):
    """One thing to try, from a host to an address as its VPC dials it (both left-aligned).

    ``sport``, ``dport``: of TCP and UDP; in ICMP ``sport`` is the identifier of the echo request, and ``dport`` 0. No
    two cases of one ``tick`` have the same (proto, sport, dport).
    """

    source_vpc: str
    target_vpc: str
    family: Family
    source: int
    target: int
    proto: Proto
    sport: int
    dport: int
    tick: int


class _Try(NamedTuple):
    """A case whose free ports (None) are still to be chosen."""

    source_vpc: str
    target_vpc: str
    family: Family
    source: int
    target: int
    proto: Proto
    sport: int | None
    dport: int | None


def cases(objects: Objects, limit: int) -> tuple[list[Case], int]:
    """At most ``limit`` cases, taken evenly from all there are, and how many there are."""
    tries = list(dict.fromkeys([*_peered(objects), *_strangers(objects)]))
    chosen = [tries[n * len(tries) // limit] for n in range(limit)] if len(tries) > limit else tries
    return list(_numbered(chosen)), len(tries)


def _peered(objects: Objects) -> Iterator[_Try]:
    for _, peering in sorted(objects.model.peerings.items()):
        for here, there in permutations(peering.sides):
            one, other = objects.plan.vpc(here.vpc), objects.plan.vpc(there.vpc)
            if one is None or other is None:
                continue
            ports = list(_ports(here, there))
            for family, source, target in _pairs(one, _dialled(objects.tables, other, there)):
                for proto, sport, dport in ports:
                    yield _Try(one.name, other.name, family, source, target, proto, sport, dport)


def _pairs(one: LabVpc, targets: Iterable[tuple[Family, int]]) -> Iterator[tuple[Family, int, int]]:
    """Hosts with addresses that they can dial: of the same family, and not an address of the VPC's own hosts."""
    mine = {(host.family, host.address) for host in one.hosts}
    for family, target in targets:
        if (family, target) not in mine:
            yield from ((family, host.address, target) for host in one.hosts if host.family == family)


def _dialled(tables: Tables, vpc: LabVpc, side: Side) -> list[tuple[Family, int]]:
    """The hosts of a VPC as its peer dials them; those that the peer has no address for are left out."""
    if side.nat is Nat.STATEFUL:  # nobody can be dialled: one address of the pool in each family shows that
        return list({item.prefix.family: item.prefix.first for item in reversed(side.as_)}.items())
    found = (
        (host.family, _public(tables, SideKey(side.peering, side.vpc), host, plain=side.nat is Nat.PLAIN))
        for host in vpc.hosts
    )
    return [(family, address) for family, address in found if address is not None]


def _public(tables: Tables, key: SideKey, host: Host, *, plain: bool) -> int | None:
    """A private address as the peer dials it, also where a ``not`` hides it: that is worth a try."""
    side = tables.sides[key]
    for spans in (side.private, side.holes):
        for span in spans.get(host.family, ()):
            if span.first <= host.address <= span.last:
                return (host.address + span.delta) & MASK128
    return host.address if plain else None


def _ports(here: Side, there: Side) -> Iterator[tuple[Proto, int | None, int | None]]:
    """(protocol, source port, destination port) worth trying from ``here``; None: any port will do."""
    protocols: tuple[Proto, ...] = ("tcp", "udp")
    for proto in protocols:
        # What may enter from there with some source port is the reply to what went to that port, and the reverse.
        to = [*_ALWAYS[proto], *_named(here, proto, source=False), *_named(there, proto, source=True)]
        back = [*_named(here, proto, source=True), *_named(there, proto, source=False)]
        odd = next(port for port in _ODD if port not in to and port not in back)
        yield from ((proto, None, port) for port in [*dict.fromkeys(to)][:_MOST_PORTS])
        yield (proto, None, odd)
        yield from ((proto, port, None) for port in [*dict.fromkeys(back)][:_MOST_PORTS])
        yield from _both(here, proto)
    yield ("icmp", None, 0)


def _named(side: Side, proto: Proto, *, source: bool) -> list[int]:
    """The first port of every range that the rules of a side name on one end."""
    return [
        low
        for rule in side.ingress or ()
        for match in rule.matches
        if match.proto == proto
        for low, _ in (match.sport if source else match.dport)
    ]


def _both(side: Side, proto: Proto) -> Iterator[tuple[Proto, int, int]]:
    """Rules that name both ports match only both together."""
    for rule in side.ingress or ():
        for match in rule.matches:
            if match.proto == proto and match.sport and match.dport:
                yield proto, match.sport[0][0], match.dport[0][0]


def _strangers(objects: Objects) -> Iterator[_Try]:
    """A few pairs of VPCs without a peering: hosts there, dialled by their own address and as others see them."""
    peered = {frozenset(_names(peering)) for peering in objects.model.peerings.values()}
    strangers = [
        (one, other)
        for one, other in permutations(objects.plan.vpcs, 2)
        if frozenset((one.name, other.name)) not in peered
    ]
    for one, other in _evenly(strangers, _MOST_STRANGERS):
        targets = [(host.family, host.address) for host in other.hosts]
        for peering in objects.model.peerings.values():
            for side in peering.sides:
                if side.vpc == other.name:
                    targets += _dialled(objects.tables, other, side)
        for family, source, target in list(_pairs(one, dict.fromkeys(targets)))[:2]:
            yield _Try(one.name, other.name, family, source, target, "tcp", None, 443)
            yield _Try(one.name, other.name, family, source, target, "icmp", None, 0)


def _names(peering: Peering) -> tuple[str, str]:
    return peering.sides[0].vpc, peering.sides[1].vpc


def _evenly(items: Sequence[tuple[LabVpc, LabVpc]], most: int) -> Sequence[tuple[LabVpc, LabVpc]]:
    return [items[n * len(items) // most] for n in range(most)] if len(items) > most else items


def _numbered(tries: Iterable[_Try]) -> Iterator[Case]:
    """Choose the free ports, each once; where both are given and taken, the case waits for the next tick."""
    own = iter(OWN_PORTS)
    ticks: dict[tuple[Proto, int, int], int] = {}
    for attempt in tries:
        sport = attempt.sport if attempt.sport is not None else next(own)
        dport = attempt.dport if attempt.dport is not None else next(own)
        key = (attempt.proto, sport, dport)
        ticks[key] = ticks.get(key, -1) + 1
        yield Case(*attempt[:6], sport, dport, ticks[key])


def hook_of(plan: LabPlan, hooks: dict[str, str], case: Case) -> str:
    """The hook of the port at which a case enters the gateway."""
    vpc = plan.vpc(case.source_vpc)
    assert vpc is not None
    on = next(host.links[0] for host in vpc.hosts if (host.family, host.address) == (case.family, case.source))
    return hooks[next(link.port for link in vpc.links if link.inside == on)]
