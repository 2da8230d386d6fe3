"""Stateful NAT: who gets which public address and port, and what happens when there are none left."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw

from isthmus.tables.address import Family
from isthmus.tables.entries import Nat, Pool, RuleEntry, Timeouts
from isthmus.tables.share import address_words, stable_id, weight
from isthmus.tables.verdicts import Verdict
from isthmus.trace.flows import Flows
from isthmus.trace.flows.records import Mapping, PublicKey
from tests.scenarios.packets.builder import Offer, Peering, number, rule, side
from tests.scenarios.packets.frames import assert_leaves, ip
from tests.scenarios.packets.network import RED_MAC, Network
from tests.unit.test_twin_flows import Gateway

GREEN_MAC = b"\2\0\0\0\0\4"
WEB, DNS, WEB6 = "10.3.1.80", "10.3.1.53", "2001:db8:c::80"


def pool(first: str, last: str, *ports: tuple[int, int], per_destination: bool = False) -> Pool:
    family: Family = 6 if ":" in first else 4
    return Pool({family: ((number(first), number(last)),)}, ports or ((1024, 65535),), per_destination)


ONE = pool("203.0.113.1", "203.0.113.1")
FOUR = pool("203.0.113.0", "203.0.113.3")


def hidden(
    given: Pool,
    vpc: str = "red",
    rules: tuple[RuleEntry, ...] | None = None,
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - a constant tuple
) -> Peering:
    """A VPC behind stateful NAT toward green, which may start nothing."""
    name = f"{vpc}--green"
    own = (Offer("10.1.1.0/24", "203.0.113.0/24"), Offer("2001:db8:a::/64", "2001:db8:99::/64"))
    this = side(name, vpc, *own, nat=Nat.STATEFUL, rules=rules)._replace(pool=given, timeouts=timeouts)
    return Peering(this, side(name, "green", Offer("10.3.1.0/24"), Offer("2001:db8:c::/64")))


def gateway(*peerings: Peering, secret: int = 0, capacity: int | None = None) -> Gateway:
    return Gateway(Network(peerings or [hidden(ONE)]), Flows(secret, capacity))


def udp(sport: int = 5000, dst: str = WEB, host: int = 5, dport: int = 53) -> Packet:
    return ip(f"10.1.1.{host}", dst) / UDP(sport=sport, dport=dport)


def seen(at: Gateway, packet: Packet, vpc: str = "red") -> tuple[str, int]:
    """Public address and port, as green sees the packet."""
    out = at.out(packet, vpc)
    return out.src, out.payload.sport


BOTH = Pool({4: ONE.addresses[4], 6: ((number("2001:db8:99::1"), number("2001:db8:99::1")),)}, ((6000, 6000),))
HOST = {4: "10.1.1.5", 6: "2001:db8:a::5"}
PUBLIC = {4: "203.0.113.1", 6: "2001:db8:99::1"}
SERVER = {4: WEB, 6: WEB6}


@pytest.mark.parametrize(
    ("family", "question", "mapped", "answer", "delivered"),
    [
        (
            4,
            TCP(sport=5000, dport=80, flags="S") / Raw(b"odd"),
            TCP(sport=6000, dport=80, flags="S") / Raw(b"odd"),
            TCP(sport=80, dport=6000, flags="SA"),
            TCP(sport=80, dport=5000, flags="SA"),
        ),
        (
            4,
            UDP(sport=5000, dport=53) / Raw(b"odd"),
            UDP(sport=6000, dport=53) / Raw(b"odd"),
            UDP(sport=53, dport=6000),
            UDP(sport=53, dport=5000),
        ),
        (
            4,
            ICMP(type=8, id=7, seq=3) / Raw(b"ping"),
            ICMP(type=8, id=6000, seq=3) / Raw(b"ping"),
            ICMP(type=0, id=6000, seq=3) / Raw(b"ping"),
            ICMP(type=0, id=7, seq=3) / Raw(b"ping"),
        ),
        (4, SCTP(sport=1, dport=2), SCTP(sport=1, dport=2), SCTP(sport=2, dport=1), SCTP(sport=2, dport=1)),
        (
            6,
            TCP(sport=5000, dport=80, flags="S"),
            TCP(sport=6000, dport=80, flags="S"),
            TCP(sport=80, dport=6000, flags="SA"),
            TCP(sport=80, dport=5000, flags="SA"),
        ),
        (
            6,
            ICMPv6EchoRequest(id=7, data=b"ping"),
            ICMPv6EchoRequest(id=6000, data=b"ping"),
            ICMPv6EchoReply(id=6000, data=b"ping"),
            ICMPv6EchoReply(id=7, data=b"ping"),
        ),
    ],
)
def test_there_and_back(family: int, question: Packet, mapped: Packet, answer: Packet, delivered: Packet) -> None:
    at = gateway(hidden(BOTH))
    leaving = ip(PUBLIC[family], SERVER[family], ttl=63) / mapped
    assert_leaves(at.process(ip(HOST[family], SERVER[family]) / question), leaving, "green0", GREEN_MAC)
    coming = at.process(ip(SERVER[family], PUBLIC[family]) / answer, "green")
    assert_leaves(coming, ip(SERVER[family], HOST[family], ttl=63) / delivered, "red0", RED_MAC)


def test_udp_without_checksum_stays_without() -> None:
    out = gateway(hidden(BOTH)).out(ip("10.1.1.5", WEB) / UDP(sport=5000, dport=53, chksum=0))
    assert (out[UDP].sport, out[UDP].chksum) == (6000, 0)


def test_a_udp_checksum_that_becomes_0_is_written_ffff() -> None:
    after = ip("203.0.113.1", WEB, ttl=63) / UDP(sport=6000, dport=53)
    payload = bytes(after / b"\0\0")[26:28]
    out = gateway(hidden(BOTH)).out(ip("10.1.1.5", WEB) / UDP(sport=5000, dport=53) / payload)
    assert out[UDP].chksum == 0xFFFF


def test_nobody_starts_from_outside() -> None:
    """Not even toward a port that is mapped (address and port dependent filtering)."""
    at = gateway()
    address, port = seen(at, udp(dst=WEB))
    assert at.verdict(ip(DNS, address) / UDP(sport=53, dport=port), "green") == Verdict.NO_INBOUND
    assert at.verdict(ip(WEB, address) / UDP(sport=54, dport=port), "green") == Verdict.NO_INBOUND
    assert at.verdict(ip(WEB, address) / UDP(sport=53, dport=port), "green") == Verdict.FORWARDED


def test_a_port_that_is_free_is_kept() -> None:
    assert seen(gateway(), udp(5000)) == ("203.0.113.1", 5000)


def test_a_port_that_is_taken_or_outside_is_another() -> None:
    at = gateway(hidden(pool("203.0.113.1", "203.0.113.1", (2000, 2001), (4000, 4000))))
    ports = {seen(at, udp(2000, host=host))[1] for host in (5, 6)} | {seen(at, udp(53, host=7))[1]}
    assert ports == {2000, 2001, 4000}


def test_one_mapping_serves_all_destinations() -> None:
    """Endpoint-independent mapping, RFC 4787 REQ-1."""
    at = gateway()
    first = seen(at, udp(53, dst=WEB))
    assert {seen(at, udp(53, dst=dst, dport=port)) for dst in (WEB, DNS) for port in range(5)} == {first}
    assert seen(at, udp(54, dst=WEB)) != first
    assert at.out(ip("10.1.1.5", WEB) / TCP(sport=53, dport=1, flags="S"))[TCP].sport >= 1024


def test_per_destination_a_port_serves_many() -> None:
    at = gateway(hidden(pool("203.0.113.1", "203.0.113.1", (3000, 3000), per_destination=True)))
    everyone = [udp(5000, dst=dst, dport=port, host=5) for dst in (WEB, DNS) for port in range(5)]
    assert {seen(at, packet) for packet in everyone} == {("203.0.113.1", 3000)}
    assert at.verdict(udp(5001, dst=WEB, dport=1)) == Verdict.NAT_EXHAUSTED
    assert at.verdict(udp(5001, dst=WEB, dport=9)) == Verdict.FORWARDED


def test_a_host_keeps_one_address() -> None:
    """Paired pooling, RFC 4787 REQ-2; and hosts are spread over the pool."""
    at = gateway(hidden(FOUR))
    addresses = {host: {seen(at, udp(port, host=host))[0] for port in range(1, 30)} for host in range(2, 40)}
    assert {len(each) for each in addresses.values()} == {1}
    assert len(set.union(*addresses.values())) == 4


def test_an_address_without_ports_is_followed_by_the_next() -> None:
    at = gateway(hidden(pool("203.0.113.0", "203.0.113.3", (1024, 1025))))
    addresses = [seen(at, udp(port))[0] for port in range(8)]
    assert [addresses[at : at + 2] for at in range(0, 8, 2)] == [[one, one] for one in addresses[::2]]
    last = [int(address.rpartition(".")[2]) for address in addresses[::2]]
    assert [(one - last[0]) % 4 for one in last] == [0, 1, 2, 3]


@pytest.mark.parametrize("ports", [((1024, 1123),), ((1, 1), (5, 90), (65535, 65535))])
def test_the_last_port_is_found_and_then_there_is_none(ports: tuple[tuple[int, int], ...]) -> None:
    size = sum(last - first + 1 for first, last in ports)
    at = gateway(hidden(pool("203.0.113.1", "203.0.113.1", *ports)))
    given = {seen(at, udp(sport)) for sport in range(20000, 20000 + size)}
    assert len(given) == size
    assert all(any(first <= port <= last for first, last in ports) for _, port in given)
    outcome = at.process(udp(30000))
    assert (outcome.verdict, outcome.peering) == (Verdict.NAT_EXHAUSTED, "red--green")
    assert at.verdict(udp(20000)) == Verdict.FORWARDED  # who has one keeps it


def test_a_pool_without_addresses_of_the_family_is_exhausted() -> None:
    assert gateway().verdict(ip("2001:db8:a::5", WEB6) / UDP()) == Verdict.NAT_EXHAUSTED
    assert gateway().verdict(ip("2001:db8:a::5", WEB6) / SCTP()) == Verdict.NAT_PROTOCOL


def test_protocols_have_ports_of_their_own() -> None:
    at = gateway(hidden(pool("203.0.113.1", "203.0.113.1", (3000, 3000))))
    assert seen(at, udp(1)) == ("203.0.113.1", 3000)
    assert at.out(ip("10.1.1.6", WEB) / TCP(sport=1, dport=2, flags="S"))[TCP].sport == 3000
    assert at.out(ip("10.1.1.7", WEB) / ICMP(type=8, id=1))[ICMP].id == 3000


def test_protocols_without_ports_take_one_address_for_each_host() -> None:
    at = gateway(hidden(FOUR))
    hosts = [ip(f"10.1.1.{host}", WEB) / SCTP() for host in range(2, 7)]
    assert len({at.out(packet).src for packet in hosts[:4]}) == 4
    assert at.verdict(hosts[4]) == Verdict.NAT_PROTOCOL
    assert at.verdict(ip("10.1.1.6", WEB, proto=47) / b"gre?") == Verdict.FORWARDED
    assert at.verdict(ip("10.1.1.2", DNS) / SCTP()) == Verdict.FORWARDED


def test_the_secret_decides_where_the_search_begins() -> None:
    packets = [udp(53, host=host) for host in range(2, 30)]
    given = [[seen(gateway(hidden(FOUR), secret=secret), packet) for packet in packets] for secret in (1, 1, 2)]
    assert given[0] == given[1]
    assert given[0] != given[2]


def test_where_the_search_begins() -> None:
    """As docs/packet-path.md says: a host's address, then the port that its own port and the remote lead to."""
    given = pool("203.0.113.0", "203.0.113.3", (2000, 2009), (3000, 3004))
    host = weight(7, stable_id("red"), *address_words(number("10.1.1.5")))
    address = f"203.0.113.{host % 4}"
    for sport in (53, 54, 55):
        k = weight(host, 17 << 16 | sport, 0, 0, 0) % 15
        at = gateway(hidden(given), secret=7)
        assert seen(at, udp(sport)) == (address, 2000 + k if k < 10 else 2990 + k)
        k = weight(host, 17 << 16 | sport, *address_words(number(WEB)), 443) % 15
        at = gateway(hidden(given._replace(per_destination=True)), secret=7)
        assert seen(at, udp(sport, dport=443)) == (address, 2000 + k if k < 10 else 2990 + k)


