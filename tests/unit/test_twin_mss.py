"""The MSS option of a SYN is lowered to what the attachments say, with the checksum, and nothing else is touched."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.packet import Packet

from tests.scenarios.packets.frames import frame, ip, leaving
from tests.scenarios.packets.network import LINKS, Network

MSS_1460 = [("MSS", 1460)]


def network(coming: int = 0, going: int = 0) -> Network:
    red, blue = LINKS["red"]._replace(mss=coming), LINKS["blue"]._replace(mss=going)
    return Network().with_link("red", red).with_link("blue", blue)


def sent(at: Network, transport: Packet, src: str = "10.1.1.5", dst: str = "192.168.2.7", **fields: Any) -> bytes:
    return at.process(frame(ip(src, dst, **fields) / transport)).out[0][1]


def expected(transport: Packet, **fields: Any) -> bytes:
    return leaving(ip("192.168.1.5", "10.1.1.7", ttl=63, **fields) / transport)


@pytest.mark.parametrize(
    ("coming", "going", "becomes"),
    [
        (0, 0, 1460),
        (1400, 0, 1400),
        (0, 1300, 1300),
        (1400, 1300, 1300),
        (1300, 1400, 1300),
        (1460, 9000, 1460),
        (1461, 0, 1460),
    ],
)
@pytest.mark.parametrize("flags", ["S", "SA"])
def test_the_least_counts(coming: int, going: int, becomes: int, flags: str) -> None:
    out = sent(network(coming, going), TCP(flags=flags, options=MSS_1460))
    assert out == expected(TCP(flags=flags, options=[("MSS", becomes)]))


@pytest.mark.parametrize(
    "options",
    [
        [("NOP", None), ("MSS", 1460), ("EOL", None)],  # at an odd offset: in two words of the checksum
        [("WScale", 7), ("MSS", 1460), ("EOL", None)],
        [("Timestamp", (1, 2)), ("NOP", None), ("NOP", None), ("MSS", 1460)],
    ],
)
def test_wherever_it_stands(options: list[tuple[str, object]]) -> None:
    lower = [(name, 1200 if name == "MSS" else value) for name, value in options]
    out = sent(network(1200), TCP(flags="S", options=options) / b"fast open")
    assert out == expected(TCP(flags="S", options=lower) / b"fast open")


@pytest.mark.parametrize(
    "transport",
    [
        TCP(flags="S"),  # without the option it stays so
        TCP(flags="A", options=MSS_1460),
        TCP(flags="S", options=[("EOL", None), ("MSS", 1460)]),
        TCP(flags="S", dataofs=5) / b"\x02\x04\x05\xb4",  # payload
        TCP(flags="S", dataofs=6) / b"\x02\x03\x05\xb4",
        TCP(flags="S", dataofs=6) / b"\x03\x00\x02\x04\x05\xb4",
        TCP(flags="S", dataofs=6) / b"\x01\x01\x02\x04\x05\xb4",  # beyond the header's end
        TCP(flags="S", dataofs=4) / b"\x02\x04\x05\xb4",
    ],
)
def test_what_stays_as_it_is(transport: Packet) -> None:
    assert sent(network(1200), transport) == expected(transport)


def test_a_header_that_claims_more_than_is_there() -> None:
    assert sent(network(1200), TCP(flags="S", dataofs=15)) == expected(TCP(flags="S", dataofs=15))


def test_a_first_fragment_is_clamped_and_a_later_one_is_payload() -> None:
    assert sent(network(1200), TCP(flags="S", options=MSS_1460), flags="MF") == expected(
        TCP(flags="S", options=[("MSS", 1200)]), flags="MF"
    )
    whole = bytes(TCP(flags="S", options=MSS_1460))
    later = IP(src="10.1.1.5", dst="192.168.2.7", frag=8, proto=6) / whole
    assert network(1200).process(frame(later)).out[0][1][34:] == whole


def test_in_ipv6() -> None:
    out = sent(network(1200), TCP(flags="S", options=MSS_1460), "2001:db8:a::5", "2001:db8:2::7")
    assert out == leaving(ip("2001:db8:1::5", "2001:db8:b::7", ttl=63) / TCP(flags="S", options=[("MSS", 1200)]))


def test_what_came_corrupted_leaves_corrupted() -> None:
    out = sent(network(1200), TCP(flags="S", options=MSS_1460, chksum=1))
    assert IP(out[14:])[TCP].chksum != IP(expected(TCP(flags="S", options=[("MSS", 1200)]))[14:])[TCP].chksum
