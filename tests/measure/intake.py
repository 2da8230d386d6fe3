"""Two externals with full Internet tables, from the neighbours' sessions up to the last route that packets follow.

``python -m tests.measure.intake [--scale S] [--rounds N]``, as root, on a machine that does nothing else. Beside it, in
the same run, a *bare reader* of the same feeds (`bgp_feed`). Whole: session, RIB, and the packet path's tables, in one
process, which has precedence as it has in a gateway. Then: a lost neighbour (one write), and how long its table takes
to be cleared; memory of the process and of the tables, with BIRD apart.
"""

from __future__ import annotations

import gc
import time
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from isthmus.bench.gateway import tables_of
from isthmus.datapath import Bindings, Capacity, PacketPath
from isthmus.routing.bgp.updates import Batch
from isthmus.routing.precedence import precedence
from isthmus.routing.rib import Rib
from isthmus.routing.router import COLLECT
from isthmus.tables.address import Family
from isthmus.tables.entries import AttachmentKey, NextHop, Origin, Peer
from tests.measure.bgp_feed import Bare, Figures, Ours, asked, measure
from tests.measure.bird import Bird

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

    def __init__(self, path: PacketPath, vpc: str, one: Bird) -> None:
        """Opens the session of a VPC."""
        super().__init__(one)
        self.vpc = vpc
        self.rib = Rib(path.learned(self.vpc), self._resolve, lambda _: "10.9.0.2")

    def _resolve(self, family: Family, address: int, peer: str) -> NextHop:
        return NextHop(AttachmentKey(self.vpc, f"eth{self.vpc[1:]}"), address, Origin("BGP"), None, peer)

    def wait(self) -> float:
        """Seconds until something is to be written."""
        wait = self.rib.wait(time.monotonic())
        return super().wait() if wait is None else wait

    def pump(self) -> None:
        """Read some, and write it."""
        heard, now = 0, time.monotonic()
        for event in self._session.pump(now):
            if isinstance(event, Batch):
                self.rib.take(event)
                heard += len(event.prefixes)
        if self.rib.due(heard, now) and (changed := self.rib.flush()):
            self.prefixes += len(changed.keys)


def resident() -> int:
    """Bytes of this process that are in memory."""
    words = {line.split(":")[0]: line.split() for line in Path("/proc/self/status").read_text().splitlines()}
    return int(words["VmRSS"][1]) << 10


class Intake(NamedTuple):
    """Of one intake: its figures; bytes that the process grew by, and of the tables; seconds until a lost neighbour's
    paths were out of use, and until its table was empty."""

    figures: Figures
    grown: int
    tables: int
    lost: float
    cleared: float


def intake(tables: list[bytes], routes: int) -> Intake:
    """Both feeds into a packet path; then the first neighbour is lost."""
    with PacketPath.load(capacity=Capacity(flows=1024), hooks=["xdp"]) as path:
        path.apply(tables_of(OBJECTS), Bindings())
        before, vpcs = resident(), iter(VPCS)
        figures = measure(lambda one: Whole(path, next(vpcs), one), tables, routes, precedence)
        grown, maps = resident() - before, sum(path.learned(vpc).memory() for vpc in VPCS)
        began = time.monotonic()
        path.set_down([Peer("e1", "10.9.0.2")])
        lost = time.monotonic() - began
        path.learned("e1").clear()
        return Intake(figures, grown, maps, lost, time.monotonic() - began)


def main() -> None:
    """Measure, and print."""
    rounds, feeds = asked(__doc__)
    tables, routes = [feed.updates for feed in feeds], sum(feed.prefixes for feed in feeds)
    gc.set_threshold(*COLLECT)
    bare, whole = [], []
    for number in range(rounds):
        least, ours = measure(Bare, tables, routes).seconds, intake(tables, routes)
        bare.append(least)
        whole.append(ours.figures.seconds)
        print(
            f"round {number + 1}: bare {least:.2f} s, whole {whole[-1]:.2f} s ({whole[-1] / least:.2f}x),"
            f" our CPU {ours.figures.cpu:.2f} s; process +{ours.grown >> 20} MB, tables {ours.tables >> 20} MB;"
            f" a neighbour lost after {1000 * ours.lost:.1f} ms, its table empty after {1000 * ours.cleared:.0f} ms",
            flush=True,
        )
    print(
        f"medians: bare {median(bare):.2f} s, whole {median(whole):.2f} s,"
        f" {median(whole) / median(bare):.2f}x, {routes:,} routes"
    )


if __name__ == "__main__":
    main()
