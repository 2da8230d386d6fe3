"""IPv4 fragmentation (RFC 791): sizes, offsets, options, and checksums that stay as right or wrong as they were."""

import pytest
from scapy.layers.inet import IP, IPOption
from scapy.packet import Raw

from isthmus.trace.fragments import fragments

HEADER = {"src": "10.0.0.1", "dst": "10.0.0.2", "proto": 17, "id": 9, "tos": 0xB8}
PAYLOAD = bytes(index % 251 for index in range(3000))


def cut(size: int, mtu: int, **fields: object) -> list[IP]:
    pieces = fragments(bytes(IP(**HEADER, **fields) / Raw(PAYLOAD[:size])), mtu)
    assert pieces is not None
    return [IP(piece) for piece in pieces]


@pytest.mark.parametrize("mtu", [68, 576, 999, 1000, 1001, 1007, 1500])
def test_each_is_as_large_as_fits_and_nothing_is_lost(mtu: int) -> None:
    parts = cut(3000, mtu)
    assert b"".join(bytes(part.payload) for part in parts) == PAYLOAD
    assert {part.len for part in parts[:-1]} == {20 + (mtu - 20) // 8 * 8}
    assert parts[-1].len <= mtu
    assert [bool(part.flags.MF) for part in parts] == [True] * (len(parts) - 1) + [False]
    offset = 0
    for part in parts:
        assert part.frag * 8 == offset
        offset += part.len - 20


def test_the_last_needs_no_multiple_of_eight() -> None:
    assert [part.len for part in cut(976 + 979, 1000)] == [996, 999]
    assert [part.len for part in cut(976 + 981, 1000)] == [996, 996, 25]


@pytest.mark.parametrize("mtu", [100, 1000])
def test_headers_and_checksums_are_those_of_scapy(mtu: int) -> None:
    for part in cut(2000, mtu):
        again = IP(**HEADER, flags=part.flags, frag=part.frag) / Raw(bytes(part.payload))
        assert bytes(part) == bytes(again)


def test_a_fragment_of_a_fragment_goes_on_where_that_stood() -> None:
    parts = cut(1000, 520, flags="MF", frag=100)
    assert [(part.frag, bool(part.flags.MF)) for part in parts] == [(100, True), (162, True), (224, True)]
    last = cut(1000, 520, frag=100)
    assert [bool(part.flags.MF) for part in last] == [True, True, False]


def test_options_without_the_copied_flag_become_nops_in_later_fragments() -> None:
    router_alert, record_route = b"\x94\x04\x00\x00", b"\x07\x07\x04\x00\x00\x00\x00"
    parts = cut(1000, 600, options=[IPOption(record_route), IPOption(router_alert)])
    assert [part.ihl for part in parts] == [8, 8]
    assert [bytes(part)[20:31] for part in parts] == [record_route + router_alert, b"\1" * 7 + router_alert]
    nops = [IPOption(b"\1")] * 7
    again = IP(**HEADER, frag=parts[1].frag, options=[*nops, IPOption(router_alert)]) / Raw(bytes(parts[1].payload))
    assert bytes(parts[1]) == bytes(again)


@pytest.mark.parametrize("option", [b"\x07\x00\x00\x00", b"\x07\x09\x00\x00", b"\x01\x01\x01\x07", b"\x00\x07\x02\x01"])
def test_what_is_malformed_or_behind_the_end_of_options_stays(option: bytes) -> None:
    pieces = fragments(bytes(IP(**HEADER, ihl=6) / Raw(option + PAYLOAD[:500])), 300)
    assert pieces is not None
    assert {piece[20:24] for piece in pieces} == {option}


def test_a_wrong_checksum_stays_wrong_by_as_much() -> None:
    good, bad = (fragments(bytes(IP(**HEADER, **fields) / Raw(PAYLOAD)), 700) for fields in ({}, {"chksum": 0x1111}))
    assert good is not None
    assert bad is not None
    off_by = {
        (int.from_bytes(b[10:12], "big") - int.from_bytes(g[10:12], "big")) % 0xFFFF
        for g, b in zip(good, bad, strict=True)
    }
    assert len(off_by) == 1
    assert off_by != {0}


def test_what_cannot_be_cut() -> None:
    assert fragments(bytes(IP(**HEADER) / Raw(PAYLOAD)), 27) is None
    assert fragments(bytes(IP(**HEADER, frag=8190) / Raw(PAYLOAD)), 68) is None
    assert fragments(bytes(IP(**HEADER) / Raw(PAYLOAD[: 64 * 8])), 28) is not None
    assert fragments(bytes(IP(**HEADER) / Raw(PAYLOAD[: 64 * 8 + 1])), 28) is None  # 65 pieces