class AllTaken(dict[PublicKey, Mapping]):
    """Every address and port has an owner; counts how often that was asked."""

    asked = 0

    def __contains__(self, key: object) -> bool:
        self.asked += 1
        return True


@pytest.mark.parametrize(
    ("last", "packet", "asked"),
    [
        ("203.0.113.0", udp(5000), 1 + 1024),
        ("203.0.113.0", udp(53), 1024),  # its own port is outside
        ("203.0.113.9", udp(5000), (1 + 1024) + 1 + 508),  # each address is a try as well
        ("203.0.200.0", ip("10.1.1.5", WEB) / SCTP(), 1024),
    ],
)
def test_the_search_ends(last: str, packet: Packet, asked: int) -> None:
    at, taken = gateway(hidden(pool("203.0.113.0", last))), AllTaken()
    at.flows.mappings.public = taken
    assert at.verdict(packet) in (Verdict.NAT_EXHAUSTED, Verdict.NAT_PROTOCOL)
    assert taken.asked == asked


def test_two_vpcs_that_share_a_pool_never_get_one_port() -> None:
    at = gateway(*(hidden(pool("203.0.113.1", "203.0.113.1", (1024, 1043)), vpc) for vpc in ("red", "blue")))
    given = [seen(at, udp(1024 + port), vpc) for port in range(10) for vpc in ("red", "blue")]
    assert len(set(given)) == 20
    assert at.verdict(udp(9), "blue") == Verdict.NAT_EXHAUSTED
    for vpc, (address, port) in zip(("red", "blue") * 10, given, strict=True):
        back = at.process(ip(WEB, address) / UDP(sport=53, dport=port), "green")
        assert back.out[0][0] == f"{vpc}0"


