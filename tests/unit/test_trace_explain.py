"""The answer of trace: every stage with its origin, candidates with their reasons, a hint for every drop, the reply."""

from dataclasses import replace

import pytest

from isthmus.tables.address import Prefix
from isthmus.tables.entries import AttachmentKey, Nat, NextHop, Origin, Peer, Pool, Route, Tables, Tag, TagKind, Tunnel
from isthmus.tables.learned import Learned, prefix_key
from isthmus.tables.verdicts import Verdict
from isthmus.trace.explain import Answer, explain
from isthmus.trace.question import Question, packet_of
from isthmus.trace.report import caution, headline, lines
from tests.scenarios.packets.builder import Offer, Peering, hop, number, route, rule, side
from tests.scenarios.packets.network import BLUE_SIDE, LINKS, RED_SIDE, ROUTES, Network


def asked(network: Network | Tables, question: Question, vpc: str = "red") -> Answer:
    tables = network.tables() if isinstance(network, Network) else network
    return explain(tables, vpc, packet_of(question))


TCP = Question("10.1.1.5", "192.168.2.7", dport=443)


def test_a_packet_that_passes_and_its_reply() -> None:
    answer = asked(Network(), TCP).as_json()
    steps, candidates, reply = answer.pop("steps"), answer.pop("candidates"), answer.pop("reply")
    numbers = {"proto": "tcp", "type": None, "code": None}
    assert answer == {
        "verdict": "forwarded",
        "reason": None,
        "from": "red",
        "to": "blue",
        "peering": "red--blue",
        "packet": {"src": "10.1.1.5", "dst": "192.168.2.7", "sport": 40000, "dport": 443, "ttl": 64, **numbers},
        "delivered": {"src": "192.168.1.5", "dst": "10.1.1.7", "sport": 40000, "dport": 443, "ttl": 63, **numbers},
        "flow": "none",
        "assumed": False,
    }
    assert candidates == [
        {"peering": "red--blue", "prefix": "192.168.2.0/24", "metric": 0, "chosen": True, "why": "only path"}
    ]
    assert isinstance(steps, list)
    stages = [step["stage"] for step in steps]
    assert stages == [
        "classify",
        "gateway",
        "flow",
        "martian",
        "path",
        "path",
        "source",
        "rules",
        "translate",
        "ttl",
        "next hop",
    ]
    assert isinstance(reply, dict)
    assert (reply["verdict"], reply["from"], reply["to"], reply["reply"]) == ("forwarded", "blue", "red", None)
    assert reply["packet"] == {
        "src": "10.1.1.7",
        "dst": "192.168.1.5",
        "sport": 443,
        "dport": 40000,
        "ttl": 64,
        **numbers,
    }
    assert reply["delivered"] == {
        "src": "192.168.2.7", "dst": "10.1.1.5", "sport": 443, "dport": 40000, "ttl": 63, **numbers
    }  # fmt: skip


def test_steps_name_the_entry_that_decided() -> None:
    network = Network([Peering(RED_SIDE._replace(rules=(rule(6, dport=(443, 443)),)), BLUE_SIDE)])
    by_stage = {step.stage: step for step in asked(network, TCP).steps}
    assert by_stage["source"] == ("source", "10.1.1.5 is exposed as 192.168.1.5", "Peering/test 10.1.1.0/24")
    assert by_stage["rules"] == ("rules", "allowed: tcp dstPort 443, stateless", "Peering/test ingress[0].allow")
    assert by_stage["next hop"] == ("next hop", "10.1.1.7 on-link, on blue0", "VPC/blue")


def test_offline_every_port_and_neighbour_is_there() -> None:
    nowhere = replace(Network(), ports={}, neighbors={})
    assert asked(nowhere, TCP).verdict == Verdict.FORWARDED
    no_hop = Network().with_route("blue", route("10.1.1.0/24"))
    assert asked(no_hop, TCP).verdict == Verdict.FORWARDED


def test_a_packet_for_the_gateway_is_local() -> None:
    answer = asked(Network(), Question("10.1.1.5", "10.1.1.1"))
    json = answer.as_json()
    assert (json["verdict"], json["reason"], json["to"], json["reply"]) == ("local", None, None, None)
    assert json["delivered"] == json["packet"]
    assert headline(answer) == "LOCAL  to the gateway itself in red"


