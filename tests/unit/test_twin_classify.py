"""Stages classify, gateway and martian: whose frame it is, and what never crosses."""

import pytest
from scapy.layers.inet import ICMP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_Redirect,
    ICMPv6ND_RS,
    IPv6ExtHdrFragment,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether

from isthmus.tables.entries import PortPolicy
from isthmus.tables.verdicts import Verdict
from isthmus.trace.twin import Outcome
from tests.scenarios.packets.builder import Offer, Peering, side
from tests.scenarios.packets.frames import frame, ip
from tests.scenarios.packets.network import HOST_MAC, LINKS, RED_MAC, Network

BROADCAST = b"\xff" * 6
MULTICAST_V6 = bytes.fromhex("333300000001")


def test_a_port_without_attachment() -> None:
    assert Network().process(frame(ip("10.1.1.5", "192.168.2.7") / UDP()), "eth7").verdict == Verdict.UNKNOWN_TAG


def test_a_port_that_passes_what_is_unclaimed() -> None:
    network = Network(policies={"eth7": PortPolicy(unclaimed="pass")})
    assert network.process(frame(ip("10.1.1.5", "192.168.2.7") / UDP()), "eth7") == Outcome(Verdict.PASSED)


def test_malformed_comes_before_unclaimed() -> None:
    assert Network().process(frame(ip("10.1.1.5", "192.168.2.7", proto=17) / b"x"), "eth7").verdict == Verdict.MALFORMED


@pytest.mark.parametrize("destination", [RED_MAC, BROADCAST, HOST_MAC])
def test_arp_goes_to_the_namespace_as_it_came(destination: bytes) -> None:
    data = bytes(Ether(dst=destination, src=HOST_MAC) / ARP(psrc="10.1.1.5", pdst="10.1.1.1"))
    outcome = Network().process(data)
    assert outcome == Outcome(Verdict.LOCAL, to_namespace=LINKS["red"].key, delivered=data)


def test_other_ethertypes() -> None:
    assert Network().process(bytes(Ether(dst=RED_MAC, type=0x88CC) / b"lldp")).verdict == Verdict.NOT_IP


@pytest.mark.parametrize("ethertype", [0x8100, 0x88A8])
def test_a_tagged_frame_is_of_no_untagged_attachment(ethertype: int) -> None:
    """Else whoever sends a tag of another tenant would be read as this one."""
    tagged = Ether(dst=RED_MAC, type=ethertype) / Dot1Q(vlan=5) / ip("10.1.1.5", "192.168.2.7") / UDP()
    assert Network().process(bytes(tagged)).verdict == Verdict.UNKNOWN_TAG


def test_a_unicast_mac_that_is_not_ours() -> None:
    assert Network().process(frame(ip("10.1.1.5", "192.168.2.7") / UDP(), to=HOST_MAC)).verdict == Verdict.NOT_OUR_MAC


@pytest.mark.parametrize("destination", [BROADCAST, MULTICAST_V6])
def test_unicast_ip_in_a_group_mac(destination: bytes) -> None:
    """RFC 1812 5.3.4: else every router of a link would forward a copy."""
    for packet in (ip("10.1.1.5", "192.168.2.7"), ip("2001:db8:a::5", "2001:db8:2::7"), ip("10.1.1.5", "10.1.1.1")):
        assert Network().process(frame(packet / UDP(), to=destination)).verdict == Verdict.NOT_OUR_MAC


@pytest.mark.parametrize(
    ("dst", "verdict"),
    [
        ("224.0.0.5", Verdict.MARTIAN),
        ("255.255.255.255", Verdict.MARTIAN),
        ("ff02::5", Verdict.MARTIAN),
        ("fe80::1", Verdict.LOCAL),
    ],
)
def test_groups_in_a_group_mac(dst: str, verdict: Verdict) -> None:
    src = "2001:db8:a::5" if ":" in dst else "10.1.1.5"
    assert Network().process(frame(ip(src, dst) / UDP(), to=BROADCAST)).verdict == verdict


