"""Tags on the way in and out, byte for byte against frames that scapy makes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6TimeExceeded, IPv6
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from isthmus.tables.address import Family, parse_address
from isthmus.tables.entries import Attachment, AttachmentKey, NextHop, Origin, PortPolicy, Tag, TagKind, Tunnel, Vtep
from isthmus.tables.share import address_words, weight
from isthmus.tables.verdicts import Verdict
from isthmus.trace.twin import Outcome, Twin
from tests.scenarios.packets.builder import hop, route
from tests.scenarios.packets.frames import ip, recomputed
from tests.scenarios.packets.network import BLUE_MAC, HOST_MAC, LINKS, NEIGHBOR_MAC, RED_MAC, Network

VLAN, QINQ = Tag(TagKind.VLAN, 7), Tag(TagKind.QINQ, 100, 7)
LABEL, VNI = Tag(TagKind.MPLS, 200), Tag(TagKind.VXLAN, 5001)
INNER_MAC, OUTER_MAC, FABRIC_MAC = (bytes([2, 0, 0, 0, 3, last]) for last in (1, 2, 3))
VTEPS: dict[Family, tuple[str, str]] = {4: ("192.0.2.1", "192.0.2.9"), 6: ("2001:db8:99::1", "2001:db8:99::9")}
HOSTS = {4: ("10.1.1.5", "192.168.2.7"), 6: ("2001:db8:a::5", "2001:db8:2::7")}
SEEN = {4: ("192.168.1.5", "10.1.1.7"), 6: ("2001:db8:1::5", "2001:db8:b::7")}
FAMILIES: tuple[Family, Family] = (4, 6)


def tagged(vpc: str, tag: Tag, **more: Any) -> Attachment:
    link = LINKS[vpc]
    return link._replace(key=AttachmentKey(vpc, link.key.interface, tag), **more)


def entering(tag: Tag, **more: Any) -> Network:
    """red's attachment has a tag."""
    link = tagged("red", tag, **more)
    return Network().with_link("red", link).with_route("red", route("10.1.1.0/24", hop(link)))


def leaving(tag: Tag, **more: Any) -> Network:
    """blue's attachment has a tag."""
    link = tagged("blue", tag, **more)
    routes = (route("10.1.1.0/24", hop(link)), route("2001:db8:b::/64", hop(link)))
    return Network().with_link("blue", link).with_route("blue", *routes)


def tunnelled(vpc: str, family: Family = 4, **more: Any) -> Network:
    """The VPC's attachment is a VXLAN segment; the underlay's way to the remote VTEP is on its own port, or on net0."""
    own, far = VTEPS[family]
    link = tagged(vpc, VNI, **more)
    tunnel = Tunnel(family, parse_address(far)[1], INNER_MAC)
    through = NextHop(link.key, None, Origin("VPC/remote"), tunnel)
    network = Network(vtep=Vtep(family, parse_address(own)[1], link.key.interface))
    network = network.with_link(vpc, link).with_route(
        vpc, route("10.1.1.0/24", through), route(f"2001:db8:{'a' if vpc == 'red' else 'b'}::/64", through)
    )
    return replace(network, tunnels={(family, tunnel.vtep): ("net0", FABRIC_MAC)})


def hosts_packet(family: Family, ends: dict[int, tuple[str, str]] = HOSTS, ttl: int = 64, tos: int = 0) -> Packet:
    src, dst = ends[family]
    header = IP(src=src, dst=dst, ttl=ttl, tos=tos) if family == 4 else IPv6(src=src, dst=dst, hlim=ttl, tc=tos)
    return header / UDP(sport=1000, dport=53) / b"data"


def outer(family: Family, own: bool, inner: bytes, tos: int = 0, **udp: Any) -> bytes:
    """A tunnel's packet, from our VTEP or to it."""
    here, there = VTEPS[family]
    src, dst = (here, there) if own else (there, here)
    macs = {"dst": FABRIC_MAC, "src": bytes([2, 0, 0, 0, 0, 3])} if own else {"dst": RED_MAC, "src": OUTER_MAC}
    header = IP(src=src, dst=dst, ttl=64, flags="DF", id=0, tos=tos) if family == 4 else IPv6(src=src, dst=dst, tc=tos)
    packet = Ether(**macs) / header / UDP(**{"sport": 50000, "dport": 4789, "chksum": 0} | udp)
    return bytes(packet / VXLAN(flags=8, vni=5001) / Raw(inner))


