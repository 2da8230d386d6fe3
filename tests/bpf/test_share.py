"""Equal paths share: who carries a conversation, in the packet path as in the twin, and what a change moves."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator

import pytest

from isthmus.compile import compile_tables
from isthmus.datapath import Bindings, PacketPath, PortBinding
from isthmus.model.types import Attachment, Item, Model, Peering, Side, StaticRoute, Vpc
from isthmus.tables.address import Family, Prefix, parse_address
from isthmus.tables.entries import AttachmentKey, Nat, Tables, Tag
from isthmus.trace.environment import Environment, PortInfo
from isthmus.trace.twin import Twin
from tests.differential.place import XDP, bench

PEERS = ("b", "c", "d", "e")
OFFERED = Prefix.parse("203.0.113.0/24")
MAC = {name: bytes([2, 0, 0, 0, 0, number]) for number, name in enumerate(("a", *PEERS), 1)}
IFINDEX: dict[str, int] = {}
ROUTER = parse_address("10.0.0.1")[1]


@pytest.fixture(scope="module")
def path() -> Iterator[PacketPath]:
    with bench(hooks=XDP) as place:
        IFINDEX.update({name: place.ifindex[f"p{n}"] for n, name in enumerate(("a", *PEERS), 1)})
        yield place.path


def vpc(name: str, routes: tuple[StaticRoute, ...]) -> Vpc:
    return Vpc(name, True, None, (), (Attachment(name, Tag(), (), 0, "spec.attachments[0]"),), routes)


def route(via: int) -> StaticRoute:
    return StaticRoute(OFFERED, via, 0, 0, "spec.routes[0]")


def tables_of(*peers: str, routers: int = 1) -> Tables:
    """VPC a, and peers that all offer it the same prefix, each behind so many routers."""
    mine = StaticRoute(Prefix.parse("10.1.0.0/16"), None, 0, 0, "spec.routes[0]")
    behind = tuple(route(ROUTER + (n << 96)) for n in range(routers))
    vpcs = {"a": vpc("a", (mine,))} | {name: vpc(name, behind) for name in peers}
    peerings = {
        f"a--{name}": Peering(
            f"a--{name}",
            (side(f"a--{name}", "a", Prefix.parse("10.1.0.0/16")), side(f"a--{name}", name, OFFERED)),
        )
        for name in peers
    }
    return compile_tables(Model(vpcs, peerings, None))


def side(peering: str, name: str, prefix: Prefix) -> Side:
    return Side(peering, name, Nat.PLAIN, (Item(prefix, "ips[0]"),), (), (), (), None, 0, f"spec.{name}")


def apply(path: PacketPath, tables: Tables, routers: int = 1) -> Twin:
    """Into the packet path and a twin, with the MACs of all routers known."""
    ports = {name: PortBinding(ifindex, MAC[name], 1500) for name, ifindex in IFINDEX.items()}
    path.apply(tables, Bindings(ports))
    known: dict[tuple[AttachmentKey, Family, int], bytes] = {}
    for name in (name for name in tables.vpcs if name != "a"):
        for n in range(routers):
            key = AttachmentKey(name, name)
            known[key, 4, ROUTER + (n << 96)] = bytes([2, 0xBB, 0, 0, MAC[name][5], n])
            path.set_neighbor(key, 4, ROUTER + (n << 96), known[key, 4, ROUTER + (n << 96)])
    return Twin(tables, Environment({name: PortInfo(mac, 1500) for name, mac in MAC.items()}, known))


def packet(number: int, sport: int = 1000) -> bytes:
    """UDP without a checksum from one of many hosts."""
    source, target = bytes([10, 1, number >> 8, number & 255]), bytes([203, 0, 113, number % 7])
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 36, 0, 0, 64, 17, 0, source, target)
    return (
        MAC["a"] + bytes([2, 0xAA, 0, 0, 0, 1]) + b"\x08\x00" + ip + struct.pack("!HHHH", sport, 53, 16, 0) + bytes(8)
    )


def carriers(path: PacketPath, twin: Twin, packets: list[bytes]) -> list[tuple[str | None, bytes]]:
    """(peering, destination MAC) of each; the twin agrees on every one."""
    found = []
    for data in packets:
        theirs, ours = path.run(data, IFINDEX["a"], "xdp"), twin.process(data, "a")
        assert (theirs.verdict, theirs.peering, theirs.frame) == (ours.verdict, ours.peering, ours.out[0][1])
        found.append((theirs.peering, theirs.frame[:6]))
    return found


def test_equal_peerings_share_evenly(path: PacketPath) -> None:
    """Three equal offers: each carries about a third of 600 conversations."""
    twin = apply(path, tables_of("b", "c", "d"))
    shares = Counter(peering for peering, _ in carriers(path, twin, [packet(n) for n in range(600)]))
    assert set(shares) == {"a--b", "a--c", "a--d"}
    assert min(shares.values()) > 140


def test_ports_do_not_move_a_conversation_between_peerings(path: PacketPath) -> None:
    """SPEC 4: so its fragments and ICMP errors stay with it."""
    twin = apply(path, tables_of("b", "c", "d"))
    for number in range(20):
        found = carriers(path, twin, [packet(number, sport) for sport in range(1, 20)])
        assert len(set(found)) == 1


def test_a_new_peering_takes_only_its_share(path: PacketPath) -> None:
    """Rendezvous: what moves, moves to the new one; taking it away gives all of it back."""
    packets = [packet(n) for n in range(400)]
    before = carriers(path, apply(path, tables_of("b", "c", "d")), packets)
    after = carriers(path, apply(path, tables_of("b", "c", "d", "e")), packets)
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert 60 < len(moved) < 140
    assert {peering for peering, _ in moved} == {"a--e"}
    assert carriers(path, apply(path, tables_of("b", "c", "d")), packets) == before


def test_equal_next_hops_share_by_ports(path: PacketPath) -> None:
    """ECMP inside one VPC: the ports of one pair of hosts reach all three routers."""
    twin = apply(path, tables_of("b", routers=3), routers=3)
    macs = Counter(mac for _, mac in carriers(path, twin, [packet(1, sport) for sport in range(300)]))
    assert len(macs) == 3
    assert min(macs.values()) > 60
