"""Packets that are too big, and pieces of packets."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from isthmus.tables.verdicts import Verdict
from tests.conformance.gateway import POOL, Gateway, answer_to, assert_sound, echo, host, proves, udp
from tests.differential.compare import Bench
from tests.differential.frames import HOST_MAC
from tests.differential.nat import PORTS

MTU = 1500
BIG = bytes(range(256)) * 7
"""Cut to what a test needs."""


def big(flags: str) -> Any:
    """1,600 bytes from a, with or without DF."""
    return udp(host("a", 1), host("t", 1), data=BIG[: 1600 - 28], flags=flags, id=77)


def cut(packet: Any, size: int = 800) -> list[Any]:
    """The pieces of a packet, in order, with so many bytes each but the last."""
    head = IP(bytes(packet))
    body = bytes(head.payload)
    return [
        IP(
            src=head.src,
            dst=head.dst,
            id=head.id,
            proto=head.proto,
            frag=start // 8,
            flags="MF" if start + size < len(body) else 0,
        )
        / Raw(body[start : start + size])
        for start in range(0, len(body), size)
    ]


def joined(pieces: list[Any]) -> Any:
    """The packet that the receiver of all pieces makes of them: sound, and they are of one packet."""
    assert len({(one.src, one.dst, one.id, one.proto) for one in pieces}) == 1
    body = b"".join(bytes(one)[20:] for one in pieces)
    assert [one.frag * 8 for one in pieces] == [sum(len(one) - 20 for one in pieces[:i]) for i in range(len(pieces))]
    assert ["MF" in one.flags for one in pieces] == [True] * (len(pieces) - 1) + [False]
    first = pieces[0]
    whole = IP(bytes(IP(src=first.src, dst=first.dst, id=first.id, proto=first.proto, ttl=first.ttl) / Raw(body)))
    assert_sound(whole)
    return whole


def carried(gateway: Gateway, vpc: str, pieces: list[Any]) -> list[Any]:
    """The pieces as they arrive, all in one VPC, with sound IP headers."""
    seen = [gateway.send(vpc, piece) for piece in pieces]
    assert {one.verdict for one in seen} == {Verdict.FORWARDED}
    assert len({one.to for one in seen}) == 1
    for one in seen:
        fresh = one.packet.copy()
        fresh.chksum = None
        assert bytes(fresh)[:20] == bytes(one.packet)[:20]
    return [one.packet for one in seen]


@proves("4787 REQ-13")
@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_too_big_with_df_is_answered(place: Bench, hook: Any) -> None:
    """Fragmentation Needed with the MTU, about the packet as a sent it; nothing goes out."""
    gateway = Gateway(place, hook=hook)
    sent = big("DF")
    seen = gateway.send("a", sent)
    assert (seen.verdict, seen.to) == (Verdict.TOO_BIG, None)
    assert_sound(seen.answer)
    error = seen.answer[ICMP]
    assert (seen.answer.dst, error.type, error.code, error.nexthopmtu) == (host("a", 1), 3, 4, MTU)
    quoted = IP(bytes(error)[8:])
    assert (quoted.src, quoted.dst, quoted.id) == (host("a", 1), host("t", 1), 77)
    assert (quoted[UDP].sport, quoted[UDP].dport) == (5000, 53)


@proves("4787 REQ-13a")
def test_too_big_without_df_is_cut_on_tc(place: Bench) -> None:
    """The last piece, which the test run shows, is what the first has no room for."""
    gateway = Gateway(place, hook="tc")
    seen = gateway.send("a", big(""))
    assert (seen.verdict, seen.to) == (Verdict.FORWARDED, "t")
    last = seen.packet
    assert (last.src, last.dst, last.id, int(last.flags)) == (POOL, host("t", 1), 77, 0)
    assert last.frag * 8 == MTU - 20
    assert bytes(last)[20:] == BIG[MTU - 28 : 1600 - 28]
    assert_sound(last)


def test_too_big_without_df_is_answered_on_xdp(place: Bench) -> None:
    """XDP cannot make two packets of one."""
    seen = Gateway(place, hook="xdp").send("a", big(""))
    assert (seen.verdict, seen.answer[ICMP].type, seen.answer[ICMP].code) == (Verdict.TOO_BIG, 3, 4)
    assert seen.answer[ICMP].nexthopmtu == MTU


@pytest.mark.parametrize("make", [udp, echo], ids=["udp", "echo"])
def test_later_fragments_follow_their_first(place: Bench, make: Any) -> None:
    """Both ways, while b's host with the same address does the same with the same identification and port."""
    gateway = Gateway(place)
    arrived = {}
    for vpc in ("a", "b"):
        sent = make(host(vpc, 1), host("t", 1), 5000)
        sent[IP].id = 9
        sent.lastlayer().load = BIG[:1700]
        whole = joined(carried(gateway, vpc, cut(sent)))
        assert (whole.src, bytes(whole)[28:]) == (POOL, BIG[:1700])
        arrived[vpc] = whole
    assert bytes(arrived["a"])[20:28] != bytes(arrived["b"])[20:28]
    for identification, vpc in enumerate(arrived, 20):
        answer = answer_to(arrived[vpc], data=BIG[:1701])
        answer.id = identification
        seen = [gateway.send("t", piece) for piece in cut(answer)]
        assert [one.to for one in seen] == [vpc] * 3
        back = joined([one.packet for one in seen])
        assert (back.dst, bytes(back)[28:]) == (host(vpc, 1), BIG[:1701])


