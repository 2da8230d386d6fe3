"""Stages ttl, mtu and next hop, and what the gateway itself says of packets that end there."""

from dataclasses import replace
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6, IPv6ExtHdrFragment
from scapy.packet import Packet, Raw

from isthmus.tables.verdicts import Verdict
from isthmus.trace.environment import PortInfo
from isthmus.trace.twin import Outcome
from tests.scenarios.packets.builder import attachment, hop, route
from tests.scenarios.packets.frames import answered, assert_leaves, frame, ip
from tests.scenarios.packets.network import BLUE_MAC, HOST_MAC, LINKS, PORTS, RED_MAC, Network, known

V4, V6 = ("10.1.1.5", "192.168.2.7"), ("2001:db8:a::5", "2001:db8:2::7")


def gateway4(dst: str = "10.1.1.5", src: str = "10.1.1.1") -> Packet:
    """The header of every IPv4 answer."""
    return IP(src=src, dst=dst, tos=0xC0, id=0, flags="DF", ttl=64)


@pytest.mark.parametrize("ttl", [0, 1])
def test_time_exceeded_ipv4(ttl: int) -> None:
    packet = ip(*V4, ttl=ttl) / UDP(sport=33434, dport=33435) / Raw(b"traceroute")
    outcome = Network().process(frame(packet, padding=b"not quoted"))
    expected = answered(gateway4() / ICMP(type=11, code=0) / bytes(packet))
    assert outcome == Outcome(Verdict.TTL, answer=("red0", expected), peering="red--blue")


@pytest.mark.parametrize("ttl", [0, 1])
def test_time_exceeded_ipv6(ttl: int) -> None:
    packet = ip(*V6, ttl=ttl) / UDP(sport=33434, dport=33435) / Raw(b"traceroute")
    expected = answered(IPv6(src="2001:db8:a::1", dst=V6[0], hlim=64) / ICMPv6TimeExceeded(code=0) / bytes(packet))
    assert Network().process(frame(packet)).answer == ("red0", expected)


def test_ttl_2_passes() -> None:
    assert_leaves(Network().process(frame(ip(*V4, ttl=2) / UDP())), ip("192.168.1.5", "10.1.1.7", ttl=1) / UDP())
    assert_leaves(Network().process(frame(ip(*V6, ttl=2) / UDP())), ip("2001:db8:1::5", "2001:db8:b::7", ttl=1) / UDP())


def test_who_may_not_pass_hears_nothing_of_ttl() -> None:
    outcome = Network().process(frame(ip("10.1.1.5", "172.16.0.1", ttl=1) / UDP()))
    assert outcome == Outcome(Verdict.NO_PEERING)


@pytest.mark.parametrize(("source", "most"), [(V4, 548), (V6, 1232)])
def test_how_much_is_quoted(source: tuple[str, str], most: int) -> None:
    for size in (most - 1, most, most + 1):
        packet = ip(*source, ttl=1) / UDP() / Raw(bytes(size - (28 if source is V4 else 48)))
        answer = Network().process(frame(packet)).answer
        assert answer is not None
        assert len(answer[1]) == 14 + (28 if source is V4 else 48) + min(size, most)
        assert answer[1].endswith(bytes(packet)[:most])


def test_a_gateway_without_an_ipv4_address_answers_from_192_0_0_8() -> None:
    packet = ip(*V4, ttl=1) / UDP()
    network = Network().with_link("red", attachment("red", "red0"))
    expected = answered(gateway4(src="192.0.0.8") / ICMP(type=11) / bytes(packet))
    assert network.process(frame(packet)).answer == ("red0", expected)


def test_a_gateway_without_an_ipv6_address_keeps_silent() -> None:
    network = Network().with_link("red", attachment("red", "red0"))
    assert network.process(frame(ip(*V6, ttl=1) / UDP())) == Outcome(Verdict.TTL, peering="red--blue")


@pytest.mark.parametrize(
    "data",
    [
        frame(IP(src=V4[0], dst=V4[1], ttl=1, proto=17, frag=3) / bytes(16)),
        frame(ip(*V6, ttl=1) / IPv6ExtHdrFragment(offset=3, nh=17) / bytes(16)),
        frame(ip(*V4, ttl=1) / UDP(), source=b"\3" + HOST_MAC[1:]),
    ],
    ids=["later fragment", "later IPv6 fragment", "group source MAC"],
)
def test_the_gateway_keeps_silent(data: bytes) -> None:
    assert Network().process(data) == Outcome(Verdict.TTL, peering="red--blue")


def test_first_fragments_are_answered() -> None:
    packet = IP(src=V4[0], dst=V4[1], ttl=1, flags="MF") / UDP(len=8)
    assert Network().process(frame(packet)).answer is not None


def small(mtu: int = 1400, hook: str = "xdp") -> Network:
    """The way to blue takes ``mtu`` bytes."""
    network = Network(ports={**PORTS, "blue0": PortInfo(BLUE_MAC, mtu)})
    return replace(network, hook="tc" if hook == "tc" else "xdp")


def sized(length: int, source: tuple[str, str] = V4, **fields: Any) -> Packet:
    """A UDP packet of this many bytes, headers included."""
    head = ip(*source, **fields) / UDP(sport=1, dport=2)
    return head / Raw(bytes(index % 251 for index in range(length - len(head))))


