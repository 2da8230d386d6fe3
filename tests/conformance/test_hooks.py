"""What tests show of the packet path on XDP holds on TC, and the other way round: the same frames leave."""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import IP, UDP

from isthmus.datapath import Hook
from isthmus.tables.verdicts import Verdict
from tests.conformance.gateway import POOL, Gateway, Seen, answer_to, echo, error_about, host, tcp, udp
from tests.conformance.test_fragments import cut
from tests.differential.compare import Bench

DATA = bytes(range(200))


def talk(place: Bench, hook: Hook) -> list[Seen]:
    """All sorts of packets, and what became of each; b has the ports that a wants, so that all of them change."""
    gateway = Gateway(place, hook=hook)
    seen: list[Seen] = []

    def send(vpc: str, packet: Any) -> Any:
        seen.append(gateway.send(vpc, packet))
        return seen[-1].packet

    for make in (udp, tcp, echo):
        send("b", make(host("b", 1), host("t", 2)))
        sent = make(host("a", 1), host("t", 1))
        arrived = send("a", sent)
        back = send("t", answer_to(arrived))
        for kind, code in ((3, 1), (3, 4), (11, 0), (12, 0)):
            send("t", error_about(arrived, host("t", 9), kind, code, len(arrived)))
            send("a", error_about(back, host("a", 9), kind, code))
        send("t", make(host("t", 3), POOL))
        sent.ttl = 1
        send("a", sent)
    for flags in ("A", "PA", "FA", "R"):
        send("a", tcp(host("a", 1), host("t", 1), flags=flags, data=DATA if flags == "PA" else b""))
    pieces = cut(udp(host("a", 1), host("t", 1), data=DATA, id=9), 64)
    for piece in (pieces[1], *pieces):
        send("a", piece)
    send("a", udp(host("a", 1), host("t", 1), data=bytes(1600), flags="DF"))
    send("a", IP(src=host("a", 1), dst=host("t", 1), proto=47) / DATA)
    unsummed = udp(host("a", 1), host("t", 1))
    unsummed[UDP].chksum = 0
    send("a", unsummed)
    gateway.later(8000)
    send("t", answer_to(arrived))
    return seen


def test_both_hooks_make_the_same_of_the_same(place: Bench) -> None:
    """Byte for byte, with the same verdicts; and among these is every one that such packets can have."""
    seen = talk(place, "xdp")
    assert [raw(one) for one in seen] == [raw(one) for one in talk(place, "tc")]
    assert {one.verdict for one in seen} == {
        Verdict.FORWARDED,
        Verdict.NO_INBOUND,
        Verdict.TTL,
        Verdict.TOO_BIG,
        Verdict.FRAGMENT_NO_STATE,
    }


def raw(seen: Seen) -> tuple[object, ...]:
    """To be compared: scapy's packets know when they were made."""
    return seen.verdict, seen.to, *(one and bytes(one) for one in (seen.packet, seen.answer))
