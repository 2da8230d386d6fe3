"""Which addresses the hosts of a lab have: one for every positive item of ``ips``, and those asked for by hand.

For each item the first address that is no network or broadcast address of its CIDR, no martian, not excluded by a
``not`` (on a translated side also not by one of ``as``), and not the gateway's own. Where both sides are plain, also
none that a host of the peer has: an address can't be here and there. Then it is the first of the next /24 (IPv6: /64)
inside the CIDR, or where there is none, the next address.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from isthmus.compile.intervals import Interval, cut, merged
from isthmus.model.types import Model
from isthmus.tables.address import BITS, Family, Prefix, step
from isthmus.tables.entries import Nat, SideKey, Tables
from isthmus.tables.martians import MARTIANS

_SITE: dict[Family, int] = {
    4: 24,
    6: 64,
}  # where the search goes on if a peer's host has the address: the next of these


class HostAddress(NamedTuple):
    """An address of a host (left-aligned), and the field of the object it was made for; empty if asked for by hand."""

    family: Family
    address: int
    origin: str


def host_addresses(
    model: Model, tables: Tables, extra: Mapping[str, Collection[tuple[Family, int]]]
) -> dict[str, tuple[HostAddress, ...]]:
    """The hosts of every VPC that a peering names, by VPC; ``extra`` are those asked for, and come first."""
    found: dict[str, dict[tuple[Family, int], str]] = defaultdict(dict)
    for vpc, addresses in extra.items():
        found[vpc].update(dict.fromkeys(addresses, ""))
    plain_peers = _plain_peers(model)
    for _, peering in sorted(model.peerings.items()):
        for side in peering.sides:
            mine = found[side.vpc]
            peers = (
                {address for peer in plain_peers[side.vpc] for address in found[peer]} if _plain(side.nat) else set()
            )
            ranges = tables.sides[SideKey(peering.name, side.vpc)].private
            for item in side.ips:
                family = item.prefix.family
                offered = [(r.first, r.last) for r in ranges.get(family, ())]
                barred = _gateway_addresses(tables, side.vpc, family)
                taken = {address for kin, address in peers if kin == family}
                address = first_host(item.prefix, offered, barred, taken)
                if address is not None:
                    mine.setdefault((family, address), f"Peering/{peering.name} {item.path}")
    return {
        vpc: tuple(HostAddress(*key, origin) for key, origin in sorted(hosts.items())) for vpc, hosts in found.items()
    }


def first_host(
    prefix: Prefix, offered: Sequence[Interval], barred: Collection[int], taken: Collection[int]
) -> int | None:
    """The host address of one item (left-aligned); None if nothing of it can be one.

    ``offered``: what its side offers in this family, without holes. ``barred``: the gateway's own addresses. ``taken``:
    those of the peer's hosts; if it has all there are, the first is shared with it.
    """
    unit = step(prefix.family)
    holes = [(martian.first, martian.last) for martian in MARTIANS[prefix.family]]
    holes += [(address, address) for address in (*barred, *_edges(prefix))]
    usable: list[Interval] = []
    for first, last in merged(offered, unit):
        if first <= prefix.last and prefix.first <= last:
            usable += cut(max(first, prefix.first), min(last, prefix.last), merged(holes, unit), unit)[0]
    if not usable:
        return None
    return _untaken(usable, taken, prefix.family, unit)


def _untaken(usable: Sequence[Interval], taken: Collection[int], family: Family, unit: int) -> int:
    """The first usable address that is not taken: the first of its /24 or /64, then of the next one, ..., then any."""
    site = 1 << (128 - _SITE[family])
    at: int | None = usable[0][0]
    while at is not None and at in taken:
        at = _at_least(usable, (at // site + 1) * site)
    if at is None:
        at = usable[0][0]
        while at is not None and at in taken:
            at = _at_least(usable, at + unit)
    return usable[0][0] if at is None else at


def _at_least(usable: Sequence[Interval], low: int) -> int | None:
    return next((max(first, low) for first, last in usable if last >= low), None)


def _edges(prefix: Prefix) -> tuple[int, ...]:
    """Network and broadcast address of an IPv4 CIDR; of an IPv6 one the subnet-router anycast (RFC 4291 2.6.1)."""
    if prefix.length >= BITS[prefix.family] - 1:
        return ()
    return (prefix.first, prefix.last) if prefix.family == 4 else (prefix.first,)


def _plain(nat: Nat) -> bool:
    return nat is Nat.PLAIN


def _plain_peers(model: Model) -> dict[str, set[str]]:
    """The VPCs that see a VPC's addresses as they are, and show theirs as they are."""
    peers: dict[str, set[str]] = defaultdict(set)
    for peering in model.peerings.values():
        one, other = peering.sides
        if _plain(one.nat) and _plain(other.nat):
            peers[one.vpc].add(other.vpc)
            peers[other.vpc].add(one.vpc)
    return peers


def _gateway_addresses(tables: Tables, vpc: str, family: Family) -> set[int]:
    return {a for attachment in tables.vpcs[vpc].attachments for kin, a, _ in attachment.addresses if kin == family}