def test_a_later_fragment_that_comes_before_its_first_is_lost(place: Bench) -> None:
    """Counted as such, and the ones that come behind the first are not."""
    gateway = Gateway(place)
    pieces = cut(udp(host("a", 1), host("t", 1), data=BIG[:1700], id=9))
    assert gateway.is_lost("a", pieces[1]) is Verdict.FRAGMENT_NO_STATE
    carried(gateway, "a", [pieces[0], pieces[2]])
    carried(gateway, "a", [pieces[1]])


@proves("4787 REQ-14a")
@pytest.mark.parametrize("first", [False, True], ids=["later", "first"])
def test_an_attack_with_fragments_hurts_nobody_else(place: Bench, first: bool) -> None:
    """b sends 20,000 later fragments that follow nothing, or firsts that nothing follows. Packets of a, and of b, pass
    whole, and a's fragments in order: the first and the later have half of the attack between them."""
    gateway = Gateway(place)
    begun = cut(udp(host("a", 1), host("t", 1), data=BIG[:1700], id=9))
    seen = carried(gateway, "a", begun[:1])
    piece = IP(src=host("b", 1), dst=host("t", 1), id=0, proto=17, flags="MF" if first else 0, frag=0 if first else 100)
    piece /= UDP(sport=5000, dport=53, len=1600) / bytes(8) if first else Raw(bytes(16))
    attack = bytearray(bytes(Ether(src=HOST_MAC, dst=PORTS["p2"].mac) / piece))
    checksum = int.from_bytes(attack[24:26], "big")
    for number in range(20_000):
        attack[18:20] = number.to_bytes(2, "big")
        attack[24:26] = ((checksum - number) % 0xFFFF).to_bytes(2, "big")
        verdict = place.path.run(bytes(attack), place.ifindex["p2"], "xdp").verdict
        assert verdict is (Verdict.FORWARDED if first else Verdict.FRAGMENT_NO_STATE)
        if number == 10_000:
            seen += carried(gateway, "a", begun[1:])
            assert bytes(joined(seen))[28:] == BIG[:1700]
    for vpc in ("a", "b"):
        whole = gateway.arrives(vpc, udp(host(vpc, 2), host("t", 2)))
        assert gateway.arrives("t", answer_to(whole)).dst == host(vpc, 2)
    for identification in range(100, 150):
        pieces = cut(udp(host("a", 1), host("t", 1), data=BIG[:1700], id=identification))
        assert bytes(joined(carried(gateway, "a", pieces)))[28:] == BIG[:1700]
