"""What the bench measures: anything that forwards between the two ports of a gateway's namespace."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING, NamedTuple, Protocol

from isthmus.bench.tags import Tag

if TYPE_CHECKING:
    from isthmus.bench.configuration import Traffic
    from isthmus.bench.topology import Topology
    from isthmus.tables.address import Family


class Arrival(NamedTuple):
    """How every packet must look behind the subject: networks of its addresses, its TTL (64 when sent), its tag."""

    source: IPv4Network
    destination: IPv4Network
    ttl: int
    tag: Tag = Tag()


class Subject(Protocol):
    """Forwards packets from ``topology.input`` to ``topology.output``.

    ``prepare`` is called once, then bursts come, others' between them; ``close`` is called also after a failed
    ``prepare``."""

    @property
    def name(self) -> str:
        """As the bench's rows name it."""

    @property
    def traffic(self) -> Traffic:
        """What is to be sent through it."""

    @property
    def arrival(self) -> Arrival:
        """What must come out."""

    def prepare(self, topology: Topology) -> None:
        """Make the gateway of this topology forward. Raises ``BenchError`` where it can not."""

    def close(self) -> None:
        """Let go of what ``prepare`` took, but for what ends with the namespaces."""


class RouteSubject(Subject, Protocol):
    """One whose routes change while it forwards; ``prepare`` leaves it with all it shall know."""

    def learn(self, family: Family) -> int:
        """Take all routes of a family into a table that has none; how many."""

    def change(self, number: int) -> None:
        """Take another metric for the IPv4 route of that number."""

    def lose(self) -> None:
        """Lose the external: when this returns no packet follows its routes."""

    def forget(self) -> None:
        """Have no routes, of an external that is there."""


class FlowSubject(Subject, Protocol):
    """One that remembers flows."""

    def forget(self) -> None:
        """End all flows: the next packet of each opens it anew."""