def from_host(*tags: Packet) -> Packet:
    head = Ether(dst=RED_MAC, src=HOST_MAC)
    for tag in tags:
        head /= tag
    return head


def plain(packet: Packet, dst: bytes = NEIGHBOR_MAC, src: bytes = BLUE_MAC) -> bytes:
    return bytes(Ether(dst=dst, src=src) / packet)


TAGS = [
    (VLAN, from_host(Dot1Q(vlan=7, prio=5, dei=1))),
    (VLAN, from_host(Dot1AD(vlan=7))),
    (QINQ, from_host(Dot1AD(vlan=100), Dot1Q(vlan=7))),
    (QINQ, from_host(Dot1Q(vlan=100), Dot1Q(vlan=7, prio=3))),
    (LABEL, from_host(MPLS(label=200, s=1, ttl=64))),
    (LABEL, from_host(MPLS(label=0, s=0, ttl=9), MPLS(label=200, s=1, ttl=64))),
    (LABEL, from_host(MPLS(label=2, s=0, ttl=9), MPLS(label=200, s=1, ttl=64))),
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("tag", "head"), TAGS)
def test_a_tag_comes_off_on_the_way_in(family: Family, tag: Tag, head: Packet) -> None:
    outcome = entering(tag).process(bytes(head / hosts_packet(family)))
    assert outcome == Outcome(
        Verdict.FORWARDED, (("blue0", plain(hosts_packet(family, SEEN, ttl=63))),), peering="red--blue"
    )


UNKNOWN = [
    (VLAN, from_host(Dot1Q(vlan=8))),
    (VLAN, from_host()),
    (VLAN, from_host(Dot1Q(vlan=0))),
    (VLAN, from_host(Dot1Q(vlan=7), Dot1Q(vlan=7))),
    (VLAN, from_host(Dot1Q(vlan=7), Dot1AD(vlan=7))),
    (QINQ, from_host(Dot1Q(vlan=7))),
    (QINQ, from_host(Dot1AD(vlan=100), Dot1AD(vlan=7))),
    (QINQ, from_host(Dot1AD(vlan=7), Dot1Q(vlan=100))),
    (LABEL, from_host(MPLS(label=201, s=1, ttl=64))),
    (LABEL, from_host(MPLS(label=200, s=0, ttl=64), MPLS(label=300, s=1))),
    (LABEL, from_host(MPLS(label=0, s=0), MPLS(label=0, s=0), MPLS(label=200, s=1))),
    (LABEL, from_host(MPLS(label=0, s=1))),
    (LABEL, from_host()),
]


@pytest.mark.parametrize(("tag", "head"), UNKNOWN)
def test_a_tag_that_nobody_has(tag: Tag, head: Packet) -> None:
    data, network = bytes(head / hosts_packet(4)), entering(tag)
    assert network.process(data) == Outcome(Verdict.UNKNOWN_TAG)
    passing = replace(network, policies={"red0": PortPolicy(unclaimed="pass")})
    assert passing.process(data) == Outcome(Verdict.PASSED)


@pytest.mark.parametrize(
    ("tag", "head", "shortest"),
    [(VLAN, TAGS[0][1], 18), (QINQ, TAGS[2][1], 22), (LABEL, TAGS[4][1], 18), (LABEL, TAGS[5][1], 22)],
)
def test_a_tag_that_does_not_fit_is_malformed(tag: Tag, head: Packet, shortest: int) -> None:
    data = bytes(head / hosts_packet(4))
    for size in (*range(14, shortest), shortest, shortest + 19):
        assert entering(tag).process(data[:size]).verdict is Verdict.MALFORMED, size


def test_what_is_behind_a_label_is_ip_by_its_first_bits() -> None:
    head = bytes(from_host(MPLS(label=200, s=1, ttl=64)))
    assert entering(LABEL).process(head + b"\x55" * 40).verdict is Verdict.MALFORMED
    assert entering(LABEL).process(head).verdict is Verdict.MALFORMED


def test_what_is_in_a_tag_and_is_no_ip() -> None:
    head = from_host(Dot1AD(vlan=100), Dot1Q(vlan=7), Dot1Q(vlan=9))
    assert entering(QINQ).process(bytes(head / hosts_packet(4))).verdict is Verdict.NOT_IP


@pytest.mark.parametrize(("uniform", "ttl"), [(True, 8), (False, 63)])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_ttl_of_a_label_is_the_packets_or_nobodys(family: Family, uniform: bool, ttl: int) -> None:
    head = from_host(MPLS(label=200, s=1, ttl=9))
    outcome = entering(LABEL, uniform=uniform).process(bytes(head / hosts_packet(family)))
    assert outcome.out == (("blue0", plain(hosts_packet(family, SEEN, ttl=ttl))),)