@pytest.mark.parametrize("message", [ICMPv6ND_NS(), ICMPv6ND_NA(), ICMPv6ND_RS()])
def test_neighbour_discovery_is_local(message: object) -> None:
    for src, dst in (
        ("::", "ff02::1:ff00:1"),
        ("fe80::5", "ff02::2"),
        ("fe80::5", "2001:db8:a::1"),
        ("fe80::5", "fe80::1"),
    ):
        data = frame(ip(src, dst, ttl=255) / message, to=MULTICAST_V6)
        outcome = Network().process(data)
        assert outcome == Outcome(Verdict.LOCAL, to_namespace=LINKS["red"].key, delivered=data)


def test_neighbour_discovery_never_crosses() -> None:
    redirect = ip("2001:db8:a::5", "2001:db8:2::7") / ICMPv6ND_Redirect()
    assert Network().process(frame(redirect)).verdict == Verdict.MARTIAN
    assert Network().process(frame(redirect, to=MULTICAST_V6)).verdict == Verdict.MARTIAN


def test_a_later_fragment_is_no_neighbour_discovery() -> None:
    packet = ip("2001:db8:a::5", "2001:db8:2::7") / IPv6ExtHdrFragment(offset=2, nh=58) / bytes([135] * 8)
    assert Network().process(frame(packet)).verdict == Verdict.FORWARDED


@pytest.mark.parametrize("dst", ["10.1.1.1", "2001:db8:a::1", "fe80::1234"])
def test_for_the_gateway(dst: str) -> None:
    echo = ICMPv6EchoRequest() if ":" in dst else ICMP()
    data = frame(ip("2001:db8:a::5" if ":" in dst else "10.1.1.5", dst) / echo)
    outcome = Network().process(data)
    assert outcome == Outcome(Verdict.LOCAL, to_namespace=LINKS["red"].key, delivered=data)


def test_the_gateway_s_address_as_a_source() -> None:
    for packet in (ip("10.1.1.1", "192.168.2.7"), ip("10.1.1.1", "10.1.1.1"), ip("2001:db8:a::1", "2001:db8:2::7")):
        assert Network().process(frame(packet / UDP())).verdict == Verdict.GATEWAY_SPOOF


def test_the_gateway_s_address_in_another_vpc_is_a_host_here() -> None:
    exposed = Peering(side("p", "red", Offer("10.1.1.0/24")), side("p", "green", Offer("10.3.1.0/24")))
    assert Network([exposed]).process(frame(ip("10.3.1.1", "10.3.1.9") / UDP())).verdict == Verdict.SOURCE_NOT_EXPOSED


V4_MARTIANS = ["0.0.0.0", "0.255.255.255", "127.0.0.1", "169.254.0.1", "224.0.0.1", "239.255.255.255", "240.0.0.1"]
V6_MARTIANS = ["::", "::1", "::ffff:10.0.0.1", "ff02::5"]


@pytest.mark.parametrize("address", V4_MARTIANS + V6_MARTIANS)
def test_martians_are_dropped_in_both_places(address: str) -> None:
    src, dst = ("2001:db8:a::5", "2001:db8:2::7") if ":" in address else ("10.1.1.5", "192.168.2.7")
    assert Network().process(frame(ip(address, dst) / UDP())).verdict == Verdict.MARTIAN
    assert Network().process(frame(ip(src, address) / UDP())).verdict == Verdict.MARTIAN


def test_link_local_ipv6_is_a_martian_as_a_source_only() -> None:
    assert Network().process(frame(ip("fe80::5", "2001:db8:2::7") / UDP())).verdict == Verdict.MARTIAN


@pytest.mark.parametrize("address", ["1.0.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "223.255.255.255"])
def test_the_neighbours_of_martians_are_none(address: str) -> None:
    assert Network().process(frame(ip("10.1.1.5", address) / UDP())).verdict == Verdict.NO_PEERING
