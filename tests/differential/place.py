"""A network namespace with real devices for the packet path to name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyroute2 import IPRoute

from isthmus.datapath import Capacity, PacketPath
from isthmus.datapath.netns import anonymous
from tests.differential.compare import MAX_NAMESPACES, SECRET, Bench
from tests.differential.configuration import MAX_PORTS

FLOWS = 8192
"""Room for so many, where no test asks for more or less."""


@contextmanager
def bench(capacity: Capacity | None = None, icmp_rate: int = 0) -> Iterator[Bench]:
    """A packet path alone in its namespace; gone afterwards."""
    with ports() as ifindex, loaded(ifindex, capacity, icmp_rate) as made:
        yield made


@contextmanager
def ports() -> Iterator[dict[str, int]]:
    """Be in a network namespace with ports p1..p7, and with namespace ends n1..n18: their interface indices."""
    with anonymous(), IPRoute() as kernel:
        for number in range(1, MAX_NAMESPACES + 1):
            other = f"p{number}" if number <= MAX_PORTS else f"m{number}"
            kernel.link("add", ifname=other, kind="veth", peer={"ifname": f"n{number}"})
        for link in kernel.get_links():
            kernel.link("set", index=link["index"], state="up")
        yield {link.get_attr("IFLA_IFNAME"): link["index"] for link in kernel.get_links()}


@contextmanager
def loaded(ifindex: dict[str, int], capacity: Capacity | None = None, icmp_rate: int = 0) -> Iterator[Bench]:
    """A packet path among ports. Its clock stands still until it is set, and nothing sweeps but who is asked to."""
    capacity = capacity or Capacity(flows=FLOWS)
    with PacketPath.load(capacity=capacity, record=True, icmp_rate=icmp_rate, clock="manual", secret=SECRET) as path:
        yield Bench(path, ifindex, capacity.flows)
