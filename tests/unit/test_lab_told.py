"""What the router tells of itself: prefixes that several peers offer, counted in pieces."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import cast

import pytest

from isthmus.lab.routes import told
from isthmus.lab.routes.router import Ambiguity
from isthmus.lab.routes.told import ToldOf
from isthmus.routing.bgp import writer
from isthmus.routing.bgp.attributes import AsPath, Attributes
from isthmus.routing.bgp.capabilities import Agreement
from isthmus.routing.bgp.reader import Reader
from isthmus.routing.bgp.updates import Batch
from isthmus.routing.bgp.wire import LONGEST
from isthmus.routing.rib import Rib
from isthmus.routing.router import Router
from isthmus.tables.address import FAMILIES, Family, parse_address
from isthmus.tables.entries import AttachmentKey, NextHop, Origin
from tests.unit.test_advertise import side, tables_of
from tests.unit.test_rib import Written

NEAR: dict[Family, tuple[Family, int]] = {4: parse_address("192.0.2.1"), 6: parse_address("2001:db8::1")}
FAR: dict[Family, tuple[Family, int]] = {4: parse_address("192.0.2.9"), 6: parse_address("2001:db8::9")}
Said = dict[tuple[Family, int], tuple[int, bool]]
"""By family and prefix key: MED, and whether something leads to the next hop."""


def resolve(family: Family, address: int, peer: str) -> NextHop | None:
    near = (family, address) == NEAR[family]
    return NextHop(AttachmentKey("isp", "eth1"), address, Origin("BGP"), None, peer) if near else None


def tell(rib: Rib, said: Said, *, withdraw: bool = False) -> None:
    """Have a RIB hear this from a neighbour."""
    reader = Reader(Agreement(frozenset(FAMILIES)))
    for (family, key), (med, near) in said.items():
        attributes = Attributes((NEAR if near else FAR)[family], AsPath.sequence(65001), med=med)
        updates = (
            writer.withdrawals(family, [key], None, longest=LONGEST)
            if withdraw
            else writer.announcements(family, [key], attributes, None, internal=False, longest=LONGEST)
        )
        for message in reader.feed(b"".join(updates)):
            assert isinstance(message, Batch)
            rib.take(message)


def drawn(rng: Random, family: Family) -> Said:
    keys = [1 << 16 | rng.randrange(400) for _ in range(300)]
    return {(family, key): (rng.randrange(3), rng.random() < 0.9) for key in keys}


def test_what_several_peers_offer_is_counted_rightly_in_pieces_and_not_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = Random(7)
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1.0
        return now

    monkeypatch.setattr(told, "time", SimpleNamespace(monotonic=clock))
    leaf = side("leaf", "10.1.0.0/24")
    tables = tables_of(*((leaf, side(isp, "0.0.0.0/0", metric=metric)) for isp, metric in (("e1", 0), ("e2", 1))))
    said = {isp: {**drawn(rng, 4), **drawn(rng, 6)} for isp in ("e1", "e2")}
    ribs = {isp: Rib(Written(), resolve, lambda _: "") for isp in said}
    for isp, rib in ribs.items():
        tell(rib, said[isp])
    domains = {isp: SimpleNamespace(rib=rib) for isp, rib in ribs.items()}
    of = ToldOf(cast(Router, SimpleNamespace(tables=tables, domains=domains)))

    def counted() -> Ambiguity:
        both = [one for one in said["e1"] if one in said["e2"] and said["e1"][one][1] and said["e2"][one][1]]
        tied = [one for one in both if said["e1"][one][0] == said["e2"][one][0] + 1]
        return Ambiguity("leaf", ("e1", "e2"), len(both), len(tied))

    pieces = list(of.ambiguous(None))
    before = counted()
    assert [one for one in pieces if one] == [before]
    assert before.tied
    portions = sum(min(rib.count(family) for rib in ribs.values()) // 64 for family in FAMILIES)
    assert len(pieces) > len(tables.vpcs) + portions
    assert list(of.ambiguous("e1")) == [None]

    gone = {one: said["e2"].pop(one) for one in list(said["e2"])[::2]}
    tell(ribs["e2"], gone, withdraw=True)
    assert [one for one in of.ambiguous("leaf") if one] == [before]
    now += 60
    assert [one for one in of.ambiguous("leaf") if one] == [counted()]
    assert counted() != before
