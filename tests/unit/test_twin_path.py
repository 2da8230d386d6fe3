"""Stage path: who offers the destination, who is live, who is preferred, and how equal ones share."""

from collections import Counter
from dataclasses import replace

import pytest
from scapy.layers.inet import ICMP, IP, UDP

from isthmus.tables.entries import Nat
from isthmus.tables.share import address_words, next_hop_id, stable_id, weight
from isthmus.tables.verdicts import Verdict
from isthmus.trace.environment import ASSUMED
from isthmus.trace.judge import judge
from isthmus.trace.judgement import Judgement
from isthmus.trace.packet import UDP as UDP_PROTO
from isthmus.trace.packet import Packet
from tests.scenarios.packets.builder import Offer, Peering, hop, number, route, side
from tests.scenarios.packets.frames import frame, ip
from tests.scenarios.packets.network import LINKS, ROUTES, Network

VIA_NET, VIA_GREEN = hop(LINKS["net"], "198.18.0.2"), hop(LINKS["green"], "10.3.1.2")
SECOND = hop(LINKS["net"], "198.18.0.3")


def peering(name: str, *offers: Offer, metric: int = 0, nat: Nat | None = None) -> Peering:
    """red with one peer, named after it."""
    return Peering(
        side(f"red--{name}", "red", Offer("10.1.1.0/24")), side(f"red--{name}", name, *offers, nat=nat), 0, metric
    )


def judged(network: Network, dst: str = "8.8.8.8", sport: int = 1, dport: int = 2, fragment: bool = False) -> Judgement:
    """What is decided on a UDP packet from 10.1.1.5 in red."""
    packet = Packet(4, number("10.1.1.5"), number(dst), UDP_PROTO, sport, dport, fragment=fragment)
    return judge(network.tables(), "red", packet, ASSUMED)


def test_nobody_offers_it() -> None:
    assert judged(Network([])).verdict == Verdict.NO_PEERING
    assert judged(Network([peering("net", Offer("9.0.0.0/8"))])).verdict == Verdict.NO_PEERING


def test_first_and_last_address_of_an_offer() -> None:
    network = Network([peering("net", Offer("8.8.8.0/24"))])
    verdicts = [judged(network, dst).verdict for dst in ("8.8.7.255", "8.8.8.0", "8.8.8.255", "8.8.9.0")]
    assert verdicts == [Verdict.NO_PEERING, Verdict.FORWARDED, Verdict.FORWARDED, Verdict.NO_PEERING]


@pytest.mark.parametrize("dst", ["192.168.2.42", "2001:db8:2::42"])
def test_a_hole_of_the_destination(dst: str) -> None:
    src = "2001:db8:a::5" if ":" in dst else "10.1.1.5"
    assert Network().process(frame(ip(src, dst) / UDP())).verdict == Verdict.NAT_HOLE


@pytest.mark.parametrize("dst", ["192.168.2.41", "192.168.2.43"])
def test_the_neighbours_of_a_hole_keep_their_offset(dst: str) -> None:
    out = Network().process(frame(ip("10.1.1.5", dst) / UDP())).out[0][1]
    assert IP(out[14:]).dst == dst.replace("192.168.2.", "10.1.1.")


def test_the_sender_s_own_subnets() -> None:
    assert judged(Network(own_subnets={"red": "8.8.8.0/24"})).verdict == Verdict.SAME_VPC


def test_a_candidate_without_a_route_is_out() -> None:
    network = Network([peering("net", Offer("8.8.8.0/24")), peering("green", Offer("8.8.8.0/24"))])
    judgement = judged(network)  # green has no route there
    assert judgement.peering == "red--net"
    assert [path.live for path in judgement.paths] == [True, False]


def test_no_candidate_has_a_route() -> None:
    network = Network([peering("green", Offer("8.8.8.0/24"))])
    assert judged(network).verdict == Verdict.NO_ROUTE
    assert judged(network.with_route("green", route("8.8.0.0/16", VIA_GREEN))).verdict == Verdict.FORWARDED


def test_the_route_is_that_of_the_private_address() -> None:
    network = Network([peering("green", Offer("10.3.1.0/24", "8.8.8.0/24"))])
    assert judged(network).verdict == Verdict.FORWARDED
    assert judged(network.with_route("green", route("8.8.8.0/24", VIA_GREEN))).verdict == Verdict.NO_ROUTE


