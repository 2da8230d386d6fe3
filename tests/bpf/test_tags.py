"""Tagged attachments: what comes in with a tag, and leaves with one, byte for byte, on both hooks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import pytest
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from isthmus.datapath import Hook, WantedTunnel
from isthmus.tables.address import Family, parse_address
from isthmus.tables.verdicts import Verdict
from tests.bpf.tags import (
    FABRIC_PORT,
    MTU,
    NAMESPACE_ENDS,
    PLACES,
    UNDERLAY_MAC,
    VTEPS,
    Fabric,
    address,
    arrived,
    fabric,
    host_mac,
    ip,
    port_mac,
    sent,
)

TAGGED = [name for name in PLACES if name != "a"]


@pytest.fixture(scope="module")
def loaded() -> Iterator[Fabric]:
    with fabric() as made:
        yield made


@pytest.fixture(scope="module", params=[4, 6], ids=["underlay-4", "underlay-6"])
def underlay(request: pytest.FixtureRequest) -> Family:
    found: Family = request.param
    return found


@pytest.fixture
def net(loaded: Fabric, underlay: Family) -> Fabric:
    loaded.configure(underlay)
    return loaded


@pytest.fixture
def net4(loaded: Fabric) -> Fabric:
    loaded.configure(4)
    return loaded


hooks = pytest.mark.parametrize("hook", ["xdp", "tc"])
families = pytest.mark.parametrize("family", [4, 6])
everybody = pytest.mark.parametrize("vpc", TAGGED)


@hooks
@families
def test_every_kind_to_every_kind(net: Fabric, family: Family, hook: Hook) -> None:
    for source, target in permutations(PLACES, 2):
        ttl = 77 if source == "d" else 64  # uniform: the label's
        got = net.run(net.into(source, sent(source, target, family, tos=0xB8)), PLACES[source].port, hook)
        assert got.verdict is Verdict.FORWARDED, (source, target)
        assert got.ifindex == net.ifindex[PLACES[target].port], (source, target)
        wanted = net.out_of(target, arrived(source, target, family, ttl - 1, tos=0xB8))
        assert got.frame.hex() == wanted.hex(), (source, target)


@hooks
@families
@everybody
def test_time_exceeded_goes_back_with_the_tag(net: Fabric, vpc: str, family: Family, hook: Hook) -> None:
    frame = sent(vpc, "a", family, ttl=1)
    got = net.run(net.into(vpc, frame, **({"ttl": 1} if vpc == "d" else {})), PLACES[vpc].port, hook)
    assert (got.verdict, got.answered) == (Verdict.TTL, True)
    assert got.ifindex == net.ifindex[PLACES[vpc].port]
    assert got.frame.hex() == net.out_of(vpc, answer(vpc, family, frame, ICMP(type=11), ICMPv6TimeExceeded())).hex()


@hooks
@families
@everybody
def test_too_big_goes_back_with_the_tag(loaded: Fabric, vpc: str, family: Family, hook: Hook) -> None:
    loaded.configure(6)
    room = MTU - 70  # toward f or g, through IPv6
    target = "g" if vpc == "f" else "f"
    frame = sent(vpc, target, family, size=room - (28 if family == 4 else 48) + 1)
    if vpc == "d":
        frame = sent(vpc, target, family, ttl=77, size=room - (28 if family == 4 else 48) + 1)
    got = loaded.run(loaded.into(vpc, frame), PLACES[vpc].port, hook)
    assert (got.verdict, got.answered) == (Verdict.TOO_BIG, True)
    too_big = ICMP(type=3, code=4, nexthopmtu=room), ICMPv6PacketTooBig(mtu=room)
    assert got.frame.hex() == loaded.out_of(vpc, answer(vpc, family, frame, *too_big)).hex()
    fits = sent(vpc, target, family, size=room - (28 if family == 4 else 48))
    assert loaded.run(loaded.into(vpc, fits), PLACES[vpc].port, hook).verdict is Verdict.FORWARDED


def answer(vpc: str, family: Family, about: Packet, four: Packet, six: Packet) -> Packet:
    """What the gateway says to the host of a VPC about its packet, as it is inside the tag."""
    eth = Ether(src=port_mac(PLACES[vpc].port), dst=host_mac(vpc))
    gateway, host = address(vpc, family, 1), address(vpc, family)
    if family == 4:
        quote = bytes(about.payload)[:548]
        return Ether(bytes(eth / IP(src=gateway, dst=host, tos=0xC0, id=0, flags="DF", ttl=64) / four / Raw(quote)))
    quote = bytes(about.payload)[:1232]
    return Ether(bytes(eth / IPv6(src=gateway, dst=host, hlim=64) / six / Raw(quote)))


@pytest.mark.parametrize(
    ("tag", "room"), [("b", 1500), ("c", 1496), ("d", 1492), ("e", 1496), ("f", 1450), ("h", 1500)]
)
def test_what_a_tag_takes_from_the_mtu(net4: Fabric, tag: str, room: int) -> None:
    for size, verdict in ((room, Verdict.FORWARDED), (room + 1, Verdict.TOO_BIG)):
        frame = sent("a", tag, 4, size=size - 28)
        assert net4.run(frame, "p1", "xdp").verdict is verdict


@hooks
@pytest.mark.parametrize("target", TAGGED)
def test_pieces_leave_with_the_tag(net: Fabric, target: str, hook: Hook) -> None:
    """Cut on TC alone; the last piece is what the test sees."""
    whole = sent("a", target, 4, size=1600)
    whole.payload.flags = 0
    got = net.run(remade(whole), "p1", hook)
    if hook == "xdp":
        assert got.verdict is Verdict.TOO_BIG
        return
    assert got.verdict is Verdict.FORWARDED
    room = net_room(target, net.underlay) - 20 & ~7
    last = arrived("a", target, 4)
    data = bytes(whole.payload.payload)
    last = (
        Ether(src=last.src, dst=last.dst)
        / IP(src=whole.payload.src, dst=whole.payload.dst, ttl=63, proto=17, frag=room // 8)
        / Raw(data[room:])
    )
    assert got.frame.hex() == net.out_of(target, Ether(bytes(last))).hex()


def net_room(vpc: str, underlay: Family) -> int:
    return MTU - {"c": 4, "d": 8, "e": 4, "f": 50, "g": 50}.get(vpc, 0) - 20 * (underlay == 6 and vpc in "fg")


def remade(frame: Packet) -> Packet:
    """With lengths and the checksum of its IPv4 header as they have to be."""
    del frame.payload.chksum
    return Ether(bytes(frame))


@hooks
@everybody
def test_nobody_s_tag(loaded: Fabric, vpc: str, hook: Hook) -> None:
    """Unknown, or left to the host as it came where the port says so; a VNI is never left to the host."""
    wrong = {"b": {"vlan": 101}, "c": {"vlan": 8}, "d": {"label": 201}, "e": {"s": 0}, "h": {"s": 0}}.get(vpc, {})
    for unclaimed, verdict in (("drop", Verdict.UNKNOWN_TAG), ("pass", Verdict.PASSED)):
        loaded.configure(4, unclaimed=unclaimed)
        frame = loaded.into(vpc, sent(vpc, "a", 4), **wrong)
        if vpc in "fg":
            frame = frame[:46] + b"\0\0\7" + frame[49:]
            verdict = Verdict.UNKNOWN_TAG
        got = loaded.run(frame, PLACES[vpc].port, hook)
        assert (got.verdict, got.frame) == (verdict, frame)


@hooks
@pytest.mark.parametrize(
    "tags",
    [
        Dot1Q(vlan=0),
        Dot1Q(vlan=100) / Dot1AD(vlan=100),
        Dot1Q(vlan=100) / Dot1Q(vlan=0),
        Dot1Q(vlan=100) / Dot1Q(vlan=7) / Dot1Q(vlan=9),
    ],
)
def test_tags_that_are_of_no_vlan(net4: Fabric, tags: Packet, hook: Hook) -> None:
    frame = Ether(src=host_mac("b"), dst=port_mac("p2")) / tags / ip("b", "a", 4) / UDP() / Raw(bytes(20))
    assert net4.run(frame, "p2", hook).verdict is Verdict.UNKNOWN_TAG


@hooks
def test_priority_does_not_matter_and_either_type_of_outer_tag_will_do(net4: Fabric, hook: Hook) -> None:
    inner = sent("b", "a", 4)
    wanted = net4.out_of("a", arrived("b", "a", 4))
    for tag in (Dot1Q(vlan=100, prio=5), Dot1AD(vlan=100, dei=1)):
        frame = Ether(src=inner.src, dst=inner.dst) / tag / inner.payload
        assert net4.run(frame, "p2", hook).frame == wanted
    frame = Ether(src=host_mac("c"), dst=port_mac("p3")) / Dot1Q(vlan=7) / Dot1Q(vlan=9) / sent("c", "a", 4).payload
    assert net4.run(frame, "p3", hook).frame == net4.out_of("a", arrived("c", "a", 4))


def test_a_third_tag_is_not_ip(net4: Fabric) -> None:
    packet = sent("c", "a", 4).payload
    eth = Ether(src=host_mac("c"), dst=port_mac("p3"))
    frame = eth / Dot1AD(vlan=7) / Dot1Q(vlan=9) / Dot1Q(vlan=1) / packet
    assert [net4.run(frame, "p3", hook).verdict for hook in ("xdp", "tc")] == [Verdict.NOT_IP] * 2


@everybody
def test_a_tag_that_is_cut_short(net4: Fabric, vpc: str) -> None:
    frame = net4.into(vpc, sent(vpc, "a", 4))
    size = {"b": 4, "c": 8, "d": 4, "e": 4, "f": 50, "g": 50, "h": 4}[vpc]
    for length in range(14 + (34 if vpc in "fg" else 0), 14 + size):
        short = frame[:length]
        if vpc in "fg":  # what is around it tells no lie
            short = short[:16] + (length - 14).to_bytes(2, "big") + short[18:]
        wanted = Verdict.PASSED if length < 42 and vpc in "fg" else Verdict.MALFORMED
        assert net4.run(short, PLACES[vpc].port, "xdp").verdict is wanted, length


@hooks
@families
def test_explicit_null_is_stepped_over_once(net4: Fabric, family: Family, hook: Hook) -> None:
    for null in (0, 2):
        inner = sent("e", "a", family)
        eth = Ether(src=inner.src, dst=inner.dst)
        labels = MPLS(label=null, s=0, ttl=9) / MPLS(label=300, s=1, ttl=9)
        got = net4.run(eth / labels / inner.payload, "p5", hook)
        assert got.frame.hex() == net4.out_of("a", arrived("e", "a", family)).hex()
        twice = net4.run(eth / MPLS(label=null, s=0, ttl=9) / labels / inner.payload, "p5", hook)
        alone = net4.run(eth / MPLS(label=null, s=1, ttl=9) / inner.payload, "p5", hook)
        assert twice.verdict is alone.verdict is Verdict.UNKNOWN_TAG


@hooks
def test_behind_labels_is_ip_or_nothing(net4: Fabric, hook: Hook) -> None:
    frame = Ether(src=host_mac("e"), dst=port_mac("p5")) / MPLS(label=300, s=1) / Raw(b"\x50" + bytes(60))
    assert net4.run(frame, "p5", hook).verdict is Verdict.MALFORMED


@hooks
@families
@pytest.mark.parametrize("outer", range(4))
@pytest.mark.parametrize("inner", range(4))
def test_congestion_in_the_tunnel_is_told_inside(
    net: Fabric, outer: int, inner: int, family: Family, hook: Hook
) -> None:
    """RFC 6040 4.2, figure 4; DSCP stays that of the inside."""
    becomes = inner
    if outer == 3:
        becomes = 3 if inner else -1
    if (outer, inner) == (1, 2):
        becomes = 1
    mark = {"tos" if net.underlay == 4 else "tc": 0x28 | outer}
    got = net.run(net.into("f", sent("f", "a", family, tos=0x88 | inner), **mark), FABRIC_PORT, hook)
    if becomes < 0:
        assert got.verdict is Verdict.MALFORMED
    else:
        assert got.frame.hex() == net.out_of("a", arrived("f", "a", family, tos=0x88 | becomes)).hex()


@hooks
def test_not_our_mac_inside(net: Fabric, hook: Hook) -> None:
    for vpc in TAGGED:
        frame = sent(vpc, "a", 4)
        frame.dst = "02:00:00:00:00:77"
        assert net.run(net.into(vpc, frame), PLACES[vpc].port, hook).verdict is Verdict.NOT_OUR_MAC


@hooks
def test_what_else_comes_to_the_vtep_goes_to_the_host(net: Fabric, hook: Hook) -> None:
    own, remote = VTEPS[net.underlay]
    eth = Ether(src=UNDERLAY_MAC, dst=port_mac(FABRIC_PORT))
    at = {"src": remote, "dst": own}
    ip_ = IP(**at) if net.underlay == 4 else IPv6(**at)
    vxlan = net.into("f", sent("f", "a", 4))
    to_another = net.outer(remote, remote, UNDERLAY_MAC, port_mac(FABRIC_PORT), 5) / sent("f", "a", 4)
    for frame in (
        eth / ip_ / UDP(dport=53) / Raw(bytes(30)),
        eth / ARP(psrc="192.0.2.9", pdst="192.0.2.1"),
        to_another,
    ):
        data = bytes(frame).ljust(60, b"\0")
        got = net.run(data, FABRIC_PORT, hook)
        assert (got.verdict, got.frame) == (Verdict.PASSED, data)
    at_flags = 14 + (20 if net.underlay == 4 else 40) + 8
    assert net.run(vxlan[:at_flags] + b"\0" + vxlan[at_flags + 1 :], FABRIC_PORT, hook).verdict is Verdict.MALFORMED


@hooks
@everybody
def test_arp_and_pings_for_the_gateway_go_to_the_namespace_without_a_tag(net: Fabric, vpc: str, hook: Hook) -> None:
    own, host = address(vpc, 4, 1), address(vpc, 4)
    arp = Ether(src=host_mac(vpc), dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=host_mac(vpc), psrc=host, pdst=own)
    eth = Ether(src=host_mac(vpc), dst=port_mac(PLACES[vpc].port))
    ping = eth / IP(src=host, dst=own) / ICMP() / Raw(bytes(30))
    ping6 = eth / IPv6(src=address(vpc, 6), dst=address(vpc, 6, 1)) / ICMPv6EchoRequest(data=bytes(30))
    everybody_asked = Ether(src=host_mac(vpc), dst="33:33:ff:00:00:01")
    solicit = everybody_asked / IPv6(src=address(vpc, 6), dst="ff02::1:ff00:1", hlim=255)
    solicit /= ICMPv6ND_NS(tgt=address(vpc, 6, 1))
    advert = eth / IPv6(src=address(vpc, 6), dst=address(vpc, 6, 1), hlim=255) / ICMPv6ND_NA(tgt=address(vpc, 6))
    for frame in map(Ether, map(padded, (arp, ping, ping6, solicit, advert))):
        link_only = ARP in frame or ICMPv6ND_NS in frame or ICMPv6ND_NA in frame
        data = (
            bytes(frame) if vpc in "deh" and link_only else net.into(vpc, frame, **({"ttl": 64} if vpc == "d" else {}))
        )
        got = net.run(data, PLACES[vpc].port, hook)
        assert got.verdict is Verdict.LOCAL, frame.summary()
        assert got.ifindex == net.ifindex[NAMESPACE_ENDS[vpc]]
        assert got.frame.hex() == bytes(frame).hex()


def padded(frame: Packet) -> bytes:
    return bytes(frame).ljust(60, b"\0")


@hooks
@everybody
def test_frames_of_the_namespace_leave_with_the_tag(net: Fabric, vpc: str, hook: Hook) -> None:
    own, host, mac = address(vpc, 4, 1), address(vpc, 4), port_mac(PLACES[vpc].port)
    eth = Ether(src=mac, dst=host_mac(vpc))
    arp = eth / ARP(op=2, hwsrc=mac, psrc=own, hwdst=host_mac(vpc), pdst=host)
    pong = eth / IP(src=own, dst=host) / ICMP(type=0) / Raw(bytes(30))
    pong6 = eth / IPv6(src=address(vpc, 6, 1), dst=address(vpc, 6), tc=0xA0) / ICMPv6EchoReply(data=bytes(30))
    bgp = eth / IP(src=own, dst=host, tos=0xC0, ttl=1) / UDP(sport=179, dport=4000) / Raw(bytes(30))
    advert = eth / IPv6(src=address(vpc, 6, 1), dst=address(vpc, 6), hlim=255) / ICMPv6ND_NA(tgt=address(vpc, 6, 1))
    for frame in map(Ether, map(padded, (arp, pong, pong6, bgp, advert))):
        untagged = vpc in "deh" and (ARP in frame or ICMPv6ND_NA in frame)
        got = net.run(frame, NAMESPACE_ENDS[vpc], hook)
        assert got.verdict is Verdict.LOCAL, frame.summary()
        assert got.ifindex == net.ifindex[PLACES[vpc].port]
        assert got.frame.hex() == (bytes(frame) if untagged else net.out_of(vpc, frame)).hex(), frame.summary()


@hooks
def test_a_tunnel_whose_way_is_not_known_is_asked_for(loaded: Fabric, hook: Hook) -> None:
    loaded.configure(4, resolved=False)
    loaded.path.poll()
    assert loaded.run(sent("a", "f", 6), "p1", hook).verdict is Verdict.NEXT_HOP_UNRESOLVED
    if hook == "xdp":  # asked for at most ten times a second
        assert loaded.path.poll() == [WantedTunnel(4, parse_address(VTEPS[4][1])[1])]
    own = Ether(src=port_mac("p7"), dst=host_mac("f")) / IP(src=address("f", 4, 1), dst=address("f", 4)) / ICMP()
    assert loaded.run(padded(own), NAMESPACE_ENDS["f"], hook).verdict is Verdict.NEXT_HOP_UNRESOLVED
    nowhere = Ether(src=port_mac("p7"), dst=host_mac("f")) / IP(src=address("f", 4, 1), dst="203.0.113.1") / ICMP()
    assert loaded.run(padded(nowhere), NAMESPACE_ENDS["f"], hook).verdict is Verdict.NO_ROUTE


@hooks
def test_a_tunnel_leaves_by_the_port_that_the_kernel_says(loaded: Fabric, hook: Hook) -> None:
    loaded.configure(4)
    remote = parse_address(VTEPS[4][1])[1]
    assert loaded.path.set_tunnel(4, remote, loaded.ifindex["p1"], bytes([2, 9, 9, 9, 9, 9]))
    got = loaded.run(sent("a", "f", 4), "p1", hook)
    assert got.ifindex == loaded.ifindex["p1"]
    wanted = bytes([2, 9, 9, 9, 9, 9, 2, 0, 0, 0, 0, 1]) + loaded.out_of("f", arrived("a", "f", 4))[12:]
    assert got.frame.hex() == wanted.hex()
    assert not loaded.path.set_tunnel(4, remote, 9999, bytes(6))
    assert not loaded.path.set_tunnel(6, remote, None, None)
    loaded.has = ()


def test_the_least_that_a_namespace_can_say_leaves_with_its_tag_whole(net4: Fabric) -> None:
    """XDP: a test run on TC takes no frame as short as this."""
    frame = bytes(Ether(src=port_mac("p2"), dst=host_mac("b"), type=0x88CC)) + b"\0"
    got = net4.run(frame, NAMESPACE_ENDS["b"], "xdp")
    assert (got.verdict, got.frame) == (Verdict.LOCAL, frame[:12] + bytes.fromhex("81000064") + frame[12:])
