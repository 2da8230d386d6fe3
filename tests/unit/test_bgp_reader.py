"""What a session brings is read rightly, in whatever pieces it comes, and nonsense ends as the RFCs say."""

import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.contrib import bgp as scapy_bgp

from isthmus.routing.bgp import attributes as a
from isthmus.routing.bgp import writer
from isthmus.routing.bgp.attributes import AsPath, Attributes, Communities, LargeCommunities, Origin, Segment, attribute
from isthmus.routing.bgp.capabilities import Agreement
from isthmus.routing.bgp.reader import Message, Reader
from isthmus.routing.bgp.updates import MANY, Batch, EndOfRib
from isthmus.routing.bgp.wire import LONGEST, LONGEST_EXTENDED, BgpError, Kind, message
from isthmus.tables.address import BITS, FAMILIES, Family, Prefix, parse_address
from isthmus.tables.learned import key_prefix, prefix_key

BOTH = frozenset(FAMILIES)
WITH_IDS = Agreement(BOTH, BOTH, BOTH, internal=True, longest=LONGEST)
WITHOUT_IDS = Agreement(BOTH, internal=True, longest=LONGEST)
HOPS = {4: parse_address("10.9.0.1"), 6: parse_address("fd09::1")}


def keys_of(*texts: str) -> list[int]:
    return [prefix_key(Prefix.parse(text)) for text in texts]


def read(data: bytes, agreement: Agreement = WITH_IDS) -> list[Message]:
    return list(Reader(agreement).feed(data))


def update(attributes: bytes = b"", prefixes: bytes = b"", withdrawn: bytes = b"") -> bytes:
    sized = len(withdrawn).to_bytes(2, "big") + withdrawn + len(attributes).to_bytes(2, "big") + attributes
    return message(Kind.UPDATE, sized + prefixes)


PREFIX = b"\0\0\0\7\x08\x0a"  # path 7, 10.0.0.0/8
ORIGIN = attribute(a.TRANSITIVE, a.ORIGIN, b"\0")
PATH = attribute(a.TRANSITIVE, a.AS_PATH, AsPath.sequence(65001))
HOP = attribute(a.TRANSITIVE, a.NEXT_HOP, b"\x0a\x09\0\1")
FULL = ORIGIN + PATH + HOP
REACH = attribute(a.OPTIONAL, a.MP_REACH, b"\0\2\1\x10" + bytes(15) + b"\1\0" + b"\0\0\0\1\x10\x20\x01")


BULK = pytest.mark.parametrize("many", [MANY, 1], ids=["one by one", "in bulk"])

ERRORS = {(0, 0), *((1, one) for one in (1, 2, 3)), *((2, one) for one in (0, 1, 3, 4, 6))} | {
    (3, one) for one in (1, 2, 9, 10)
}


@st.composite
def some_attributes(draw: st.DrawFn, family: Family) -> Attributes:
    u32 = st.integers(0, 2**32 - 1)
    segments = st.builds(Segment, st.booleans(), st.lists(u32, min_size=1, max_size=5).map(tuple), st.booleans())
    return Attributes(
        next_hop=(family, draw(st.integers(1, 2 ** BITS[family] - 1)) << (128 - BITS[family])),
        as_path=AsPath.of(*draw(st.lists(segments, max_size=3))),
        origin=draw(st.sampled_from(Origin)),
        med=draw(st.none() | u32),
        local_pref=draw(u32),
        communities=Communities.of(*draw(st.lists(u32, max_size=80))),
        large_communities=LargeCommunities.of(*draw(st.lists(st.tuples(u32, u32, u32), max_size=3))),
        other=draw(st.sampled_from((b"", attribute(0xE0, 200, b"opaque"), attribute(0xC0, 7, bytes(8))))),
    )


@st.composite
def some_keys(draw: st.DrawFn, family: Family) -> list[int]:
    lengths = draw(st.lists(st.integers(0, BITS[family]), min_size=1, max_size=30))
    return [1 << length | draw(st.integers(0, (1 << length) - 1)) for length in lengths]


