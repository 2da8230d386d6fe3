"""Logical tables to records: bottom-up, so that every record names slots that are already there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from isthmus.datapath import rule_index, trie
from isthmus.datapath.fib.groups import Way
from isthmus.datapath.store import Table
from isthmus.tables.address import FAMILIES, Family, step
from isthmus.tables.entries import (
    Attachment,
    AttachmentKey,
    Candidate,
    Exposure,
    Nat,
    NextHop,
    Pool,
    Range,
    Route,
    RuleEntry,
    Side,
    SideKey,
    Tables,
    TagKind,
    Vpc,
    Vtep,
)
from isthmus.tables.flows import MOST_POOL, port_stride, ticks
from isthmus.tables.layout import FLAGS, MAX_LABELS, RECORDS
from isthmus.tables.share import next_hop_id, stable_id

Span = tuple[int, int]
_MASK64 = (1 << 64) - 1
_NONE: Span = (0, 0)


class Exit(NamedTuple):
    """Where an attachment's packets leave and enter on this node. Slots are those of the devmap; ``mtu`` in bytes."""

    link: int
    ifindex: int = 0
    port: int = 0
    mac: bytes = bytes(6)
    mtu: int = 0
    namespace_ifindex: int = 0
    namespace_port: int = 0


class NextHopKey(NamedTuple):
    """A router on a link; ``address`` left-aligned. Without a link: a remote VTEP."""

    attachment: AttachmentKey | None
    family: Family
    address: int


def next_hop_key(family: Family, hop: NextHop) -> NextHopKey | None:
    """Whose MAC address leads to a next hop of a route of this family; None: that of each destination itself."""
    if hop.tunnel is not None:
        return NextHopKey(None, hop.tunnel.family, hop.tunnel.vtep)
    return None if hop.gateway is None else NextHopKey(hop.attachment, family, hop.gateway)


class Numbers(NamedTuple):
    """Stable numbers of what is named: they outlive a change of the configuration. ``remembering``: VPCs with flows.
    ``ports``: slots in the devmap by interface index. ``vtep``: where the node's own VTEP is."""

    vpcs: Mapping[str, int]
    peerings: Mapping[str, int]
    exits: Mapping[AttachmentKey, Exit]
    adjacencies: Mapping[NextHopKey, int]
    sides: Mapping[SideKey, int]
    remembering: Collection[str]
    ports: Mapping[int, int]
    vtep: Exit | None = None


class Packed(NamedTuple):
    """The roots: a record for each VPC (by number), the slot of each attachment, and that of the VTEP (0: none)."""

    vpcs: dict[int, bytes]
    attachments: dict[AttachmentKey, int]
    vtep: int


