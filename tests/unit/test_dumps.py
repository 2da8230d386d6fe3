"""Routes from files: what each format says, which paths win, and what a broken file is told."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path as File
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.compile import compile_tables
from isthmus.model.types import Attachment, Model, StaticRoute, Vpc
from isthmus.routing.dumps import DumpError, Origin, Path, learn, read_dump
from isthmus.tables.address import Family, Prefix, address_bytes, parse_address
from isthmus.tables.entries import Tag, TagKind, Tunnel
from isthmus.tables.learned import prefix_key

Paths = list[tuple[str, Family, int, Path]]


def path(prefix: str, next_hop: str, *told: int, peer: str = "", **more: int) -> tuple[str, Family, int, Path]:
    """``told``: AS numbers; ``more``: med, local_pref, origin."""
    parsed = Prefix.parse(prefix)
    origin = Origin(more.pop("origin", 0))
    what = Path(parse_address(next_hop), peer or next_hop, len(told), origin, **more)
    return "isp", parsed.family, prefix_key(parsed), what


# --- our own file ---

OURS = """
isp:
  - {prefix: 198.51.100.0/24, nextHop: 192.0.2.1, asPath: [65001, 65010], med: 20}
  - {prefix: 198.51.100.0/24, nextHop: 192.0.2.2, asPath: [65002, 65010], localPref: 200}
  - {prefix: "2001:db8:5::/48", nextHop: "2001:db8::1", neighbor: "2001:db8::9", origin: incomplete}
