"""What a gateway that runs has learned, and its conversations, for the twin: as much of it as a question needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from isthmus.lab.flows.rows import PROTOCOLS, State
from isthmus.lab.routes.answers import MOST_PREFIXES, MOST_SHOWN
from isthmus.routing.dumps import Origin, Path, learn
from isthmus.tables.address import BITS, Family, Prefix, format_address, parse_address
from isthmus.tables.entries import AttachmentKey, Peer, Route, SideKey, Tables, Tag, TagKind
from isthmus.tables.flows import TcpState
from isthmus.tables.learned import Learned, prefix_key
from isthmus.trace.flows import Flows
from isthmus.trace.flows.records import Flow, Key
from isthmus.trace.flows.ways import choose_ways
from isthmus.trace.lookup import find_route
from isthmus.trace.packet import ICMP_PROTO, TCP, UDP, Packet

Ask = Callable[[Mapping[str, object]], dict[str, Any]]
"""Asks the gateway (``lab.service``)."""

_SET: Final = re.compile(r"\{.*?\}")
_CONFEDERATION: Final = re.compile(r"[(\[].*?[)\]]")
_MOST_FLOWS: Final = 1000
_BITS: Final = {
    State.ANSWERED: TcpState.ANSWERED,
    State.ESTABLISHED: TcpState.ANSWERED | TcpState.ESTABLISHED,
    State.CLOSING: TcpState.ANSWERED | TcpState.ESTABLISHED | TcpState.FIN_OUT,
    State.CLOSED: TcpState.ANSWERED | TcpState.ESTABLISHED | TcpState.FIN_OUT | TcpState.FIN_BACK,
    State.RESET: TcpState.RESET,
}


@dataclass(frozen=True, slots=True)
class LiveRoutes(Learned):
    """What the gateway has learned. All that covers an address is asked for, once, and BGP's decision is made here."""

    tables: Tables = field(default_factory=Tables)
    ask: Ask = dict
    found: dict[tuple[str, Family, int], Route | None] = field(default_factory=dict)

    def find(self, vpc: str, family: Family, address: int) -> Route | None:
        """See ``Learned``."""
        if vpc not in self.routes:
            return None
        which = vpc, family, address
        if which not in self.found:
            learned, _ = learn(self.tables.vpcs, self._paths(*which))
            self.found[which] = learned.find(*which)
        return self.found[which]

    def _paths(self, vpc: str, family: Family, address: int) -> Iterator[tuple[str, Family, int, Path]]:
        around = [Prefix(family, 0, length) for length in range(BITS[family], -1, -1)]
        words = [str(each._replace(first=address & each.mask)) for each in around]
        for start in range(0, len(words), MOST_PREFIXES):
            some = words[start : start + MOST_PREFIXES]
            request = {"ask": "routes", "vpc": vpc, "prefixes": some, "longer": False, "from": None}
            for row in self.ask({**request, "limit": MOST_SHOWN})["routes"]:
                yield vpc, family, prefix_key(Prefix.parse(row["prefix"])), _path(row)


def live_routes(tables: Tables, ask: Ask) -> LiveRoutes:
    """Of the gateway that is asked; ``tables`` are its own, without assumed routes."""
    told = ask({"ask": "down"})
    links = (AttachmentKey(vpc, port, Tag(TagKind(kind), *ids)) for vpc, port, kind, *ids in told["attachments"])
    peers = (Peer(vpc, address) for vpc, address in told["neighbors"])
    return LiveRoutes({vpc: {} for vpc in told["vpcs"]}, frozenset((*links, *peers)), 0, tables, ask)


def live_flows(tables: Tables, learned: Learned, ask: Ask, vpc: str, packet: Packet) -> Flows:
    """Those that a packet from a VPC, or its reply, may belong to."""
    flows = Flows()
    src, dst = (format_address(packet.family, address) for address in (packet.src, packet.dst))
    for starts, one, other in (("from", src, dst), ("to", dst, src)):
        words = [f"{starts}={vpc}", f"src={one}", f"dst={other}", f"proto={packet.proto}"]
        for row in ask({"ask": "list", "filter": words, "limit": _MOST_FLOWS})["flows"]:
            if flow := _flow(tables, learned, flows, row):
                flows.add(flow)
    return flows


def _path(row: Mapping[str, Any]) -> Path:
    """As ``learn`` reads it. A set of ASes counts as one, a confederation's part not (RFC 4271 9.1.2.2 a)."""
    hops = len(_SET.sub("0", _CONFEDERATION.sub("", row["asPath"])).split())
    origin = Origin[row["origin"].upper()]
    return Path(parse_address(row["nextHop"]), row["from"], hops, origin, row["med"], row["localPref"])


def _flow(tables: Tables, learned: Learned, flows: Flows, row: Mapping[str, Any]) -> Flow | None:
    """From a row of ``isthmus flows``; None: the tables know no such way any more. Its address and port are known, so
    there is no mapping to be asked for them."""
    sent, seen = row["sent"], row["seen"]
    family, _ = parse_address(sent["src"])
    proto = {**PROTOCOLS, "icmp": ICMP_PROTO[family]}.get(row["proto"], row["proto"])
    out = _key(row["from"], proto, sent)
    back = _key(row["to"], proto, seen).mirrored
    sides = SideKey(row["peering"], row["from"]), SideKey(row["peering"], row["to"])
    route = find_route(tables, learned, back.vpc, family, back.src)
    if route is None or sides[0] not in tables.sides:
        return None
    timeouts = tables.sides[sides[0]].timeouts
    bits = _BITS.get(State(row["state"]), 0)
    ways = choose_ways(tables, learned, (out, back), route)
    return Flow((out, back), sides, ways, timeouts, None, 0, flows.revision(learned), bits)


def _key(vpc: str, proto: int, ends: Mapping[str, Any]) -> Key:
    (family, src), (_, dst) = parse_address(ends["src"]), parse_address(ends["dst"])
    if proto in (TCP, UDP):
        return Key(vpc, family, proto, src, dst, ends["sport"], ends["dport"])
    return Key(vpc, family, proto, src, dst, ends.get("id", 0), 0)
