"""A network with one VPC behind each kind of tag, all in full peering, and frames by scapy for it.

    p1 untagged ── a 10.1.0.0/16, 2001:db8:1::/48      p4 MPLS uniform ── d 10.4      p7 VTEP ┬─ VNI 5 ── f 10.6
    p2 VLAN 100 ── b 10.2                               p5 MPLS pipe    ── e 10.5              └─ VNI 6 ── g 10.7
    p3 QinQ 7.9 ── c 10.3                               p6 MPLS in, untagged out ── h 10.8

The third octet of a MAC address of a host is that of its VPC, counted from 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from scapy.contrib.mpls import MPLS
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from isthmus.datapath import Bindings, Capacity, Hook, Outcome, PacketPath, PortBinding
from isthmus.tables.address import FAMILIES, Family, Prefix, parse_address
from isthmus.tables.entries import (
    Attachment,
    AttachmentKey,
    Candidate,
    Exposure,
    Nat,
    NextHop,
    Origin,
    PathKind,
    PortPolicy,
    Range,
    Route,
    Side,
    SideKey,
    Tables,
    Tag,
    TagKind,
    Tunnel,
    Vpc,
    Vtep,
)
from isthmus.tables.share import weight
from tests.differential.place import ports

ORIGIN = Origin("test")
MTU = 1500
UNDERLAY_MAC, FABRIC_PORT = "02:ee:00:00:00:01", "p7"
VTEPS: dict[Family, tuple[str, str]] = {4: ("192.0.2.1", "192.0.2.9"), 6: ("2001:db8:ff::1", "2001:db8:ff::9")}
"""The node's own VTEP, and the remote one that hosts of f and g are behind."""

SMALL = Capacity(flows=1024, fragments=64, nodes=1024, neighbours=1024, adjacencies=256, classes=256, owners=256)
"""Room for the network."""


class Place(NamedTuple):
    """A VPC: its port, tag, and the labels and TTL mode of MPLS."""

    port: str
    tag: Tag = Tag()
    push: tuple[int, ...] = ()
    uniform: bool = True


PLACES = {
    "a": Place("p1"),
    "b": Place("p2", Tag(TagKind.VLAN, 100)),
    "c": Place("p3", Tag(TagKind.QINQ, 7, 9)),
    "d": Place("p4", Tag(TagKind.MPLS, 200), (16, 17), True),
    "e": Place("p5", Tag(TagKind.MPLS, 300), (18,), False),
    "f": Place("p7", Tag(TagKind.VXLAN, 5)),
    "g": Place("p7", Tag(TagKind.VXLAN, 6)),
    "h": Place("p6", Tag(TagKind.MPLS, 400), (), False),
}
NUMBERS = {name: index for index, name in enumerate(PLACES, 1)}
NAMESPACE_ENDS = {name: f"n{number}" for name, number in NUMBERS.items()}


def address(vpc: str, family: Family, host: int = 5) -> str:
    """Of a host; 1 is the gateway's own."""
    number = NUMBERS[vpc]
    return f"10.{number}.0.{host}" if family == 4 else f"2001:db8:{number}::{host:x}"


def host_mac(vpc: str) -> str:
    return f"02:aa:{NUMBERS[vpc]:02x}:00:00:05"


def port_mac(port: str) -> str:
    return f"02:00:00:00:00:0{port[1:]}"


