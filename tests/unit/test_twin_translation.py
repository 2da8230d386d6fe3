"""Static translation, packet in and exact packet out: both ends, both families, every protocol, every checksum."""

import pytest
from scapy.layers.igmp import IGMP
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw

from isthmus.tables.verdicts import Verdict
from tests.scenarios.packets.builder import Offer, Peering, side
from tests.scenarios.packets.frames import assert_leaves, frame, ip, leaving
from tests.scenarios.packets.network import NET_MAC, RED_BLUE, Network

HOSTS = {
    4: ("10.1.1.5", "192.168.2.7", "192.168.1.5", "10.1.1.7"),
    6: ("2001:db8:a::5", "2001:db8:2::7", "2001:db8:1::5", "2001:db8:b::7"),
}
"""Source and destination as red sends them, then as blue gets them."""


@pytest.mark.parametrize(
    ("family", "transport"),
    [
        (4, TCP(sport=1025, dport=443, flags="S", options=[("MSS", 1460)])),
        (4, TCP(sport=1025, dport=443, flags="PA") / Raw(b"odd")),
        (4, UDP(sport=53, dport=5353) / Raw(b"query")),
        (4, ICMP(type=8, id=7, seq=1) / Raw(b"ping")),
        (4, ICMP(type=13) / Raw(b"")),
        (4, SCTP(sport=1, dport=2) / Raw(b"anything")),
        (4, IGMP(type=0x16)),
        (6, TCP(sport=1025, dport=443, flags="SA")),
        (6, UDP(sport=53, dport=5353) / Raw(b"odd")),
        (6, ICMPv6EchoRequest(id=7, data=b"ping")),
        (6, ICMPv6EchoReply(id=7, data=b"pong")),
        (6, IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / UDP(sport=9, dport=10) / Raw(b"x")),
    ],
    ids=lambda value: value.summary() if isinstance(value, Packet) else str(value),
)
def test_both_ends_are_translated_and_all_else_stays(family: int, transport: Packet) -> None:
    src, dst, public_src, private_dst = HOSTS[family]
    outcome = Network().process(frame(ip(src, dst) / transport))
    assert_leaves(outcome, ip(public_src, private_dst, ttl=63) / transport)
    assert outcome.peering == "red--blue"


def test_the_way_back_is_the_exact_mirror() -> None:
    back = Network().process(frame(ip("10.1.1.7", "192.168.1.5") / TCP(flags="SA"), to=b"\2\0\0\0\0\2"), "blue0")
    expected = ip("192.168.2.7", "10.1.1.5", ttl=63) / TCP(flags="SA")
    assert back.out == (("red0", leaving(expected, port=b"\2\0\0\0\0\1")),)


def test_plain_sides_keep_both_addresses() -> None:
    plain = Peering(side("p", "red", Offer("10.1.1.0/24")), side("p", "green", Offer("10.3.1.0/24")))
    outcome = Network([plain]).process(frame(ip("10.1.1.5", "10.3.1.9") / UDP() / b"hi"))
    assert_leaves(outcome, ip("10.1.1.5", "10.3.1.9", ttl=63) / UDP() / b"hi", "green0", b"\2\0\0\0\0\4")


def test_dscp_ecn_id_flags_and_options_survive() -> None:
    fields = {"tos": 0xB9, "id": 4711, "flags": "DF", "options": [IPOption(b"\x94\x04\x00\x00")]}
    outcome = Network().process(frame(IP(src="10.1.1.5", dst="192.168.2.7", **fields) / UDP() / b"x"))
    assert_leaves(outcome, IP(src="192.168.1.5", dst="10.1.1.7", ttl=63, **fields) / UDP() / b"x")


def test_traffic_class_and_flow_label_survive() -> None:
    fields = {"tc": 0xB9, "fl": 0xABCDE}
    src, dst, public_src, private_dst = HOSTS[6]
    outcome = Network().process(frame(IPv6(src=src, dst=dst, **fields) / UDP() / b"x"))
    assert_leaves(outcome, IPv6(src=public_src, dst=private_dst, hlim=63, **fields) / UDP() / b"x")


def test_ethernet_padding_is_kept() -> None:
    outcome = Network().process(frame(ip("10.1.1.5", "192.168.2.7") / UDP(), padding=b"pad"))
    assert outcome.out == (("blue0", leaving(ip("192.168.1.5", "10.1.1.7", ttl=63) / UDP(), padding=b"pad")),)


@pytest.mark.parametrize("family", [4, 6])
def test_udp_without_checksum_stays_without(family: int) -> None:
    src, dst, public_src, private_dst = HOSTS[family]
    outcome = Network().process(frame(ip(src, dst) / UDP(chksum=0) / b"x"))
    assert_leaves(outcome, ip(public_src, private_dst, ttl=63) / UDP(chksum=0) / b"x")


def test_a_udp_checksum_that_becomes_0_is_written_ffff() -> None:
    after, ports = ip("192.168.1.5", "10.1.1.7", ttl=63), UDP(sport=1, dport=2)
    payload = bytes(after / ports / b"\0\0")[26:28]  # the checksum over zeros: with it as payload the sum is complete
    assert bytes(after / ports / payload)[26:28] == b"\xff\xff"
    outcome = Network().process(frame(ip("10.1.1.5", "192.168.2.7") / ports / payload))
    assert_leaves(outcome, after / ports / payload)


