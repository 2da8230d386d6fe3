"""Table full, pool full, and ten times more new flows than fit: who talks goes on, and every refusal is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest

from isthmus.datapath import Capacity
from isthmus.model.types import Match, Rule
from isthmus.tables.entries import SideKey, Timeouts
from isthmus.tables.flows import FRAGMENT_S, HOLD_DOWN_S, ticks
from isthmus.tables.verdicts import Verdict
from tests.bpf.talks import Sent, passed, send, talk
from tests.differential.compare import Bench
from tests.differential.frames import (
    ACK,
    GRE,
    ICMP,
    RST,
    SYN,
    TCP,
    UDP,
    Ends,
    checksum,
    read,
)
from tests.differential.nat import PLACES, host, in_pieces, join, network
from tests.differential.place import XDP, bench

FLOWS = 64
"""And as many mappings, of which one record counts the ports of their address."""
TIMES = 10
"""So many times more than fit."""


@pytest.fixture(scope="module")
def small() -> Iterator[Bench]:
    with bench(Capacity(flows=FLOWS, fragments=8), hooks=XDP) as made:
        yield made


@pytest.fixture
def place(small: Bench) -> Bench:
    small.forget()
    return small


def same_again(place: Bench, talks: list[list[Sent]]) -> None:
    """Every frame of the conversations leaves as it did before, bit by bit."""
    for sent in (one for both in talks for one in both):
        outcome = place.path.run(sent.frame, place.ifindex[PLACES[sent.vpc]], "xdp")
        assert (outcome.verdict, outcome.frame) == (Verdict.FORWARDED, sent.out)


def counted(place: Bench, what: Callable[[], list[Sent]]) -> Counter[Verdict]:
    """What became of frames, which is also what the counters say."""
    before = place.path.counters()
    found = Counter(one.verdict for one in what())
    after = place.path.counters()
    assert {
        verdict: after[verdict] - before[verdict] for verdict in Verdict if after[verdict] != before[verdict]
    } == found
    return found


def crowd(vpc: str, count: int, proto: int = UDP) -> list[Ends]:
    """Conversations that nobody has begun."""
    service = 0 if proto == ICMP[4] else 443
    return [Ends(4, proto, host(vpc, 16 + n % 16), host("t", 2), 20000 + n, service) for n in range(count)]


def later(place: Bench, seconds: float) -> None:
    place.set_now(place.now + ticks(seconds))
    place.sweep()


@pytest.mark.parametrize("vpc", ["a", "c"])
@pytest.mark.parametrize("proto", [TCP, UDP, ICMP[4]])
def test_a_full_table_refuses_new_flows_and_keeps_the_old(place: Bench, vpc: str, proto: int) -> None:
    """With a pool and without, ten times more than fit."""
    join(place, network())
    service = 0 if proto == ICMP[4] else 53
    talks = [talk(place, vpc, Ends(4, proto, host(vpc, n), host("t", 1), 1024 + n, service)) for n in range(10)]
    fit = FLOWS - 1 if vpc == "a" else FLOWS
    more = crowd(vpc, TIMES * FLOWS, proto)
    found = counted(place, lambda: [send(place, vpc, own) for own in more])
    assert set(found) == {Verdict.FORWARDED, Verdict.FLOW_TABLE_FULL}
    assert found[Verdict.FORWARDED] == fit - 10
    same_again(place, talks)
    assert place.path.conversations.records()[:3] == ((fit, fit, 1) if vpc == "a" else (fit, 0, 0))
    later(place, 600)
    later(place, HOLD_DOWN_S)
    assert place.path.conversations.records()[:3] == (0, 0, 0)
    found = counted(place, lambda: [send(place, vpc, own) for own in more[:fit]])
    assert found == {Verdict.FORWARDED: fit}


def test_what_is_accepted_at_the_edge_works_both_ways(place: Bench) -> None:
    """Of the crowd before a full table, those who were let in are as good as any."""
    join(place, network(pool="198.18.0.0/30"))
    sent = [(own, send(place, "b", own)) for own in crowd("b", TIMES * FLOWS)]
    let_in = [(own, one) for own, one in sent if one.verdict is Verdict.FORWARDED]
    assert 50 < len(let_in) < FLOWS
    for own, one in let_in:
        assert passed(send(place, "t", one.seen.mirror)).seen == own.mirror
    for own, one in sent:
        assert send(place, "b", own).verdict is one.verdict, "asking again changes nothing"


@pytest.mark.parametrize("proto", [TCP, UDP, ICMP[4]])
def test_a_full_pool_refuses_new_mappings_and_keeps_the_old(place: Bench, proto: int) -> None:
    """Sixteen ports for two VPCs; the refusals of each are counted for its side."""
    ports = ((1024, 1031), (5000, 5007))
    join(place, network(ports=ports))
    service = 0 if proto == ICMP[4] else 53
    sent = [(vpc, Ends(4, proto, host(vpc, n), host("t", 1), 1028 + n, service)) for vpc in "ab" for n in range(8)]
    talks = [talk(place, vpc, own) for vpc, own in sent]
    assert {both[0].seen.sport for both in talks} == {*range(1024, 1032), *range(5000, 5008)}
    before = place.path.exhausted()
    more = [(vpc, own) for vpc, count in (("a", 100), ("b", 60)) for own in crowd(vpc, count, proto)]
    found = counted(place, lambda: [send(place, vpc, own) for vpc, own in more])
    assert found == {Verdict.NAT_EXHAUSTED: 160}
    after = place.path.exhausted()
    for vpc, count in (("a", 100), ("b", 60)):
        key = SideKey(f"{vpc}--t", vpc)
        assert after[key] - before.get(key, 0) == count
    same_again(place, talks)
    own = sent[0][1]._replace(target=host("t", 3))
    assert passed(send(place, "a", own)).seen.sport == talks[0][0].seen.sport, "a port that one has serves for more"


def test_ports_are_free_again_when_their_time_is_over(place: Bench) -> None:
    """Those of UDP at once, those of TCP after the hold-down; meanwhile their owner gets them back."""
    times = Timeouts(udp=30, tcp_established=60, tcp_transitory=5, icmp=10)
    join(place, network(ports=((1024, 1027),), timeouts=times))
    udp = [Ends(4, UDP, host("a", n), host("t", 1), 1024 + n, 53) for n in range(4)]
    tcp = [one._replace(proto=TCP) for one in udp]
    for own in udp:
        talk(place, "a", own)
    before = [talk(place, "a", own)[0].seen.sport for own in tcp]
    passed(send(place, "a", tcp[0], RST))
    new = {proto: Ends(4, proto, host("b", 1), host("t", 1), 9, 53) for proto in (UDP, TCP)}
    assert [send(place, "b", new[proto]).verdict for proto in (UDP, TCP)] == [Verdict.NAT_EXHAUSTED] * 2

    later(place, 30)
    assert passed(send(place, "b", new[UDP])), "UDP is free"
    assert send(place, "b", new[TCP]).verdict is Verdict.NAT_EXHAUSTED, "reset, and held"
    assert passed(send(place, "a", tcp[0])).seen.sport == before[0], "its owner gets it back"

    later(place, 60)
    assert send(place, "b", new[TCP]).verdict is Verdict.NAT_EXHAUSTED, "all over, all held"
    later(place, HOLD_DOWN_S - 1)
    assert send(place, "b", new[TCP]).verdict is Verdict.NAT_EXHAUSTED
    later(place, 1)
    assert passed(send(place, "b", new[TCP]))


def test_other_protocols_take_an_address_each(place: Bench) -> None:
    """Two addresses: two hosts, whichever VPC they are of; the third is told so, until one falls silent."""
    join(place, network(pool="198.18.0.0/31"))
    first, second, third = (Ends(4, GRE, host("a", n), host("t", 1), 0, 0) for n in range(3))
    talks = [talk(place, "a", first), talk(place, "b", second)]
    assert talks[0][0].seen.source != talks[1][0].seen.source
    found = counted(place, lambda: [send(place, "a", third) for _ in range(20)])
    assert found == {Verdict.NAT_PROTOCOL: 20}
    same_again(place, talks)
    assert passed(send(place, "a", first._replace(target=host("t", 4)))).seen.source == talks[0][0].seen.source
    later(place, 30)
    assert passed(send(place, "a", third))


def test_per_destination_a_pool_serves_every_destination_anew(place: Bench) -> None:
    """Four ports, and as many conversations with each of several servers."""
    join(place, network(ports=((1024, 1027),), per_destination=True))
    for server in range(1, 6):
        asked = [Ends(4, UDP, host("a", n), host("t", server), 7, 53) for n in range(5)]
        found = counted(place, lambda asked=asked: [send(place, "a", own) for own in asked])  # type: ignore[misc]
        assert found == {Verdict.FORWARDED: 4, Verdict.NAT_EXHAUSTED: 1}


def test_a_flood_of_syns_that_a_server_answers_is_soon_forgotten(place: Bench) -> None:
    """Without the initiator's ACK a connection stays transitory, whatever the other end says."""
    join(place, network(timeouts=Timeouts(30, 7440, 4, 10)))
    talks = [talk(place, "c", Ends(4, TCP, host("c", n), host("t", 1), 1024, 53)) for n in range(4)]
    flood = [send(place, "c", own) for own in crowd("c", TIMES * FLOWS, TCP)]
    for one in flood:
        if one.verdict is Verdict.FORWARDED:
            passed(send(place, "t", one.seen.mirror, SYN | ACK))
    assert place.path.conversations.records()[:3] == (FLOWS, 0, 0)
    later(place, 4)
    assert place.path.conversations.records()[:3] == (4, 0, 0)
    same_again(place, talks)