@st.composite
def some_stream(draw: st.DrawFn) -> tuple[bytes, list[tuple[Family, Attributes | None, int, int]], Agreement]:
    """A stream, what it says route by route, and the agreement it follows."""
    agreement = draw(st.sampled_from((WITH_IDS, WITHOUT_IDS)))
    data, said = b"", []
    for _ in range(draw(st.integers(1, 5))):
        family = draw(st.sampled_from(FAMILIES))
        keys = draw(some_keys(family))
        path_id = draw(st.integers(0, 2**32 - 1)) if agreement is WITH_IDS else None
        attributes = draw(st.none() | some_attributes(family))
        if attributes is None:
            data += b"".join(writer.withdrawals(family, keys, path_id, longest=LONGEST))
        else:
            data += b"".join(writer.announcements(family, keys, attributes, path_id, internal=True, longest=LONGEST))
        said += [(family, attributes, path_id or 0, key) for key in keys]
    return data, said, agreement


def routes(messages: Iterable[Message]) -> list[tuple[Family, Attributes | None, int, int]]:
    """Route by route, those of IPv4 first."""
    found = [(one.family, *route) for one in messages if isinstance(one, Batch) for route in one.routes()]
    return sorted(found, key=lambda route: route[0])


@settings(max_examples=50, deadline=None)
@given(some_stream(), st.randoms(use_true_random=False))
def test_what_is_written_is_read_in_whatever_pieces_it_comes(
    stream: tuple[bytes, list[tuple[Family, Attributes | None, int, int]], Agreement], rng: random.Random
) -> None:
    data, said, agreement = stream
    said.sort(key=lambda route: route[0])
    assert routes(read(data, agreement)) == said
    assert routes(Reader(agreement, many=1).feed(data)) == said, "in bulk"
    reader, found, at = Reader(agreement), [], 0
    while at < len(data):
        end = at + rng.choice((1, 2, 19, 60, 700))
        found += list(reader.feed(data[at:end]))
        at = end
    assert routes(found) == said
    assert sum((reader.counts.announced, reader.counts.withdrawn)) == len(said)


@settings(max_examples=200, deadline=None)
@given(some_stream(), st.data())
def test_mutated_streams_end_in_our_error_or_in_right_keys(
    stream: tuple[bytes, list[tuple[Family, Attributes | None, int, int]], Agreement], data: st.DataObject
) -> None:
    raw = bytearray(stream[0])
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    whole = outcome(bytes(raw), stream[2], len(raw))
    assert outcome(bytes(raw), stream[2], 61) == whole
    assert outcome(bytes(raw), stream[2], len(raw), many=1) == whole


Outcome = tuple[list[tuple[Family, Attributes | None, int, int]], set[EndOfRib], tuple[int, int]]


def outcome(data: bytes, agreement: Agreement, chunk: int, many: int = MANY) -> Outcome:
    """The routes that were read, what was told whole, and the error that ended it. All is spelled out."""
    reader, error = Reader(agreement, many=many), (0, 0)
    found: list[Message] = []
    try:
        for at in range(0, len(data), chunk):
            found += reader.feed(data[at : at + chunk])
    except BgpError as ended:
        error = ended.code, ended.subcode
    assert error in ERRORS
    for one in found:
        if isinstance(one, Batch):
            assert len(one.prefixes) == len(one.path_ids) == len(one.which)
    for family, attributes, path_id, key in routes(found):
        assert key_prefix(family, key).length <= BITS[family]
        assert 0 <= path_id < 1 << 32
        if attributes:
            assert isinstance(str(attributes.as_path), str)
            assert attributes.as_path.hops <= sum(len(s.asns) for s in attributes.as_path.segments)
            assert attributes.communities.values is not None
    return routes(found), {one for one in found if isinstance(one, EndOfRib)}, error


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80), st.binary(max_size=40), st.binary(max_size=20))
def test_random_updates_raise_nothing_but_our_error(attributes: bytes, prefixes: bytes, withdrawn: bytes) -> None:
    for data, agreement in (
        (update(attributes, prefixes, withdrawn), WITH_IDS),
        (update(FULL + attributes, prefixes, withdrawn), WITHOUT_IDS),
        (update(FULL + attributes, PREFIX), WITH_IDS),
    ):
        assert outcome(data, agreement, 4096) == outcome(data, agreement, 4096, many=1)


