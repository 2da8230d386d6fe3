"""Learned routes beside a VPC's own, what is down, and what becomes of flows when they change."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scapy.layers.inet import UDP

from isthmus.tables.address import Prefix, parse_address
from isthmus.tables.entries import Origin, Peer, Route
from isthmus.tables.learned import Down, Learned, prefix_key
from isthmus.tables.verdicts import Verdict
from isthmus.trace.flows import Flows
from isthmus.trace.twin import Outcome, Twin
from tests.scenarios.packets.builder import Peering, hop, route, rule
from tests.scenarios.packets.frames import frame, ip
from tests.scenarios.packets.network import BLUE_SIDE, LINKS, RED_SIDE, Network

OWN, FIRST, SECOND = (bytes([2, 0, 0, 9, 0, last]) for last in range(3))
MACS = {(LINKS["blue"].key, *parse_address(f"10.1.1.{last}")): mac for last, mac in ((7, OWN), (2, FIRST), (3, SECOND))}
DIALLED, DIALLER = frame(ip("10.1.1.5", "192.168.2.7") / UDP(sport=1, dport=2)), "red0"


def taught(*prefixes: str, peers: tuple[str, ...] = ("10.1.1.2",), down: frozenset[Down] = frozenset()) -> Learned:
    """blue's routes, over routers that are the neighbours too."""
    hops = tuple(hop(LINKS["blue"], peer)._replace(peer=peer) for peer in peers)
    routes = [Route(Prefix.parse(text), 5, False, hops, Origin("learned")) for text in prefixes]
    return Learned({"blue": {4: {prefix_key(one.prefix): one for one in routes}}}, down)


def way_of(learned: Learned, *own: str) -> Verdict | bytes:
    """The MAC to which a packet to 10.1.1.7 of blue leaves."""
    network = Network(neighbors=MACS, learned=learned)
    network = network.with_route("blue", *(route(text, hop(LINKS["blue"])) for text in own))
    outcome = network.process(DIALLED)
    return outcome.out[0][1][:6] if outcome.out else outcome.verdict


DOWN = frozenset({Peer("blue", "10.1.1.2")})


@pytest.mark.parametrize(
    ("learned", "own", "leaves"),
    [
        (taught("10.1.0.0/16"), (), FIRST),
        (taught("10.1.1.0/25"), ("10.1.1.0/24",), FIRST),
        (taught("10.1.1.0/24"), ("10.1.1.0/24",), OWN),
        (taught("10.1.1.0/24"), ("10.1.1.0/25",), OWN),
        (taught("10.2.0.0/16"), ("10.1.1.0/24",), OWN),
        (taught("0.0.0.0/0", "10.1.1.7/32"), ("10.1.1.0/24",), FIRST),
        (taught("10.2.0.0/16"), (), Verdict.NO_ROUTE),
        (taught("10.1.1.0/25", down=DOWN), ("10.1.1.0/24",), Verdict.NO_ROUTE),
        (taught("10.1.1.0/24", down=DOWN), ("10.1.1.0/24",), OWN),
        (taught("10.1.0.0/16", down=frozenset({LINKS["blue"].key})), (), Verdict.NO_ROUTE),
        (taught("10.1.0.0/16", down=frozenset({LINKS["red"].key, Peer("red", "10.1.1.2")})), (), FIRST),
        (taught("10.1.0.0/16", peers=("10.1.1.2", "10.1.1.3"), down=DOWN), (), SECOND),
        (taught("10.2.0.0/16", down=frozenset({LINKS["blue"].key})), ("10.1.1.0/24", "10.1.0.0/16"), Verdict.NO_ROUTE),
        (taught("10.1.0.0/16", down=frozenset({LINKS["red"].key})), ("10.1.1.0/24",), OWN),
    ],
)
def test_which_route_is_taken(learned: Learned, own: tuple[str, ...], leaves: Verdict | bytes) -> None:
    assert way_of(learned, *own) == leaves


class Gateway:
    """A twin of red and blue, where red's packets open flows."""

    def __init__(self, learned: Learned) -> None:
        stateful = RED_SIDE._replace(rules=(rule(stateless=False),))
        network = Network([Peering(stateful, BLUE_SIDE)], neighbors=MACS).with_route("blue")
        self.twin = Twin(network.tables(), network.environment(), Flows(), learned)

    def learns(self, learned: Learned, epoch: int) -> None:
        self.twin.learned = replace(learned, epoch=epoch)

    def dial(self) -> Outcome:
        return self.twin.process(DIALLED, DIALLER)


def test_a_flow_goes_the_way_that_it_was_judged_for_until_the_epoch_moves() -> None:
    gateway = Gateway(taught("10.1.0.0/16"))
    assert gateway.dial().out[0][1][:6] == FIRST
    other = taught("10.1.0.0/16", peers=("10.1.1.3",))
    gateway.learns(other, 0)
    assert gateway.dial().out[0][1][:6] == FIRST
    gateway.learns(other, 1)
    assert gateway.dial().out[0][1][:6] == SECOND
    assert len(gateway.twin.flows) == 1


@pytest.mark.parametrize("gone", [taught("10.2.0.0/16"), taught("10.1.0.0/16", down=DOWN)])
def test_a_flow_whose_route_is_gone_is_dead_and_comes_back_with_the_next(gone: Learned) -> None:
    gateway = Gateway(taught("10.1.0.0/16"))
    gateway.dial()
    gateway.learns(gone, 1)
    assert gateway.dial().verdict is Verdict.NO_ROUTE
    gateway.learns(taught("10.1.0.0/16"), 2)
    assert gateway.dial().verdict is Verdict.FORWARDED


def test_a_sweep_judges_by_the_learned_routes() -> None:
    gateway = Gateway(taught("10.1.0.0/16"))
    gateway.dial()
    learned = replace(taught("10.1.0.0/16", peers=("10.1.1.3",)), epoch=1)
    gateway.twin.flows.sweep(gateway.twin.tables, learned)
    gateway.twin.learned = learned
    assert gateway.dial().out[0][1][:6] == SECOND
