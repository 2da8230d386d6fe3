"""After a change of the configuration: which conversations go on, which end, and which take another path."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scapy.layers.inet import ICMP, TCP, UDP
from scapy.packet import Packet

from isthmus.tables.entries import Timeouts
from isthmus.tables.verdicts import Verdict
from tests.scenarios.packets.builder import Offer, Peering, hop, route, rule, side
from tests.scenarios.packets.frames import ip
from tests.scenarios.packets.network import BLUE_SIDE, LINKS, RED_SIDE, ROUTES, Network
from tests.unit.test_twin_flows import ANSWER, ASK, OPEN, QUERY, REPLY, Gateway, between

RED = RED_SIDE._replace(rules=(OPEN,))


def asked(packet: Packet = QUERY, network: Network | None = None) -> Gateway:
    """A gateway at which one flow was opened."""
    gateway = Gateway(network or between())
    assert gateway.verdict(packet) == Verdict.FORWARDED
    return gateway


KEPT: dict[str, Network] = {
    "nothing is different": between(),
    "another rule allows it": between(RED._replace(rules=(rule(17, dport=(53, 53), stateless=False),))),
    "a stateless rule allows it": between(RED._replace(rules=(rule(17),))),
    "no rules at all": between(RED._replace(rules=None)),
    "blue has other rules": between(RED, BLUE_SIDE._replace(rules=(rule(6),))),
    "more addresses": between(
        side(
            "red--blue",
            "red",
            Offer("10.1.1.0/24", "192.168.1.0/24"),
            Offer("10.7.0.0/24", "10.8.0.0/24"),
            rules=(OPEN,),
        )
    ),
    "a peering of another name": Network(
        [
            Peering(
                RED._replace(key=RED.key._replace(peering="other")),
                BLUE_SIDE._replace(key=BLUE_SIDE.key._replace(peering="other"), rules=()),
            )
        ]
    ),
}
OVER: dict[str, Network] = {
    "the rules allow something else": between(RED._replace(rules=(rule(6, stateless=False),))),
    "the rules allow nothing": between(RED._replace(rules=())),
    "the source is not exposed": between(
        side("red--blue", "red", Offer("10.1.1.128/25", "192.168.1.128/25"), rules=(OPEN,))
    ),
    "the source is shown as another": between(
        side("red--blue", "red", Offer("10.1.1.0/24", "10.8.0.0/24"), rules=(OPEN,))
    ),
    "the destination is another host": between(
        RED, side("red--blue", "blue", Offer("10.1.2.0/24", "192.168.2.0/24"), rules=())
    ).with_route("blue", route("10.1.2.0/24", hop(LINKS["blue"]))),
    "the destination is the gateway": between(RED).with_route(
        "blue", *ROUTES["blue"], route("10.1.1.7/32", local=True)
    ),
}


@pytest.mark.parametrize("change", KEPT)
@pytest.mark.parametrize("swept", [False, True])
def test_what_is_still_right_goes_on(change: str, swept: bool) -> None:
    gateway = asked()
    gateway.become(KEPT[change])
    if swept:
        gateway.sweep()
    outcome = gateway.process(REPLY, "blue")
    assert outcome.verdict == Verdict.FORWARDED
    assert outcome.peering == gateway.network.peerings[0].left.key.peering
    assert gateway.flows.records == 1


@pytest.mark.parametrize("change", OVER)
def test_what_is_not_right_any_more_is_over(change: str) -> None:
    gateway = asked()
    gateway.become(OVER[change])
    assert gateway.verdict(REPLY, "blue") != Verdict.FORWARDED
    assert len(gateway.flows) == 0
    gateway.become(between())
    assert gateway.verdict(REPLY, "blue") == Verdict.NOT_ALLOWED  # and does not come back


@pytest.mark.parametrize("change", OVER)
def test_the_sweep_ends_it_too(change: str) -> None:
    gateway = asked()
    gateway.become(OVER[change])
    gateway.sweep()
    gateway.become(between())
    assert gateway.verdict(REPLY, "blue") == Verdict.NOT_ALLOWED
    assert gateway.flows.records == 0


def test_until_a_packet_or_the_sweep_comes_nothing_is_judged() -> None:
    gateway = asked()
    gateway.become(OVER["the rules allow nothing"])
    gateway.become(between())
    assert gateway.verdict(REPLY, "blue") == Verdict.FORWARDED


def test_the_packet_that_finds_it_over_is_judged_as_any() -> None:
    gateway = asked()
    gateway.become(between(side("red--blue", "red", Offer("10.1.1.0/24", "10.8.0.0/24"), rules=(OPEN,))))
    assert gateway.out(QUERY).src == "10.8.0.5"
    assert gateway.verdict(ip("10.1.1.7", "10.8.0.5") / UDP(sport=53, dport=1025), "blue") == Verdict.FORWARDED
    assert (len(gateway.flows), gateway.flows.records) == (1, 2)


def test_an_echo_is_judged_with_its_type_and_the_code_that_opened_it() -> None:
    ping = ASK[4] / ICMP(type=8, code=3, id=7)
    for allowed, expected in (((3, 3), Verdict.FORWARDED), ((0, 0), Verdict.NOT_ALLOWED)):
        gateway = asked(ping)
        gateway.become(between(RED._replace(rules=(rule(1, sport=(8, 8), dport=allowed, stateless=False),))))
        assert gateway.verdict(ANSWER[4] / ICMP(type=0, id=7), "blue") == expected


def test_new_timeouts_are_taken_over() -> None:
    gateway = asked()
    gateway.become(between(RED._replace(timeouts=Timeouts(udp=10))))
    gateway.process(REPLY, "blue")
    gateway.silent_for(10)
    assert len(gateway.flows) == 1
    gateway.flows.now += 1
    assert len(gateway.flows) == 0


def test_the_sweep_does_not_count_as_a_sign_of_life() -> None:
    gateway = asked()
    gateway.silent_for(300)
    gateway.become(between())
    gateway.sweep()
    assert len(gateway.flows) == 1
    gateway.flows.now += 1
    assert len(gateway.flows) == 0


def test_next_hops_are_chosen_anew_in_both_directions() -> None:
    gateway = asked()
    away = hop(LINKS["green"], "10.3.1.2")
    gateway.become(
        between().with_route("blue", route("10.1.1.0/24", away)).with_route("red", route("10.1.1.0/24", away))
    )
    assert gateway.process(QUERY).out[0][0] == "green0"
    assert gateway.process(REPLY, "blue").out[0][0] == "green0"


ANYCAST = ip("10.1.1.5", "8.8.8.8")


def two_peers(*alive: str) -> Network:
    """blue and green both offer 8.8.8.8 to red; blue is better. ``alive``: who has a route to it."""
    red = side("p", "red", Offer("10.1.1.0/24"), rules=(OPEN,))
    peerings = []
    for name, metric in (("blue", 0), ("green", 10)):
        other = side(f"red--{name}", name, Offer("8.8.8.0/24"), rules=())
        peerings.append(Peering(red._replace(key=red.key._replace(peering=f"red--{name}")), other, 0, metric))
    network = Network(peerings)
    for name in alive:
        network = network.with_route(name, route("8.8.8.0/24", hop(LINKS[name])))
    return network


def test_a_better_path_elsewhere_does_not_end_it() -> None:
    gateway = asked(ANYCAST / UDP(), two_peers("green"))
    gateway.become(two_peers("blue", "green"))
    assert gateway.process(ANYCAST / UDP()).out[0][0] == "green0"
    assert gateway.process(ANYCAST / UDP(sport=9)).out[0][0] == "blue0"


def test_a_conversation_on_a_dead_path_takes_another_in_mid_stream() -> None:
    """It is the initiator who moves it; who answers on the dead path is told nothing, and changes nothing."""
    gateway = asked(ANYCAST / TCP(flags="S"), two_peers("blue", "green"))
    answer = ip("8.8.8.8", "10.1.1.5") / TCP(sport=80, dport=20, flags="SA")
    assert gateway.process(answer, "blue").verdict == Verdict.FORWARDED
    gateway.process(ANYCAST / TCP(flags="A"))
    gateway.become(two_peers("green"))
    gateway.sweep()
    outcome = gateway.process(answer, "blue")
    assert (outcome.verdict, outcome.peering) == (Verdict.NO_ROUTE, None)
    outcome = gateway.process(ANYCAST / TCP(flags="A"))
    assert (outcome.verdict, outcome.peering, outcome.out[0][0]) == (Verdict.FORWARDED, "red--green", "green0")
    assert gateway.process(answer, "green").verdict == Verdict.FORWARDED
    gateway.silent_for(7440)
    assert len(gateway.flows) == 1  # it keeps what TCP had reached


def test_a_path_that_comes_back_in_time_is_as_if_nothing_had_been() -> None:
    gateway = asked(ANYCAST / UDP(), two_peers("blue"))
    gateway.become(two_peers())
    gateway.sweep()
    assert gateway.verdict(ip("8.8.8.8", "10.1.1.5") / UDP(), "blue") == Verdict.NO_ROUTE
    gateway.become(two_peers("blue"))
    assert gateway.verdict(ip("8.8.8.8", "10.1.1.5") / UDP(), "blue") == Verdict.FORWARDED


def test_where_no_path_is_left_the_initiator_ends_it() -> None:
    gateway = asked(ANYCAST / TCP(flags="S"), two_peers("blue"))
    gateway.become(two_peers())
    assert gateway.verdict(ANYCAST / TCP(flags="A")) == Verdict.NO_ROUTE
    gateway.become(two_peers("blue"))
    assert gateway.verdict(ANYCAST / TCP(flags="A")) == Verdict.NO_FLOW


def test_a_path_that_died_may_be_replaced_by_one_that_needs_no_flow() -> None:
    gateway = asked(ANYCAST / TCP(flags="S"), two_peers("blue"))
    blue, green = two_peers("green").peerings
    free = Peering(green.left._replace(rules=None), green.right._replace(rules=None), 0, 10)
    gateway.become(replace(two_peers("green"), peerings=[blue, free]))
    assert gateway.verdict(ANYCAST / TCP(flags="A")) == Verdict.FORWARDED
    assert len(gateway.flows) == 0


def test_a_vpc_that_is_gone_takes_its_flows_along() -> None:
    gateway = asked()
    tables = between().tables()
    del tables.vpcs["blue"]
    gateway.flows.reconfigured()
    gateway.flows.sweep(tables)
    assert gateway.flows.records == 0
