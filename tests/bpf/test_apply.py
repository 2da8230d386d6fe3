"""Applying tables: beside the old ones, in one flip; what comes out never depends on what was there before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest

from isthmus.compile import compile_tables
from isthmus.datapath import Bindings, PacketPath, PortBinding, TableFull
from isthmus.tables.entries import Tables
from isthmus.tables.verdicts import Verdict
from tests.differential.configuration import MAX_PORTS, random_model
from tests.differential.place import SMALL, XDP

PORTS = Bindings({f"p{i}": PortBinding(1, bytes([2, 0, 0, 0, 0, i]), 1500) for i in range(1, MAX_PORTS + 1)})


def tables_of(seed: int) -> Tables:
    return compile_tables(random_model(Random(seed)))


@pytest.fixture(scope="module")
def loaded() -> Iterator[PacketPath]:
    with PacketPath.load(capacity=SMALL, record=True) as made:
        yield made


@pytest.fixture
def path(loaded: PacketPath) -> PacketPath:
    """Emptied: the next ``apply`` finds nothing to keep."""
    loaded.apply(Tables(), Bindings())
    return loaded


def refused(path: PacketPath, seed: int) -> bool:
    """True if the tables of a seed do not fit."""
    try:
        path.apply(tables_of(seed), PORTS)
    except TableFull:
        return True
    return False


def fresh_dump(tables: Tables) -> dict[str, object]:
    with PacketPath.load(capacity=SMALL, hooks=XDP) as other:
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
    """On a walk over twenty configurations dumps equal those of an empty packet path given the same."""
    for seed in range(20):
        path.apply(tables_of(seed), PORTS)
        if seed % 7 == 6:
            assert path.dump() == fresh_dump(tables_of(seed))


def test_the_same_tables_again_write_nothing(path: PacketPath) -> None:
    """Content decides the slot: nothing is new, so nothing is written."""
    path.apply(tables_of(3), PORTS)
    assert path.written() > 0
    path.apply(tables_of(3), PORTS)
    assert path.written() == 0


def test_dump_tells_configurations_apart(path: PacketPath) -> None:
    """Twenty seeds, twenty dumps: a dump that says nothing would make the tests above pass."""
    dumps = []
    for seed in range(20):
        path.apply(tables_of(seed), PORTS)
        dumps.append(repr(path.dump()))
    assert len(set(dumps)) == 20


def test_tables_that_do_not_fit_leave_the_old_ones() -> None:
    """Too many nodes: an error that says which table, and packets go on as before."""
    with PacketPath.load(capacity=replace(SMALL, nodes=24), hooks=XDP) as small:
        small.apply(Tables(), PORTS)
        before = small.dump()
        for seed in range(20):
            if refused(small, seed):
                break
            before = small.dump()
        else:
            pytest.fail("nothing was refused")
        assert small.dump() == before


def test_a_failed_apply_is_no_obstacle_to_the_next() -> None:
    """After a refusal, tables that fit are applied, and are those of a fresh build."""
    with PacketPath.load(capacity=replace(SMALL, nodes=24), hooks=XDP) as small:
        refusals = [refused(small, seed) for seed in range(20)]
        assert any(refusals)
        fits = next(seed for seed, no in enumerate(refusals) if not no)
        small.apply(tables_of(fits), PORTS)
        assert small.dump() == fresh_dump(tables_of(fits))


def test_an_empty_gateway_claims_no_packet(path: PacketPath) -> None:
    """No tables: nobody's tag, for both hooks."""
    path.apply(Tables(), Bindings())
    frame = bytes(12) + b"\x08\x06" + bytes(46)
    assert path.run(frame, 1, "xdp").verdict is Verdict.UNKNOWN_TAG
    assert path.run(frame, 1, "tc").verdict is Verdict.UNKNOWN_TAG
