"""For every verdict that exists now, a frame that ends with it."""

from __future__ import annotations

from typing import NamedTuple

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether

from isthmus.tables.entries import Nat, Pool, PortPolicy, RuleEntry
from isthmus.tables.verdicts import Verdict
from tests.scenarios.packets.builder import Offer, Peering, route, rule, side
from tests.scenarios.packets.frames import frame, ip
from tests.scenarios.packets.network import BLUE_SIDE, HOST_MAC, PORTS, RED_MAC, RED_SIDE, ROUTES, Network

LATER = frozenset({Verdict.AUDIT, Verdict.NOT_CARRIED, Verdict.FLOW_CONFLICT, Verdict.FLOW_TABLE_FULL})
"""Verdicts that come with audit, or that no version gives any more, and those that no packet meets on its own."""


class Case(NamedTuple):
    """A frame that comes in on red0 unless said otherwise, and how it must end."""

    verdict: Verdict
    frame: bytes
    network: Network = Network()
    port: str = "red0"


GOOD = frame(ip("10.1.1.5", "192.168.2.7") / TCP(dport=443, flags="S"))
SEVEN_HEADERS = (b"\x3c" + bytes(7)) * 7  # destination options, 8 bytes each
STATEFUL = Peering(
    side("p", "red", Offer("10.1.1.0/24")), side("p", "green", Offer("203.0.113.0/30"), nat=Nat.STATEFUL)
)
NO_POOL = Peering(
    side("p", "red", Offer("10.1.1.0/24"), nat=Nat.STATEFUL)._replace(pool=Pool({})),
    side("p", "green", Offer("10.3.1.0/24")),
)
PLAIN = Peering(side("p", "red", Offer("10.1.1.0/24")), side("p", "green", Offer("10.3.1.0/24")))


def _ruled(*rules: RuleEntry) -> Network:
    return Network([Peering(RED_SIDE._replace(rules=rules), BLUE_SIDE)])


def _big() -> bytes:
    return frame(ip("10.1.1.5", "192.168.2.7", flags="DF") / UDP() / bytes(1473))


CASES = [
    Case(Verdict.FORWARDED, GOOD),
    Case(Verdict.LOCAL, bytes(Ether(dst=b"\xff" * 6, src=HOST_MAC) / ARP())),
    Case(Verdict.LOCAL, frame(ip("10.1.1.5", "10.1.1.1") / ICMP())),
    Case(Verdict.PASSED, GOOD, Network(policies={"eth9": PortPolicy(unclaimed="pass")}), "eth9"),
    Case(Verdict.MALFORMED, GOOD[:50]),
    Case(Verdict.NOT_IP, bytes(Ether(dst=RED_MAC, src=HOST_MAC, type=0x88CC) / b"lldp")),
    Case(Verdict.NOT_OUR_MAC, frame(ip("10.1.1.5", "192.168.2.7") / UDP(), to=HOST_MAC)),
    Case(Verdict.UNKNOWN_TAG, GOOD, port="eth9"),
    Case(
        Verdict.IPV6_EXT,
        frame(ip("2001:db8:a::5", "2001:db8:2::7", nh=60) / SEVEN_HEADERS),
    ),
    Case(Verdict.MARTIAN, frame(ip("127.0.0.1", "192.168.2.7") / UDP())),
    Case(
        Verdict.GATEWAY_ADDRESS,
        frame(ip("10.1.1.5", "10.3.1.1") / UDP()),
        Network([PLAIN]).with_route("green", *ROUTES["green"], route("10.3.1.1/32", local=True)),
    ),
    Case(Verdict.GATEWAY_SPOOF, frame(ip("10.1.1.1", "192.168.2.7") / UDP())),
    Case(Verdict.SAME_VPC, frame(ip("10.1.1.5", "10.1.1.9") / UDP()), Network(own_subnets={"red": "10.1.1.0/24"})),
    Case(Verdict.NO_PEERING, frame(ip("10.1.1.5", "172.16.0.1") / UDP())),
    Case(Verdict.NO_ROUTE, frame(ip("10.1.1.5", "10.3.1.9") / UDP()), Network([PLAIN]).with_route("green")),
    Case(Verdict.NAT_HOLE, frame(ip("10.1.1.5", "192.168.2.42") / UDP())),
    Case(Verdict.NO_ATTACHMENT, GOOD, Network(ports={"red0": PORTS["red0"]})),
    Case(Verdict.SOURCE_NOT_EXPOSED, frame(ip("10.1.1.42", "192.168.2.7") / UDP())),
    Case(Verdict.NOT_ALLOWED, GOOD, _ruled(rule(17))),
    Case(Verdict.NO_INBOUND, frame(ip("10.1.1.5", "203.0.113.1") / UDP()), Network([STATEFUL])),
    Case(Verdict.NO_FLOW, frame(ip("10.1.1.5", "192.168.2.7") / TCP(flags="A")), _ruled(rule(stateless=False))),
    Case(Verdict.NAT_EXHAUSTED, frame(ip("10.1.1.5", "10.3.1.9") / UDP()), Network([NO_POOL])),
    Case(Verdict.NAT_PROTOCOL, frame(ip("10.1.1.5", "10.3.1.9", proto=47)), Network([NO_POOL])),
    Case(
        Verdict.FRAGMENT_NO_STATE,
        frame(IP(src="10.1.1.5", dst="192.168.2.7", proto=6, frag=9) / bytes(8)),
        _ruled(rule(6, dport=(443, 443))),
    ),
    Case(Verdict.ICMP_MALFORMED, frame(ip("10.1.1.5", "192.168.2.7") / ICMP(type=3))),
    Case(Verdict.TTL, frame(ip("10.1.1.5", "192.168.2.7", ttl=1) / UDP())),
    Case(Verdict.TOO_BIG, _big()),
    Case(Verdict.NEXT_HOP_UNRESOLVED, GOOD, Network(neighbors={})),
    Case(Verdict.PORT_DOWN, GOOD, Network(ports={**PORTS, "blue0": PORTS["blue0"]._replace(up=False)})),
    Case(Verdict.INTERNAL, GOOD, Network(broken=True)),
]
