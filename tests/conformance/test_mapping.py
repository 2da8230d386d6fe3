"""Which public address and port a private one gets."""

from __future__ import annotations

from isthmus.compile import compile_tables
from isthmus.model.types import Attachment, Item, Model, Peering, Side, StaticRoute, Vpc
from isthmus.tables.address import Prefix
from isthmus.tables.entries import Nat, Tables, Tag
from isthmus.tables.verdicts import Verdict
from tests.conformance.gateway import POOL, Gateway, answer_to, echo, host, proves, tcp, udp
from tests.differential.compare import Bench
from tests.differential.nat import NETWORKS, PLACES


@proves("4787 REQ-1")
def test_one_private_port_keeps_one_public_port_toward_all(place: Bench) -> None:
    """a:5000 asks three servers, by two ports of one of them."""
    gateway = Gateway(place)
    asked = [(host("t", 1), 53), (host("t", 1), 54), (host("t", 2), 53)]
    arrived = [gateway.arrives("a", udp(host("a", 1), dst, 5000, dport)) for dst, dport in asked]
    assert {(one.src, one.sport) for one in arrived} == {(POOL, 5000)}
    for one in arrived:
        back = gateway.arrives("t", answer_to(one))
        assert (back.dst, back.dport, back.src) == (host("a", 1), 5000, one.dst)


@proves("4787 REQ-2")
def test_a_host_has_one_address_of_a_pool_for_all_it_sends(place: Bench) -> None:
    """Many ports and identifiers of UDP, TCP and echo, of 16 hosts of a; the hosts together use more than one."""
    gateway = Gateway(place, pool="198.18.0.0/30")
    used: list[str] = []
    for number in range(1, 17):
        own, other = host("a", number), host("t", number)
        packets = [make(own, other, 2000 + 977 * i) for i in range(20) for make in (udp, tcp, echo)]
        addresses = {gateway.arrives("a", packet).src for packet in packets}
        assert len(addresses) == 1
        used += addresses
    assert set(used) > {used[0]}


@proves("4787 REQ-3")
def test_no_two_hosts_have_the_same_public_port(place: Bench) -> None:
    """Port 5000 of two hosts of a and of b's with the same address as the first, through one public address."""
    gateway = Gateway(place)
    senders = [("a", 1), ("b", 1), ("a", 2)]
    arrived = [gateway.arrives(vpc, udp(host(vpc, number), host("t", 1))) for vpc, number in senders]
    assert {one.src for one in arrived} == {POOL}
    assert len({one.sport for one in arrived}) == len(senders)
    for (vpc, number), one in zip(senders, arrived, strict=True):
        seen = gateway.send("t", answer_to(one, data=f"for {vpc} {number}".encode()))
        assert (seen.to, seen.packet.dst, seen.packet.dport) == (vpc, host(vpc, number), 5000)
        assert bytes(seen.packet)[28:] == f"for {vpc} {number}".encode()


@proves("4787 REQ-7")
def test_hosts_with_the_same_address_reach_one_another(place: Bench) -> None:
    """a's 10.0.0.1 asks b's 10.0.0.1, and each knows the other by another address: b's network has a static one."""
    gateway = Gateway(place, tables=same_addresses())
    asked = gateway.send("a", udp(host("a", 1), "10.99.0.1"))
    assert (asked.to, asked.packet.src, asked.packet.dst) == ("b", POOL, host("b", 1))
    answered = gateway.send("b", answer_to(asked.packet))
    assert (answered.to, answered.packet.src, answered.packet.dst) == ("a", "10.99.0.1", host("a", 1))


@proves("4787 REQ-11")
def test_collisions_and_a_full_pool_change_no_rules(place: Bench) -> None:
    """Two public ports: a:5000 has the first before, while and after another takes the second and a third gets none;
    nobody who was not asked comes in, then and now."""
    gateway = Gateway(place, ports=((5000, 5001),))

    def same_as_ever(number: int) -> None:
        """The flow with the next server, and a stranger."""
        arrived = gateway.arrives("a", udp(host("a", 1), host("t", number)))
        assert (arrived.src, arrived.sport) == (POOL, 5000)
        assert gateway.arrives("t", answer_to(arrived)).dport == 5000
        for port in (5000, 5001):
            stranger = udp(host("t", 30), POOL, 53, port)
            assert gateway.is_lost("t", stranger) is Verdict.NO_INBOUND
        other_port = udp(host("t", number), POOL, 54, 5000)
        assert gateway.is_lost("t", other_port) is Verdict.NO_INBOUND

    same_as_ever(1)
    collides = gateway.arrives("b", udp(host("b", 1), host("t", 1)))
    assert (collides.src, collides.sport) == (POOL, 5001)
    same_as_ever(2)
    for number in range(2, 20):
        assert gateway.is_lost("a", udp(host("a", number), host("t", 1))) is Verdict.NAT_EXHAUSTED
    same_as_ever(3)
    gateway.later(200)
    same_as_ever(4)
    gateway.later(200)
    assert gateway.is_lost("t", answer_to(collides)) is Verdict.NO_INBOUND
    same_as_ever(5)
    assert gateway.arrives("a", udp(host("a", 2), host("t", 1))).sport == 5001
    same_as_ever(6)


def same_addresses() -> Tables:
    """a, stateful, peers with b, whose 10.0.0.0/24, the same as a's, is 10.99.0.0/24 to a."""
    vpcs = {}
    for name in sorted(PLACES):
        attachment = Attachment(PLACES[name], Tag(), (), 0, "spec.attachments[0]")
        route = StaticRoute(Prefix.parse(NETWORKS[name]), None, 0, 0, "spec.routes[0]")
        vpcs[name] = Vpc(name, True, None, (), (attachment,), (route,))
    sides = [
        Side(
            "a--b",
            vpc,
            nat,
            (Item(Prefix.parse(NETWORKS[vpc]), "ips[0]"),),
            (),
            (Item(Prefix.parse(public), "as[0]"),),
            (),
            None,
            0,
            f"spec.{vpc}",
        )
        for vpc, nat, public in (("a", Nat.STATEFUL, POOL + "/32"), ("b", Nat.STATIC, "10.99.0.0/24"))
    ]
    return compile_tables(Model(vpcs, {"a--b": Peering("a--b", (sides[0], sides[1]))}, None))