"""


def test_a_routes_file_names_its_vpcs(tmp_path: File) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(OURS)
    assert list(read_dump(str(file))) == [
        path("198.51.100.0/24", "192.0.2.1", 65001, 65010, med=20),
        path("198.51.100.0/24", "192.0.2.2", 65002, 65010, local_pref=200),
        path("2001:db8:5::/48", "2001:db8::1", peer="2001:db8::9", origin=2),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("isp: 5", "isp: not a list"),
        ("- 5", "a mapping of VPC names"),
        ("isp: [{prefix: 10.0.0.1/8, nextHop: 192.0.2.1}]", r"isp\[0\]: host bits"),
        ("isp: [{prefix: 10.0.0.0/8}]", "nextHop is missing"),
        ("isp: [{prefix: 10.0.0.0/8, nextHop: 192.0.2.1, MED: 5}]", "unknown field MED"),
        ("isp: [{prefix: 10.0.0.0/8, nextHop: 192.0.2.1, med: -1}]", "med: a number"),
        ("isp: [{prefix: 10.0.0.0/8, nextHop: 192.0.2.1, origin: ebgp}]", "origin: igp"),
        ("isp: [", "not YAML"),
    ],
)
def test_a_wrong_routes_file_is_told_where(tmp_path: File, text: str, told: str) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(text)
    with pytest.raises(DumpError, match=told):
        list(read_dump(str(file)))


# --- MRT ---


def record(subtype: int, body: bytes, kind: int = 13) -> bytes:
    return pack(">IHHI", 1_700_000_000, kind, subtype, len(body)) + body


def peer_table(*peers: tuple[str, int]) -> bytes:
    """With AS numbers of 2 bytes where they fit, as collectors write it."""
    body = bytes(4) + pack(">H", 4) + b"view" + pack(">H", len(peers))
    for text, asn in peers:
        raw = address_bytes(*parse_address(text))
        wide = asn > 65535
        body += bytes((len(raw) // 16 | wide << 1,)) + bytes(4) + raw + asn.to_bytes(4 if wide else 2, "big")
    return record(1, body)


def attribute(code: int, value: bytes, extended: bool = False) -> bytes:
    return (bytes((0x50, code)) + pack(">H", len(value)) if extended else bytes((0x40, code, len(value)))) + value


def rib(prefix: str, *entries: tuple[int, bytes], subtype: int = 2) -> bytes:
    family, first, length = Prefix.parse(prefix)
    body = pack(">IB", 0, length) + address_bytes(family, first)[: (length + 7) // 8] + pack(">H", len(entries))
    for peer, attributes in entries:
        identifier = pack(">I", 7) if subtype in (8, 10) else b""
        body += pack(">HI", peer, 0) + identifier + pack(">H", len(attributes)) + attributes
    return record(subtype, body)


def sequence(*asns: int) -> bytes:
    return bytes((2, len(asns))) + b"".join(pack(">I", asn) for asn in asns)


V4 = attribute(3, address_bytes(*parse_address("192.0.2.1")))
V6 = address_bytes(*parse_address("2001:db8::1"))
SET = bytes((1, 2)) + pack(">II", 7, 8)
DUMP = (
    peer_table(("192.0.2.9", 65001), ("2001:db8::9", 4_200_000_000))
    + record(4, b"\0" * 9, kind=16)  # an UPDATE of BGP4MP: not of the RIB
    + rib(
        "198.51.100.0/22",
        (
            0,
            attribute(1, b"\1")
            + attribute(2, sequence(65001, 65010) + SET, extended=True)
            + V4
            + attribute(4, pack(">I", 9)),
        ),
        (1, attribute(1, b"\0") + attribute(5, pack(">I", 300)) + V4),
    )
    + rib("0.0.0.0/0", (0, attribute(1, b"\0") + V4), subtype=8)
    + rib("2001:db8:5::/48", (1, attribute(1, b"\0") + attribute(14, bytes((32,)) + V6 + bytes(16))), subtype=4)
    + rib("2001:db8:6::/48", (1, attribute(1, b"\0") + attribute(14, b"\0\2\1\x10" + V6 + b"\0")), subtype=10)
    + rib("10.0.0.0/8", (0, attribute(1, b"\0")))  # without a next hop
)
TOLD = [
    path("198.51.100.0/22", "192.0.2.1", 1, 2, 3, peer="192.0.2.9", origin=1, med=9),
    path("198.51.100.0/22", "192.0.2.1", peer="2001:db8::9", local_pref=300),
    path("0.0.0.0/0", "192.0.2.1", peer="192.0.2.9"),
    path("2001:db8:5::/48", "2001:db8::1", peer="2001:db8::9"),
    path("2001:db8:6::/48", "2001:db8::1", peer="2001:db8::9"),
]


@pytest.mark.parametrize("pack_", [bytes, gzip.compress, bz2.compress])
def test_mrt(tmp_path: File, pack_: type[bytes]) -> None:
    file = tmp_path / "rib"
    file.write_bytes(pack_(DUMP))
    assert list(read_dump(str(file), "isp")) == TOLD
    with pytest.raises(DumpError, match="VPC=FILE"):
        list(read_dump(str(file)))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (DUMP[:-3], "middle of a record"),
        (DUMP[: len(peer_table(("192.0.2.9", 65001)))][:12] + DUMP[12:40], "middle of a record"),
        (rib("10.0.0.0/8", (0, V4)), "before the table of peers"),
        (peer_table(("192.0.2.9", 1)) + rib("10.0.0.0/8", (5, V4)), "record at byte"),
        (peer_table(("192.0.2.9", 1)) + rib("10.0.0.0/8", (0, V4[:-1])), "attribute 3 beyond"),
        (record(4, b"\0" * 9, kind=16), "no TABLE_DUMP_V2"),
    ],
)
def test_broken_mrt_is_told_where(tmp_path: File, content: bytes, told: str) -> None:
    file = tmp_path / "rib"
    file.write_bytes(content)
    with pytest.raises(DumpError, match=told):
        list(read_dump(str(file), "isp"))


@given(st.integers(0, len(DUMP) - 1), st.integers(0, 255))
def test_whatever_a_byte_becomes_there_is_an_answer(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int
) -> None:
    file = tmp_path_factory.getbasetemp() / "rib"
    file.write_bytes(DUMP[:at] + bytes((byte,)) + DUMP[at + 1 :])
    try:
        for _, family, key, _ in read_dump(str(file), "isp"):
            assert 1 <= key.bit_length() <= (33 if family == 4 else 129)
    except DumpError:
        pass


# --- BIRD ---

BIRD = """BIRD 2.0.12 ready.
Table master4:
198.51.100.0/24      unicast [inet_a 14:00:01.123 from 192.0.2.9] * (100) [AS65010i]
\tvia 192.0.2.1 on g0
\tType: BGP univ
\tBGP.origin: IGP
\tBGP.as_path: 65001 {65002 65003} 65010
\tBGP.next_hop: 192.0.2.1
\tBGP.med: 150
\tBGP.local_pref: 100
\tBGP.community: (65000,1)
                     unicast [inet_b 2026-11-24] (100) [AS65010?]