def offers(*peers: tuple[str, str, int]) -> Network:
    """red with peers that are plain: (name, CIDR, metric)."""
    sides = [
        Peering(side(f"red--{name}", "red", Offer("10.1.1.0/24")), side(f"red--{name}", name, Offer(cidr)), 0, metric)
        for name, cidr, metric in peers
    ]
    network = Network(sides)
    for name in ("green", "blue"):
        network = network.with_route(name, route("0.0.0.0/0", hop(LINKS[name])))
    return network


def why(network: Network) -> list[tuple[str, bool, str]]:
    return [(row.peering, row.chosen, row.why) for row in asked(network, Question("10.1.1.5", "8.8.8.8")).candidates]


def test_why_the_metric_decided() -> None:
    rows = why(offers(("net", "8.8.8.0/24", 5), ("green", "8.8.8.0/24", 3), ("blue", "8.8.8.0/24", 9)))
    assert rows == [
        ("red--green", True, "lowest metric"),
        ("red--net", False, "higher metric"),
        ("red--blue", False, "higher metric"),
    ]


def test_why_the_prefix_decided() -> None:
    network = offers(("net", "8.8.8.0/24", 0), ("green", "8.8.8.0/24", 9))
    network = network.with_route("green", route("8.8.8.8/32", hop(LINKS["green"])))
    assert why(network) == [("red--green", True, "longest prefix"), ("red--net", False, "shorter prefix")]


def test_why_the_hash_decided() -> None:
    rows = why(offers(("net", "8.8.8.0/24", 0), ("green", "8.8.8.0/24", 0), ("blue", "8.8.8.0/24", 1)))
    assert [row[1:] for row in rows] == [
        (True, "shares: rendezvous hash"),
        (False, "shares: rendezvous hash"),
        (False, "higher metric"),
    ]


def test_why_no_route_is_out() -> None:
    network = offers(("net", "8.8.8.0/24", 0), ("green", "8.8.8.0/24", 0)).with_route("green")
    answer = asked(network, Question("10.1.1.5", "8.8.8.8"))
    assert [(row.why, row.metric) for row in answer.candidates] == [("only path with a route", 0), ("no route", None)]


def test_a_hole_is_a_candidate_that_was_not_taken() -> None:
    (row,) = asked(Network(), Question("10.1.1.5", "192.168.2.42")).candidates
    assert (row.peering, row.prefix, row.metric, row.chosen) == ("red--blue", "192.168.2.0/24", None, False)
    assert "hole" in row.why


HIDDEN = side("p", "red", Offer("10.1.1.0/24", "203.0.113.0/24"), nat=Nat.STATEFUL)
STATEFUL = Peering(
    HIDDEN._replace(pool=Pool({4: ((number("203.0.113.0"), number("203.0.113.3")),)})),
    side("p", "green", Offer("10.3.1.0/24")),
)
NO_POOL = Peering(HIDDEN._replace(pool=Pool({4: ()})), STATEFUL.right)
RULED = Network([Peering(RED_SIDE._replace(rules=(rule(6, dport=(443, 443)), rule(17, src="10.1.1.8/32"))), BLUE_SIDE)])
PLAIN = Peering(side("p", "red", Offer("10.1.1.0/24")), side("p", "green", Offer("10.3.1.0/24")))

