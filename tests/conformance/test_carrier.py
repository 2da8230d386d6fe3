"""What RFC 6888 asks of a NAT that many subscribers share."""

from __future__ import annotations

from itertools import pairwise

from scapy.layers.inet import ICMP, TCP, UDP

from isthmus.tables.verdicts import Verdict
from tests.conformance.gateway import POOL, Gateway, answer_to, echo, host, proves, tcp, udp
from tests.conformance.objects import written
from tests.differential.compare import Bench

BLOCK = "198.18.0.0/30"
ADDRESSES = {f"198.18.0.{number}" for number in range(4)}
ONE_PORT = ((1024, 1024),)
TRANSITORY = 241
"""Seconds after which a TCP connection that never came about is over."""


@proves("6888 REQ-2")
def test_all_mappings_of_a_host_share_one_address(place: Bench) -> None:
    """Of every protocol, port and destination, for hosts of both VPCs."""
    gateway = Gateway(place, pool=BLOCK)
    for vpc in ("a", "b"):
        for number in range(1, 9):
            own = host(vpc, number)
            packets = [make(own, host("t", to)) for make in (udp, tcp, echo) for to in (1, 2)]
            packets += [udp(own, host("t", 1), port) for port in range(6000, 6008)]
            sources = {gateway.arrives(vpc, packet).src for packet in packets}
            assert len(sources) == 1
            assert sources <= ADDRESSES


@proves("6888 REQ-3")
def test_hosts_spread_over_the_whole_pool(place: Bench) -> None:
    gateway = Gateway(place, pool=BLOCK)
    assert {gateway.arrives("a", udp(host("a", number), host("t", 1))).src for number in range(1, 32)} == ADDRESSES


@proves("6888 REQ-3")
def test_a_pool_need_not_be_one_block(place: Bench) -> None:
    """Two pairs of addresses with a gap: hosts spread over both and get their answers there."""
    assert pools_used(place, "198.18.0.0/31, 198.18.0.6/31") == {f"198.18.0.{number}" for number in (0, 1, 6, 7)}


@proves("6888 REQ-3")
def test_a_pool_may_be_of_any_size(place: Bench) -> None:
    """A lone address, a block with gaps around it, and 16 million addresses, in which all hosts but a few are."""
    used = pools_used(place, "198.18.0.0/32, 198.19.4.0/22, 12.0.0.0/8")
    assert len(used) == 31
    assert sum(address.startswith("12.") for address in used) > 25


def pools_used(place: Bench, blocks: str) -> set[str]:
    """The public addresses of 31 hosts, each of which gets its answer."""
    side = f"{{ips: [{{cidr: 10.0.0.0/24}}], as: [{blocks}], natType: stateful}}"
    gateway = Gateway(place, tables=written(a=side, t="{ips: [{cidr: 10.9.0.0/24}]}"))
    found = set()
    for number in range(1, 32):
        arrived = gateway.arrives("a", udp(host("a", number), host("t", 1)))
        assert gateway.arrives("t", answer_to(arrived)).dst == host("a", number)
        found.add(arrived.src)
    return found


@proves("6888 REQ-8")
def test_a_tcp_port_rests_for_120_seconds(place: Bench) -> None:
    """The only port there is: b gets it when a has been without it for two minutes."""
    gateway = Gateway(place, ports=ONE_PORT)
    opening = tcp(host("b", 1), host("t", 1))
    assert gateway.arrives("a", tcp(host("a", 1), host("t", 1)))[TCP].sport == 1024
    gateway.later(TRANSITORY)
    assert gateway.is_lost("b", opening) is Verdict.NAT_EXHAUSTED
    gateway.later(119)
    assert gateway.is_lost("b", opening) is Verdict.NAT_EXHAUSTED
    gateway.later(2)
    assert gateway.arrives("b", opening)[TCP].sport == 1024