WAYS_OUT = [
    (VLAN, {}, (Dot1Q(vlan=7),)),
    (QINQ, {}, (Dot1AD(vlan=100), Dot1Q(vlan=7))),
    (QINQ, {"outer_type": 0x8100}, (Dot1Q(vlan=100), Dot1Q(vlan=7))),
    (LABEL, {}, ()),
    (LABEL, {"push": (16,)}, (MPLS(label=16, cos=5, s=1, ttl=63),)),
    (LABEL, {"push": (16, 17)}, (MPLS(label=16, cos=5, s=0, ttl=63), MPLS(label=17, cos=5, s=1, ttl=63))),
    (LABEL, {"push": (16,), "uniform": False}, (MPLS(label=16, cos=5, s=1, ttl=255),)),
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("tag", "more", "tags"), WAYS_OUT)
def test_a_tag_goes_on_on_the_way_out(family: Family, tag: Tag, more: dict[str, Any], tags: tuple[Packet, ...]) -> None:
    outcome = leaving(tag, **more).process(bytes(from_host() / hosts_packet(family, tos=0xB8)))
    packet: Packet = Ether(dst=NEIGHBOR_MAC, src=BLUE_MAC)
    for one in tags:
        packet /= one
    expected = bytes(packet / hosts_packet(family, SEEN, ttl=63, tos=0xB8))
    assert outcome.out == (("blue0", expected),)


def entropy(family: Family, sport: int = 1000, dport: int = 53, proto: int = 17) -> int:
    src, dst = (parse_address(text)[1] for text in SEEN[family])
    h = weight(0, *address_words(src), *address_words(dst), proto << 32 | sport << 16 | dport) >> 32
    return 49152 + h % 2**14


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("underlay", FAMILIES)
def test_a_tunnel_on_the_way_out(family: Family, underlay: Family) -> None:
    """Inner MACs: the remote's, and that of the VTEP's port. Outer: the next hop's, and that of the port by which."""
    network = tunnelled("blue", underlay)
    for tos in (0, 0xB8, 3):
        outcome = network.process(bytes(from_host() / hosts_packet(family, tos=tos)))
        inner = plain(hosts_packet(family, SEEN, ttl=63, tos=tos), dst=INNER_MAC)
        assert outcome.verdict is Verdict.FORWARDED
        assert outcome.out == (("net0", outer(underlay, True, inner, tos, sport=entropy(family))),)
    unknown = replace(network, tunnels={})
    assert unknown.process(bytes(from_host() / hosts_packet(family))).verdict is Verdict.NEXT_HOP_UNRESOLVED


def test_the_outer_port_is_one_for_all_fragments_and_what_has_no_ports() -> None:
    fragment = ip(*HOSTS[4], flags="MF") / UDP(sport=1000, dport=53, len=100, chksum=0) / bytes(16)
    outcome = tunnelled("blue").process(bytes(from_host() / fragment))
    assert Ether(outcome.out[0][1])[UDP].sport == entropy(4, 0, 0)
    outcome = tunnelled("blue").process(bytes(from_host() / ip(*HOSTS[4], proto=47) / bytes(16)))
    assert Ether(outcome.out[0][1])[UDP].sport == entropy(4, 0, 0, 47)
    outcome = tunnelled("blue").process(bytes(from_host() / ip(*HOSTS[4]) / TCP(sport=9, dport=8, flags="S")))
    assert Ether(outcome.out[0][1])[UDP].sport == entropy(4, 9, 8, 6)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("underlay", FAMILIES)
def test_a_tunnel_on_the_way_in(family: Family, underlay: Family) -> None:
    inner = bytes(from_host() / hosts_packet(family))
    outcome = tunnelled("red", underlay).process(outer(underlay, False, inner, chksum=0x1234))
    assert outcome.out == (("blue0", plain(hosts_packet(family, SEEN, ttl=63))),)


