"""Stage ICMP errors: an error follows the packet inside it back, and each side sees its own addresses everywhere."""

from dataclasses import replace

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    ICMPv6Unknown,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
)
from scapy.packet import Packet, Raw

from isthmus.tables.address import Family
from isthmus.tables.entries import AttachmentKey, Nat, RuleEntry
from isthmus.tables.verdicts import Verdict
from isthmus.trace.twin import Outcome
from tests.scenarios.packets.builder import Offer, Peering, attachment, hop, number, route, rule, side
from tests.scenarios.packets.frames import assert_leaves, frame, ip
from tests.scenarios.packets.network import (
    BLUE_MAC,
    BLUE_SIDE,
    LINKS,
    NET_MAC,
    RED_MAC,
    RED_SIDE,
    Network,
)

NETWORK = Network()
SENT = {4: ("10.1.1.5", "192.168.2.7"), 6: ("2001:db8:a::5", "2001:db8:2::7")}
"""A packet as red sent it: source, destination."""
GOT = {4: ("192.168.1.5", "10.1.1.7"), 6: ("2001:db8:1::5", "2001:db8:b::7")}
"""The same packet as blue got it."""


def from_blue(error: Packet, network: Network = NETWORK) -> Outcome:
    return network.process(frame(error, to=BLUE_MAC), "blue0")


def unreachable(family: int, inner: Packet | bytes, teller: str | None = None, to: str | None = None) -> Packet:
    """Port unreachable about ``inner``, from the host that got it unless another tells."""
    victim, host = GOT[family]
    head = ICMP(type=3, code=3) if family == 4 else ICMPv6DestUnreach(code=4)
    return ip(teller or host, to or victim) / head / inner


def expected(family: int, inner: Packet | bytes, teller: str | None = None) -> Packet:
    """What red gets of it."""
    victim, host = SENT[family]
    head = ICMP(type=3, code=3) if family == 4 else ICMPv6DestUnreach(code=4)
    return ip(teller or host, victim, ttl=63) / head / inner


TRANSPORTS = [
    (4, UDP(sport=1000, dport=53) / Raw(b"question")),
    (4, TCP(sport=1000, dport=443, flags="S")),
    (4, ICMP(type=8, id=5) / Raw(b"ping")),
    (6, UDP(sport=1000, dport=53) / Raw(b"question")),
    (6, TCP(sport=1000, dport=443, flags="S")),
    (6, ICMPv6EchoRequest(id=5, data=b"ping")),
    (6, IPv6ExtHdrDestOpt() / UDP(sport=1, dport=2) / Raw(b"x")),
]


@pytest.mark.parametrize(("family", "transport"), TRANSPORTS)
def test_the_sender_sees_its_own_packet_inside(family: int, transport: Packet) -> None:
    outcome = from_blue(unreachable(family, ip(*GOT[family]) / transport))
    assert_leaves(outcome, expected(family, ip(*SENT[family]) / transport), "red0", RED_MAC)
    assert outcome.peering == "red--blue"


@pytest.mark.parametrize(("family", "transport"), TRANSPORTS)
def test_a_short_quote_is_translated_as_far_as_it_goes(family: int, transport: Packet) -> None:
    got, sent = (bytes(ip(*hosts[family]) / transport) for hosts in (GOT, SENT))
    head = len(got) - len(bytes(transport.lastlayer())) if IPv6ExtHdrDestOpt in transport else 40 if family == 6 else 20
    least = head + 8 + (8 if IPv6ExtHdrDestOpt in transport else 0)
    outcome = from_blue(unreachable(family, got[:least]))
    assert_leaves(outcome, expected(family, sent[:least]), "red0", RED_MAC)


@pytest.mark.parametrize("kept", [17, 18, 19])
def test_a_tcp_checksum_is_mended_only_if_it_is_quoted(kept: int) -> None:
    got, sent = (bytearray(bytes(ip(*hosts[4]) / TCP(sport=1, dport=2))) for hosts in (GOT, SENT))
    if kept < 18:
        sent[36:38] = got[36:38]
    outcome = from_blue(unreachable(4, bytes(got[: 20 + kept])))
    assert_leaves(outcome, expected(4, bytes(sent[: 20 + kept])), "red0", RED_MAC)