def raw(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def prefix(vpc: str, family: Family) -> Prefix:
    number = NUMBERS[vpc]
    return Prefix.parse(f"10.{number}.0.0/16" if family == 4 else f"2001:db8:{number}::/48")


def key(vpc: str) -> AttachmentKey:
    place = PLACES[vpc]
    return AttachmentKey(vpc, place.port, place.tag)


def tables(underlay: Family, mtu: int = 0, unclaimed: str = "drop") -> Tables:
    """All of it; ``mtu`` is that of every attachment, in bytes."""
    vpcs = {name: _vpc(name, underlay, mtu) for name in PLACES}
    sides = {
        SideKey(_peering(one, other), one): _side(one, other) for one in PLACES for other in PLACES if one != other
    }
    policies = {place.port: PortPolicy("auto", unclaimed) for place in PLACES.values()}
    own = Vtep(underlay, parse_address(VTEPS[underlay][0])[1], FABRIC_PORT)
    return Tables(vpcs, sides, policies, None, own)


def _peering(one: str, other: str) -> str:
    return "--".join(sorted((one, other)))


def _side(one: str, other: str) -> Side:
    private: dict[Family, tuple[Range, ...]] = {
        family: (Range(prefix(one, family).first, prefix(one, family).last),) for family in FAMILIES
    }
    return Side(SideKey(_peering(one, other), one), Nat.PLAIN, private, {}, None, False, ORIGIN)


def _vpc(name: str, underlay: Family, mtu: int) -> Vpc:
    place = PLACES[name]
    own = tuple((family, parse_address(address(name, family, 1))[1], 24 if family == 4 else 64) for family in FAMILIES)
    sources: dict[Family, int | None] = {family: value for family, value, _ in own}
    attachment = Attachment(key(name), own, sources, mtu, ORIGIN, push=place.push, uniform=place.uniform)
    exposures: dict[Family, tuple[Exposure, ...]] = {}
    routes: dict[Family, tuple[Route, ...]] = {}
    for family in FAMILIES:
        exposures[family] = tuple(
            Exposure(p.first, p.last, (_candidate(name, other, p),))
            for other in PLACES
            if other != name
            for p in (prefix(other, family),)
        )
        tunnel = Tunnel(underlay, parse_address(VTEPS[underlay][1])[1], raw(host_mac(name)))
        hop = NextHop(key(name), None, ORIGIN, tunnel if place.tag.kind is TagKind.VXLAN else None)
        routes[family] = (Route(prefix(name, family), 0, False, (hop,), ORIGIN),)
    return Vpc(name, True, False, (attachment,), exposures, routes, ORIGIN)


def _candidate(here: str, there: str, to: Prefix) -> Candidate:
    name = _peering(here, there)
    return Candidate(PathKind.PLAIN, SideKey(name, here), SideKey(name, there), to.length, 0, 0, ORIGIN)


@dataclass
class Fabric:
    """The packet path with this network."""

    path: PacketPath
    ifindex: dict[str, int]
    underlay: Family = 4
    has: tuple[object, ...] = ()

    def configure(self, underlay: Family = 4, mtu: int = 0, unclaimed: str = "drop", resolved: bool = True) -> None:
        """Every host's MAC address is known, and, if ``resolved``, the way to the remote VTEP."""
        wanted = (underlay, mtu, unclaimed, resolved)
        if self.has == wanted:
            return
        self.underlay, self.has = underlay, wanted
        bound = {
            place.port: PortBinding(self.ifindex[place.port], raw(port_mac(place.port)), MTU)
            for place in PLACES.values()
        }
        ends = {
            key(name): PortBinding(self.ifindex[end], bytes(6), MTU)
            for name, end in NAMESPACE_ENDS.items()
            if end in self.ifindex
        }
        self.path.apply(tables(underlay, mtu, unclaimed), Bindings(bound, ends))
        for name in PLACES:
            for family in FAMILIES:
                value = parse_address(address(name, family))[1]
                self.path.set_neighbor(key(name), family, value, raw(host_mac(name)))
        remote = parse_address(VTEPS[underlay][1])[1]
        mac = raw(UNDERLAY_MAC) if resolved else None
        assert self.path.set_tunnel(underlay, remote, self.ifindex[FABRIC_PORT], mac)

    def run(self, frame: Packet | bytes, port: str, hook: Hook) -> Outcome:
        return self.path.run(bytes(frame), self.ifindex[port], hook)

    def into(self, vpc: str, inner: Packet, **fields: Any) -> bytes:
        """A frame as it comes in on the VPC's attachment. ``fields``: of the outermost tag (``label`` for MPLS)."""
        place = PLACES[vpc]
        kind, eth, payload = place.tag.kind, inner.copy(), inner.payload.copy()
        eth.remove_payload()
        del eth.type
        if kind is TagKind.UNTAGGED:
            return bytes(inner)
        if kind is TagKind.VLAN:
            return bytes(eth / Dot1Q(**{"vlan": place.tag.outer, **fields}) / payload)
        if kind is TagKind.QINQ:
            return bytes(eth / Dot1AD(**{"vlan": place.tag.outer, **fields}) / Dot1Q(vlan=place.tag.inner) / payload)
        if kind is TagKind.MPLS:
            return bytes(eth / MPLS(**{"label": place.tag.outer, "s": 1, "ttl": 77, **fields}) / payload)
        own, remote = VTEPS[self.underlay]
        return bytes(self.outer(remote, own, UNDERLAY_MAC, port_mac(FABRIC_PORT), place.tag.outer, **fields) / inner)

    def outer(self, src: str, dst: str, from_mac: str, to_mac: str, vni: int, sport: int = 50000, **fields: Any) -> Any:
        """What is around a frame in the tunnel."""
        ip = IP(src=src, dst=dst, flags="DF", id=0, ttl=64) if self.underlay == 4 else IPv6(src=src, dst=dst, hlim=64)
        for name, value in fields.items():
            setattr(ip, name, value)
        return Ether(src=from_mac, dst=to_mac) / ip / UDP(sport=sport, dport=4789, chksum=0) / VXLAN(flags=8, vni=vni)

    def out_of(self, vpc: str, inner: Packet) -> bytes:
        """A frame as it has to leave by the VPC's attachment; ``inner`` without a tag, as it leaves."""
        place = PLACES[vpc]
        kind, eth, packet = place.tag.kind, inner.copy(), inner.payload.copy()
        eth.remove_payload()
        del eth.type
        if kind in (TagKind.UNTAGGED, TagKind.VLAN, TagKind.QINQ):
            return self.into(vpc, inner)
        if kind is TagKind.MPLS:
            tos, ttl = (packet.tos, packet.ttl) if packet.version == 4 else (packet.tc, packet.hlim)
            for label in place.push:
                entry = MPLS(label=label, cos=tos >> 5, s=label == place.push[-1], ttl=ttl if place.uniform else 255)
                eth = eth / entry
            return bytes(eth / packet)
        own, remote = VTEPS[self.underlay]
        marks: dict[str, int] = {}
        if isinstance(packet, IP | IPv6):
            tos = packet.tos if packet.version == 4 else packet.tc
            marks = {"tos" if self.underlay == 4 else "tc": tos}
        outer = self.outer(
            own, remote, port_mac(FABRIC_PORT), UNDERLAY_MAC, place.tag.outer, entropy_port(packet), **marks
        )
        return bytes(outer / Raw(bytes(inner)))  # its padding is of the tunnel


def entropy_port(packet: Any) -> int:
    """The outer source port, by the text of the packet path."""
    if not isinstance(packet, IP | IPv6):
        return 49152
    words = [word for text in (packet.src, packet.dst) for word in divmod(parse_address(text)[1], 1 << 64)]
    ported = isinstance(packet.payload, UDP) and not (packet.version == 4 and (packet.flags.MF or packet.frag))
    proto = packet.proto if packet.version == 4 else packet.nh
    both = packet.payload.sport << 16 | packet.payload.dport if ported else 0
    return 49152 + (weight(0, *words, proto << 32 | both) >> 32) % 2**14


def ip(source: str, target: str, family: Family, ttl: int = 64, tos: int = 0, host: int = 5) -> Any:
    """The IP header of a packet between hosts of two VPCs."""
    src, dst = address(source, family), address(target, family, host)
    return (
        IP(src=src, dst=dst, ttl=ttl, tos=tos, flags="DF") if family == 4 else IPv6(src=src, dst=dst, hlim=ttl, tc=tos)
    )


def sent(source: str, target: str, family: Family, ttl: int = 64, tos: int = 0, size: int = 32) -> Packet:
    """A frame of a host of ``source``, as it is inside the tag."""
    eth = Ether(src=host_mac(source), dst=port_mac(PLACES[source].port))
    body = UDP(sport=1234, dport=4321) / Raw(bytes(range(256)) * (size // 256 + 1))
    body.payload.load = body.payload.load[:size]
    return Ether(bytes(eth / ip(source, target, family, ttl, tos) / body))


def arrived(source: str, target: str, family: Family, ttl: int = 63, tos: int = 0, size: int = 32) -> Packet:
    """The same as the host of ``target`` has to get it."""
    frame = sent(source, target, family, ttl, tos, size)
    frame.src, frame.dst = port_mac(PLACES[target].port), host_mac(target)
    return frame


@contextmanager
def fabric() -> Iterator[Fabric]:
    with (
        ports() as ifindex,
        PacketPath.load(capacity=SMALL, record=True, icmp_rate=0, clock="manual", secret=1) as path,
    ):
        yield Fabric(path, ifindex)