DROPS: list[tuple[Network, Question, str, list[str]]] = [
    (Network(), Question("127.0.0.1", "192.168.2.7"), "martian", ["127.0.0.1 may never cross"]),
    (Network(), Question("2001:db8:a::5", "2001:db8:2::7", "icmp", type=135), "martian", ["neighbour discovery"]),
    (Network(), Question("10.1.1.1", "192.168.2.7"), "gateway-spoof", ["10.1.1.1 is the gateway's own"]),
    (Network(), Question("10.1.1.5", "192.168.2.7", "icmp", type=3), "icmp-malformed", ["trace the packet that"]),
    (Network(), Question("10.1.1.5", "9.9.9.9"), "no-peering", ["9.9.9.9", "192.168.2.0-192.168.2.41", "(blue)"]),
    (Network(), Question("10.1.1.5", "192.168.2.42"), "nat-hole", ["192.168.2.42 is a hole", "remove the `not`"]),
    (Network(own_subnets={"red": "9.0.0.0/8"}), Question("10.1.1.5", "9.9.9.9"), "same-vpc", ["red's own subnets"]),
    (
        Network([PLAIN]).with_route("green"),
        Question("10.1.1.5", "10.3.1.7"),
        "no-route",
        ["green has no route to 10.3.1.7", "static route"],
    ),
    (
        Network([PLAIN]).with_route("green", *ROUTES["green"], route("10.3.1.1/32", local=True)),
        Question("10.1.1.5", "10.3.1.1"),
        "gateway-address",
        ["own address in green"],
    ),
    (
        Network(),
        Question("10.1.9.5", "192.168.2.7"),
        "source-not-exposed",
        ["10.1.9.5 is not exposed by red", "10.1.1.0-10.1.1.41, 10.1.1.43-10.1.1.255 as 192.168.1.0-192.168.1.41"],
    ),
    (
        RULED,
        Question("10.1.1.5", "192.168.2.7", dport=80),
        "not-allowed",
        ["ingress[0].allow: tcp dstPort 443, stateless", "udp from 10.1.1.8/32, stateless"],
    ),
    (
        Network([Peering(RED_SIDE._replace(rules=()), BLUE_SIDE)]),
        TCP,
        "not-allowed",
        ["the ingress of red is empty: it may start nothing"],
    ),
    (
        Network([Peering(STATEFUL.right, STATEFUL.left)]),
        Question("10.3.1.7", "203.0.113.1"),
        "no-inbound",
        ["red is behind stateful NAT", "only red can start"],
    ),
    (
        Network([Peering(RED_SIDE._replace(rules=(rule(1, stateless=False),)), BLUE_SIDE)]),
        Question("10.1.1.5", "192.168.2.7", "icmp", type=0),
        "no-flow",
        ["the rule that allows it is stateful", "an echo request", "`stateless: true`"],
    ),
    (
        Network([STATEFUL]),
        Question("10.1.1.5", "10.3.1.7", "icmp", type=13),
        "no-flow",
        ["red is behind stateful NAT", "trace the packet that starts"],
    ),
    (
        Network([NO_POOL]),
        Question("10.1.1.5", "10.3.1.7"),
        "nat-exhausted",
        ["the pool is no address, ports 1024-65535", "`nat.ports`"],
    ),
    (Network([NO_POOL]), Question("10.1.1.5", "10.3.1.7", "132"), "nat-protocol", ["protocol 132 has no ports"]),
    (Network(), TCP._replace(ttl=1), "ttl", ["TTL 1", "--ttl 2"]),
]


@pytest.mark.parametrize(("network", "question", "reason", "words"), DROPS, ids=[drop[2] for drop in DROPS])
def test_a_drop_says_why_and_what_to_do(network: Network, question: Question, reason: str, words: list[str]) -> None:
    answer = asked(network, question, "green" if question.src.startswith("10.3.") else "red")
    json = answer.as_json()
    assert (json["verdict"], json["reason"], json["delivered"], json["reply"]) == ("dropped", reason, None, None)
    text = "\n".join([headline(answer), *lines(answer)])
    assert text.startswith(f"DROPPED  {reason}  ")
    assert answer.hint
    assert "\n" not in answer.hint
    assert answer.steps[-1].result.startswith(f"{reason}: ")
    for word in words:
        assert word in text


def test_every_drop_that_an_offline_trace_can_meet_has_been_asked() -> None:
    never = {
        "no-attachment",
        "too-big",
        "next-hop-unresolved",
        "port-down",
        "internal",
        "fragment-no-state",
        "not-carried",
    }
    before = {"malformed", "ipv6-ext", "not-ip", "not-our-mac", "unknown-tag", "passed", "local", "forwarded", "audit"}
    state = {"flow-conflict", "flow-table-full"}  # of other conversations, which a trace does not know of
    assert {drop[2] for drop in DROPS} == {verdict.label for verdict in Verdict} - never - before - state


def test_assumed_routes_are_said_to_be() -> None:
    tables = Network().tables()
    tables = replace(tables, vpcs={**tables.vpcs, "blue": tables.vpcs["blue"]._replace(assumed=True)})
    answer = asked(tables, TCP)
    assert answer.assumed
    assert any("blue has BGP and no routes were given" in line for line in lines(answer))
    assert answer.reply is not None
    assert not answer.reply.assumed


def test_a_vpc_without_an_object_is_taken_to_be_reached() -> None:
    tables = Network().tables()
    tables = replace(tables, vpcs={**tables.vpcs, "blue": tables.vpcs["blue"]._replace(defined=False)})
    assert "blue has no VPC object" in asked(tables, TCP).steps[-1].result