def test_path_mtu_discovery() -> None:
    v4 = ip(*GOT[4][::-1]) / ICMP(type=3, code=4, nexthopmtu=1400) / ip(*GOT[4], flags="DF") / TCP()
    v4_seen = ip(*SENT[4][::-1], ttl=63) / ICMP(type=3, code=4, nexthopmtu=1400) / ip(*SENT[4], flags="DF") / TCP()
    assert_leaves(from_blue(v4), v4_seen, "red0", RED_MAC)
    v6 = ip(*GOT[6][::-1]) / ICMPv6PacketTooBig(mtu=1280) / ip(*GOT[6]) / TCP()
    v6_seen = ip(*SENT[6][::-1], ttl=63) / ICMPv6PacketTooBig(mtu=1280) / ip(*SENT[6]) / TCP()
    assert_leaves(from_blue(v6), v6_seen, "red0", RED_MAC)


def test_udp_without_checksum_inside() -> None:
    outcome = from_blue(unreachable(4, ip(*GOT[4]) / UDP(chksum=0)))
    assert_leaves(outcome, expected(4, ip(*SENT[4]) / UDP(chksum=0)), "red0", RED_MAC)


@pytest.mark.parametrize("family", [4, 6])
def test_an_error_about_a_later_fragment(family: int) -> None:
    head = {4: IP(proto=17, frag=3), 6: IPv6() / IPv6ExtHdrFragment(nh=17, offset=3)}[family] / bytes(range(32))
    got, sent = head.copy(), head.copy()
    (got.src, got.dst), (sent.src, sent.dst) = GOT[family], SENT[family]
    outcome = from_blue(unreachable(family, got))
    assert_leaves(outcome, expected(family, sent), "red0", RED_MAC)


def test_a_router_that_is_exposed_is_translated() -> None:
    about = ip(*GOT[4]) / UDP()
    outcome = from_blue(unreachable(4, about, teller="10.1.1.254"))
    assert_leaves(outcome, expected(4, ip(*SENT[4]) / UDP(), teller="192.168.2.254"), "red0", RED_MAC)


@pytest.mark.parametrize(
    ("family", "router", "seen_as"), [(4, "172.16.0.1", "10.1.1.1"), (6, "2001:db8:eeee::1", "2001:db8:a::1")]
)
def test_a_router_that_is_not_exposed_becomes_the_gateway(family: int, router: str, seen_as: str) -> None:
    about, seen = (ip(*hosts[family]) / UDP() for hosts in (GOT, SENT))
    outcome = from_blue(unreachable(family, about, teller=router))
    assert_leaves(outcome, expected(family, seen, teller=seen_as), "red0", RED_MAC)


def test_a_gateway_without_an_address() -> None:
    network = Network().with_link("red", attachment("red", "red0"))
    v4 = unreachable(4, ip(*GOT[4]) / UDP(), teller="172.16.0.1")
    assert_leaves(
        from_blue(v4, network),
        expected(4, ip(*SENT[4]) / UDP(), teller="192.0.0.8"),
        "red0",
        RED_MAC,
    )
    v6 = unreachable(6, ip(*GOT[6]) / UDP(), teller="2001:db8:eeee::1")
    assert from_blue(v6, network).verdict == Verdict.SOURCE_NOT_EXPOSED


def test_on_a_plain_side_any_router_is_kept() -> None:
    internet = Peering(side("p", "red", Offer("10.1.1.0/24", "203.0.113.0/24")), side("p", "net", Offer("8.0.0.0/8")))
    about = ip("203.0.113.5", "8.8.8.8") / UDP(sport=33434)
    error = ip("172.16.0.1", "203.0.113.5") / ICMP(type=11) / about
    seen = ip("172.16.0.1", "10.1.1.5", ttl=63) / ICMP(type=11) / ip("10.1.1.5", "8.8.8.8") / UDP(sport=33434)
    assert_leaves(Network([internet]).process(frame(error, to=NET_MAC), "net0"), seen, "red0", RED_MAC)


def test_an_error_that_is_translated_onto_a_martian() -> None:
    loop = Peering(side("p", "red", Offer("10.1.1.0/24")), side("p", "net", Offer("127.0.0.0/24", "198.51.100.0/24")))
    error = ip("10.1.1.5", "198.51.100.7") / ICMP(type=11) / ip("198.51.100.7", "10.1.1.5") / UDP()
    assert Network([loop]).process(frame(error)).verdict == Verdict.MARTIAN
    halves = Offer("10.1.1.0/25", "192.0.2.0/25"), Offer("10.1.1.128/25", "127.0.0.0/25")
    network = Network([Peering(side("p", "red", *halves), side("p", "net", Offer("8.0.0.0/8")))])
    for teller, verdict in (("10.1.1.99", Verdict.FORWARDED), ("10.1.1.200", Verdict.MARTIAN)):
        error = ip(teller, "8.8.8.8") / ICMP(type=11) / ip("8.8.8.8", "10.1.1.5") / UDP()
        assert network.process(frame(error)).verdict == verdict