def first_and_later(vpc: str, number: int, identification: int) -> tuple[bytes, bytes]:
    """A UDP packet in two fragments."""
    return in_pieces(vpc, Ends(4, UDP, host(vpc, number), host("t", 1), 700, 53), identification)


def test_one_tenants_fragments_do_not_crowd_out_anothers(place: Bench) -> None:
    """Room for eight packets in pieces: a uses up its share, and b's are still known, until their time is over."""
    join(place, network())

    def outcome(vpc: str, data: bytes) -> Verdict:
        return place.path.run(data, place.ifindex[PLACES[vpc]], "xdp").verdict

    pairs = [first_and_later("b", n, n) for n in range(4)]
    for first, _ in pairs:
        assert outcome("b", first) is Verdict.FORWARDED
    flood = [first_and_later("a", 1, n) for n in range(20)]
    for first, _ in flood:
        place.set_now(place.now + 1)
        assert outcome("a", first) is Verdict.FORWARDED
    assert [outcome("b", second) for _, second in pairs] == [Verdict.FORWARDED] * 4
    known = [outcome("a", second) for _, second in flood]
    assert Counter(known) == {Verdict.FORWARDED: 4, Verdict.FRAGMENT_NO_STATE: 16}
    assert known[-4:] == [Verdict.FORWARDED] * 4, "its newest"
    place.set_now(place.now + ticks(FRAGMENT_S))
    assert [outcome("b", second) for _, second in pairs] == [Verdict.FRAGMENT_NO_STATE] * 4


