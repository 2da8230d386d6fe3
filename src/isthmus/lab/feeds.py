"""What tells a lab's packet path of the world: neighbours, ways through the underlay, links that go up and down.

Each is a ``Source``: whoever has a loop waits for ``fileno()``, and then calls ``serve()``, which never waits and never
raises. What goes wrong is said in the log, once.
"""

from __future__ import annotations

import logging
import socket
from collections import defaultdict
from collections.abc import Callable, Collection
from contextlib import ExitStack, closing
from typing import Protocol

from isthmus.datapath import PacketPath
from isthmus.datapath.netns import inside
from isthmus.lab.plan import LabPlan, LabVpc
from isthmus.routing.links import Links
from isthmus.routing.neighbours import Neighbour, Neighbours
from isthmus.routing.underlay import Underlay
from isthmus.tables.address import Family, format_address
from isthmus.tables.entries import AttachmentKey
from isthmus.tables.learned import Down

_log = logging.getLogger("isthmus.lab.keeper")


class Source(Protocol):
    """Something that has to be heard."""

    def fileno(self) -> int:
        """Readable when ``serve`` has something to do."""

    def serve(self) -> None:
        """Pass on what there is."""


class Complaints:
    """What went wrong, each thing once: the log of a lab is no place for a line a packet."""

    def __init__(self) -> None:
        self.made: set[str] = set()

    def make(self, what: str) -> None:
        """Log it the first time."""
        if what not in self.made:
            self.made.add(what)
            _log.warning("%s", what)


class NeighbourFeed:
    """The neighbours in the namespace of one VPC. ``known``: the next hops whose MAC address the packet path has."""

    def __init__(self, path: PacketPath, vpc: LabVpc, complaints: Complaints, stack: ExitStack) -> None:
        self.known: set[tuple[AttachmentKey, Family, int]] = set()
        self._path = path
        self._complaints = complaints
        with inside(vpc.gateway_namespace):
            self._neighbours = stack.enter_context(closing(Neighbours()))
            self._attachments = {socket.if_nametoindex(link.inside): link.attachment for link in vpc.links}
        self._indexes = {key: index for index, key in self._attachments.items()}

    def fileno(self) -> int:
        """See ``Source``."""
        return self._neighbours.fileno()

    def serve(self) -> None:
        """See ``Source``."""
        try:
            for neighbour in self._neighbours.changes():
                self._tell(neighbour)
        except OSError as error:
            self._complaints.make(f"the kernel does not tell all neighbours: {error}")

    def ask(self, key: AttachmentKey, family: Family, address: int) -> None:
        """Have the kernel find out who this next hop is."""
        if key in self._indexes:
            try:
                self._neighbours.resolve(self._indexes[key], family, address)
            except OSError as error:
                self._complaints.make(f"the kernel looks for no neighbour: {error}")

    def _tell(self, neighbour: Neighbour) -> None:
        key = self._attachments.get(neighbour.interface)
        if key is None:
            return
        known = (key, neighbour.family, neighbour.address)
        noted = False
        try:
            noted = self._path.set_neighbor(*known, neighbour.mac)
            if not noted and neighbour.mac is not None:
                full = f"{key.vpc} on {key.interface} has more neighbours than the packet path has room for"
                self._complaints.make(full)
        except OSError as error:
            self._complaints.make(f"the packet path takes no neighbour of {key.vpc}: {error}")
        if noted and neighbour.mac is not None:
            self.known.add(known)
        else:
            self.known.discard(known)


class TunnelFeed:
    """The kernel's ways to remote VTEPs. Made inside the namespace of the ports. ``known``: those that are known."""

    def __init__(self, path: PacketPath, plan: LabPlan, complaints: Complaints, stack: ExitStack) -> None:
        self.known: set[tuple[Family, int]] = set()
        self._path = path
        self._complaints = complaints
        self._underlay = stack.enter_context(closing(Underlay(plan.remote_vteps)))

    def fileno(self) -> int:
        """See ``Source``."""
        return self._underlay.fileno()

    def serve(self) -> None:
        """See ``Source``."""
        try:
            for way in self._underlay.changes():
                self._path.set_tunnel(*way)
                (self.known.add if way.mac else self.known.discard)(way[:2])
        except OSError as error:
            self._complaints.make(f"the ways to remote VTEPs are not all known: {error}")

    def ask(self, family: Family, vtep: int) -> None:
        """Have the kernel find out who the next hop to a VTEP is."""
        try:
            self._underlay.resolve(family, vtep)
        except OSError as error:
            self._complaints.make(f"the kernel does not look for {format_address(family, vtep)}: {error}")


class DownBoard:
    """All that is down, as several tell it: of each who tells, what it said last."""

    def __init__(self, path: PacketPath) -> None:
        self.listeners: list[Callable[[frozenset[Down]], None]] = []
        """Who else wants to know; the packet path is told first."""
        self._path = path
        self._said: dict[str, frozenset[Down]] = {}

    def tell(self, who: str, down: Collection[Down]) -> None:
        """From now on ``who`` says that these are down, and nothing else. OSError of the packet path."""
        before = self.all()
        self._said[who] = frozenset(down)
        if (down := self.all()) != before:
            self._path.set_down(down)
            for listener in self.listeners:
                listener(down)

    def all(self) -> frozenset[Down]:
        """What is down, whoever says so."""
        return frozenset().union(*self._said.values())


class LinkFeed:
    """The ports of the gateway: an attachment whose port has no link is down. Made inside their namespace."""

    def __init__(self, plan: LabPlan, board: DownBoard, complaints: Complaints, stack: ExitStack) -> None:
        self._board = board
        self._complaints = complaints
        self._links = stack.enter_context(closing(Links()))
        self._down: set[int] = set()
        self._on: dict[int, list[AttachmentKey]] = defaultdict(list)
        indexes = {port.name: socket.if_nametoindex(port.name) for port in plan.ports}
        for _, link in plan.links():
            if link.port in indexes:
                self._on[indexes[link.port]].append(link.attachment)
        self.serve()

    def fileno(self) -> int:
        """See ``Source``."""
        return self._links.fileno()

    def serve(self) -> None:
        """See ``Source``."""
        try:
            for link in self._links.changes():
                (self._down.discard if link.up else self._down.add)(link.interface)
            self._board.tell("links", [key for port in self._down for key in self._on.get(port, ())])
        except OSError as error:
            self._complaints.make(f"which links are down is not known: {error}")