def test_the_longest_route_of_the_vpc_is_taken() -> None:
    routes = [route("0.0.0.0/0", VIA_NET), route("8.8.0.0/16", SECOND), route("8.8.8.9/32", VIA_NET)]
    network = Network([peering("net", Offer("0.0.0.0/0"))])
    for ordered in (routes, routes[::-1]):
        assert judged(network.with_route("net", *ordered)).hop == SECOND


@pytest.mark.parametrize("names", [("net", "green"), ("green", "net")])
def test_the_longer_public_prefix_wins_over_the_metric(names: tuple[str, str]) -> None:
    long, short = names
    network = Network([peering(long, Offer("8.8.8.0/24"), metric=9), peering(short, Offer("8.8.0.0/16"))])
    network = network.with_route("green", route("0.0.0.0/0", VIA_GREEN)).with_route("net", route("0.0.0.0/0", VIA_NET))
    split = replace(network, peerings=[_covering(p, "8.8.8.0/24") for p in network.peerings])
    assert judged(split).peering == f"red--{long}"


def _covering(peering: Peering, cidr: str) -> Peering:
    """The same peering with its offer cut to a CIDR, as the compiler cuts offers that overlap; its length stays."""
    inner = Offer(cidr).ranges()[0][0]
    (whole,) = peering.right.private[4]
    return peering._replace(right=peering.right._replace(private={4: (inner._replace(origin=whole.origin),)}))


def test_a_longer_route_counts_on_a_plain_side() -> None:
    network = Network([peering("net", Offer("8.8.8.0/24")), peering("green", Offer("8.8.8.0/24"))])
    network = network.with_route("green", route("8.8.8.8/31", VIA_GREEN, metric=1000))
    judgement = judged(network)
    assert judgement.peering == "red--green"
    assert judgement.chosen is not None
    assert judgement.chosen.length == 31


def test_a_longer_route_does_not_count_behind_static_translation() -> None:
    network = Network([peering("net", Offer("8.8.8.0/24")), peering("green", Offer("10.3.1.0/24", "8.8.8.0/24"))])
    network = network.with_route("green", route("10.3.1.8/32", VIA_GREEN, metric=1))
    assert judged(network).peering == "red--net"


@pytest.mark.parametrize(
    ("net_side", "green_side", "green_route", "winner"),
    [(1, 0, 0, "green"), (0, 1, 0, "net"), (1, 0, 2, "net"), (3, 1, 1, "green"), (3, 2, 2, "net")],
)
def test_the_lowest_sum_of_side_and_route_wins(net_side: int, green_side: int, green_route: int, winner: str) -> None:
    sides = [
        peering("net", Offer("8.8.8.0/24"), metric=net_side),
        peering("green", Offer("8.8.8.0/24"), metric=green_side),
    ]
    network = Network(sides).with_route("net", route("0.0.0.0/0", VIA_NET))
    network = network.with_route("green", route("0.0.0.0/0", VIA_GREEN, metric=green_route))
    assert judged(network).peering == f"red--{winner}"


def test_the_sum_saturates() -> None:
    sides = [peering("net", Offer("8.8.8.0/24"), metric=2**31 - 1)]
    network = Network(sides).with_route("net", route("0.0.0.0/0", VIA_NET, metric=2**32 - 1))
    judgement = judged(network)
    assert judgement.chosen is not None
    assert judgement.chosen.metric == 2**32 - 1


def equal_paths() -> Network:
    network = Network([peering("green", Offer("8.8.8.0/24")), peering("net", Offer("8.8.8.0/24"))])
    return network.with_route("green", route("0.0.0.0/0", VIA_GREEN))


def test_equal_paths_share_by_rendezvous_hash() -> None:
    network, taken = equal_paths(), Counter[str | None]()
    for last in range(256):
        dst = f"8.8.8.{last}"
        words = (*address_words(number("10.1.1.5")), *address_words(number(dst)))
        names = ("red--green", "red--net")
        expected = max(names, key=lambda name: weight(stable_id("red"), *words, stable_id(name)))
        assert judged(network, dst).peering == expected
        taken[expected] += 1
    assert min(taken.values()) > 90


def test_ports_do_not_move_a_conversation_to_another_peering() -> None:
    network = equal_paths()
    assert len({judged(network, sport=port, dport=port * 3).peering for port in range(50)}) == 1


