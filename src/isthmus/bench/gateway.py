"""isthmus itself as subjects of the bench: objects as a user writes them, through every step, into a packet path.

The sender's VPC is at the gateway's input; the VPCs of all its peers share the output, as a router's would. No VPC has
a namespace of its own here, and nobody asks for neighbours: the next hop of each is known from the start.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from ipaddress import IPv4Address
from typing import Final

from isthmus.api.objects import read_objects
from isthmus.api.sources import Source
from isthmus.bench import BenchError, configuration
from isthmus.bench.configuration import (
    NEXT_HOP,
    PEER,
    POOL,
    PRIVATE,
    SENDER,
    SERVERS,
    Traffic,
    interface_name,
    public_network,
)
from isthmus.bench.generator import SENT_TTL
from isthmus.bench.subject import Arrival
from isthmus.bench.tags import VTEPS, Kind, Tag
from isthmus.bench.throughput import HOST
from isthmus.bench.topology import Port, Topology
from isthmus.compile import compile_tables
from isthmus.datapath import Bindings, BpfError, Hook, PacketPath, PortBinding
from isthmus.datapath.gateway import Capacity
from isthmus.datapath.netns import inside
from isthmus.model.build import build
from isthmus.tables.address import parse_address
from isthmus.tables.entries import Tables

_MTU: Final = 1500  # bytes of an IP packet: that of a veth
_POOL_RECORDS: Final = POOL.num_addresses  # of the table of flows: one for each address in use


class StaticNat:
    """Static NAT on both sides, by XDP, with so many peerings loaded (``static-1000`` and the like), and all VPCs
    attached by tags of one kind."""

    def __init__(self, name: str, peerings: int, kind: Kind = "untagged") -> None:
        self.name = name
        self._peerings, self._kind = peerings, kind
        self._undo = ExitStack()
        self.arrival = Arrival(public_network(SENDER), PRIVATE, SENT_TTL - 1, Tag(kind, PEER))

    @property
    def traffic(self) -> Traffic:
        """Destinations at all peers that the sender has with so many peerings."""
        return configuration.static_traffic(self._peerings, kind=self._kind)

    def prepare(self, topology: Topology) -> None:
        """Start the gateway on the port where packets enter."""
        tables = tables_of(configuration.static_objects(self._peerings, self._kind))
        self._undo.enter_context(closing(start(self.name, topology, tables, "xdp", [topology.input])))

    def close(self) -> None:
        """Stop it."""
        self._undo.close()


class StatefulNat:
    """Stateful NAT of the sender's hosts, by XDP, with room for as many flows as are sent: ``flows-100000`` and the
    like."""

    arrival = Arrival(POOL, SERVERS, SENT_TTL - 1)

    def __init__(self, name: str, traffic: Traffic) -> None:
        self.name = name
        self.traffic = traffic
        self._undo = ExitStack()
        self._path: PacketPath | None = None

    def prepare(self, topology: Topology) -> None:
        """Start the gateway on the port where packets enter."""
        tables = tables_of(configuration.stateful_objects())
        self._path = start(self.name, topology, tables, "xdp", [topology.input], self.traffic.flows)
        self._undo.enter_context(closing(self._path))

    def forget(self) -> None:
        """End all flows."""
        assert self._path is not None  # prepared
        self._path.conversations.forget()

    def close(self) -> None:
        """Stop it."""
        self._undo.close()


class StaticNatTcp:
    """The same with one peering, by TC, between two hosts that have the same address."""

    name = "tcp-tc"
    server: IPv4Address = HOST  # what is dialled is this host's public address

    def __init__(self) -> None:
        self._undo = ExitStack()

    def prepare(self, topology: Topology) -> None:
        """Start the gateway on both ports."""
        tables = tables_of(configuration.static_objects(1))
        self._undo.enter_context(closing(start(self.name, topology, tables, "tc", [topology.input, topology.output])))

    def close(self) -> None:
        """Stop it."""
        self._undo.close()


def start(
    name: str, topology: Topology, tables: Tables, hook: Hook, entrances: list[Port], flows: int = 0
) -> PacketPath:
    """A packet path in the gateway of this topology, forwarding what enters by the given ports, with room for so many
    flows.

    Raises ``BenchError``, with the subject's name, where the kernel refuses."""
    try:
        with inside(topology.gateway), ExitStack() as undo:
            path = undo.enter_context(
                closing(PacketPath.load(capacity=Capacity(flows=flows + _POOL_RECORDS), hooks=[hook]))
            )
            for port in entrances:
                path.attach(port.ifindex, hook)
            path.apply(tables, Bindings({name: _bound(port, hook) for name, (port, _) in _places(topology).items()}))
            _tell_neighbours(path, tables, topology)
            undo.pop_all()
            return path
    except BpfError as error:
        raise BenchError(f"{name} ({hook}): {error}") from error


def tables_of(objects: str) -> Tables:
    """What the packet path is given for objects in YAML: read, resolved and compiled.

    Raises ``BenchError`` for any problem in the objects."""
    found, _ = read_objects([Source("bench.yaml", objects.encode(), named=True)])
    model, problems = build(found)
    if problems:
        raise BenchError(f"the bench's own objects have {len(problems)} problems, the first: {problems[0].message}")
    return compile_tables(model)


def _places(topology: Topology) -> dict[str, tuple[Port, Port]]:
    """Of each interface in the objects: the port that it is, and the port of its next hop."""
    peers = {interface_name(n): (topology.output, topology.sink_port) for n in range(1, configuration.VPCS + 1)}
    return peers | {interface_name(SENDER): (topology.input, topology.source_port)}


def _bound(port: Port, hook: Hook) -> PortBinding:
    return PortBinding(port.ifindex, _mac(port), _MTU, hook)


def _tell_neighbours(path: PacketPath, tables: Tables, topology: Topology) -> None:
    family, next_hop = parse_address(str(NEXT_HOP))
    places = _places(topology)
    for vpc in tables.vpcs.values():
        for attachment in vpc.attachments:
            _, behind = places[attachment.key.interface]
            path.set_neighbor(attachment.key, family, next_hop, _mac(behind))
    for _, remote in VTEPS.values():  # noted where a route leads there
        path.set_tunnel(*parse_address(str(remote)), topology.output.ifindex, _mac(topology.sink_port))


def _mac(port: Port) -> bytes:
    return bytes.fromhex(port.mac.replace(":", ""))