MALFORMED: dict[str, Packet] = {
    "nothing inside": unreachable(4, b""),
    "no whole header": unreachable(4, bytes(ip(*GOT[4]) / UDP())[:19]),
    "7 bytes of transport": unreachable(4, bytes(ip(*GOT[4]) / UDP())[:27]),
    "the other family": unreachable(4, bytes(ip(*GOT[6]) / UDP())),
    "an error about an error": unreachable(4, ip(*GOT[4]) / ICMP(type=3) / ip(*SENT[4]) / UDP()),
    "another victim": unreachable(4, ip("192.168.1.6", "10.1.1.7") / UDP()),
    "a martian inside": unreachable(4, ip("192.168.1.5", "127.0.0.1") / UDP()),
    "IPv6: nothing inside": unreachable(6, b""),
    "IPv6: error about error": unreachable(6, ip(*GOT[6]) / ICMPv6TimeExceeded() / bytes(40)),
    "IPv6: seven headers": unreachable(6, ip(*GOT[6], nh=60) / (bytes([60, 0, 1, 4, 0, 0, 0, 0]) * 7 + bytes(20))),
    "IPv6: a header cut short": unreachable(6, bytes(ip(*GOT[6], nh=60) / bytes([17, 3]))[:42]),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_errors_with_nothing_fit_inside(name: str) -> None:
    assert from_blue(MALFORMED[name]).verdict == Verdict.ICMP_MALFORMED


@pytest.mark.parametrize("kind", [4, 5])
def test_redirect_and_source_quench_never_cross(kind: int) -> None:
    """Whatever is inside: a redirect in the gateway's name would change the routes of a host in another VPC."""
    inside = ip(*GOT[4]) / UDP(sport=1, dport=2)
    message = ip(*SENT[4]) / ICMP(type=kind, gw="192.0.2.66") / inside
    assert Network().process(frame(message)).verdict == Verdict.MARTIAN


@pytest.mark.parametrize("kind", [3, 11, 12])
def test_the_types_that_are_errors_in_ipv4(kind: int) -> None:
    assert Network().process(frame(ip(*SENT[4]) / ICMP(type=kind))).verdict == Verdict.ICMP_MALFORMED


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 100, 127])
def test_the_types_that_are_errors_in_ipv6(kind: int) -> None:
    assert (
        Network().process(frame(ip(*SENT[6]) / ICMPv6Unknown(type=kind, msgbody=bytes(4)))).verdict
        == Verdict.ICMP_MALFORMED
    )


def test_what_is_no_error() -> None:
    for kind in (0, 8, 9, 10, 13, 17, 30):
        assert Network().process(frame(ip(*SENT[4]) / ICMP(type=kind))).verdict == Verdict.FORWARDED
    assert (
        Network().process(frame(ip(*SENT[6]) / ICMPv6Unknown(type=160, msgbody=bytes(4)))).verdict == Verdict.FORWARDED
    )
    later = IP(src=SENT[4][0], dst=SENT[4][1], proto=1, frag=3) / bytes([3] * 16)
    assert Network().process(frame(later)).verdict == Verdict.FORWARDED


def test_the_quote_may_claim_more_than_is_there() -> None:
    quote = bytes(ip(*GOT[4]) / UDP() / bytes(1000))[:36]
    assert from_blue(unreachable(4, quote)).verdict == Verdict.FORWARDED


def test_a_quote_that_claims_less_than_a_transport_is_malformed() -> None:
    quote = bytearray(bytes(ip(*GOT[4]) / UDP() / bytes(20)))
    quote[2:4] = (27).to_bytes(2, "big")
    error = unreachable(4, bytes(quote))
    assert from_blue(error).verdict == Verdict.ICMP_MALFORMED


def rules_network(red: tuple[RuleEntry, ...] | None, blue: tuple[RuleEntry, ...] | None) -> Network:
    opens = (red is None and blue is not None, blue is None and red is not None)
    return Network(
        [Peering(RED_SIDE._replace(rules=red, opens=opens[0]), BLUE_SIDE._replace(rules=blue, opens=opens[1]))]
    )


