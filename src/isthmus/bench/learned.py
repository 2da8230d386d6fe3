"""isthmus with an external that has learned routes by BGP, as a subject: the tables are ours, BIRD is not asked."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing
from typing import Final

import numpy as np

from isthmus.bench import configuration
from isthmus.bench.configuration import NEXT_HOP, PEER, Traffic, interface_name, vpc_name
from isthmus.bench.gateway import start, tables_of
from isthmus.bench.generator import SENT_TTL
from isthmus.bench.subject import Arrival
from isthmus.bench.topology import Topology
from isthmus.datapath import PacketPath
from isthmus.datapath.learned import LEARNED, LearnedTable
from isthmus.tables.address import Family, parse_address
from isthmus.tables.entries import AttachmentKey, NextHop, Peer
from isthmus.tables.prefixes import Prefixes

FEW: Final = [*range(8, 16), 16, 17]
"""Keys of ten routes that hold all of IPv4: every /3, and two of /4."""

_METRICS: Final = 400  # different ones in a table, by turns
_AT_ONCE: Final = 1 << 15  # routes of one update, as the intake of BGP has them
_ROUTERS: Final[Mapping[Family, str]] = {4: str(NEXT_HOP), 6: "2001:db8::2"}
_VPC: Final = vpc_name(PEER)


class LearnedRoutes:
    """A sender and an external, plain, by XDP. ``routes``: keys (``tables.learned``) that the external has learned."""

    def __init__(self, name: str, routes: Mapping[Family, list[int]], traffic: Traffic) -> None:
        self.name = name
        self.traffic = traffic
        self.arrival = Arrival(traffic.sources, traffic.destinations, SENT_TTL - 1)
        self._routes = routes
        self._columns = {family: Prefixes.of(keys) for family, keys in routes.items()}  # as BGP's intake has them
        self._undo = ExitStack()
        self._path: PacketPath | None = None
        self._groups: dict[Family, list[int]] = {}

    def prepare(self, topology: Topology) -> None:
        """Start the gateway on the port where packets enter, with all routes."""
        tables = tables_of(configuration.learned_objects())
        self._path = start(self.name, topology, tables, "xdp", [topology.input])
        self._undo.enter_context(closing(self._path))
        for family in self._routes:
            self.learn(family)

    @property
    def path(self) -> PacketPath:
        """What was started."""
        assert self._path is not None  # prepared
        return self._path

    @property
    def table(self) -> LearnedTable:
        """What the external has learned."""
        return self.path.learned(_VPC)

    def learn(self, family: Family) -> int:
        """Fill the table."""
        attachment = AttachmentKey(_VPC, interface_name(PEER))
        router = parse_address(_ROUTERS[family])[1]
        hop = NextHop(attachment, router, LEARNED, None, str(NEXT_HOP))
        self._groups[family] = groups = [self.table.group(metric, (hop,)) for metric in range(_METRICS)]
        prefixes = self._columns[family]
        for first in range(0, len(prefixes), _AT_ONCE):
            some = prefixes[first : first + _AT_ONCE]
            slots = self.table.prefixes[family].place(some)
            self.table.write(family, some, slots, np.resize(np.array(groups, np.int32), len(some)))
        return len(prefixes)

    def change(self, number: int) -> None:
        """Take another metric for one route: that of the next."""
        group = self._groups[4][(number % _AT_ONCE + 1) % _METRICS]
        self.table.update(4, [self._routes[4][number]], [group])

    def lose(self) -> None:
        """Say that the neighbour is lost: its routes stay, and lead nowhere."""
        self.path.set_down([Peer(_VPC, str(NEXT_HOP))])

    def forget(self) -> None:
        """Empty the table; the neighbour is there."""
        self.table.clear()
        self.path.set_down([])

    def close(self) -> None:
        """Stop it."""
        self._undo.close()
