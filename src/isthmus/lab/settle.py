"""Waits until every host knows the gateway, so that its first packet is already on its way."""

from __future__ import annotations

import select
import socket
import time
from contextlib import ExitStack, closing
from typing import Final

from isthmus.datapath.netns import inside
from isthmus.lab.plan import LabPlan
from isthmus.lab.state import LabError
from isthmus.routing.neighbours import Neighbours
from isthmus.tables.address import Family, format_address

_WITHIN_S: Final = 5.0
_ASK_AGAIN_S: Final = 0.3


def settle(plan: LabPlan) -> None:
    """Return when the hosts of every VPC have resolved their gateway. LabError, naming who has not, after 5 s."""
    missing: dict[tuple[str, int, Family, int], Neighbours] = {}
    with ExitStack() as stack, select.epoll() as epoll:
        tables: dict[int, tuple[str, Neighbours]] = {}
        for vpc in plan.vpcs:
            with inside(vpc.host_namespace):
                neighbours = stack.enter_context(closing(Neighbours()))
                indexes = {link.inside: socket.if_nametoindex(link.inside) for link in vpc.links}
            tables[neighbours.fileno()] = (vpc.name, neighbours)
            epoll.register(neighbours.fileno(), select.EPOLLIN)
            for link in vpc.links:
                for family in {host.family for host in vpc.hosts if link.inside in host.links}:
                    missing[vpc.name, indexes[link.inside], family, link.gateway[family]] = neighbours
        deadline = time.monotonic() + _WITHIN_S
        while missing:
            if time.monotonic() > deadline:
                some = sorted({f"{vpc} ({format_address(family, gateway)})" for vpc, _, family, gateway in missing})
                raise LabError(f"hosts do not reach their gateway: {', '.join(some)}")
            for (_, index, family, gateway), asked in missing.items():
                asked.resolve(index, family, gateway)
            for fd, _ in epoll.poll(_ASK_AGAIN_S):
                vpc_name, neighbours = tables[fd]
                for found in neighbours.changes():
                    if found.mac:
                        missing.pop((vpc_name, found.interface, found.family, found.address), None)