@pytest.mark.parametrize("transport", [TCP(chksum=0x1234), UDP(chksum=0x1234)])
def test_what_came_corrupted_leaves_corrupted(transport: Packet) -> None:
    packet = IP(src="10.1.1.5", dst="192.168.2.7", chksum=0x4321) / transport
    out = IP(Network().process(frame(packet)).out[0][1][14:])
    good = IP(bytes(IP(src="192.168.1.5", dst="10.1.1.7", ttl=63) / type(transport)()))
    assert out.chksum != good.chksum
    assert out.payload.chksum != good.payload.chksum


def test_nothing_changes_in_a_transport_whose_addresses_stay() -> None:
    plain = Peering(side("p", "red", Offer("10.1.1.0/24")), side("p", "green", Offer("10.3.1.0/24")))
    outcome = Network([plain]).process(frame(ip("10.1.1.5", "10.3.1.9") / TCP(chksum=0xFFFF)))
    assert IP(outcome.out[0][1][14:]).payload.chksum == 0xFFFF


@pytest.mark.parametrize("proto", [136, 33])
def test_udp_lite_and_dccp_have_their_checksum_updated(proto: int) -> None:
    body = bytes.fromhex("0001000200000000") + b"payload!"  # checksum 0 is a sum like any other here
    before = IP(src="10.1.1.5", dst="192.168.2.7", proto=proto) / body
    out = Network().process(frame(before)).out[0][1]
    words = sum(int.from_bytes(bytes([10, 1, 1, 5, 192, 168, 2, 7])[i : i + 2], "big") for i in range(0, 8, 2))
    after = sum(int.from_bytes(bytes([192, 168, 1, 5, 10, 1, 1, 7])[i : i + 2], "big") for i in range(0, 8, 2))
    checksum = int.from_bytes(out[14 + 20 + 6 : 14 + 20 + 8], "big")
    assert (checksum - (words - after)) % 0xFFFF == 0
    assert out[14 + 20 + 8 :] == b"payload!"


def test_a_later_fragment_has_no_checksum_to_mend() -> None:
    payload = bytes(range(64))
    packet = IP(src="10.1.1.5", dst="192.168.2.7", proto=17, frag=3) / payload
    assert_leaves(
        Network().process(frame(packet)), IP(src="192.168.1.5", dst="10.1.1.7", ttl=63, proto=17, frag=3) / payload
    )


def test_a_first_fragment_has_its_checksum_mended() -> None:
    whole = bytes(UDP(sport=1, dport=2, len=1008, chksum=0xABCD))
    packet = IP(src="10.1.1.5", dst="192.168.2.7", proto=17, flags="MF") / whole
    out = Network().process(frame(packet)).out[0][1]
    assert out[40:42] != b"\xab\xcd"
    assert out[34:40] == whole[:6]


def test_later_ipv6_fragments_keep_their_payload() -> None:
    src, dst, public_src, private_dst = HOSTS[6]
    header, payload = IPv6ExtHdrFragment(nh=6, offset=3, m=1, id=9), Raw(bytes(range(40)))
    outcome = Network().process(frame(ip(src, dst) / header / payload))
    assert_leaves(outcome, ip(public_src, private_dst, ttl=63) / header / payload)


def test_a_routing_header_is_stepped_over() -> None:
    src, dst, public_src, private_dst = HOSTS[6]
    routing = IPv6ExtHdrRouting(addresses=["2001:db8:9::9"], segleft=0)
    outcome = Network().process(frame(ip(src, dst) / routing / UDP(sport=1, dport=2) / b"x"))
    assert outcome.verdict == Verdict.FORWARDED
    assert outcome.out[0][1] == leaving(ip(public_src, private_dst, ttl=63) / routing / UDP(sport=1, dport=2) / b"x")


def test_a_translation_onto_a_martian_is_dropped() -> None:
    loop = Peering(side("p", "red", Offer("10.1.1.0/24")), side("p", "net", Offer("127.0.0.0/24", "198.51.100.0/24")))
    assert Network([loop]).process(frame(ip("10.1.1.5", "198.51.100.7") / UDP())).verdict == Verdict.MARTIAN
    seen = Peering(side("p", "red", Offer("10.1.1.0/24", "224.1.1.0/24")), side("p", "net", Offer("0.0.0.0/0")))
    assert Network([seen]).process(frame(ip("10.1.1.5", "8.8.8.8") / UDP())).verdict == Verdict.MARTIAN


def test_a_route_through_a_router_leaves_to_its_mac() -> None:
    internet = Peering(side("p", "red", Offer("10.1.1.0/24", "203.0.113.0/24")), side("p", "net", Offer("0.0.0.0/0")))
    outcome = Network([internet, RED_BLUE]).process(frame(ip("10.1.1.5", "8.8.8.8") / UDP()))
    assert_leaves(outcome, ip("203.0.113.5", "8.8.8.8", ttl=63) / UDP(), "net0", NET_MAC)
