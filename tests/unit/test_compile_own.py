"""What a VPC owns, and one path for each peering."""

from __future__ import annotations

from isthmus.compile import compile_tables
from isthmus.model.types import Attachment, Item, Model, Peering, Side, StaticRoute, Vpc
from isthmus.tables.address import Prefix, parse_address
from isthmus.tables.entries import Candidate, Nat, PathKind, Tables, Tag


def items(*texts: str) -> tuple[Item, ...]:
    return tuple(Item(Prefix.parse(text), f"ips[{index}]") for index, text in enumerate(texts))


def inferred(name: str, *owned: str) -> Vpc:
    routes = tuple(StaticRoute(Prefix.parse(text), None, 0, 0, "spec") for text in owned)
    return Vpc(name, False, None, (), (Attachment(f"vpc/{name}", Tag(), (), 0, "spec"),), routes)


def candidates(tables: Tables, vpc: str, address: str) -> tuple[Candidate, ...]:
    family, value = parse_address(address)
    return next((e.candidates for e in tables.vpcs[vpc].exposures[family] if e.first <= value <= e.last), ())


def tables_of(*offered: str, hidden: tuple[str, ...] = ()) -> Tables:
    here = Side("p", "a", Nat.PLAIN, items("10.1.0.0/16"), items(*hidden), (), (), None, 0, "spec.a")
    there = Side("p", "b", Nat.PLAIN, items(*offered), (), (), (), None, 0, "spec.b")
    vpcs = {"a": inferred("a", "10.1.0.0/16"), "b": inferred("b", *offered)}
    return compile_tables(Model(vpcs, {"p": Peering("p", (here, there))}, None))


def test_an_inferred_vpc_owns_what_it_exposes_and_not_what_it_excludes() -> None:
    tables = tables_of("192.0.2.0/24", hidden=("10.1.9.0/24",))
    assert [c.kind for c in candidates(tables, "a", "10.1.1.1")] == [PathKind.SAME_VPC]
    assert candidates(tables, "a", "10.1.9.1") == (), "no-peering: nobody says that it is theirs"


def test_several_items_of_one_side_are_one_path() -> None:
    """The longest that holds the address counts, and nothing shares with itself."""
    tables = tables_of("0.0.0.0/0", "192.0.2.0/24", "192.0.2.0/25", "192.0.2.0/25")
    assert [c.length for c in candidates(tables, "a", "192.0.2.1")] == [25]
    assert [c.length for c in candidates(tables, "a", "192.0.2.200")] == [24]
    assert [c.length for c in candidates(tables, "a", "198.51.100.1")] == [0]
