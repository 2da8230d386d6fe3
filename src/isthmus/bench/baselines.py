"""What the kernel can do by itself, as subjects: the ceiling, forwarding, and forwarding with nftables NAT.

``XdpRedirect`` carries any traffic. ``KernelForward`` and ``KernelNftablesNat`` carry that of static NAT with every
peering loaded. Where isthmus gives all peers the same private addresses, nftables can not (its reply tuples would
clash), so there each peer has a network of its own. ``KernelNftablesPool`` is nftables beside isthmus' stateful NAT.
"""

from __future__ import annotations

import struct
import subprocess
from contextlib import ExitStack
from ipaddress import IPv4Network
from typing import Final

from isthmus.bench import BenchError, configuration, conntrack
from isthmus.bench.configuration import (
    GATEWAY,
    LINK,
    NEXT_HOP,
    POOL,
    PRIVATE,
    SENDER,
    SERVERS,
    Traffic,
    public_network,
)
from isthmus.bench.generator import SENT_TTL
from isthmus.bench.subject import Arrival
from isthmus.bench.topology import (
    Topology,
    add_address,
    add_neighbour,
    add_routes,
    take_redirected_frames,
    write_sysctl,
)
from isthmus.datapath.libbpf import BpfObject, attach_xdp, compiled
from isthmus.datapath.netns import inside

_PEERS: Final = configuration.peers_of_sender(configuration.PEERINGS)
POOL_RULES: Final = f"""
table ip bench {{
    chain after {{
        type nat hook postrouting priority srcnat
        ip saddr {PRIVATE} snat to {POOL[0]}-{POOL[-1]} persistent
    }}
}}
"""
"""The nftables ruleset of stateful NAT. ``persistent``: a host keeps its address, whatever it talks to, as ours do."""

_DISTINCT: Final = IPv4Network("10.128.0.0/9")  # where nftables puts the peers, a /20 each


class _Baseline:
    """Packets, and something to undo."""

    name: str
    arrival: Arrival

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic
        self._undo = ExitStack()

    def close(self) -> None:
        self._undo.close()


class XdpRedirect(_Baseline):
    """One XDP program that looks at nothing: the ceiling of the bench."""

    name = "xdp-redirect"

    def __init__(self, traffic: Traffic) -> None:
        super().__init__(traffic)
        self.arrival = Arrival(traffic.sources, traffic.destinations, SENT_TTL)

    def prepare(self, topology: Topology) -> None:
        """Attach it, its device map pointing to the output."""
        obj = self._undo.enter_context(BpfObject.open(compiled("bench")))
        obj.load()
        with inside(topology.gateway):  # a device map takes an index in the namespace of who fills it
            obj.map("way_out").update(struct.pack("=I", 0), struct.pack("=I", topology.output.ifindex))
            self._undo.enter_context(attach_xdp(obj.program("redirect"), topology.input.ifindex))


class KernelForward(_Baseline):
    """The kernel's IPv4 forwarding: a route for each peer, neighbours known."""

    name = "kernel-forward"

    def __init__(self) -> None:
        super().__init__(configuration.static_traffic(configuration.PEERINGS))
        self.arrival = Arrival(PRIVATE, self.traffic.destinations, SENT_TTL - 1)

    def prepare(self, topology: Topology) -> None:
        """Switch it on."""
        forward(topology, [public_network(peer) for peer in _PEERS])


class KernelNftablesNat(_Baseline):
    """The same, with the static NAT of both sides as nftables maps: stateful, each conversation tracked."""

    name = "kernel-nftables-nat"
    arrival = Arrival(public_network(SENDER), _DISTINCT, SENT_TTL - 1)

    def __init__(self) -> None:
        super().__init__(configuration.static_traffic(configuration.PEERINGS))

    def prepare(self, topology: Topology) -> None:
        """Load the rules, and route to where they send."""
        forward(topology, [distinct_network(peer) for peer in _PEERS])
        load_rules(topology, static_rules(_PEERS))


class KernelNftablesPool(_Baseline):
    """The kernel's forwarding, with many hosts behind the addresses of a pool: what nftables has for stateful NAT."""

    name = "kernel-nftables-nat"
    arrival = Arrival(POOL, SERVERS, SENT_TTL - 1)

    def __init__(self, traffic: Traffic) -> None:
        super().__init__(traffic)
        self._namespace = ""

    def prepare(self, topology: Topology) -> None:
        """Load the rule, and make room for as many conversations as there will be."""
        self._namespace = topology.gateway
        self._undo.enter_context(conntrack.room(self.traffic.flows))
        forward(topology, [SERVERS])
        load_rules(topology, POOL_RULES)
        conntrack.remember(topology.gateway)
        self._undo.callback(self.forget)  # or the kernel would do it later, while something else is measured

    def forget(self) -> None:
        """End all flows."""
        conntrack.flush(self._namespace)


def distinct_network(number: int) -> IPv4Network:
    """Where nftables translates the public addresses of that VPC to."""
    return IPv4Network((int(_DISTINCT.network_address) + (number << 32 - PRIVATE.prefixlen), PRIVATE.prefixlen))


def forward(topology: Topology, networks: list[IPv4Network], *, gro: bool = True) -> None:
    """Make the kernel of the gateway forward to these networks behind the output, and back to ``PRIVATE``.

    Without ``gro`` the input takes no redirected XDP frames, so none of the generator's."""
    write_sysctl(topology.gateway, "ipv4/ip_forward", 1)
    if gro:
        take_redirected_frames(topology.input)
    add_address(topology.input, GATEWAY, LINK)
    add_address(topology.output, GATEWAY + 4, LINK)
    add_neighbour(topology.input, NEXT_HOP, topology.source_port.mac)
    add_neighbour(topology.output, NEXT_HOP + 4, topology.sink_port.mac)
    add_routes(topology.input, [PRIVATE], NEXT_HOP)
    add_routes(topology.output, networks, NEXT_HOP + 4)


def load_rules(topology: Topology, ruleset: str) -> None:
    """Give the gateway of this topology an nftables ruleset. Raises ``BenchError`` where it can not have it."""
    with inside(topology.gateway):
        try:
            subprocess.run(["nft", "-f", "-"], input=ruleset, check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise BenchError("kernel-nftables-nat needs the program nft (Debian: apt install nftables)") from error
        except subprocess.CalledProcessError as error:
            raise BenchError(f"nft refused the rules of kernel-nftables-nat: {error.stderr.strip()}") from error


def static_rules(peers: list[int]) -> str:
    """The nftables ruleset: a map of prefixes for the destination, and one for the source."""
    to_peers = ", ".join(f"{public_network(peer)} : {distinct_network(peer)}" for peer in peers)
    return f"""
table ip bench {{
    chain before {{
        type nat hook prerouting priority dstnat
        dnat ip prefix to ip daddr map {{ {to_peers} }}
    }}
    chain after {{
        type nat hook postrouting priority srcnat
        snat ip prefix to ip saddr map {{ {PRIVATE} : {public_network(SENDER)} }}
    }}
}}
"""