def test_equal_attributes_are_one_object_in_nlri_and_in_mp_reach() -> None:
    for family in FAMILIES:
        some = Attributes(HOPS[family], AsPath.sequence(65001), communities=Communities.of(a.NO_EXPORT))
        data = b"".join(
            one
            for key in (3, 2)
            for one in writer.announcements(family, [key], some, 1, internal=True, longest=LONGEST)
        )
        first, second = (attributes for _, attributes, *_ in routes(read(data)))
        assert first == some
        assert second is first


def test_an_attribute_list_is_known_by_its_next_hop_too() -> None:
    """Two MP_REACH_NLRI that differ in nothing but the next hop come with different attributes."""
    data = b"".join(
        one
        for hop in (1, 2, 1)
        for one in writer.announcements(6, [3], Attributes((6, hop)), 1, internal=True, longest=LONGEST)
    )
    hops = [attributes.next_hop for _, attributes, *_ in routes(read(data)) if attributes]
    assert hops == [(6, 1), (6, 2), (6, 1)]


@BULK
def test_routes_of_both_families_in_one_update(many: int) -> None:
    found = routes(Reader(WITH_IDS, many=many).feed(update(REACH + FULL, PREFIX)))
    assert [(family, path_id) for family, _, path_id, _ in found] == [(4, 7), (6, 1)]


def test_end_of_rib_of_both_families() -> None:
    assert read(writer.end_of_rib(4) + writer.end_of_rib(6)) == [EndOfRib(4), EndOfRib(6)]


def test_bits_behind_a_prefix_do_not_count() -> None:
    ((*_, key),) = routes(read(update(FULL, b"\0\0\0\7\x09\x0a\xff")))
    assert [key] == keys_of("10.128.0.0/9")


@pytest.mark.parametrize(
    ("name", "attributes"),
    {
        "no ORIGIN": PATH + HOP,
        "no AS_PATH": ORIGIN + HOP,
        "no NEXT_HOP": ORIGIN + PATH,
        "ORIGIN 3": attribute(0x40, 1, b"\3") + PATH + HOP,
        "ORIGIN of 2 bytes": attribute(0x40, 1, b"\0\0") + PATH + HOP,
        "ORIGIN optional": attribute(0xC0, 1, b"\0") + PATH + HOP,
        "AS_PATH with an empty segment": ORIGIN + attribute(0x40, 2, b"\2\0") + HOP,
        "AS_PATH with an unknown segment": ORIGIN + attribute(0x40, 2, b"\5\1\0\0\0\1") + HOP,
        "AS_PATH that is cut off": ORIGIN + attribute(0x40, 2, b"\2\2\0\0\0\1") + HOP,
        "NEXT_HOP of 5 bytes": ORIGIN + PATH + attribute(0x40, 3, bytes(5)),
        "MED of 3 bytes": FULL + attribute(0x80, 4, bytes(3)),
        "LOCAL_PREF of 3 bytes": FULL + attribute(0x40, 5, bytes(3)),
        "no community": FULL + attribute(0xC0, 8, b""),
        "half a community": FULL + attribute(0xC0, 8, bytes(6)),
        "ORIGINATOR_ID of 5 bytes": FULL + attribute(0x80, 9, bytes(5)),
        "an empty CLUSTER_LIST": FULL + attribute(0x80, 10, b""),
        "half an extended community": FULL + attribute(0xC0, 16, bytes(4)),
        "a third of a large community": FULL + attribute(0xC0, 32, bytes(4)),
        "an attribute that goes on behind the end": FULL + b"\xc0\xc8\x09\0",
        "two bytes behind the last attribute": FULL + b"\xc0\xc8",
    }.items(),
)
@BULK
def test_treat_as_withdraw(name: str, attributes: bytes, many: int) -> None:
    reader = Reader(WITH_IDS, many=many)
    assert routes(reader.feed(update(attributes, PREFIX))) == [(4, None, 7, keys_of("10.0.0.0/8")[0])], name
    assert reader.counts.treated_as_withdrawn == 1
    assert len(routes(reader.feed(update(FULL, PREFIX)))) == 1, "the session goes on"