def test_a_reply_that_does_not_arrive_is_told() -> None:
    one_way = Network([Peering(RED_SIDE, BLUE_SIDE._replace(rules=()))])
    answer = asked(one_way, TCP)
    assert answer.verdict == Verdict.FORWARDED
    assert caution(answer) == "the packet arrives and its reply does not: not-allowed"
    assert caution(asked(Network(), TCP)) is None


def test_a_reply_that_goes_elsewhere_is_told() -> None:
    """Two VPCs that are plain toward one peer, and show it the same addresses: return-ambiguous."""
    shared = [
        Peering(
            side(f"{name}--green", name, Offer("10.1.1.0/24")),
            side(f"{name}--green", "green", Offer("10.3.1.0/24")),
            metric,
        )
        for name, metric in (("red", 5), ("blue", 0))
    ]
    answer = asked(Network(shared), Question("10.1.1.5", "10.3.1.7"))
    assert (answer.receiver, answer.reply and answer.reply.receiver) == ("green", "blue")
    assert "goes to 10.1.1.5 in blue" in (caution(answer) or "")
    assert caution(asked(Network(shared), Question("10.1.1.5", "10.3.1.7"), "blue")) is None


def test_an_unknown_vpc_is_the_caller_s_to_ask_for() -> None:
    with pytest.raises(KeyError):
        asked(Network(), TCP, "purple")


def test_a_broken_table_is_called_a_bug() -> None:
    answer = asked(Network(broken=True), TCP)
    assert (answer.verdict, answer.steps[-1].stage) == (Verdict.INTERNAL, "source")
    assert "always a bug" in answer.steps[-1].result


def test_long_lists_are_cut() -> None:
    rules = tuple(rule(6, dport=(port, port)) for port in range(1000, 1020))
    answer = asked(Network([Peering(RED_SIDE._replace(rules=rules), BLUE_SIDE)]), TCP)
    assert "dstPort 1007, stateless and 12 more; add an allow" in answer.hint


def test_the_way_out_is_told_with_its_tag_or_tunnel() -> None:
    key = AttachmentKey("blue", "blue0", Tag(TagKind.QINQ, 100, 7))
    link = LINKS["blue"]._replace(key=key)
    network = Network().with_link("blue", link).with_route("blue", route("10.1.1.0/24", hop(link)))
    answer = asked(network, TCP)
    assert answer.steps[-1].result == "10.1.1.7 on-link, on blue0, QinQ 100.7"
    tunnel = Tunnel(4, number("192.0.2.9"), bytes([2, 0, 0, 0, 0, 9]))
    through = NextHop(key._replace(tag=Tag(TagKind.VXLAN, 5001)), None, Origin("VPC/blue", "remotes[0]"), tunnel)
    answer = asked(network.with_route("blue", route("10.1.1.0/24", through)), TCP)
    assert answer.steps[-1].result == "10.1.1.7, host 02:00:00:00:00:09, on blue0, VNI 5001 to VTEP 192.0.2.9"
    assert answer.steps[-1].origin == "VPC/blue remotes[0]"


def learned(to: str, *down: str) -> Learned:
    """blue's route over two neighbours."""
    hops = tuple(hop(LINKS["blue"], peer)._replace(peer=peer) for peer in ("10.1.1.2", "10.1.1.3"))
    made = Route(Prefix.parse(to), 7, False, hops, Origin("learned"))
    gone = frozenset(Peer("blue", peer) for peer in down)
    return Learned({"blue": {4: {prefix_key(made.prefix): made}}}, gone)


def test_a_learned_route_is_told_with_the_neighbour_that_told_of_it() -> None:
    packet, tables = packet_of(TCP), Network().with_route("blue").tables()
    answer = explain(tables, "red", packet, learned=learned("10.1.0.0/16"))
    (routed,) = [step for step in answer.steps if "has a route" in step.result]
    assert routed == ("path", "blue has a route to 10.1.1.7: 10.1.0.0/16, metric 7", "BGP from 10.1.1.2, 10.1.1.3")
    one = explain(tables, "red", packet, learned=learned("10.1.0.0/16", "10.1.1.3"))
    assert one.steps[-1][1:] == ("router 10.1.1.2, on blue0", "BGP from 10.1.1.2")
    assert answer.candidates[0].metric == 7
    down = explain(tables, "red", packet, learned=learned("10.1.0.0/16", "10.1.1.2", "10.1.1.3"))
    assert down.verdict is Verdict.NO_ROUTE
    assert "10.1.0.0/16, and what it leads to is down (BGP from 10.1.1.2, 10.1.1.3)" in down.steps[-1].result
    assert "have its BGP neighbours announce one" in down.hint