class Packer:
    """Writes one configuration into the store; what is equal to what stands there is not written again."""

    def __init__(self, store: Mapping[str, Table], numbers: Numbers) -> None:
        self._store = store
        self._numbers = numbers
        self._attachments: dict[AttachmentKey, int] = {}
        self._sides: dict[SideKey, int] = {}
        self.ways: dict[int, Way] = {}
        """Next hops of routes, by their first slot."""
        self.led: dict[int, int] = {}
        """By slot of a route with next hops: the first of them."""

    def pack(self, tables: Tables) -> Packed:
        """All of it; raises ``TableFull`` before anything that packets read has changed."""
        for vpc in tables.vpcs.values():
            for attachment in vpc.attachments:
                self._attachments[attachment.key] = self._attachment(attachment, tables.vtep)
        for side in tables.sides.values():
            self._sides[side.key] = self._side(side)
        vpcs = {self._numbers.vpcs[name]: self._vpc(vpc) for name, vpc in tables.vpcs.items()}
        return Packed(vpcs, self._attachments, self._vtep(tables.vtep))

    def _put(self, table: str, *records: bytes) -> int:
        return self._store[table].put(b"".join(records))

    def _span(self, table: str, records: list[bytes]) -> Span:
        return (self._put(table, *records), len(records)) if records else _NONE

    def _attachment(self, attachment: Attachment, vtep: Vtep | None) -> int:
        leave = self._numbers.exits[attachment.key]
        sources = attachment.icmp_source
        flags = sum(FLAGS[f"ATTACHMENT_ICMP{family}"] for family in FAMILIES if sources.get(family) is not None)
        flags |= FLAGS["ATTACHMENT_UNIFORM"] * attachment.uniform
        tag = attachment.key.tag
        own = vtep if tag.kind is TagKind.VXLAN else None
        mtu = min(filter(None, (attachment.mtu, max(0, leave.mtu - overhead(attachment, vtep)))), default=0)
        return self._put(
            "attachments",
            RECORDS["attachment"].pack(
                *_addr(sources.get(4) or 0),
                *_addr(sources.get(6) or 0),
                leave.link,
                leave.ifindex,
                leave.namespace_ifindex,
                mtu,
                leave.port,
                leave.namespace_port,
                *leave.mac,
                flags,
                tag.kind,
                tag.outer,
                tag.inner,
                attachment.mss,
                attachment.outer_type,
                len(attachment.push),
                own.family if own else 0,
                *_addr(own.address if own else 0),
                *_labels(attachment.push),
            ),
        )

    def _vtep(self, vtep: Vtep | None) -> int:
        """The VTEP as an attachment without a VPC: what tells VXLAN from all else on its interface."""
        own = self._numbers.vtep
        if vtep is None or own is None:
            return 0
        head = (0, 0, 0, 0, own.link, own.ifindex, 0, own.mtu, own.port, 0, *own.mac, 0, TagKind.VXLAN, 0, 0, 0, 0, 0)
        record = RECORDS["attachment"].pack(*head, vtep.family, *_addr(vtep.address), *_labels(()))
        return self._put("attachments", record)

    def _side(self, side: Side) -> int:
        records = [self._rule(rule) for rule in side.rules or ()]
        rules = self._span("rules", records)
        pool = side.pool
        flags = (
            FLAGS["SIDE_HAS_RULES"] * (side.rules is not None)
            | FLAGS["SIDE_OPENS"] * side.opens
            | FLAGS["SIDE_PER_DESTINATION"] * (pool is not None and pool.per_destination)
        )
        spans = [part for family in FAMILIES for part in self._ranges(side.private.get(family, ()))]
        return self._put(
            "sides",
            RECORDS["side"].pack(
                *spans,
                *rules,
                self._index(side, records),
                side.nat,
                flags,
                0,
                self._numbers.peerings[side.key.peering],
                self._numbers.sides[side.key],
                *self._pool(pool),
                *(ticks(seconds) for seconds in _timeouts(side)),
                port_stride(sum(high - low + 1 for low, high in pool.ports)) if pool else 0,
            ),
        )

    def _pool(self, pool: Pool | None) -> tuple[int, ...]:
        """Spans and sizes of the addresses in both families, and of the ports."""
        if pool is None:
            return (*_NONE, *_NONE, 0, 0, *_NONE, 0)
        spans: list[int] = []
        sizes = []
        for family in FAMILIES:
            before, unit, ranges = 0, step(family), []
            for first, last in pool.addresses.get(family, ()):
                ranges.append(Range(first, last, before))
                before = min(before + (last - first) // unit + 1, MOST_POOL)
            spans += self._ranges(ranges)
            sizes.append(before)
        count, ports = 0, []
        for low, high in pool.ports:
            ports.append(RECORDS["port_range"].pack(low, high, count))
            count += high - low + 1
        return (*spans, *sizes, *self._span("port_ranges", ports), count)

    def _index(self, side: Side, records: list[bytes]) -> int:
        """The slot of the side's rule indexes, 0 where its rules are few."""
        found = rule_index.index(side.rules or ())
        if not found:
            return 0
        return self._put("rule_indexes", *(self._rule_index(each, records) for each in found))

    def _rule_index(self, index: rule_index.Index, records: list[bytes]) -> bytes:
        pack = RECORDS["cut"].pack
        cuts = [
            pack(*_addr(cut.first), *self._span("rules", [records[number] for number in cut.rules]))
            for cut in index.cuts
        ]
        return RECORDS["rule_index"].pack(*self._span("cuts", cuts), index.dimension, 0)

    def _ranges(self, ranges: Iterable[Range]) -> Span:
        pack = RECORDS["range"].pack
        return self._span("ranges", [pack(*_addr(r.first), *_addr(r.last), *_addr(r.delta)) for r in ranges])

    def _rule(self, rule: RuleEntry) -> bytes:
        flags = (
            FLAGS["RULE_STATELESS"] * rule.stateless
            | FLAGS["RULE_NEEDS_PORTS"] * rule.needs_ports
            | FLAGS["RULE_ANY_SRC"] * (rule.src is None)
            | FLAGS["RULE_ANY_DST"] * (rule.dst is None)
        )
        spans = [
            part
            for which in (rule.src, rule.dst)
            for family in FAMILIES
            for part in self._ranges((which or {}).get(family, ()))
        ]
        return RECORDS["rule"].pack(*spans, *rule.sport, *rule.dport, rule.proto or 0, flags, 0)

    def _vpc(self, vpc: Vpc) -> bytes:
        exposures = [self._exposures(family, vpc.exposures.get(family, ())) for family in FAMILIES]
        routes = [self._routes(family, vpc.routes.get(family, ())) for family in FAMILIES]
        own = [part for family in FAMILIES for part in self._own(vpc, family)]
        flags = FLAGS["VPC_REMEMBERS"] * (vpc.name in self._numbers.remembering)
        return RECORDS["vpc"].pack(*exposures, *routes, *own, stable_id(vpc.name), flags, 0)

    def _own(self, vpc: Vpc, family: Family) -> Span:
        mine = {address for a in vpc.attachments for kin, address, _ in a.addresses if kin == family}
        return self._ranges(Range(address, address) for address in sorted(mine))

    def _exposures(self, family: Family, exposures: Iterable[Exposure]) -> int:
        spans = [(e.first, e.last, self._candidates(e.candidates)) for e in exposures]
        return trie.build(family, spans, self._store["nodes"].put)

    def _candidates(self, candidates: tuple[Candidate, ...]) -> int:
        last = len(candidates) - 1
        return self._put("candidates", *(self._candidate(c, i == last) for i, c in enumerate(candidates)))

    def _candidate(self, candidate: Candidate, last: bool) -> bytes:
        flags = FLAGS["CANDIDATE_LAST"] * last
        there, here = candidate.there, candidate.here
        if there is None or here is None:
            return RECORDS["candidate"].pack(0, 0, 0, 0, 0, 0, 0, 0, candidate.kind, flags, 0)
        return RECORDS["candidate"].pack(
            *_addr(candidate.delta),
            stable_id(there.peering),
            self._numbers.vpcs[there.vpc],
            self._sides[here],
            self._sides[there],
            candidate.metric,
            candidate.length,
            candidate.kind,
            flags,
            0,
        )

    def _routes(self, family: Family, routes: tuple[Route, ...]) -> int:
        return trie.build(family, trie.longest_match(routes, self._route), self._store["nodes"].put)

    def hop(self, family: Family, hop: NextHop, adjacency: Callable[[NextHopKey], int]) -> bytes | None:
        """The record of a learned next hop, or None: there is no such attachment now."""
        if hop.attachment not in self._attachments:
            return None
        key = next_hop_key(family, hop)
        return self._hop_record(hop, key, adjacency(key) if key else 0)

    def _route(self, route: Route) -> int:
        hops = self._span("hops", [self._hop(route.prefix.family, hop) for hop in route.next_hops])
        slot = self._put("routes", RECORDS["route"].pack(route.metric, route.prefix.length, route.local, 0, *hops))
        if route.next_hops:
            self.ways[hops[0]] = Way(hops[0], route.next_hops)
            self.led[slot] = hops[0]
        return slot

    def _hop(self, family: Family, hop: NextHop) -> bytes:
        key = next_hop_key(family, hop)
        return self._hop_record(hop, key, self._numbers.adjacencies[key] if key else 0)

    def _hop_record(self, hop: NextHop, key: NextHopKey | None, adjacency: int) -> bytes:
        return RECORDS["hop"].pack(
            *_addr(key.address if key else 0),
            next_hop_id(hop),
            self._attachments[hop.attachment],
            adjacency,
            *(hop.tunnel.mac if hop.tunnel else bytes(6)),
            hop.tunnel.family if hop.tunnel else 0,
            0,
        )


def overhead(attachment: Attachment, vtep: Vtep | None) -> int:
    """Bytes that the tag takes from the port's MTU: ports carry one VLAN tag beside it."""
    kind = attachment.key.tag.kind
    if kind is TagKind.VXLAN:
        return 70 if vtep and vtep.family == 6 else 50  # inner Ethernet 14, IP 20 or 40, UDP 8, VXLAN 8
    return {TagKind.QINQ: 4, TagKind.MPLS: 4 * len(attachment.push)}.get(kind, 0)


def _labels(push: tuple[int, ...]) -> tuple[int, ...]:
    """Label stack entries (RFC 3032) but for traffic class and TTL: label << 12, and the bit of the bottom."""
    if len(push) > MAX_LABELS:
        raise ValueError(f"an attachment pushes {len(push)} MPLS labels; there is room for {MAX_LABELS}")
    last = len(push) - 1
    entries = [label << 12 | (index == last) << 8 for index, label in enumerate(push)]
    return (*entries, *[0] * (MAX_LABELS - len(entries)))


def remembering(tables: Tables) -> set[str]:
    """The VPCs whose packets may open flows, or answer such as did."""
    peerings = {
        side.key.peering
        for side in tables.sides.values()
        if side.opens or side.nat is Nat.STATEFUL or not all(rule.stateless for rule in side.rules or ())
    }
    return {key.vpc for key in tables.sides if key.peering in peerings}


def _timeouts(side: Side) -> tuple[int, ...]:
    """In the order of TIMEOUTS."""
    given = side.timeouts
    return given.udp, given.tcp_transitory, given.tcp_established, given.icmp


def _addr(value: int) -> tuple[int, int]:
    return value >> 64, value & _MASK64