@pytest.mark.parametrize(
    ("name", "extra"),
    {
        "ATOMIC_AGGREGATE with a value": attribute(0x40, 6, b"\0"),
        "AGGREGATOR of 6 bytes": attribute(0xC0, 7, bytes(6)),
        "AS4_PATH": attribute(0xC0, 17, AsPath.sequence(1)),
        "a second ORIGIN": attribute(0x40, 1, b"\2"),
    }.items(),
)
@BULK
def test_attribute_discard(name: str, extra: bytes, many: int) -> None:
    reader = Reader(WITH_IDS, many=many)
    ((_, attributes, *_),) = routes(reader.feed(update(FULL + extra, PREFIX)))
    assert attributes == Attributes(HOPS[4], AsPath.sequence(65001)), name
    assert reader.counts.discarded == 1


@pytest.mark.parametrize(
    ("error", "data"),
    [
        ((1, 1), b"\xff" * 15 + b"\xfe\0\x13\4"),
        ((1, 2), b"\xff" * 16 + b"\0\x12\2"),
        ((1, 2), b"\xff" * 16 + b"\0\x14\4"),
        ((1, 2), b"\xff" * 16 + b"\x10\x01\2"),
        ((1, 3), b"\xff" * 16 + b"\0\x13\x09"),
        ((3, 1), message(Kind.UPDATE, b"\0\x09\0\0")),
        ((3, 1), message(Kind.UPDATE, b"\0\0\0\x09\0")),
        ((3, 1), update(REACH + REACH + FULL)),
        ((3, 1), update(attribute(0x40, 1, b"\3"))),  # no routes that it could be meant for
        ((3, 2), update(FULL + attribute(0x40, 99, b""), PREFIX)),
        ((3, 9), update(attribute(0x80, 14, b"\0\2\1\x05" + bytes(6)) + FULL)),
        ((3, 9), update(attribute(0x80, 14, b"\0\2\1\x10" + bytes(15) + b"\1\0" + b"\0\0\0\1\x81") + FULL)),
        ((3, 9), update(attribute(0x80, 15, b"\0\2"))),
        ((3, 10), update(FULL, b"\0\0\0\7\x21\x0a\0\0\0\0")),
        ((3, 10), update(FULL, b"\0\0\0\7\x18\x0a\0")),
        ((3, 10), update(b"", b"", b"\0\0\0\7\x18\x0a\0")),
    ],
)
@BULK
def test_session_reset(error: tuple[int, int], data: bytes, many: int) -> None:
    with pytest.raises(BgpError) as ended:
        list(Reader(WITH_IDS, many=many).feed(data))
    assert (ended.value.code, ended.value.subcode) == error
    assert ended.value.notification()[18:21] == bytes((3, *error))


def test_a_family_that_was_not_agreed_on_is_passed_over() -> None:
    reader = Reader(Agreement(frozenset((4,)), internal=True))
    assert list(reader.feed(update(REACH + ORIGIN + PATH) + update(FULL, b"\x08\x0a"))) != []
    assert (reader.counts.foreign, reader.counts.announced) == (1, 1)


@BULK
@pytest.mark.parametrize("kind", [b"\0\2\2", b"\0\2\x80", b"\0\1\1", b"\0\x19\1", b"\1\2\1"], ids=bytes.hex)
def test_routes_that_are_not_ipv6_unicast_are_not_read_as_such(kind: bytes, many: int) -> None:
    """Multicast, labelled, IPv4, L2VPN, an AFI whose lower byte is that of IPv6."""
    reach = REACH.replace(b"\0\2\1\x10", kind + b"\x10", 1)
    assert reach != REACH
    reader = Reader(Agreement(frozenset((6,)), frozenset((6,)), internal=True), many=many)
    assert routes(reader.feed(update(reach + ORIGIN + PATH) + update(REACH + ORIGIN + PATH))) == routes(
        reader.feed(update(REACH + ORIGIN + PATH))
    )
    assert (reader.counts.foreign, reader.counts.announced) == (1, 2)