ABOUT = ip(*GOT[4]) / UDP(sport=1000, dport=53)


@pytest.mark.parametrize(
    ("red", "expected_verdict"),
    [
        (None, Verdict.FORWARDED),
        ((), Verdict.NOT_ALLOWED),
        ((rule(17, dport=(53, 53)),), Verdict.FORWARDED),
        ((rule(17, sport=(53, 53)),), Verdict.NOT_ALLOWED),
        ((rule(17, sport=(1000, 1000), src="10.1.1.5/32", dst="192.168.2.7/32"),), Verdict.FORWARDED),
        ((rule(17, src="192.168.1.5/32"),), Verdict.NOT_ALLOWED),
        ((rule(17, dst="10.1.1.7/32"),), Verdict.NOT_ALLOWED),
        ((rule(1),), Verdict.NOT_ALLOWED),
        ((rule(17, stateless=False),), Verdict.NO_FLOW),
    ],
)
def test_an_error_meets_the_rules_that_the_packet_inside_has_met(
    red: tuple[RuleEntry, ...] | None, expected_verdict: Verdict
) -> None:
    """Those of red, which sent the packet inside; blue's, which sends the error, are not asked."""
    for blue in (None, (), (rule(6),)):
        outcome = from_blue(unreachable(4, ABOUT), rules_network(red, blue))
        assert outcome.verdict == expected_verdict


def test_an_error_about_a_later_fragment_meets_rules_without_ports() -> None:
    about = unreachable(4, ip(*GOT[4], proto=17, frag=3) / bytes(16))
    asks_ports = rules_network((rule(17, dport=(53, 53)),), None)
    assert from_blue(about, asks_ports).verdict == Verdict.FRAGMENT_NO_STATE
    assert from_blue(about, rules_network((rule(17),), None)).verdict == Verdict.FORWARDED


def test_the_host_that_the_packet_inside_was_for_must_be_exposed() -> None:
    about = unreachable(4, ip("192.168.1.5", "10.1.1.42") / UDP(), teller="10.1.1.7")
    assert from_blue(about).verdict == Verdict.SOURCE_NOT_EXPOSED


def test_an_error_for_a_hole() -> None:
    about = unreachable(4, ip("192.168.1.42", "10.1.1.7") / UDP(), to="192.168.1.42")
    assert from_blue(about).verdict == Verdict.NAT_HOLE


@pytest.mark.parametrize("stateful", [RED_SIDE.key, BLUE_SIDE.key])
def test_errors_and_stateful_sides(stateful: object) -> None:
    hidden = {RED_SIDE.key: RED_SIDE, BLUE_SIDE.key: BLUE_SIDE}
    hidden = {key: one._replace(nat=Nat.STATEFUL) if key == stateful else one for key, one in hidden.items()}
    network = Network([Peering(hidden[RED_SIDE.key], hidden[BLUE_SIDE.key])])
    assert from_blue(unreachable(4, ABOUT), network).verdict == Verdict.NO_INBOUND


def test_an_error_takes_the_next_hop_of_the_conversation() -> None:
    """Shared by the mirror of the packet inside: an error comes where the replies come."""
    hops = (hop(LINKS["red"], "10.1.1.2"), hop(LINKS["red"], "10.1.1.3"))
    macs: dict[tuple[AttachmentKey, Family, int], bytes] = {
        (LINKS["red"].key, 4, number(f"10.1.1.{last}")): bytes([2, 0, 0, 0, 9, last]) for last in (2, 3)
    }
    network = replace(Network(), neighbors=macs).with_route("red", route("10.1.1.0/24", *hops))
    seen = set()
    for port in range(1, 60):
        reply = ip(*GOT[4][::-1]) / UDP(sport=53, dport=port)
        error = unreachable(4, ip(*GOT[4]) / UDP(sport=port, dport=53), teller="10.1.1.200")
        ways = [from_blue(packet, network).out[0][1][:6] for packet in (reply, error)]
        assert ways[0] == ways[1]
        seen.add(ways[0])
    assert len(seen) == 2


def test_no_answer_to_an_error() -> None:
    error = unreachable(4, ABOUT)
    error.ttl = 1
    outcome = from_blue(error)
    assert (outcome.verdict, outcome.answer) == (Verdict.TTL, None)
