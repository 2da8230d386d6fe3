"""A small network for tests of flows by hand: a and b, with the same hosts, share a pool toward t.

a 10.0.0.0/24 on p1 --+-- pool --> t 10.9.0.0/24 on p3
b 10.0.0.0/24 on p2 --+
c 10.3.0.0/24 on p4 ----- rules on both sides, plain --> t
d, like c, on p5: only where it is asked for
"""

from __future__ import annotations

import struct

from isthmus.compile import compile_tables
from isthmus.model.types import Attachment, Item, Model, Peering, Rule, Side, StaticRoute, Vpc
from isthmus.tables.address import Prefix, parse_address
from isthmus.tables.entries import AttachmentKey, Nat, Tables, Tag, Timeouts
from isthmus.trace.environment import PortInfo
from tests.differential.compare import Bench, Neighbours, Ports
from tests.differential.frames import HOST_MAC, REPLY, REQUEST, SYN, TCP, UDP, Ends, packet, piece, summed

PLACES = {"a": "p1", "b": "p2", "t": "p3", "c": "p4", "d": "p5"}
NETWORKS = {"a": "10.0.0.0/24", "b": "10.0.0.0/24", "t": "10.9.0.0/24", "c": "10.3.0.0/24", "d": "10.3.0.0/24"}
HOSTS = 32
"""MACs of so many hosts of each network are known."""
TIMEOUTS = Timeouts(30, 600, 60, 10)
PORTS: Ports = {port: PortInfo(bytes([2, 0, 0, 0, 0, int(port[1:])]), 1500) for port in PLACES.values()}


def network(
    pool: str = "198.18.0.0/32",
    other_pool: str = "",
    ports: tuple[tuple[int, int], ...] = ((1024, 65535),),
    per_destination: bool = False,
    timeouts: Timeouts = TIMEOUTS,
    rules: tuple[Rule, ...] | None = (Rule("", False, None, None, (), "ingress[0]"),),
    peers: str = "abc",
) -> Tables:
    """The tables of it. ``other_pool``: that of b, where it is another. ``rules``: of c and d and, toward them, of t.
    ``peers``: those of t that are there."""
    peerings = {}
    for name in ("a", "b"):
        stateful = _side(name, "t", Nat.STATEFUL)._replace(
            as_=(Item(Prefix.parse(other_pool or pool if name == "b" else pool), "as[0]"),),
            ports=ports,
            per_destination=per_destination,
            timeouts=timeouts,
        )
        peerings[f"{name}--t"] = Peering(f"{name}--t", (stateful, _side("t", name, Nat.PLAIN, of=name)))
    for name in ("c", "d"):
        sides = [_side(name, "t", Nat.PLAIN), _side("t", name, Nat.PLAIN, of=name)]
        sides = [side._replace(ingress=rules, timeouts=timeouts) for side in sides]
        peerings[f"{name}--t"] = Peering(f"{name}--t", (sides[0], sides[1]))
    peerings = {f"{name}--t": peerings[f"{name}--t"] for name in peers}
    return compile_tables(Model({name: _vpc(name) for name in sorted((*peers, "t"))}, peerings, None))


def _vpc(name: str) -> Vpc:
    attachment = Attachment(PLACES[name], Tag(), (), 0, "spec.attachments[0]")
    return Vpc(name, True, None, (), (attachment,), (StaticRoute(_prefix(name), None, 0, 0, "spec.routes[0]"),))


def _side(vpc: str, peer: str, nat: Nat, of: str = "") -> Side:
    name = f"{of or vpc}--t"
    return Side(name, vpc, nat, (Item(_prefix(vpc), "ips[0]"),), (), (), (), None, 0, f"spec.{vpc}.{peer}")


def _prefix(vpc: str) -> Prefix:
    return Prefix.parse(NETWORKS[vpc])


def join(bench: Bench, tables: Tables, judge_flows: bool = True) -> None:
    """Have the bench run it, with MACs for the first hosts of all networks."""
    neighbours: Neighbours = {}
    for vpc, port in PLACES.items():
        for number in range(HOSTS):
            mac = b"\x02\xbb\0\0" + bytes([ord(vpc), number])
            neighbours[AttachmentKey(vpc, port), 4, _prefix(vpc).first + (number << 96)] = mac
    bench.apply(tables, PORTS, neighbours, judge_flows)


def host(vpc: str, number: int) -> bytes:
    """The address of a host."""
    return ((_prefix(vpc).first >> 96) + number).to_bytes(4, "big")


def address(text: str) -> bytes:
    """An IPv4 address in 4 bytes."""
    return (parse_address(text)[1] >> 96).to_bytes(4, "big")


def frame(vpc: str, own: Ends, flags: int = SYN, data: bytes = b"", kind: int | None = None) -> bytes:
    """A frame of a VPC; ``kind``: the ICMP type, that of the echo whose identifier stands where it belongs."""
    if own.proto == TCP:
        body = struct.pack("!HHIIBBHHH", own.sport, own.dport, 1, 2, 0x50, flags, 100, 0, 0) + data
    elif own.proto == UDP:
        body = struct.pack("!HHHH", own.sport, own.dport, 8 + len(data), 0) + data
    elif own.proto == 1:
        kind = (REQUEST if own.sport else REPLY)[4] if kind is None else kind
        body = struct.pack("!BBHHH", kind, 0, 0, own.sport or own.dport, 9) + data
    else:
        body = bytes(8) + data
    body = summed(4, own.source, own.target, own.proto, body)
    return PORTS[PLACES[vpc]].mac + HOST_MAC + b"\x08\0" + packet(4, own.source, own.target, own.proto, body)


def in_pieces(vpc: str, own: Ends, identification: int) -> tuple[bytes, bytes]:
    """A UDP packet of a VPC in two fragments."""
    head = PORTS[PLACES[vpc]].mac + HOST_MAC + b"\x08\0"
    body = struct.pack("!HHHH", own.sport, own.dport, 32, 0) + bytes(24)
    body = summed(4, own.source, own.target, UDP, body)
    first, later = (
        head + piece(4, own.source, own.target, UDP, part, at, more, identification)
        for at, part, more in ((0, body[:16], True), (16, body[16:], False))
    )
    return first, later
