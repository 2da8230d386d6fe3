"""A network namespace with real devices for the packet path to name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyroute2 import IPRoute

from isthmus.datapath import Capacity, Hook, PacketPath
from isthmus.datapath.netns import anonymous
from tests.differential.compare import MAX_NAMESPACES, SECRET, Bench
from tests.differential.configuration import MAX_PORTS

SMALL = Capacity(flows=8192)
"""Where no test asks for more or less; the default has 1.3 GB, which takes seconds to get."""
BOTH: tuple[Hook, ...] = ("xdp", "tc")
XDP: tuple[Hook, ...] = ("xdp",)


@contextmanager
def bench(capacity: Capacity = SMALL, icmp_rate: int = 0, hooks: tuple[Hook, ...] = BOTH) -> Iterator[Bench]:
    """A packet path alone in its namespace; gone afterwards. It runs the more quickly the fewer hooks it is for."""
    with ports() as ifindex, loaded(ifindex, capacity, icmp_rate, hooks) as made:
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
def loaded(
    ifindex: dict[str, int],
    capacity: Capacity = SMALL,
    icmp_rate: int = 0,
    hooks: tuple[Hook, ...] = BOTH,
    secret: int = SECRET,
) -> Iterator[Bench]:
    """A packet path among ports. Its clock stands still until it is set, and nothing sweeps but who is asked to."""
    with PacketPath.load(
        capacity=capacity, record=True, icmp_rate=icmp_rate, clock="manual", secret=secret, hooks=hooks
    ) as path:
        yield Bench(path, ifindex, capacity.flows)
