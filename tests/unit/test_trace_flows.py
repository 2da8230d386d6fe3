"""The answer of trace where a conversation is remembered: what is opened, what follows, what is chosen."""

from __future__ import annotations

import pytest

from isthmus.tables.entries import Side
from isthmus.tables.verdicts import Verdict
from isthmus.trace.question import Question
from isthmus.trace.report import caution, lines
from tests.scenarios.packets.builder import Peering, rule
from tests.scenarios.packets.network import BLUE_SIDE, RED_SIDE, Network
from tests.unit.test_trace_explain import STATEFUL, TCP, asked


def numbers(shown: object) -> tuple[object, ...]:
    assert isinstance(shown, dict)
    return tuple(shown[name] for name in ("src", "sport", "dst", "dport"))


def test_what_the_gateway_will_choose_is_left_open_and_the_pool_is_shown() -> None:
    """The reply is judged in the state that the packet left: it comes back to the host that sent it."""
    answer = asked(Network([STATEFUL]), Question("10.1.1.5", "10.3.1.7", dport=443))
    json = answer.as_json()
    reply = json["reply"]
    assert isinstance(reply, dict)
    assert (json["verdict"], json["flow"], json["pool"]) == ("forwarded", "opened", ["203.0.113.0/30"])
    assert numbers(answer.packet._asdict()) == ("10.1.1.5", 40000, "10.3.1.7", 443)
    assert numbers(json["delivered"]) == (None, None, "10.3.1.7", 443)
    assert (reply["verdict"], reply["flow"], reply["pool"]) == ("forwarded", "followed", ["203.0.113.0/30"])
    assert numbers(reply["packet"]) == ("10.3.1.7", 443, None, None)
    assert numbers(reply["delivered"]) == ("10.3.1.7", 443, "10.1.1.5", 40000)
    assert caution(answer) is None
    assert "pool" not in asked(Network(), TCP).as_json()


def test_the_text_says_that_it_is_chosen() -> None:
    answer = asked(Network([STATEFUL]), Question("10.1.1.5", "10.3.1.7", dport=443))
    assert answer.reply is not None
    assert "  delivered  tcp chosen from the pool -> 10.3.1.7:443, ttl 63" in lines(answer)
    assert "  sent       tcp 10.3.1.7:443 -> chosen from the pool, ttl 64" in lines(answer.reply)
    steps = {step.result: step.origin for step in answer.steps if step.stage == "translate"}
    side_of_red = "Peering/p spec.red"
    its_pool = "203.0.113.0/30, ports 1024-65535: the same toward every destination, its own port if that is free"
    assert steps == {
        "source 10.1.1.5:40000 becomes one chosen from the pool": "",
        f"the pool is {its_pool}": side_of_red,
        "opened: answers follow it; forgotten after 240 (established: 7440) s of silence": side_of_red,
    }
    assert ("rules", "a flow is opened: red is behind stateful NAT", side_of_red) in answer.steps
    assert [(step.stage, step.result) for step in answer.reply.steps if step.stage == "flow"] == [
        ("flow", "an answer in the flow that red has opened, tcp 10.1.1.5:40000 -> 10.3.1.7:443: it follows"),
        ("flow", "destination becomes 10.1.1.5:40000"),
    ]


@pytest.mark.parametrize("proto", ["udp", "icmp", "132"])
def test_other_protocols_come_back_from_behind_nat(proto: str) -> None:
    reply = asked(Network([STATEFUL]), Question("10.1.1.5", "10.3.1.7", proto)).reply
    assert reply is not None
    assert (reply.flow, reply.packet.dst, reply.packet.dport) == ("followed", None, None)
    assert reply.delivered is not None
    assert reply.delivered.dst == "10.1.1.5"


@pytest.mark.parametrize(
    ("red", "why"),
    [
        (RED_SIDE._replace(rules=(rule(6, stateless=False),)), "the rule is stateful"),
        (RED_SIDE._replace(opens=True), "the ingress of blue need not let answers in"),
    ],
)
def test_a_flow_lets_the_reply_back_that_no_rule_allows(red: Side, why: str) -> None:
    answer = asked(Network([Peering(red, BLUE_SIDE._replace(rules=()))]), TCP)
    assert (answer.flow, answer.reply and answer.reply.flow) == ("opened", "followed")
    assert (answer.pool, caution(answer)) == ((), None)
    assert ("rules", f"a flow is opened: {why}") in [step[:2] for step in answer.steps]
    assert answer.reply is not None
    stages = [step.stage for step in answer.reply.steps]
    assert stages == ["classify", "gateway", "flow", "flow", "ttl", "next hop"]
    assert answer.reply.peering == "red--blue"


def test_an_initiator_that_answers_can_not_reach_is_told() -> None:
    network = Network([Peering(RED_SIDE._replace(rules=(rule(stateless=False),)), BLUE_SIDE)])
    answer = asked(network.with_route("red"), TCP)
    assert caution(answer) == "the packet arrives and its reply does not: no-route"
    assert answer.reply is not None
    assert "red has no route to 10.1.1.5, or only to the gateway itself" in answer.reply.steps[-1].result


def test_a_packet_that_dies_has_opened_its_flow() -> None:
    network = Network([Peering(RED_SIDE._replace(rules=(rule(stateless=False),)), BLUE_SIDE)])
    answer = asked(network, TCP._replace(ttl=1))
    assert (answer.verdict, answer.flow) == (Verdict.TTL, "opened")