def test_removing_a_peering_moves_only_its_share() -> None:
    network = equal_paths()
    third = peering("blue", Offer("8.8.8.0/24"))
    three = replace(network, peerings=[*network.peerings, third]).with_route(
        "blue", route("0.0.0.0/0", hop(LINKS["blue"]))
    )
    for last in range(256):
        before, after = judged(three, f"8.8.8.{last}").peering, judged(network, f"8.8.8.{last}").peering
        assert before in (after, "red--blue")


def next_hops() -> Network:
    routes = route("0.0.0.0/0", VIA_NET, SECOND, hop(LINKS["net"], "198.18.0.4"))
    return Network([peering("net", Offer("0.0.0.0/0"))]).with_route("net", routes)


def test_next_hops_share_with_ports() -> None:
    taken = Counter[object]()
    hops = next_hops().routes["net"][0].next_hops
    words = (*address_words(number("10.1.1.5")), *address_words(number("8.8.8.8")))
    for port in range(300):
        expected = max(hops, key=lambda h: weight(stable_id("red"), *words, port << 16 | 2, next_hop_id(h)))
        assert judged(next_hops(), sport=port).hop == expected
        taken[expected] += 1
    assert min(taken.values()) > 60


def test_fragments_icmp_and_other_protocols_share_without_ports() -> None:
    network = next_hops()
    without = {judged(network, sport=port, fragment=True).hop for port in range(20)}
    without |= {judged(network, sport=0, dport=0, fragment=True).hop}
    assert len(without) == 1
    same = [Packet(4, number("10.1.1.5"), number("8.8.8.8"), proto, kind) for proto in (1, 132) for kind in (0, 8)]
    without |= {judge(network.tables(), "red", packet).hop for packet in same}
    assert len(without) == 1


def test_the_share_is_asked_before_translation() -> None:
    """The sender's own addresses and VPC, so that a change of `as` moves nobody."""
    offer = Offer("10.3.1.0/24", "8.8.8.0/24")
    one = Peering(side("p", "red", Offer("10.1.1.0/24", "192.0.2.0/24")), side("p", "green", offer))
    two = Peering(side("p", "red", Offer("10.1.1.0/24", "198.51.100.0/24")), side("p", "green", offer))
    routes = route("10.3.1.0/24", VIA_GREEN, hop(LINKS["green"], "10.3.1.3"))
    hops = [
        [judged(Network([p]).with_route("green", routes), sport=port).hop for port in range(64)] for p in (one, two)
    ]
    assert hops[0] == hops[1]
    assert len(set(hops[0])) == 2


def test_the_gateway_s_own_address_in_another_vpc() -> None:
    network = Network([peering("green", Offer("10.3.1.0/24"))])
    network = network.with_route("green", *ROUTES["green"], route("10.3.1.1/32", local=True))
    assert judged(network, "10.3.1.1").verdict == Verdict.GATEWAY_ADDRESS
    assert judged(network, "10.3.1.2").verdict == Verdict.FORWARDED


def test_a_stateful_side_is_live_without_a_route_and_lets_nobody_in() -> None:
    network = Network([peering("green", Offer("8.8.8.0/24"), nat=Nat.STATEFUL)]).with_route("green")
    assert judged(network).verdict == Verdict.NO_INBOUND
    both = Network([peering("net", Offer("8.8.8.0/24"), metric=1), *network.peerings])
    assert judged(both).verdict == Verdict.NO_INBOUND  # never another path than the one that was picked


def test_a_vpc_that_is_in_no_table_is_a_bug_and_says_so() -> None:
    tables = Network([peering("net", Offer("8.8.8.0/24"))]).tables()
    packet = Packet(4, number("10.1.1.5"), number("8.8.8.8"), UDP_PROTO)
    for broken in (
        replace(tables, vpcs={"red": tables.vpcs["red"]}),
        replace(tables, sides={}),
    ):
        assert judge(broken, "red", packet).verdict == Verdict.INTERNAL


def test_icmp_takes_the_path_of_everything_else() -> None:
    network = equal_paths()
    for last in range(32):
        echo = network.process(frame(ip("10.1.1.5", f"8.8.8.{last}") / ICMP()))
        assert echo.peering == judged(network, f"8.8.8.{last}").peering