def test_a_fragment_of_a_conversation_that_is_over_follows_nothing(place: Bench) -> None:
    """Its time has come, and then its peering goes: it is a stranger's, not one that waits for a route."""
    join(place, network(timeouts=Timeouts(1, 1, 1, 1)))
    first, second = first_and_later("c", 1, 1)
    assert place.path.run(first, place.ifindex["p4"], "xdp").verdict is Verdict.FORWARDED
    place.set_now(place.now + ticks(1))
    whole = network()
    alone = whole.vpcs["c"]._replace(exposures={4: (), 6: ()})
    join(place, replace(whole, vpcs={**whole.vpcs, "c": alone}), judge_flows=False)
    assert place.path.run(second, place.ifindex["p4"], "xdp").verdict is Verdict.FRAGMENT_NO_STATE


def test_a_fragment_does_not_follow_who_has_the_record_now(place: Bench) -> None:
    """c's conversation is over; others fill the table, and one of them has its record."""
    join(place, network(timeouts=Timeouts(1, 1, 1, 1)))
    first, second = first_and_later("c", 1, 1)
    assert place.path.run(first, place.ifindex["p4"], "xdp").verdict is Verdict.FORWARDED
    later(place, 1)
    for own in crowd("c", FLOWS):
        passed(send(place, "c", own))
    assert place.path.run(second, place.ifindex["p4"], "xdp").verdict is Verdict.FRAGMENT_NO_STATE


