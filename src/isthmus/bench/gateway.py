"""isthmus itself as subjects of the bench.

The seam to the packet path is ``Opener``: objects and places in, a running gateway out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Literal, NamedTuple, Protocol

from isthmus.bench import configuration
from isthmus.bench.configuration import NEXT_HOP, PRIVATE, SENDER, Conversation, interface_name, public_network
from isthmus.bench.generator import SENT_TTL
from isthmus.bench.subject import Arrival
from isthmus.bench.throughput import DIALLED, HOST
from isthmus.bench.topology import Port, Topology

Hook = Literal["xdp", "tc"]


class Attached(NamedTuple):
    """Where one ``interface`` of the objects is: a port of the gateway's namespace, and who is behind it.

    Many interfaces may be at one port: the gateway need only know them apart when packets leave, not when they come."""

    port: Port
    next_hop: IPv4Address
    mac: str  # of the next hop


class Running(Protocol):
    """A gateway that forwards."""

    def close(self) -> None:
        """Take it out of the kernel."""


class Opener(Protocol):
    """Starts a gateway: reads, compiles and loads ``objects`` (YAML), and attaches it in namespace ``namespace``.

    ``ports`` are the ports that packets enter by (only the sender's VPC sends); ``attached`` says where each VPC's
    interface is, by the name in the objects. Raises ``BenchError`` where it can not."""

    def __call__(
        self, objects: str, *, namespace: str, hook: Hook, sender: str, attached: Mapping[str, Attached]
    ) -> Running: ...


def attachments(topology: Topology, peerings: int) -> dict[str, Attached]:
    """The sender's interface at the input, all others at the output."""
    places = {interface_name(SENDER): Attached(topology.input, NEXT_HOP, topology.source_port.mac)}
    for number in sorted({number for pair in configuration.pairs(peerings) for number in pair} - {SENDER}):
        places[interface_name(number)] = Attached(topology.output, NEXT_HOP, topology.sink_port.mac)
    return places


@dataclass
class StaticNat:
    """Static NAT on both sides, so many peerings loaded, by XDP: ``static-1000`` and the like."""

    peerings: int
    opener: Opener
    _running: Running | None = None

    @property
    def name(self) -> str:
        """``static-`` and how many peerings are loaded."""
        return f"static-{self.peerings}"

    @property
    def conversations(self) -> list[Conversation]:
        """Destinations at all peers that the sender has with so many peerings."""
        return configuration.conversations(self.peerings)

    @property
    def arrival(self) -> Arrival:
        """From the sender's public addresses, to the private ones that all peers share."""
        return Arrival(public_network(SENDER), PRIVATE, SENT_TTL - 1)

    def prepare(self, topology: Topology) -> None:
        """Start the gateway."""
        self._running = _start(self.opener, topology, self.peerings, "xdp")

    def close(self) -> None:
        """Stop it."""
        if self._running is not None:
            self._running.close()
            self._running = None


@dataclass
class StaticNatTcp:
    """The same with one peering, by TC, between hosts that both have the same address."""

    opener: Opener
    name: str = "tcp-tc"
    server: IPv4Address = HOST  # what DIALLED, the same host of VPC 2, is translated to
    _running: Running | None = None

    def prepare(self, topology: Topology) -> None:
        """Start the gateway."""
        assert int(DIALLED) - int(public_network(2)[0]) == int(self.server) - int(
            PRIVATE[0]
        )  # static NAT keeps offsets
        self._running = _start(self.opener, topology, 1, "tc")

    def close(self) -> None:
        """Stop it."""
        if self._running is not None:
            self._running.close()
            self._running = None


def _start(opener: Opener, topology: Topology, peerings: int, hook: Hook) -> Running:
    return opener(
        configuration.objects(peerings),
        namespace=topology.gateway,
        hook=hook,
        sender=interface_name(SENDER),
        attached=attachments(topology, peerings),
    )