ECN = {(0, 3): None} | {(inner, 3): 3 for inner in (1, 2, 3)} | {(2, 1): 1}
"""RFC 6040 figure 4: (inner, outer) to what goes on; None: dropped. Else the inner one stays."""


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("underlay", FAMILIES)
def test_congestion_of_a_tunnel_is_the_packets(family: Family, underlay: Family) -> None:
    for own in range(4):
        for met in range(4):
            inner = bytes(from_host() / hosts_packet(family, tos=0xB8 | own))
            outcome = tunnelled("red", underlay).process(outer(underlay, False, inner, 0x20 | met))
            left = ECN.get((own, met), own)
            if left is None:
                assert outcome.verdict is Verdict.MALFORMED
            else:
                expected = plain(hosts_packet(family, SEEN, ttl=63, tos=0xB8 | left))
                assert outcome.out == (("blue0", expected),), (own, met)


def test_what_is_no_tunnel_to_the_vtep_is_the_hosts() -> None:
    network, inner = tunnelled("red"), bytes(from_host() / hosts_packet(4))
    right = Ether(outer(4, False, inner))
    for wrong in (
        {"dst": "192.0.2.2"}, {"flags": "MF"}, {"frag": 5}, {"proto": 6}, {"options": b"\1" * 4, "ihl": 6},
    ):  # fmt: skip
        frame = right.copy()
        for name, value in wrong.items():
            if name == "options":
                frame = Ether(bytes(right)[:14] + b"\x46" + bytes(right)[15:34] + b"\1" * 4 + bytes(right)[34:])
            elif name != "ihl":
                frame[IP].setfieldval(name, value)
        assert network.process(bytes(frame)) == Outcome(Verdict.PASSED), wrong
    for data in (outer(4, False, inner, dport=4790), bytes(Ether(dst=RED_MAC) / ARP()), inner, inner[:20]):
        assert network.process(data) == Outcome(Verdict.PASSED)
    assert network.process(bytes(from_host(Dot1Q(vlan=1)))).verdict is Verdict.UNKNOWN_TAG


def test_a_tunnel_that_can_t_be_read_or_is_nobodys() -> None:
    network, inner = tunnelled("red"), bytes(from_host() / hosts_packet(4))
    frame = outer(4, False, inner)
    assert network.process(frame[:42] + b"\0" + frame[43:]).verdict is Verdict.MALFORMED, "flag I"
    assert network.process(frame[:42] + b"\xff" + frame[43:]).verdict is Verdict.FORWARDED, "the others mean nothing"
    assert network.process(frame[:46] + b"\0\0\1" + frame[49:]).verdict is Verdict.UNKNOWN_TAG
    for size in (42, 49, 50, 63, 64, 83):
        assert network.process(frame[:size]).verdict is Verdict.MALFORMED, size
    vlan = bytes(from_host(Dot1Q(vlan=7)) / hosts_packet(4))
    assert network.process(outer(4, False, vlan)).verdict is Verdict.NOT_IP
    other = bytes(Ether(dst=HOST_MAC, src=HOST_MAC) / hosts_packet(4))
    assert network.process(outer(4, False, other)).verdict is Verdict.NOT_OUR_MAC


@pytest.mark.parametrize("underlay", FAMILIES)
def test_answers_go_back_through_tag_and_tunnel(underlay: Family) -> None:
    dying = hosts_packet(4, ttl=1)
    said = IP(src="10.1.1.1", dst="10.1.1.5", tos=0xC0, flags="DF", id=0) / ICMP(type=11) / Raw(bytes(dying))
    back = bytes(Ether(dst=HOST_MAC, src=RED_MAC) / Dot1Q(vlan=7) / said)
    outcome = entering(VLAN).process(bytes(from_host(Dot1Q(vlan=7)) / dying))
    assert (outcome.verdict, outcome.answer) == (Verdict.TTL, ("red0", back))
    labels = entering(LABEL, push=(16,)).process(bytes(from_host(MPLS(label=200, s=1, ttl=1)) / hosts_packet(4)))
    assert labels.answer == (
        "red0",
        bytes(Ether(dst=HOST_MAC, src=RED_MAC) / MPLS(label=16, cos=6, s=1, ttl=64) / said),
    )
    outcome = tunnelled("red", underlay).process(outer(underlay, False, bytes(from_host() / dying)))
    assert outcome.answer is not None
    interface, data = outcome.answer
    frame = Ether(data)
    assert (interface, frame.dst, frame.src) == ("red0", Ether(dst=OUTER_MAC).dst, Ether(dst=RED_MAC).dst)
    header = frame[IP] if underlay == 4 else frame[IPv6]
    assert (header.src, header.dst) == VTEPS[underlay]
    assert bytes(frame[VXLAN].payload) == plain(said, dst=HOST_MAC, src=RED_MAC)