def test_longer_messages_where_they_are_agreed_on() -> None:
    keys = [1 << 24 | number for number in range(10_000)]
    some = Attributes(HOPS[4])
    longer = list(writer.announcements(4, keys, some, 1, internal=True, longest=LONGEST_EXTENDED))
    assert len(longer) == 2
    agreement = Agreement(BOTH, BOTH, BOTH, internal=True, longest=LONGEST_EXTENDED)
    assert [key for *_, key in routes(read(b"".join(longer), agreement))] == keys
    with pytest.raises(BgpError, match="bad message length"):
        read(longer[0])


def test_as_paths_are_compared_and_shown_as_the_rfcs_say() -> None:
    path = AsPath.of(Segment(True, (64512,), True), Segment(True, (65001, 65002)), Segment(False, (1, 2, 3)))
    assert (path.hops, path.neighbour, str(path)) == (3, 65001, "(64512) 65001 65002 {1 2 3}")
    assert (AsPath().hops, AsPath().neighbour, str(AsPath())) == (0, 0, "")
    assert AsPath.of(Segment(False, (5,))).neighbour == 0


def test_scapy_reads_what_we_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """An independent decoder finds the same."""
    monkeypatch.setattr(scapy_bgp.bgp_module_conf, "use_2_bytes_asn", False)
    some = Attributes(
        HOPS[4], AsPath.sequence(65001, 4_200_000_000), Origin.EGP, 50, 200, Communities.of(65000 << 16 | 1)
    )
    (raw,) = writer.announcements(
        4, keys_of("10.0.0.0/8", "192.0.2.128/25", "0.0.0.0/0"), some, None, internal=True, longest=LONGEST
    )
    layer = scapy_bgp.BGPHeader(raw)
    assert (layer.len, layer.type) == (len(raw), 2)
    assert [one.prefix for one in layer.nlri] == ["10.0.0.0/8", "192.0.2.128/25", "0.0.0.0/0"]
    found = {one.type_code: one.attribute for one in layer.path_attr}
    assert found[1].origin == 1
    assert found[2].segments[0].segment_value == [65001, 4_200_000_000]
    assert found[3].next_hop == "10.9.0.1"
    assert (found[4].med, found[5].local_pref, bytes(found[8])) == (50, 200, bytes((0xFD, 0xE8, 0, 1)))


def test_we_read_what_scapy_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scapy_bgp.bgp_module_conf, "use_2_bytes_asn", False)
    segment = scapy_bgp.BGPPAAS4BytesPath.ASPathSegment(segment_type=2, segment_value=[65001, 70000])
    raw = bytes(
        scapy_bgp.BGPHeader(type=2)
        / scapy_bgp.BGPUpdate(
            withdrawn_routes=[scapy_bgp.BGPNLRI_IPv4(prefix="203.0.113.0/24")],
            path_attr=[
                scapy_bgp.BGPPathAttr(type_flags=0x40, type_code=1, attribute=scapy_bgp.BGPPAOrigin(origin=0)),
                scapy_bgp.BGPPathAttr(
                    type_flags=0x40, type_code=2, attribute=scapy_bgp.BGPPAAS4BytesPath(segments=[segment])
                ),
                scapy_bgp.BGPPathAttr(
                    type_flags=0x40, type_code=3, attribute=scapy_bgp.BGPPANextHop(next_hop="10.9.0.1")
                ),
            ],
            nlri=[scapy_bgp.BGPNLRI_IPv4(prefix="198.51.100.0/24")],
        )
    )
    gone, announced = keys_of("203.0.113.0/24", "198.51.100.0/24")
    assert routes(read(raw, WITHOUT_IDS)) == [
        (4, None, 0, gone),
        (4, Attributes(HOPS[4], AsPath.sequence(65001, 70000)), 0, announced),
    ]