\tvia 192.0.2.2 on g1
\tType: BGP univ
\tBGP.origin: Incomplete
\tBGP.as_path: 65002
\tBGP.next_hop: 192.0.2.2
\tBGP.local_pref: 120
192.0.2.0/24         unicast [direct1 14:00:00.000] * (240)
\tdev g0
\tType: device univ

Table master6:
2001:db8:5::/48      unicast [inet6 14:00:01.123] * (100) [i]
\tvia fe80::1 on g0
\tbgp_origin: IGP
\tbgp_path:
\tbgp_next_hop: 2001:db8::1 fe80::1
"""


def test_what_bird_shows(tmp_path: File) -> None:
    file = tmp_path / "bird.txt"
    file.write_text(BIRD)
    assert list(read_dump(str(file), "isp")) == [
        path("198.51.100.0/24", "192.0.2.1", 1, 2, 3, peer="192.0.2.9", med=150),
        path("198.51.100.0/24", "192.0.2.2", 65002, origin=2, local_pref=120),
        path("2001:db8:5::/48", "2001:db8::1"),
    ]
    file.write_text("any other text")
    with pytest.raises(DumpError, match="neither MRT nor"):
        list(read_dump(str(file), "isp"))


# --- what wins ---

ISP = Vpc(
    "isp",
    True,
    None,
    (),
    (
        Attachment("eth1", Tag(), ((*parse_address("192.0.2.254"), 24), (*parse_address("2001:db8::fe"), 64)), 0, ""),
        Attachment("eth9", Tag(TagKind.VXLAN, 7), (), 0, ""),
    ),
    (
        StaticRoute(Prefix.parse("203.0.113.0/24"), parse_address("192.0.2.7")[1], 0, 0, ""),
        StaticRoute(Prefix.parse("203.0.113.8/32"), None, 1, 0, "", Tunnel(4, parse_address("10.9.9.9")[1], bytes(6))),
    ),
)
VPCS = compile_tables(Model({"isp": ISP}, {}, None)).vpcs


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"local_pref": 101, "hops": 9}, {}),
        ({"hops": 1, "origin": 2}, {"hops": 2}),
        ({"origin": 0, "med": 9}, {"origin": 1}),
        ({"med": 4}, {"med": 5}),
        ({}, {"med": 1}),
    ],
)
def test_the_best_path_wins(better: dict[str, int], worse: dict[str, int]) -> None:
    paths = []
    for end, said in (("1", better), ("2", worse)):
        said = dict(said)
        paths.append(path("10.0.0.0/8", f"192.0.2.{end}", *range(said.pop("hops", 0)), **said))  # type: ignore[arg-type] # never peer
    for some in (paths, paths[::-1]):
        learned, _ = learn(VPCS, some)
        (route,) = learned.routes["isp"][4].values()
        assert [hop.peer for hop in route.next_hops] == ["192.0.2.1"]
        assert route.metric == better.get("med", 0)


def test_equals_share_and_next_hops_are_resolved() -> None:
    nexts = ["192.0.2.2", "192.0.2.1", "192.0.2.1", "203.0.113.5", "203.0.113.8", "192.0.2.254", "8.8.8.8"]
    learned, lost = learn(VPCS, [path("10.0.0.0/8", one) for one in nexts])
    (route,) = learned.routes["isp"][4].values()
    told = [(hop.attachment.interface, hop.gateway, hop.tunnel is not None) for hop in route.next_hops]
    assert told == [
        ("eth1", parse_address("192.0.2.1")[1], False),
        ("eth1", parse_address("192.0.2.2")[1], False),
        ("eth1", parse_address("192.0.2.7")[1], False),
        ("eth9", parse_address("203.0.113.8")[1], True),
    ]
    assert lost == {"isp": 2}
    assert learned.find("isp", 4, parse_address("10.1.2.3")[1]) == route