def test_an_answer_in_ipv6_leaves_tagged() -> None:
    outcome = entering(QINQ).process(bytes(from_host(Dot1AD(vlan=100), Dot1Q(vlan=7)) / hosts_packet(6, ttl=1)))
    assert outcome.answer is not None
    answer = Ether(outcome.answer[1])
    assert [answer[Dot1AD].vlan, answer[Dot1Q].vlan] == [100, 7]
    assert ICMPv6TimeExceeded in answer


@pytest.mark.parametrize(
    ("network", "most"),
    [
        (leaving(VLAN), 1500),
        (leaving(QINQ), 1496),
        (leaving(LABEL), 1500),
        (leaving(LABEL, push=(16, 17, 18)), 1488),
        (leaving(LABEL, push=(16,), mtu=1400), 1400),
        (tunnelled("blue", 4), 1450),
        (tunnelled("blue", 6), 1430),
    ],
)
def test_a_tag_takes_of_the_mtu(network: Network, most: int) -> None:
    big = ip(*HOSTS[4], flags="DF") / UDP() / bytes(most - 28)
    assert network.process(bytes(from_host() / big)).verdict is Verdict.FORWARDED
    outcome = network.process(bytes(from_host() / ip(*HOSTS[4], flags="DF") / UDP() / bytes(most - 27)))
    assert outcome.verdict is Verdict.TOO_BIG
    assert outcome.answer is not None
    assert Ether(outcome.answer[1])[ICMP].nexthopmtu == most


def test_fragments_each_get_the_tag() -> None:
    network = replace(leaving(VLAN, mtu=600), hook="tc")
    outcome = network.process(bytes(from_host() / ip(*HOSTS[4], flags=0) / UDP() / bytes(1000)))
    assert [Ether(data)[Dot1Q].vlan for _, data in outcome.out] == [7, 7]
    network = replace(tunnelled("blue", mtu=600), hook="tc")
    outcome = network.process(bytes(from_host() / ip(*HOSTS[4], flags=0) / UDP() / bytes(1000)))
    assert [(port, Ether(data)[UDP].sport) for port, data in outcome.out] == [("net0", entropy(4, 0, 0))] * 2
    assert all(recomputed(data)[:40] == data[:40] for _, data in outcome.out)


def test_arp_and_nd_of_mpls_come_untagged_to_whom_they_are_about() -> None:
    network = entering(LABEL)
    key = network.links["red"].key
    asks = bytes(Ether(dst=b"\xff" * 6, src=HOST_MAC) / ARP(pdst="10.1.1.1"))
    assert network.process(asks) == Outcome(Verdict.LOCAL, to_namespace=key, delivered=asks)
    other = bytes(Ether(dst=b"\xff" * 6, src=HOST_MAC) / ARP(pdst="10.1.1.9"))
    assert network.process(other) == Outcome(Verdict.UNKNOWN_TAG)
    assert network.process(asks[:41]) == Outcome(Verdict.UNKNOWN_TAG)
    ours, theirs = "2001:db8:a::1", "2001:db8:a::5"
    solicit = IPv6(src=theirs, dst="ff02::1:ff00:1", hlim=255) / ICMPv6ND_NS(tgt=ours)
    assert network.process(bytes(Ether(dst="33:33:ff:00:00:01", src=HOST_MAC) / solicit)).to_namespace == key
    advert = IPv6(src=theirs, dst=ours, hlim=255) / ICMPv6ND_NA(tgt=theirs)
    assert network.process(bytes(from_host() / advert)).to_namespace == key
    assert network.process(bytes(Ether(dst=HOST_MAC) / advert)).verdict is Verdict.NOT_OUR_MAC
    about = IPv6(src=theirs, dst=ours, hlim=255) / ICMPv6ND_NS(tgt=theirs)
    assert network.process(bytes(from_host() / about)).verdict is Verdict.UNKNOWN_TAG


def test_what_is_for_the_gateway_reaches_the_namespace_without_a_tag() -> None:
    ping = ip("10.1.1.5", "10.1.1.1") / ICMP()
    inner = bytes(from_host() / ping)
    for network, data in (
        (entering(VLAN), bytes(from_host(Dot1Q(vlan=7)) / ping)),
        (entering(LABEL), bytes(from_host(MPLS(label=200, s=1, ttl=64)) / ping)),
        (tunnelled("red"), outer(4, False, inner)),
    ):
        expected = Outcome(Verdict.LOCAL, to_namespace=network.links["red"].key, delivered=inner)
        assert network.process(data) == expected


