"""How long the count of prefixes that two peers offer keeps the gateway's loop from its work, with full tables.

``python -m tests.measure.ambiguous [--scale S]``. Two RIBs take 1.05 million IPv4 and 230,000 IPv6 routes each; then
``route-ambiguous`` is counted as for ``isthmus neighbors``. Between two pieces of the answer the loop is free.
"""

from __future__ import annotations

import argparse
import json
import time
from types import SimpleNamespace
from typing import cast

from isthmus.compile import compile_tables
from isthmus.datapath.fib.exact import Exact
from isthmus.lab.routes.router import Ambiguity
from isthmus.lab.routes.told import ToldOf
from isthmus.model.types import Attachment, Item, Model, Peering, Side, Vpc
from isthmus.routing.bgp.capabilities import Agreement
from isthmus.routing.bgp.reader import Reader
from isthmus.routing.bgp.updates import Batch
from isthmus.routing.rib import Rib
from isthmus.routing.router import Router
from isthmus.tables.address import FAMILIES, Family, Prefix, parse_address
from isthmus.tables.entries import AttachmentKey, Nat, NextHop, Origin, Tables, Tag
from tests.measure.internet import External, encoded, table

HOPS: dict[Family, int] = {4: parse_address("192.0.2.1")[1], 6: parse_address("2001:db8::1")[1]}
ASN = {"e1": 65001, "e2": 65002}


class Unwritten:
    """Stands where the packet path's table does; no packet follows it."""

    def __init__(self) -> None:
        self.prefixes = {family: Exact(columns=2) for family in FAMILIES}
        self.notes = {family: table.columns[1] for family, table in self.prefixes.items()}

    def group(self, _metric: int, _next_hops: tuple[NextHop, ...]) -> int:
        """Of everything the same."""
        return 1

    def write(self, *_: object) -> None:
        """Not done."""

    def clear(self) -> None:
        """Nor that."""


def rib(vpc: str, scale: float) -> Rib:
    """The RIB of an external with a table of its own."""

    def resolve(_: Family, address: int, peer: str) -> NextHop:
        return NextHop(AttachmentKey(vpc, "eth1"), address, Origin("BGP"), None, peer)

    found = Rib(Unwritten(), resolve, lambda _: "192.0.2.1")
    reader = Reader(Agreement(frozenset(FAMILIES)))
    for family in FAMILIES:
        for message in reader.feed(encoded(table(External(ASN[vpc], HOPS), family, scale=scale), family)):
            if isinstance(message, Batch):
                found.take(message)
    return found


def tables(metric: int = 0) -> Tables:
    """A tenant that both externals offer all addresses."""
    everything = tuple(Item(Prefix.parse(text), "") for text in ("0.0.0.0/0", "::/0"))
    names = ("tenant", *ASN)
    vpcs = {name: Vpc(name, True, None, (), (Attachment(name, Tag(), (), 0, ""),), ()) for name in names}
    peerings = {}
    for name in ASN:
        one, other = (Side(name, vpc, Nat.PLAIN, everything, (), (), (), None, metric, "") for vpc in ("tenant", name))
        peerings[name] = Peering(name, (one, other))
    return compile_tables(Model(vpcs, peerings, None), assume=())


def main() -> None:
    """Measure, and print one JSON object: seconds, but for the longest piece, which is in milliseconds."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--scale", type=float, default=1.0, help="1.0 is a full table")
    scale = options.parse_args().scale
    domains = {vpc: SimpleNamespace(rib=rib(vpc, scale)) for vpc in ASN}
    told = ToldOf(cast(Router, SimpleNamespace(tables=tables(), domains=domains)))
    for asked in ("first", "again"):
        longest, pieces, found = 0.0, 0, list[Ambiguity]()
        began = last = time.perf_counter()
        for one in told.ambiguous(None):
            now = time.perf_counter()
            longest, last, pieces = max(longest, now - last), now, pieces + 1
            if one:
                found.append(one)
        figures = {"seconds": round(last - began, 3), "longest_ms": round(longest * 1000, 2), "pieces": pieces}
        print(json.dumps({"asked": asked, **figures, "found": found}), flush=True)


if __name__ == "__main__":
    main()
