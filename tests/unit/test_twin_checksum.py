"""Checksums: by their changes (RFC 1624) as whole (RFC 1071), and as scapy computes them, for random packets."""

import random

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoRequest, IPv6
from scapy.packet import Packet, Raw

from isthmus.tables.verdicts import Verdict
from isthmus.trace.checksum import checksum, updated
from tests.scenarios.packets.frames import frame, ip, recomputed
from tests.scenarios.packets.network import BLUE_MAC, Network


def test_the_example_of_rfc_1624() -> None:
    """Section 4: HC 0xDD2F, a word 0x5555 that becomes 0x3285; equation 3 gives 0x0000, where equation 2 fails."""
    assert updated(0xDD2F, b"\x55\x55", b"\x32\x85") == 0x0000


def test_the_example_of_rfc_1071() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == ~0xDDF2 & 0xFFFF


def test_what_did_not_change_does_not_count() -> None:
    assert updated(0xFFFF, b"\1\2\3\4", b"\1\2\3\4") == 0xFFFF
    assert updated(0xFFFF, b"\xff\xff\3\4", b"\0\0\3\4") == 0xFFFF
    assert updated(0, b"", b"") == 0


def test_the_shorter_goes_on_with_zeros() -> None:
    assert updated(0x1234, b"\1\2\3\4", b"\1\2") == updated(0x1234, b"\1\2\3\4", b"\1\2\0\0")
    assert updated(0x1234, b"\1\2\3", b"\1\2\4") == updated(0x1234, b"\1\2\3\0", b"\1\2\4\0")


def test_updating_is_as_good_as_summing_anew() -> None:
    dice = random.Random(1)
    for _ in range(300):
        size = dice.randrange(2, 60, 2)
        old, new = dice.randbytes(size), dice.randbytes(size)
        assert updated(checksum(old), old, new) in (
            checksum(new),
            checksum(new) ^ 0xFFFF if checksum(new) == 0 else None,
        )


def random_packet(dice: random.Random, family: int) -> tuple[Packet, Packet]:
    """A packet from red, and the error that blue would send about it."""
    private, public = ("10.1.1.", "192.168.2.") if family == 4 else ("2001:db8:a::", "2001:db8:2::")
    seen, host = ("192.168.1.", "10.1.1.") if family == 4 else ("2001:db8:1::", "2001:db8:b::")
    one, two = dice.randrange(2, 40), dice.randrange(2, 40)
    echo = ICMP(id=dice.randrange(65536)) if family == 4 else ICMPv6EchoRequest(id=dice.randrange(65536))
    ports = {"sport": dice.randrange(65536), "dport": dice.randrange(65536)}
    transport = dice.choice([TCP(**ports, seq=dice.randrange(2**32)), UDP(**ports), echo]) / Raw(
        dice.randbytes(dice.randrange(60))
    )
    unreachable = ICMP(type=3, code=1) if family == 4 else ICMPv6DestUnreach()
    about = ip(f"{seen}{one}", f"{host}{two}") / transport
    return ip(f"{private}{one}", f"{public}{two}") / transport, ip(f"{host}{two}", f"{seen}{one}") / unreachable / about


@pytest.mark.parametrize("family", [4, 6])
def test_random_packets_leave_with_the_checksums_that_scapy_computes(family: int) -> None:
    dice, network = random.Random(family), Network()
    for _ in range(100):
        packet, error = random_packet(dice, family)
        for data, port in ((frame(packet), "red0"), (frame(error, to=BLUE_MAC), "blue0")):
            outcome = network.process(data, port)
            assert outcome.verdict == Verdict.FORWARDED
            assert outcome.out[0][1] == recomputed(outcome.out[0][1])


def test_the_incremental_update_keeps_an_error_of_any_size() -> None:
    network, dice = Network(), random.Random(5)
    for _ in range(50):
        wrong = dice.randrange(1, 0xFFFF)
        good = IP(bytes(ip("10.1.1.5", "192.168.2.7") / TCP()))
        bad = IP(bytes(good))
        bad[TCP].chksum = (good[TCP].chksum + wrong) % 0xFFFF
        out = [IP(network.process(frame(packet)).out[0][1][14:])[TCP].chksum for packet in (good, bad)]
        assert (out[1] - out[0]) % 0xFFFF == wrong


def test_ipv6_has_no_header_checksum() -> None:
    out = Network().process(frame(ip("2001:db8:a::5", "2001:db8:2::7", nh=59))).out[0][1]
    assert out[14:] == bytes(IPv6(src="2001:db8:1::5", dst="2001:db8:b::7", hlim=63, nh=59))