def said_by_namespace(network: Network, frame: bytes) -> Outcome:
    twin = Twin(network.tables(), network.environment())
    return twin.process_from_namespace(frame, network.links["red"].key)


def test_what_the_namespace_says_leaves_with_the_tag() -> None:
    pong = ip("10.1.1.1", "10.1.1.5") / ICMP(type=0)
    asks = ARP(pdst="10.1.1.5")
    head = Ether(dst=HOST_MAC, src=RED_MAC)
    solicit = IPv6(src="2001:db8:a::1", dst="ff02::1:ff00:5", hlim=255) / ICMPv6ND_NS(tgt="2001:db8:a::5")
    label = MPLS(label=16, s=1, ttl=64)
    for network, sent, expected in (
        (entering(VLAN), pong, head / Dot1Q(vlan=7) / pong),
        (entering(VLAN), asks, head / Dot1Q(vlan=7) / asks),
        (entering(LABEL, push=(16,)), pong, head / label / pong),
        (entering(LABEL, push=(16,)), asks, head / asks),
        (entering(LABEL, push=(16,)), solicit, head / solicit),
        (entering(LABEL), pong, head / pong),
        (Network(), pong, head / pong),
    ):
        outcome = said_by_namespace(network, bytes(head / sent))
        assert outcome == Outcome(Verdict.LOCAL, (("red0", bytes(expected)),))


@pytest.mark.parametrize("push", [(), (16,)])
def test_mpls_carries_nothing_from_the_namespace_but_ip_arp_and_nd(push: tuple[int, ...]) -> None:
    lldp = bytes(Ether(dst="01:80:c2:00:00:0e", src=RED_MAC, type=0x88CC)) + bytes(50)
    assert said_by_namespace(entering(LABEL, push=push), lldp) == Outcome(Verdict.NOT_IP)
    assert said_by_namespace(entering(VLAN), lldp).verdict is Verdict.LOCAL


@pytest.mark.parametrize("tag", [Dot1Q(vlan=7), Dot1AD(vlan=7), MPLS(label=200, s=1)])
def test_what_the_namespace_sends_with_a_tag_is_nobody_s(tag: Packet) -> None:
    sent = bytes(Ether(dst=HOST_MAC, src=RED_MAC) / tag / ip("10.1.1.1", "10.1.1.5") / ICMP(type=0))
    for network in (Network(), entering(VLAN), entering(LABEL), tunnelled("red")):
        assert said_by_namespace(network, sent) == Outcome(Verdict.UNKNOWN_TAG)
    assert said_by_namespace(entering(VLAN), sent[:15]) == Outcome(Verdict.MALFORMED)


def test_what_the_namespace_says_in_a_segment_leaves_through_the_tunnel_of_its_destination() -> None:
    network, head = tunnelled("red"), Ether(dst=HOST_MAC, src=RED_MAC)
    for packet in (ip("10.1.1.1", "10.1.1.5") / ICMP(type=0), ARP(pdst="10.1.1.5")):
        outcome = said_by_namespace(network, bytes(head / packet))
        assert outcome.verdict is Verdict.LOCAL
        ((port, data),) = outcome.out
        assert port == "net0"
        assert bytes(Ether(data)[VXLAN].payload) == plain(packet, dst=INNER_MAC, src=RED_MAC)
    assert Ether(data)[UDP].sport == 49152, "no IP, no entropy"
    assert said_by_namespace(network, bytes(head / ARP(pdst="10.2.0.1"))) == Outcome(Verdict.NO_ROUTE)
    unknown = replace(network, tunnels={})
    assert said_by_namespace(unknown, bytes(head / ARP(pdst="10.1.1.5"))) == Outcome(Verdict.NEXT_HOP_UNRESOLVED)


def test_of_several_next_hops_the_namespace_takes_the_first_tunnel_of_its_segment() -> None:
    network = tunnelled("red")
    link = network.links["red"]
    remote = parse_address(VTEPS[4][1])[1]
    other = hop(link._replace(key=link.key._replace(tag=VLAN)), "10.1.1.2")
    through = [NextHop(link.key, None, Origin("VPC"), Tunnel(4, remote, bytes([2, 0, 0, 0, 4, k]))) for k in range(3)]
    network = network.with_route("red", route("10.1.1.0/24", other, *through))
    for last in range(16):
        outcome = said_by_namespace(network, bytes(Ether(src=RED_MAC) / ARP(pdst=f"10.1.1.{last}")))
        assert Ether(outcome.out[0][1])[VXLAN].payload.dst == "02:00:00:00:04:00"