@pytest.mark.parametrize("flags", ["DF", ""])
def test_fragmentation_needed_on_xdp(flags: str) -> None:
    packet = sized(1401, flags=flags)
    expected = answered(gateway4() / ICMP(type=3, code=4, nexthopmtu=1400) / bytes(packet)[:548])
    assert small().process(frame(packet)) == Outcome(Verdict.TOO_BIG, answer=("red0", expected), peering="red--blue")


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_packet_too_big(hook: str) -> None:
    packet = sized(1401, V6)
    head = IPv6(src="2001:db8:a::1", dst=V6[0], hlim=64)
    expected = answered(head / ICMPv6PacketTooBig(mtu=1400) / bytes(packet)[:1232])
    assert small(hook=hook).process(frame(packet)).answer == ("red0", expected)


def test_what_just_fits_passes() -> None:
    assert small().process(frame(sized(1400), padding=bytes(40))).verdict == Verdict.FORWARDED
    assert small().process(frame(sized(1400, V6))).verdict == Verdict.FORWARDED


@pytest.mark.parametrize(("port", "link", "limit"), [(1500, 1300, 1300), (1300, 1500, 1300), (1300, 0, 1300)])
def test_the_lesser_mtu_counts(port: int, link: int, limit: int) -> None:
    network = small(port).with_link("blue", attachment("blue", "blue0", "10.1.1.1/24", mtu=link))
    assert network.process(frame(sized(limit))).verdict == Verdict.FORWARDED
    assert network.process(frame(sized(limit + 1))).verdict == Verdict.TOO_BIG


def test_ttl_comes_before_too_big() -> None:
    assert small().process(frame(sized(1401, ttl=1))).verdict == Verdict.TTL


def test_too_big_errors_and_later_fragments_are_not_answered() -> None:
    later = IP(src=V4[0], dst=V4[1], proto=17, frag=3) / bytes(1400)
    assert small().process(frame(later)) == Outcome(Verdict.TOO_BIG, peering="red--blue")


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_df_is_never_fragmented(hook: str) -> None:
    assert small(hook=hook).process(frame(sized(1401, flags="DF"))).verdict == Verdict.TOO_BIG


def test_tc_fragments() -> None:
    outcome = small(600, "tc").process(frame(sized(1500, id=77), padding=b"padding"))
    assert outcome.verdict == Verdict.FORWARDED
    assert [port for port, _ in outcome.out] == ["blue0"] * 3
    parts = [IP(data[14:]) for _, data in outcome.out]
    assert [len(part) for part in parts] == [596, 596, 348]
    assert [(part.id, int(part.flags), part.frag) for part in parts] == [(77, 1, 0), (77, 1, 72), (77, 0, 144)]
    sent = ip("192.168.1.5", "10.1.1.7", ttl=63) / sized(1500)[UDP]  # one checksum, over the whole
    assert b"".join(bytes(part.payload) for part in parts) == bytes(sent)[20:]
    for part in parts:
        fields = {"id": 77, "flags": part.flags, "frag": part.frag, "proto": 17}
        assert bytes(part) == bytes(ip("192.168.1.5", "10.1.1.7", ttl=63, **fields) / bytes(part.payload))


@pytest.mark.parametrize(
    ("network", "verdict"),
    [
        (
            replace(Network(), ports={name: port for name, port in PORTS.items() if name != "blue0"}),
            Verdict.NO_ATTACHMENT,
        ),
        (replace(Network(), neighbors={}), Verdict.NEXT_HOP_UNRESOLVED),
        (replace(Network(), neighbors=known("blue", "10.1.1.8")), Verdict.NEXT_HOP_UNRESOLVED),
        (replace(Network(), neighbors=known("red", "10.1.1.7")), Verdict.NEXT_HOP_UNRESOLVED),
        (replace(Network(), neighbors=known("blue", "10.1.1.7")), Verdict.FORWARDED),
        (replace(Network(), ports={**PORTS, "blue0": PortInfo(BLUE_MAC, 1500, up=False)}), Verdict.PORT_DOWN),
        (Network().with_route("blue", route("10.1.1.0/24")), Verdict.NO_ATTACHMENT),
    ],
)
def test_the_way_out(network: Network, verdict: Verdict) -> None:
    assert network.process(frame(ip(*V4) / TCP())).verdict == verdict


def test_behind_a_router_its_own_mac_is_asked() -> None:
    network = Network().with_route("blue", route("10.1.1.0/24", hop(LINKS["blue"], "10.1.1.254")))
    assert replace(network, neighbors=known("blue", "10.1.1.254")).process(frame(ip(*V4) / TCP())).out
    assert not replace(network, neighbors=known("blue", "10.1.1.7")).process(frame(ip(*V4) / TCP())).out


def test_no_attachment_comes_before_too_big_and_too_big_before_the_neighbour() -> None:
    assert replace(small(), neighbors={}).process(frame(sized(1401))).verdict == Verdict.TOO_BIG


def test_two_vpcs_may_share_a_port_s_host() -> None:
    """In and out of one port is forwarding like any other."""
    network = Network().with_route("blue", route("10.1.1.0/24", hop(LINKS["red"])))
    packet = ip("192.168.1.5", "10.1.1.7", ttl=63) / TCP()
    assert_leaves(network.process(frame(ip(*V4) / TCP())), packet, "red0", RED_MAC)