def test_a_fragment_is_not_let_in_by_rules_of_before(place: Bench) -> None:
    """A rule without state that asks for ports let the first one in; it goes before the later one comes."""
    join(place, network(rules=(Rule("", True, None, None, (Match("udp", (), ((53, 53),)),), "ingress[0]"),)))
    first, second = first_and_later("c", 1, 1)
    run = partial(place.path.run, ifindex=place.ifindex["p4"], hook="xdp")
    assert [run(first).verdict, run(second).verdict] == [Verdict.FORWARDED] * 2
    join(place, network(rules=(Rule("", True, None, None, (Match("udp", (), ((54, 54),)),), "ingress[0]"),)))
    assert run(second).verdict is Verdict.FRAGMENT_NO_STATE


def test_a_held_port_is_not_for_whoever_comes_in_the_place_of_its_vpc(place: Bench) -> None:
    """a goes, and b comes with the same hosts: what is held for a's host is not b's, whatever numbers they have."""
    join(place, network(peers="a"))
    own = Ends(4, TCP, host("a", 1), host("t", 1), 5000, 53)
    assert talk(place, "a", own)[0].seen.sport == 5000
    number = place.path._vpc_names.number("a")
    join(place, network(peers=""))
    join(place, network(peers="b"))
    assert place.path._vpc_names.number("b") == number
    assert passed(send(place, "b", own)).seen.sport != 5000


def test_refusals_are_counted_for_the_side_that_had_them(place: Bench) -> None:
    """Not for one that comes in its place."""
    few = ((1024, 1024),)
    join(place, network(ports=few, peers="a"))
    before = place.path.exhausted()
    found = counted(place, lambda: [send(place, "a", own) for own in crowd("a", 5)])
    assert found == {Verdict.FORWARDED: 1, Verdict.NAT_EXHAUSTED: 4}
    assert place.path.exhausted()[SideKey("a--t", "a")] - before.get(SideKey("a--t", "a"), 0) == 4
    join(place, network(ports=few, peers=""))
    before = place.path.exhausted()
    join(place, network(ports=few, peers="b"))
    assert place.path.exhausted().items() <= before.items()


def test_many_ports_of_one_tenant_refuse_nobody_else() -> None:
    """One host of a has a tenth of the pool, port after port; b's hosts, who want those very ports, get others."""
    with bench(Capacity(flows=1 << 14), hooks=XDP) as place:
        join(place, network())
        for port in range(1024, 1024 + 6451):
            passed(send(place, "a", Ends(4, UDP, host("a", 1), host("t", 1), port, 53)))
        for n in range(500):
            passed(send(place, "b", Ends(4, UDP, host("b", n % 16), host("t", 1), 1024 + n * 12, 53)))


def test_refusals_leave_no_trace(place: Bench) -> None:
    """After a storm of all kinds and a long silence all records are free, and packets leave with right checksums."""
    join(place, network(ports=((1024, 1030),)))
    for turn in range(TIMES):
        for proto in (TCP, UDP, ICMP[4], GRE):
            for vpc in "abc":
                for own in crowd(vpc, 20, proto):
                    send(place, vpc, own._replace(sport=0 if proto == GRE else own.sport + turn))
        later(place, 11 * turn)
    later(place, 600)
    later(place, HOLD_DOWN_S)
    assert place.path.conversations.records()[:3] == (0, 0, 0)
    sent = passed(send(place, "a", Ends(4, UDP, host("a", 1), host("t", 1), 5, 53)))
    found = read(sent.out)
    assert found is not None
    body = sent.out[found.at : found.end]
    pseudo = found.source + found.target + bytes([0, UDP]) + len(body).to_bytes(2, "big")
    assert checksum(pseudo + body) == 0