def test_toward_another_peer_the_same_port_is_another() -> None:
    name = "red--net"
    to_net = Peering(
        side(name, "red", Offer("10.1.1.0/24"), nat=Nat.STATEFUL)._replace(pool=ONE),
        side(name, "net", Offer("8.0.0.0/8")),
    )
    at = gateway(hidden(ONE), to_net)
    assert seen(at, udp(5000)) == seen(at, udp(5000, dst="8.8.8.8")) == ("203.0.113.1", 5000)
    assert at.flows.records == 6


def test_rules_come_first() -> None:
    at = gateway(hidden(ONE, rules=(rule(17, dport=(53, 53)),)))
    assert at.verdict(udp(dport=54)) == Verdict.NOT_ALLOWED
    assert at.verdict(udp(dport=53)) == Verdict.FORWARDED  # stateless or not: NAT needs a flow
    assert len(at.flows) == 1


def test_errors_on_the_way_to_a_martian_map_nothing() -> None:
    name = "p"
    loop = Peering(
        side(name, "red", Offer("10.1.1.0/24"), nat=Nat.STATEFUL)._replace(pool=ONE),
        side(name, "green", Offer("127.0.0.0/24", "10.3.1.0/24")),
    ).right
    network = Network([Peering(hidden(ONE).left._replace(key=loop.key._replace(vpc="red")), loop)])
    at = Gateway(network.with_route("green", *Network().routes["net"]))
    assert at.verdict(udp()) == Verdict.MARTIAN
    assert at.flows.records == 0


def test_a_first_fragment_has_its_port_mapped_and_later_ones_follow() -> None:
    at = gateway(hidden(BOTH))
    whole = bytes(UDP(sport=5000, dport=53) / bytes(range(200)))
    first = at.out(IP(src="10.1.1.5", dst=WEB, id=7, flags="MF", proto=17) / whole[:64])
    later = at.out(IP(src="10.1.1.5", dst=WEB, id=7, frag=8, proto=17) / whole[64:])
    assert (first.src, first.sport, later.src) == ("203.0.113.1", 6000, "203.0.113.1")
    assert bytes(later.payload) == whole[64:]
