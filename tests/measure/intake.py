"""Two externals with full Internet tables, from the neighbours' sessions up to the last route that packets follow.

``python -m tests.measure.intake [--scale S] [--rounds N]``, as root, on a machine that does nothing else. Beside it, in
the same run, a *bare reader* of the same feeds (`bgp_feed`). Whole: session, RIB, and the packet path's tables, in one
process. Then: a lost neighbour (one write), and how long its table takes to be cleared; memory of the process and of
the tables, with BIRD apart.
"""

from __future__ import annotations

import argparse
import gc
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

from isthmus.bench.gateway import tables_of
from isthmus.datapath import Bindings, Capacity, PacketPath
from isthmus.routing.bgp.updates import Batch
from isthmus.routing.rib import AT_ONCE, Rib
from isthmus.routing.router import COLLECT
from isthmus.tables.address import FAMILIES, Family
from isthmus.tables.entries import AttachmentKey, NextHop, Origin, Peer
from tests.measure.bgp_feed import Bare, Figures, Ours, measure
from tests.measure.bird import ASN, Bird
from tests.measure.internet import External, encoded, table

OBJECTS: Final = """
apiVersion: gateway.githedgehog.com/v1alpha1
kind: VPC
metadata: {name: e1}
spec: {attachments: [{interface: eth1, addresses: [10.9.0.1/24]}], bgp: {asn: 65000}}
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: VPC
metadata: {name: e2}
spec: {attachments: [{interface: eth2, addresses: [10.9.0.1/24]}], bgp: {asn: 65000}}
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata: {name: e1--e2}
spec: {e1: {ips: [{cidr: 0.0.0.0/0}]}, e2: {ips: [{cidr: 0.0.0.0/0}]}}
"""
VPCS: Final = ("e1", "e2")


class Whole(Ours):
    """Our session, the RIB behind it, and the tables that packets read. ``prefixes``: written there."""

    def __init__(self, path: PacketPath, vpcs: list[str], one: Bird) -> None:
        """Opens the session, for the next of ``vpcs``."""
        super().__init__(one)
        self.vpc = vpcs.pop(0)
        self.rib = Rib(path.learned(self.vpc), self._resolve, lambda _: "10.9.0.2")

    def _resolve(self, family: Family, address: int, peer: str) -> NextHop:
        return NextHop(AttachmentKey(self.vpc, f"eth{self.vpc[1:]}"), address, Origin("BGP"), None, peer)

    @property
    def pending(self) -> int:
        """Prefixes that are to be written."""
        return self.rib.pending

    def pump(self) -> None:
        """Read some, and write it."""
        heard = 0
        for event in self._session.pump(time.monotonic()):
            if isinstance(event, Batch):
                self.rib.take(event)
                heard += 1
        if (heard < 500 or self.rib.pending >= AT_ONCE) and (changed := self.rib.flush()):  # as ``Domain`` does
            self.prefixes += len(changed.keys)


def resident() -> int:
    """Bytes of this process that are in memory."""
    words = {line.split(":")[0]: line.split() for line in Path("/proc/self/status").read_text().splitlines()}
    return int(words["VmRSS"][1]) << 10


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the Internet")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    tables, sizes = [], []
    for number in (1, 2):
        external = External(ASN + number, {4: 0x0A090001 + number << 96, 6: (0xFD09 << 112) + 1 + number})
        routes = {family: table(external, family, scale=options.scale) for family in FAMILIES}
        tables.append(b"".join(encoded(routes[family], family) for family in FAMILIES))
        sizes.append(sum(len(keys) for family in FAMILIES for _, keys in routes[family]))
        del routes
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)
    figures: dict[str, list[Figures]] = {"bare": [], "whole": []}
    for number in range(options.rounds):
        figures["bare"].append(measure(Bare, tables, sum(sizes)))
        with ExitStack() as stack:
            path = stack.enter_context(PacketPath.load(capacity=Capacity(flows=1024), hooks=["xdp"]))
            path.apply(tables_of(OBJECTS), Bindings())
            before = resident()
            made: list[Whole] = []

            def whole(one: Bird, path: PacketPath = path, made: list[Whole] = made) -> Whole:
                made.append(Whole(path, list(VPCS[len(made) :]), one))
                return made[-1]

            figures["whole"].append(measure(whole, tables, sum(sizes)))
            grown, maps = resident() - before, sum(path.learned(vpc).memory() for vpc in VPCS)
            began = time.monotonic()
            path.set_down([Peer("e1", "10.9.0.2")])
            lost = time.monotonic() - began
            path.learned("e1").clear()
            cleared = time.monotonic() - began
        one, other = figures["bare"][-1], figures["whole"][-1]
        print(
            f"round {number + 1}: bare {one.seconds:.2f} s, whole {other.seconds:.2f} s"
            f" ({other.seconds / one.seconds:.2f}x), our CPU {other.cpu:.2f} s; process +{grown >> 20} MB,"
            f" tables {maps >> 20} MB; a neighbour lost after {1000 * lost:.1f} ms,"
            f" its table empty after {1000 * cleared:.0f} ms",
            flush=True,
        )
    least, most = (median(row.seconds for row in figures[name]) for name in ("bare", "whole"))
    print(f"medians: bare {least:.2f} s, whole {most:.2f} s, {most / least:.2f}x, {sum(sizes):,} routes")


if __name__ == "__main__":
    main()
