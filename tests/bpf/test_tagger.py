"""The tagger of labs: what hosts send gets the right tag, what the gateway sends is right to the bit or dropped.

Frames are built by scapy, and sent and seen where hosts and the gateway's ports are.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import NamedTuple

import pytest
from pyroute2 import netns
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from isthmus.datapath.netns import inside
from isthmus.lab import build
from isthmus.lab.plan import LabPlan, LabVpc
from isthmus.lab.tagger import FAULTS, Count, Tagger
from isthmus.lab.wiring import Link, wire
from isthmus.routing.underlay import Underlay, Way
from isthmus.tables.address import Family, Prefix, parse_address
from isthmus.tables.entries import (
    Attachment,
    AttachmentKey,
    NextHop,
    Origin,
    Route,
    Tables,
    Tag,
    TagKind,
    Tunnel,
    Vpc,
    Vtep,
)

NAME = "isthmus-test-tagger"
ORIGIN = Origin("test")
SOL_PACKET, PACKET_AUXDATA, EVERY_PROTOCOL, OUTGOING = 263, 8, 3, 4
AUXDATA = struct.Struct("=IIIHHHH")  # tpacket_auxdata: status, len, snaplen, mac, net, vlan_tci, vlan_tpid
VLAN_VALID = 0x10
WITHIN_S = 2.0

FAR_MACS = {4: "02:00:00:00:0b:04", 6: "02:00:00:00:0b:06"}
REMOTES = {4: "192.0.2.4", 6: "192.0.2.6"}
VTEP = "192.0.2.1"


def tunnel(end: int) -> Tunnel:
    return Tunnel(4, parse_address(REMOTES[end])[1], bytes.fromhex(FAR_MACS[end].replace(":", "")))


def vpc(
    name: str, tag: Tag, interface: str = "eth1", outer: int = 0x88A8, push: tuple[int, ...] = (), uniform: bool = True
) -> Vpc:
    key = AttachmentKey(name, interface, tag)
    own = ((*parse_address("10.1.1.254"), 24), (*parse_address("2001:db8:1::fe"), 64))
    attachment = Attachment(key, own, {4: None, 6: None}, 0, ORIGIN, 0, outer, push, uniform)
    routes: dict[Family, tuple[Route, ...]] = {}
    if tag.kind is TagKind.VXLAN:
        for prefix in (Prefix.parse("10.1.1.0/24"), Prefix.parse("2001:db8:1::/64")):
            hop = NextHop(key, None, ORIGIN, tunnel(prefix.family))
            routes[prefix.family] = (Route(prefix, 0, False, (hop,), ORIGIN),)
    return Vpc(name, True, False, (attachment,), {}, routes, ORIGIN)


VPCS = (
    vpc("plain", Tag()),
    vpc("vlan", Tag(TagKind.VLAN, 100)),
    vpc("qinq", Tag(TagKind.QINQ, 100, 7)),
    vpc("old", Tag(TagKind.QINQ, 100, 8), outer=0x8100),
    vpc("mpls", Tag(TagKind.MPLS, 200), "eth2", push=(1000, 16)),
    vpc("pipe", Tag(TagKind.MPLS, 201), "eth3", push=(17,), uniform=False),
    vpc("penultimate", Tag(TagKind.MPLS, 202), "eth4"),
    vpc("vxlan", Tag(TagKind.VXLAN, 5001), "eth5"),
)


class Lab(NamedTuple):
    """A fabric with the tagger; and what is seen at every port of the gateway and at the hosts of every VPC."""

    plan: LabPlan
    tagger: Tagger
    ports: dict[str, socket.socket]
    hosts: dict[str, socket.socket]


class Side(NamedTuple):
    """A link from both ends: the port of the gateway, and the hosts."""

    link: Link
    wire_mac: str
    port: socket.socket
    hosts: socket.socket
    tagger: Tagger
    others: list[socket.socket]


@contextmanager
def fabric(name: str, vpcs_of_it: tuple[Vpc, ...], vtep: str) -> Iterator[Lab]:
    """The fabric of these VPCs, and namespaces around it."""
    tables = Tables({v.name: v for v in vpcs_of_it}, vtep=Vtep(*parse_address(vtep), "eth5"))
    wiring = wire(tables, tables.vpcs, "tc")
    vpcs = tuple(LabVpc(v, f"{name}-{v}", f"{name}.gw.{v}", wiring.links[v], ()) for v in tables.vpcs)
    plan = LabPlan(name, f"{name}.gw", vpcs, (), tuple(wiring.ports.values()), f"{name}.fabric", wiring.vtep)
    with ExitStack() as stack:
        for each in plan.namespaces:
            build.make_namespace(each)
            stack.callback(netns.remove, each)
        build.furnish(plan)

        def listen(namespace: str, interface: str) -> socket.socket:
            with inside(namespace):
                one = stack.enter_context(closing(socket.socket(socket.AF_PACKET, socket.SOCK_RAW)))
                one.bind((interface, EVERY_PROTOCOL))
            one.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            return one

        ports = {port.name: listen(plan.gateway_namespace, port.name) for port in plan.ports}
        hosts = {v.name: listen(v.host_namespace, "eth0") for v in plan.vpcs}
        yield Lab(plan, stack.enter_context(Tagger(plan)), ports, hosts)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with fabric(NAME, VPCS, VTEP) as found:
        yield found


@pytest.fixture
def side(request: pytest.FixtureRequest, lab: Lab) -> Side:
    """The link of the VPC that the test names."""
    return side_of(lab, request.param)


def side_of(lab: Lab, vpc: str) -> Side:
    for one in (*lab.ports.values(), *lab.hosts.values()):
        nothing(one, SAYING)
        one.settimeout(WITHIN_S)
    found = lab.plan.vpc(vpc)
    assert found is not None
    [link] = found.links
    others = [one for name, one in lab.hosts.items() if name != found.name]
    [wire_mac] = [port.wire_mac for port in lab.plan.ports if port.name == link.port]
    return Side(link, wire_mac, lab.ports[link.port], lab.hosts[found.name], lab.tagger, others)


def seen(at: socket.socket, saying: bytes) -> bytes:
    """The next frame that comes in and says this, with the tag that the kernel has put beside it."""
    while True:
        frame, extra, _, address = at.recvmsg(4096, 256)
        if address[2] == OUTGOING or saying not in frame:
            continue
        for _, kind, data in extra:
            if kind == PACKET_AUXDATA:
                status, _, _, _, _, tci, tpid = AUXDATA.unpack(data)
                if status & VLAN_VALID:
                    return frame[:12] + struct.pack("!HH", tpid, tci) + frame[12:]
        return frame


def nothing(at: socket.socket, saying: bytes) -> bool:
    """True if of what is there nothing says this."""
    at.settimeout(0)
    try:
        seen(at, saying)
    except BlockingIOError:
        return True
    return False


SAYING = b"said by a test of the tagger"
FOUR = IP(src="10.1.1.1", dst="10.9.9.9", tos=0xB8, ttl=33) / UDP(sport=1, dport=2) / Raw(SAYING)
SIX = IPv6(src="2001:db8:1::1", dst="2001:db8:9::9", tc=0x28, hlim=44) / UDP(sport=1, dport=2) / Raw(SAYING)
BACK4 = IP(src="10.9.9.9", dst="10.1.1.1", tos=0xB9, ttl=33) / UDP(sport=2, dport=1) / Raw(SAYING)
BACK6 = IPv6(src="2001:db8:9::9", dst="2001:db8:1::1", tc=0x28, hlim=44) / UDP(sport=2, dport=1) / Raw(SAYING)


def out(link: Link) -> Ether:
    """As a host says it."""
    return Ether(src=link.host_mac, dst=link.port_mac)


def back(link: Link) -> Ether:
    """As the gateway says it."""
    return Ether(src=link.port_mac, dst=link.host_mac)


def tagged(link: Link, ethernet: Ether, packet: Packet, *, arriving: bool) -> Packet:
    """By scapy, what docs/packet-path.md says of VLAN, QinQ and MPLS; ``arriving``: at the gateway."""
    tag = link.attachment.tag
    match tag.kind:
        case TagKind.VLAN:
            return ethernet / Dot1Q(vlan=tag.outer) / packet
        case TagKind.QINQ:
            outer = Dot1AD(vlan=tag.outer) if link.outer_type == 0x88A8 else Dot1Q(vlan=tag.outer)
            return ethernet / outer / Dot1Q(vlan=tag.inner) / packet
        case TagKind.MPLS:
            tos, ttl = (packet.tos, packet.ttl) if IP in packet else (packet.tc, packet.hlim)
            labels = (tag.outer,) if arriving else link.push
            for number, label in enumerate(labels):
                bottom = int(number == len(labels) - 1)
                ethernet /= MPLS(label=label, cos=tos >> 5, s=bottom, ttl=ttl if link.uniform else 255)
            return ethernet / packet
    return ethernet / packet


STACKED = ["plain", "vlan", "qinq", "old", "mpls", "pipe", "penultimate"]


@pytest.mark.parametrize("packet", [FOUR, SIX], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("side", STACKED, indirect=True)
def test_what_a_host_says_gets_the_tag(side: Side, packet: Packet) -> None:
    side.hosts.send(bytes(out(side.link) / packet))
    assert seen(side.port, SAYING) == bytes(tagged(side.link, out(side.link), packet, arriving=True))


@pytest.mark.parametrize("packet", [BACK4, BACK6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("side", STACKED, indirect=True)
def test_what_the_gateway_says_loses_the_tag_and_reaches_nobody_else(side: Side, packet: Packet) -> None:
    side.port.send(bytes(tagged(side.link, back(side.link), packet, arriving=False)))
    assert seen(side.hosts, SAYING) == bytes(back(side.link) / packet)
    assert all(nothing(other, SAYING) for other in side.others)


def in_tunnel(link: Link, end: int, inner: Packet, fields: dict[str, object], *, arriving: bool = False) -> Packet:
    """A VXLAN packet of the gateway to a remote VTEP, or (``arriving``) from there; ``fields`` change outer IP."""
    tos = {"tos": inner[IP].tos} if IP in inner else {"tos": inner[IPv6].tc} if IPv6 in inner else {}
    ends = {"src": REMOTES[end], "dst": VTEP} if arriving else {"src": VTEP, "dst": REMOTES[end]}
    outer = IP(**{"id": 0, "flags": "DF", "ttl": 64, **tos, **ends, **fields})
    return outer / UDP(sport=50000, dport=4789, chksum=0) / VXLAN(flags=8, vni=link.attachment.tag.outer) / inner


@pytest.mark.parametrize(("packet", "end"), [(FOUR, 4), (SIX, 6)], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("side", ["vxlan"], indirect=True)
def test_what_a_host_says_comes_out_of_its_remote_vtep(side: Side, packet: Packet, end: int) -> None:
    side.hosts.send(bytes(out(side.link) / packet))
    found = Ether(seen(side.port, SAYING))
    sport = found[UDP].sport
    assert sport >= 49152
    inner = Ether(src=FAR_MACS[end], dst=side.link.port_mac) / packet
    ethernet = Ether(src=side.wire_mac, dst=side.link.port_mac)
    expected = ethernet / in_tunnel(side.link, end, inner, {}, arriving=True)
    expected[UDP].sport = sport
    assert bytes(found) == bytes(expected)


def from_gateway(side: Side, end: int, packet: Packet, **fields: object) -> Packet:
    inner = Ether(src=side.link.port_mac, dst=FAR_MACS[end]) / packet
    return Ether(src=side.link.port_mac, dst=side.wire_mac) / in_tunnel(side.link, end, inner, fields)


@pytest.mark.parametrize(("packet", "end"), [(BACK4, 4), (BACK6, 6)], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("side", ["vxlan"], indirect=True)
def test_what_the_gateway_says_through_the_right_tunnel_arrives(side: Side, packet: Packet, end: int) -> None:
    side.port.send(bytes(from_gateway(side, end, packet)))
    assert seen(side.hosts, SAYING) == bytes(back(side.link) / packet)


ASKED = ARP(op=1, hwsrc="02:00:00:00:00:01", psrc="10.1.1.254", pdst="10.1.1.1")
SOLICITED = IPv6(src="2001:db8:1::fe", dst="2001:db8:1::1", hlim=255) / ICMPv6ND_NS(tgt="2001:db8:1::1")


@pytest.mark.parametrize("packet", [ASKED, SOLICITED], ids=["ARP", "ND"])
@pytest.mark.parametrize("side", ["mpls", "penultimate"], indirect=True)
def test_discovery_of_an_mpls_attachment_has_no_label(side: Side, packet: Packet) -> None:
    side.port.send(bytes(back(side.link) / packet))
    assert seen(side.hosts, bytes(packet)[-20:]) == bytes(back(side.link) / packet)
    side.hosts.send(bytes(out(side.link) / packet))
    assert seen(side.port, bytes(packet)[-20:]) == bytes(out(side.link) / packet)


def faults(side: Side, frame: bytes | Packet) -> set[Count]:
    """What is counted of a frame that the gateway sends and that must reach nobody."""
    before = side.tagger.counts()
    side.port.send(bytes(frame))
    after = side.tagger.counts()
    assert all(nothing(each, SAYING) for each in (side.hosts, *side.others))
    return {each for each in FAULTS if after[each] != before[each]}


@pytest.mark.parametrize("side", ["vlan"], indirect=True)
def test_wrong_vlan_tags(side: Side) -> None:
    ethernet = back(side.link)
    assert faults(side, ethernet / Dot1Q(vlan=101) / BACK4) == {Count.UNKNOWN_TAG}
    assert faults(side, ethernet / Dot1Q(vlan=100, prio=3) / BACK4) == {Count.WRONG_TAG}
    assert faults(side, ethernet / Dot1AD(vlan=100) / BACK4) == {Count.WRONG_TAG}
    assert faults(side, ethernet / Dot1AD(vlan=100) / Dot1Q(vlan=9) / BACK4) == {Count.UNKNOWN_TAG}
    assert faults(side, ethernet / Dot1Q(vlan=100) / Dot1Q(vlan=7) / BACK4) == {Count.WRONG_TAG}
    assert faults(side, ethernet / Dot1AD(vlan=100) / Dot1AD(vlan=7) / BACK4) == {Count.WRONG_TAG}
    assert faults(side, Ether(src=side.link.port_mac, dst="02:00:00:00:00:09") / Dot1Q(vlan=100) / BACK4) == {
        Count.WRONG_MAC
    }


@pytest.mark.parametrize("side", ["mpls"], indirect=True)
def test_wrong_labels(side: Side) -> None:
    right = tagged(side.link, back(side.link), BACK4, arriving=False)
    ethernet = back(side.link)
    assert faults(side, ethernet / BACK4) == {Count.UNKNOWN_TAG}
    only = MPLS(label=1000, s=1, cos=5, ttl=33)
    assert faults(side, ethernet / only / BACK4) == {Count.UNKNOWN_TAG}
    for layer, field, value in ((1, "ttl", 32), (2, "ttl", 255), (1, "cos", 0), (2, "cos", 1)):
        wrong = right.copy()
        setattr(wrong.getlayer(MPLS, layer), field, value)
        assert faults(side, wrong) == {Count.WRONG_LABEL}, (layer, field)
    wrong = right.copy()
    wrong.getlayer(MPLS, 2).label = 17
    assert faults(side, wrong) == {Count.UNKNOWN_TAG}
    assert faults(side, tagged(side.link, ethernet, SOLICITED / Raw(SAYING), arriving=False)) == {Count.NOT_IP}


@pytest.mark.parametrize("side", ["vxlan"], indirect=True)
def test_wrong_tunnels(side: Side) -> None:
    for field, value in (
        ("id", 1),
        ("flags", 0),
        ("ttl", 63),
        ("tos", 0),
        ("chksum", 1),
        ("len", 60),
        ("src", "9.9.9.9"),
    ):
        assert faults(side, from_gateway(side, 4, BACK4, **{field: value})) == {Count.WRONG_OUTER}, field
    assert faults(side, from_gateway(side, 6, BACK4)) == {Count.WRONG_REMOTE}
    right = from_gateway(side, 4, BACK4)
    for layer, field, value in (
        (UDP, "chksum", 7),
        (UDP, "len", 20),
        (UDP, "sport", 4789),
        (VXLAN, "flags", 0),
        (VXLAN, "reserved2", 1),
    ):
        wrong = right.copy()
        setattr(wrong[layer], field, value)
        assert faults(side, wrong) == {Count.WRONG_OUTER}, field
    wrong = right.copy()
    wrong[VXLAN].vni = 5002
    assert faults(side, wrong) == {Count.UNKNOWN_TAG}
    wrong = right.copy()
    wrong.getlayer(Ether, 2).dst = side.link.host_mac
    assert faults(side, wrong) == {Count.WRONG_MAC}


@pytest.mark.parametrize("side", ["vxlan"], indirect=True)
def test_what_has_no_remote_is_not_sent(side: Side) -> None:
    before = side.tagger.counts()[Count.NOT_SENT]
    side.hosts.send(bytes(out(side.link) / IP(src="10.2.2.2", dst="10.9.9.9") / ICMP() / Raw(SAYING)))
    side.hosts.send(bytes(out(side.link) / IPv6(src="fe80::2", dst="ff02::1") / ICMPv6EchoRequest(data=SAYING)))
    assert side.tagger.counts()[Count.NOT_SENT] == before + 2
    assert nothing(side.port, SAYING)


FAR6, VTEP6 = "2001:db8:f::4", "2001:db8:f::1"
OVER_IPV6 = vpc("six", Tag(TagKind.VXLAN, 5001), "eth5")


def over_ipv6() -> Vpc:
    """A VPC whose only tunnel leads over IPv6, to everybody."""
    far = Tunnel(*parse_address(FAR6), bytes.fromhex(FAR_MACS[4].replace(":", "")))
    hop = NextHop(OVER_IPV6.attachments[0].key, None, ORIGIN, far)
    everybody: dict[Family, tuple[Route, ...]] = {
        prefix.family: (Route(prefix, 0, False, (hop,), ORIGIN),)
        for prefix in (Prefix.parse("10.1.1.0/24"), Prefix.parse("2001:db8:1::/64"))
    }
    return OVER_IPV6._replace(routes=everybody)


def test_tunnels_over_ipv6_also_of_what_is_shorter_than_an_ipv6_header() -> None:
    with fabric(f"{NAME}-6", (over_ipv6(),), VTEP6) as found:
        side = side_of(found, "six")
        reply = ARP(op=2, hwsrc=side.link.host_mac, psrc="10.1.1.1", hwdst=side.link.port_mac, pdst="10.1.1.254")
        for packet, saying in ((FOUR, SAYING), (SIX, SAYING), (reply, bytes(reply)[8:])):
            side.hosts.send(bytes(out(side.link) / packet))
            frame = Ether(seen(side.port, saying))
            tos = packet.tos if IP in packet else packet.tc if IPv6 in packet else 0
            assert (frame[IPv6].src, frame[IPv6].dst, frame[IPv6].tc, frame[IPv6].hlim) == (FAR6, VTEP6, tos, 64)
            assert bytes(frame[VXLAN].payload) == bytes(Ether(src=FAR_MACS[4], dst=side.link.port_mac) / packet)
        for packet, saying in ((BACK4, SAYING), (BACK6, SAYING), (ASKED, bytes(ASKED)[8:])):
            tos = packet.tos if IP in packet else packet.tc if IPv6 in packet else 0
            outer = Ether(src=side.link.port_mac, dst=side.wire_mac) / IPv6(src=VTEP6, dst=FAR6, tc=tos, hlim=64)
            udp = bytes(UDP(sport=50000, dport=4789) / VXLAN(flags=8, vni=5001))
            inner = bytes(Ether(src=side.link.port_mac, dst=FAR_MACS[4]) / packet)
            length = struct.pack("!HH", len(udp) + len(inner), 0)  # and no checksum (RFC 6935)
            outer.plen, outer.nh = len(udp) + len(inner), socket.IPPROTO_UDP
            side.port.send(bytes(outer) + udp[:4] + length + udp[8:] + inner)
            assert seen(side.hosts, saying) == bytes(back(side.link) / packet)
        assert not [what for what in FAULTS if side.tagger.counts()[what]]


def test_the_underlay_s_kernels_find_one_another_past_the_tagger(lab: Lab) -> None:
    port = lab.plan.vtep_port
    assert port is not None
    with inside(lab.plan.gateway_namespace):
        underlay, index = Underlay(lab.plan.remote_vteps), socket.if_nametoindex(port.name)
    with closing(underlay):
        found: dict[int, Way] = {}
        deadline = time.monotonic() + WITHIN_S
        while not all(way.mac for way in found.values()) or len(found) < len(REMOTES):
            assert time.monotonic() < deadline, found
            select.select([underlay], [], [], 0.1)
            found |= {way.address: way for way in underlay.changes()}
    mac = bytes.fromhex(port.wire_mac.replace(":", ""))
    assert set(found.values()) == {Way(4, parse_address(text)[1], index, mac) for text in REMOTES.values()}
