"""The node around a random configuration: its ports, the MACs of its neighbours, the way to remote VTEPs."""

from __future__ import annotations

from random import Random

from isthmus.tables.address import Family, step
from isthmus.tables.entries import Tables
from isthmus.trace.environment import PortInfo
from tests.differential.compare import Neighbours, Ports, Tunnels
from tests.differential.configuration import MAX_PORTS
from tests.differential.slots import VTEPS
from tests.differential.teacher import routers


def draw_ports(rng: Random, friendly: bool) -> Ports:
    """The ports that are on the node, most of them."""
    return {
        f"p{i}": PortInfo(bytes([2, 0, 0, 0, 0, i]), rng.choice([1280, 1500, 1500, 9000]))
        for i in range(1, MAX_PORTS + 1)
        if rng.random() < (0.97 if friendly else 0.88)
    }


def draw_neighbours(rng: Random, tables: Tables, friendly: bool) -> Neighbours:
    """MACs for routers, and for hosts at the ends of on-link routes and at the start of what sides expose; most."""
    found: Neighbours = {}
    hosts: dict[tuple[str, Family], list[int]] = {}
    for side in tables.sides.values():
        for family, ranges in side.private.items():
            unit = step(family)
            starts = [span.first + unit * k for span in ranges for k in range(4)]
            hosts.setdefault((side.key.vpc, family), []).extend(starts)
    for vpc in tables.vpcs.values():
        for family, routes in vpc.routes.items():
            unit = step(family)
            for route in routes:
                near = [route.prefix.first + unit * k for k in range(4)]
                near += [route.prefix.last - unit * k for k in range(2)]
                near += hosts.get((vpc.name, family), ())
                for hop in route.next_hops:
                    for address in (hop.gateway,) if hop.gateway is not None else dict.fromkeys(near):
                        if rng.random() < (0.97 if friendly else 0.8) and 0 <= address < 1 << 128:
                            found[hop.attachment, family, address] = bytes([2, 0xBB]) + rng.randbytes(4)
    for attachment, family, address in routers(tables):
        if rng.random() < (0.97 if friendly else 0.8):
            found[attachment.key, family, address] = bytes([2, 0xBE]) + rng.randbytes(4)
    return found


def draw_tunnels(rng: Random, tables: Tables, ports: Ports) -> Tunnels:
    """The kernel's routes to the remote VTEPs, most of them; each by any port."""
    if tables.vtep is None or not ports:
        return {}
    family = tables.vtep.family
    return {
        (family, vtep): (rng.choice(sorted(ports)), bytes([2, 0xDD, 0, 0, 1, rng.randrange(4)]))
        for vtep in VTEPS[family][1:]
        if rng.random() < 0.95
    }
