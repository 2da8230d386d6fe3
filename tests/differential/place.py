"""A network namespace with real devices for the packet path to name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from pyroute2 import NetNS, netns

from isthmus.datapath import Capacity, PacketPath
from isthmus.datapath.netns import inside
from tests.differential.compare import Bench
from tests.differential.configuration import MAX_PORTS

COUNT = count()


@contextmanager
def bench(capacity: Capacity | None = None, icmp_rate: int = 0) -> Iterator[Bench]:
    """A loaded packet path among ports p1..p7, each with its namespace end n1..n7; gone afterwards."""
    name = f"isthmus-fuzz-{os.getpid()}-{next(COUNT)}"
    netns.create(name)
    try:
        with NetNS(name) as kernel:
            for number in range(1, MAX_PORTS + 1):
                kernel.link("add", ifname=f"p{number}", kind="veth", peer={"ifname": f"n{number}"})
            for link in kernel.get_links():
                kernel.link("set", index=link["index"], state="up")
            ifindex = {link.get_attr("IFLA_IFNAME"): link["index"] for link in kernel.get_links()}
        with inside(name), PacketPath.load(capacity=capacity, record=True, icmp_rate=icmp_rate) as path:
            yield Bench(path, ifindex)
    finally:
        netns.remove(name)