@proves("6888 REQ-8")
def test_who_had_a_tcp_port_gets_it_back_while_it_rests(place: Bench) -> None:
    """And nobody else then."""
    gateway = Gateway(place, ports=ONE_PORT)
    opening = tcp(host("a", 1), host("t", 1))
    gateway.arrives("a", opening)
    gateway.later(TRANSITORY)
    gateway.later(60)
    assert gateway.is_lost("b", tcp(host("b", 1), host("t", 1))) is Verdict.NAT_EXHAUSTED
    again = gateway.arrives("a", opening)
    assert (again.src, again[TCP].sport) == (POOL, 1024)
    gateway.later(120)
    assert gateway.is_lost("b", tcp(host("b", 1), host("t", 1))) is Verdict.NAT_EXHAUSTED


@proves("6888 REQ-8c")
def test_a_udp_port_is_free_at_once_and_closed_to_those_of_before(place: Bench) -> None:
    """What comes in must come from whom b asked: a's server reaches nobody."""
    gateway = Gateway(place, ports=ONE_PORT)
    of_a = gateway.arrives("a", udp(host("a", 1), host("t", 1)))
    gateway.later(301)
    of_b = gateway.arrives("b", udp(host("b", 1), host("t", 2)))
    assert (of_b.src, of_b[UDP].sport) == (of_a.src, of_a[UDP].sport) == (POOL, 1024)
    assert gateway.is_lost("t", answer_to(of_a)) is Verdict.NO_INBOUND
    assert gateway.send("t", answer_to(of_b)).to == "b"


@proves("6888 REQ-11a", "6888 REQ-11d")
def test_who_finds_no_port_is_dropped_and_who_has_one_keeps_it(place: Bench) -> None:
    """b asks again and again; each time is counted, and a goes on speaking."""
    gateway = Gateway(place, ports=ONE_PORT)
    for make in (udp, tcp):
        before = sum(place.path.exhausted().values())
        arrived = gateway.arrives("a", make(host("a", 1), host("t", 1)))
        for number in range(1, 11):
            assert gateway.is_lost("b", make(host("b", number), host("t", 1))) is Verdict.NAT_EXHAUSTED
        assert sum(place.path.exhausted().values()) == before + 10
        gateway.arrives("t", answer_to(arrived))
        again = gateway.arrives("a", make(host("a", 1), host("t", 1)))
        assert (again.src, again.sport) == (arrived.src, arrived.sport)
        assert gateway.send("t", answer_to(again)).to == "a"


@proves("6888 REQ-11a")
def test_who_finds_no_identifier_is_dropped(place: Bench) -> None:
    gateway = Gateway(place, ports=ONE_PORT)
    request = gateway.arrives("a", echo(host("a", 1), host("t", 1)))
    assert request[ICMP].id == 1024
    assert gateway.is_lost("b", echo(host("b", 1), host("t", 1))) is Verdict.NAT_EXHAUSTED
    assert gateway.arrives("t", answer_to(request))[ICMP].id == 7


@proves("6888 REQ-13")
def test_every_port_of_a_range_is_used(place: Bench) -> None:
    """1,024 private ports outside the range find all of the 1,024 inside it; one more finds none."""
    gateway = Gateway(place, ports=((1024, 2047),))
    sports = {gateway.arrives("a", udp(host("a", 1), host("t", 1), 10000 + n))[UDP].sport for n in range(1024)}
    assert sports == set(range(1024, 2048))
    assert gateway.is_lost("a", udp(host("a", 1), host("t", 1), 20000)) is Verdict.NAT_EXHAUSTED


@proves("6888 REQ-15")
def test_new_ports_do_not_follow_one_another(place: Bench) -> None:
    """b's own ports, one after the other, are all taken by a: those that it gets instead are far apart."""
    gateway = Gateway(place)
    found = []
    for port in range(5000, 5064):
        gateway.arrives("a", udp(host("a", 1), host("t", 1), port))
        found.append(gateway.arrives("b", udp(host("b", 1), host("t", 1), port))[UDP].sport)
    steps = [abs(after - before) for before, after in pairwise(found)]
    assert len(set(found)) == len(found)
    assert sum(step < 1000 for step in steps) < len(steps) // 8
    assert max(found) - min(found) > 32768
