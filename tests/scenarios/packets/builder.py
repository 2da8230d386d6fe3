"""Hand-written tables in few words, so that a packet test shows all that it stands on.

Nothing here asks the compiler: what the twin says of these tables is a statement about the twin alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from isthmus.tables.address import FAMILIES, MASK128, Family, Prefix, parse_address
from isthmus.tables.entries import (
    Attachment,
    AttachmentKey,
    Candidate,
    Exposure,
    Nat,
    NextHop,
    Origin,
    PathKind,
    Range,
    Route,
    RuleEntry,
    Side,
    SideKey,
)

ANY_PORT = (0, 65535)


def number(text: str) -> int:
    """An address as the tables hold it."""
    return parse_address(text)[1]


def attachment(vpc: str, interface: str, *own: str, mtu: int = 0, silent: bool = False) -> Attachment:
    """``own``: the gateway's addresses, ``10.1.0.1/24``. ``silent``: it sends no ICMP of its own."""
    addresses = []
    for text in own:
        address, _, length = text.partition("/")
        family, value = parse_address(address)
        addresses.append((family, value, int(length)))
    source: dict[Family, int | None] = {
        4: next((value for family, value, _ in addresses if family == 4 and not silent), None),
        6: next((value for family, value, _ in addresses if family == 6 and not silent), None),
    }
    return Attachment(AttachmentKey(vpc, interface), tuple(addresses), source, mtu, Origin(f"VPC/{vpc}"))


def hop(at: Attachment, via: str | None = None) -> NextHop:
    """A next hop: a router's address, or on-link."""
    return NextHop(at.key, number(via) if via else None, at.origin)


def route(to: str, *hops: NextHop, metric: int = 0, local: bool = False) -> Route:
    """One prefix of a VPC's routes."""
    return Route(Prefix.parse(to), metric, local, hops, Origin("VPC/routes", to))


def shift(private: str, public: str) -> int:
    """What is added to a private address to reach the public one."""
    return (Prefix.parse(public).first - Prefix.parse(private).first) & MASK128


class Offer(NamedTuple):
    """One item of a side: ``private`` CIDR, and ``public`` if it is translated; ``holes`` are private CIDRs."""

    private: str
    public: str | None = None
    holes: tuple[str, ...] = ()

    @property
    def family(self) -> Family:
        """That of both CIDRs."""
        return Prefix.parse(self.private).family

    @property
    def delta(self) -> int:
        """Private to public."""
        return shift(self.private, self.public) if self.public else 0

    def ranges(self) -> tuple[list[Range], list[Range]]:
        """What is offered and what the holes take out, in private addresses."""
        whole, origin = Prefix.parse(self.private), Origin("Peering/test", self.private)
        unit = 1 << 96 if self.family == 4 else 1
        kept, at = [], whole.first
        holes = sorted(map(Prefix.parse, self.holes))
        for hole in holes:
            if hole.first > at:
                kept.append(Range(at, hole.first - unit, self.delta, origin))
            at = hole.last + unit
        if at <= whole.last:
            kept.append(Range(at, whole.last, self.delta, origin))
        return kept, [Range(hole.first, hole.last, self.delta, origin) for hole in holes]


def side(
    peering: str,
    vpc: str,
    *offers: Offer,
    nat: Nat | None = None,
    rules: tuple[RuleEntry, ...] | None = None,
    opens: bool = False,
) -> Side:
    """One side; static if an offer is translated."""
    kind = nat if nat is not None else Nat.STATIC if any(offer.public for offer in offers) else Nat.PLAIN
    private: dict[Family, tuple[Range, ...]] = {}
    holes: dict[Family, tuple[Range, ...]] = {}
    for offer in offers:
        kept, removed = offer.ranges()
        private[offer.family] = tuple(sorted((*private.get(offer.family, ()), *kept)))
        holes[offer.family] = tuple(sorted((*holes.get(offer.family, ()), *removed)))
    return Side(SideKey(peering, vpc), kind, private, holes, rules, opens, Origin(f"Peering/{peering}", f"spec.{vpc}"))


class Peering(NamedTuple):
    """Two sides, and the metric of each."""

    left: Side
    right: Side
    left_metric: int = 0
    right_metric: int = 0


def exposures(vpc: str, peerings: Sequence[Peering], own: str | None = None) -> dict[Family, tuple[Exposure, ...]]:
    """What the peers of a VPC offer it, and its own subnet.

    Offers of exactly the same addresses are one entry with several candidates; others must not overlap.
    """
    entries: dict[tuple[Family, int, int], list[Candidate]] = {}
    if own is not None:
        subnet, origin = Prefix.parse(own), Origin(f"VPC/{vpc}", "spec.subnets")
        same = Candidate(PathKind.SAME_VPC, None, None, 0, 0, 0, origin)
        entries[subnet.family, subnet.first, subnet.last] = [same]
    for left, right, left_metric, right_metric in peerings:
        for here, there, metric in ((left, right, right_metric), (right, left, left_metric)):
            if here.key.vpc == vpc:
                for family, first, last, candidate in _candidates(here, there, metric):
                    entries.setdefault((family, first, last), []).append(candidate)
    return {
        family: tuple(
            Exposure(first, last, tuple(found))
            for (kin, first, last), found in sorted(entries.items())
            if kin == family
        )
        for family in FAMILIES
    }


def _candidates(here: Side, there: Side, metric: int) -> Iterator[tuple[Family, int, int, Candidate]]:
    for ranges, kind in ((there.private, PathKind(int(there.nat))), (there.holes, PathKind.HOLE)):
        for family, entries in ranges.items():
            for entry in entries:
                first, last = (entry.first + entry.delta) & MASK128, (entry.last + entry.delta) & MASK128
                length = Prefix.parse(entry.origin.path).length if entry.origin else 0
                delta = -entry.delta & MASK128
                yield family, first, last, Candidate(kind, here.key, there.key, length, metric, delta, there.origin)


def rule(
    proto: int | None = None,
    sport: tuple[int, int] = ANY_PORT,
    dport: tuple[int, int] = ANY_PORT,
    src: str | None = None,
    dst: str | None = None,
    stateless: bool = True,
) -> RuleEntry:
    """One entry of a side's rules; ``src`` and ``dst`` are CIDRs."""
    asks_ports = (sport, dport) != (ANY_PORT, ANY_PORT)
    origin = Origin("Peering/test", "ingress[0].allow")
    return RuleEntry(proto, sport, dport, asks_ports, _ranges(src), _ranges(dst), stateless, origin)


def _ranges(cidr: str | None) -> dict[Family, tuple[Range, ...]] | None:
    if cidr is None:
        return None
    prefix = Prefix.parse(cidr)
    return {prefix.family: (Range(prefix.first, prefix.last),)}
