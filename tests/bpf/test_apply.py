"""Applying tables: beside the old ones, in one flip; what comes out never depends on what was there before."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from isthmus.compile import compile_tables
from isthmus.datapath import Bindings, Capacity, PacketPath, PortBinding, TableFull
from isthmus.tables.entries import AttachmentKey, Tables
from isthmus.tables.verdicts import Verdict
from tests.differential.configuration import MAX_PORTS, random_model

PORTS = Bindings({f"p{i}": PortBinding(1, bytes([2, 0, 0, 0, 0, i]), 1500) for i in range(1, MAX_PORTS + 1)})


def tables_of(seed: int) -> Tables:
    return compile_tables(random_model(Random(seed)))


@pytest.fixture
def path() -> Iterator[PacketPath]:
    with PacketPath.load(record=True) as loaded:
        yield loaded


def fresh_dump(tables: Tables) -> dict[str, object]:
    with PacketPath.load() as other:
        other.apply(tables, PORTS)
        return other.dump()


def test_revert_gives_the_start(path: PacketPath) -> None:
    """A, then B, then A: the dump is that of A, and A's second coming writes only what B took."""
    path.apply(tables_of(1), PORTS)
    start = path.dump()
    path.apply(tables_of(2), PORTS)
    assert path.dump() != start
    path.apply(tables_of(1), PORTS)
    assert path.dump() == start


def test_incremental_gives_what_a_fresh_build_gives(path: PacketPath) -> None:
    """After a walk over thirty configurations every dump equals that of an empty packet path given the same."""
    for seed in range(30):
        path.apply(tables_of(seed), PORTS)
        if seed % 6 == 5:
            assert path.dump() == fresh_dump(tables_of(seed))


def test_the_same_tables_again_write_nothing(path: PacketPath) -> None:
    """Content decides the slot: nothing is new, so nothing is written."""
    path.apply(tables_of(3), PORTS)
    assert path.written() > 0
    path.apply(tables_of(3), PORTS)
    assert path.written() == 0


def test_dump_tells_configurations_apart() -> None:
    """Forty seeds, forty dumps: a dump that says nothing would make the tests above pass."""
    dumps = []
    with PacketPath.load() as path:
        for seed in range(40):
            path.apply(tables_of(seed), PORTS)
            dumps.append(repr(path.dump()))
    assert len(set(dumps)) == 40


def test_tables_that_do_not_fit_leave_the_old_ones() -> None:
    """Too many nodes: an error that says which table, and packets go on as before."""
    with PacketPath.load(record=True, capacity=Capacity(nodes=12)) as small:
        small.apply(Tables(), PORTS)
        before = small.dump()
        with pytest.raises(TableFull, match="nodes"):
            for seed in range(20):
                small.apply(tables_of(seed), PORTS)
                before = small.dump()
        assert small.dump() == before


def test_a_failed_apply_is_no_obstacle_to_the_next() -> None:
    """After a refusal, tables that fit are applied, and are those of a fresh build."""
    with PacketPath.load(capacity=Capacity(nodes=12)) as small:
        with pytest.raises(TableFull):
            for seed in range(20):
                small.apply(tables_of(seed), PORTS)
        small.apply(Tables(), PORTS)
        assert small.dump() == {}


def test_an_empty_gateway_claims_no_packet(path: PacketPath) -> None:
    """No tables: nobody's tag, for both hooks."""
    path.apply(Tables(), Bindings())
    frame = bytes(12) + b"\x08\x06" + bytes(46)
    assert path.run(frame, 1, "xdp").verdict is Verdict.UNKNOWN_TAG
    assert path.run(frame, 1, "tc").verdict is Verdict.UNKNOWN_TAG


def test_a_router_keeps_its_mac_over_a_change(path: PacketPath) -> None:
    """What was learned of a link outlives a configuration that does not name it as a next hop."""
    tables = tables_of(1)
    path.apply(tables, PORTS)
    key = next(a.key for vpc in tables.vpcs.values() for a in vpc.attachments)
    assert isinstance(key, AttachmentKey)
    path.set_neighbor(key, 4, 10 << 120, bytes(6))
    path.apply(tables, PORTS)
    path.set_neighbor(key, 4, 10 << 120, None)
