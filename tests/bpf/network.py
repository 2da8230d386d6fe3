"""Small networks for tests of the packet path: VPCs on ports p1..p7, plain peerings, packets by hand."""

from __future__ import annotations

import struct

from isthmus.compile import compile_tables
from isthmus.datapath import Bindings, PacketPath, PortBinding
from isthmus.model.types import Attachment, Item, Model, Peering, Side, StaticRoute, Vpc
from isthmus.tables.address import Family, Prefix, parse_address
from isthmus.tables.entries import AttachmentKey, Nat, Tables, Tag

MTU = 1500
HOST_MAC = bytes([2, 0xAA, 0, 0, 0, 1])


def port_mac(port: str) -> bytes:
    """The MAC of port pN."""
    return bytes([2, 0, 0, 0, 0, int(port[1:])])


def vpc(name: str, port: str, *offered: str, own: str | None = None) -> Vpc:
    """A VPC with on-link routes to what it offers, and perhaps an address of the gateway."""
    addresses: tuple[tuple[Family, int, int], ...] = ()
    if own is not None:
        family, address = parse_address(own)
        addresses = ((family, address, 24),)
    routes = tuple(StaticRoute(Prefix.parse(text), None, 0, 0, "spec.routes[0]") for text in offered)
    return Vpc(name, True, None, (), (Attachment(port, Tag(), addresses, 0, "spec.attachments[0]"),), routes)


def peering(left: Vpc, right: Vpc) -> Peering:
    """All that both have, plain and without rules."""
    name = f"{left.name}--{right.name}"
    sides = [
        Side(
            name,
            v.name,
            Nat.PLAIN,
            tuple(Item(r.to, "ips[0]") for r in v.routes),
            (),
            (),
            (),
            None,
            0,
            f"spec.{v.name}",
        )
        for v in (left, right)
    ]
    return Peering(name, (sides[0], sides[1]))


def tables(vpcs: list[Vpc], peerings: list[Peering]) -> Tables:
    """Compiled."""
    return compile_tables(Model({v.name: v for v in vpcs}, {p.name: p for p in peerings}, None))


def key(of: Vpc) -> AttachmentKey:
    """Of the VPC's one attachment."""
    return AttachmentKey(of.name, of.attachments[0].interface)


def bindings(ifindex: dict[str, int], vpcs: list[Vpc], *, without: tuple[str, ...] = ()) -> Bindings:
    """Port pN and namespace end nN for each VPC, but for those left out."""
    ports = {v.attachments[0].interface for v in vpcs} - set(without)
    return Bindings(
        {port: PortBinding(ifindex[port], port_mac(port), MTU) for port in sorted(ports)},
        {
            key(v): PortBinding(ifindex[end], bytes(6), MTU)
            for v in vpcs
            if (end := "n" + v.attachments[0].interface[1:]) not in without
        },
    )


def learn(path: PacketPath, of: Vpc, address: str, mac: bytes) -> bool:
    """Tell the packet path a MAC."""
    family, value = parse_address(address)
    return path.set_neighbor(key(of), family, value, mac)


def udp(port: str, src: str, dst: str, *, ttl: int = 64, size: int = 8) -> bytes:
    """An Ethernet frame to a port: IPv4, DF, UDP without a checksum."""
    source, target = (parse_address(text)[1] >> 96 for text in (src, dst))
    ip = struct.pack("!BBHHHBBHII", 0x45, 0, 28 + size, 0, 0x4000, ttl, 17, 0, source, target)
    return port_mac(port) + HOST_MAC + b"\x08\x00" + ip + struct.pack("!HHHH", 1000, 53, 8 + size, 0) + bytes(size)


def arp(port: str) -> bytes:
    """Some ARP request to everybody."""
    return bytes([255] * 6) + HOST_MAC + b"\x08\x06" + bytes(46) + port_mac(port)[:0]
