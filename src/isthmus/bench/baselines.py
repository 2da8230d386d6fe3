"""What the kernel can do by itself, as subjects: the ceiling, forwarding, and forwarding with nftables NAT.

``XdpRedirect`` carries any traffic, ``LpmTrie`` what it has routes for. ``KernelForward`` and ``KernelNftablesNat``
carry that of static NAT with every peering loaded. Where isthmus gives all peers the same private addresses, nftables
can not (its reply tuples would clash), so there each peer has a network of its own. ``KernelNftablesPool`` is nftables
beside isthmus' stateful NAT.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from ipaddress import IPv4Network
from typing import Final

import numpy as np
import numpy.typing as npt

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
from isthmus.datapath.libbpf import BpfMap, BpfObject, attach_xdp, compiled
from isthmus.datapath.netns import inside
from isthmus.tables.address import Family

_PEERS: Final = configuration.peers_of_sender(configuration.PEERINGS)
_TRIES: Final[Mapping[Family, str]] = {4: "trie_ipv4", 6: "trie_ipv6"}
_TRIE_KEYS: Final[Mapping[Family, np.dtype[np.void]]] = {
    4: np.dtype([("length", "=u4"), ("address", ">u4")]),
    6: np.dtype([("length", "=u4"), ("address", ">u8"), ("rest", ">u8")]),
}
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
        redirect(topology, self._undo, "redirect")


class LpmTrie(_Baseline):
    """The same behind a look-up in the kernel's own LPM trie, in which every route is an entry."""

    name = "lpm-trie"

    def __init__(self, routes: Mapping[Family, list[int]], traffic: Traffic) -> None:
        super().__init__(traffic)
        self.arrival = Arrival(traffic.sources, traffic.destinations, SENT_TTL)
        self._keys = {family: trie_keys(family, keys) for family, keys in routes.items()}
        self._tries: dict[Family, BpfMap] = {}
        self._filled: set[Family] = set()

    def prepare(self, topology: Topology) -> None:
        """Attach it, with all routes."""
        sizes = {_TRIES[family]: len(keys) for family, keys in self._keys.items()}
        obj = redirect(topology, self._undo, "redirect_by_trie", sizes)
        self._tries = {family: obj.map(_TRIES[family]) for family in self._keys}
        for family in self._keys:
            self.learn(family)

    def learn(self, family: Family) -> int:
        """Fill a trie, by one call."""
        keys = self._keys[family]
        self._tries[family].update_batch(keys.tobytes(), bytes(4 * len(keys)), len(keys))
        self._filled.add(family)
        return len(keys)

    def change(self, number: int) -> None:
        """Write one entry again."""
        self._tries[4].update(self._keys[4][number].tobytes(), bytes(4))

    def lose(self) -> None:
        """Delete all entries, by one call for each family."""
        while self._filled:
            family = self._filled.pop()
            self._tries[family].delete_batch(self._keys[family].tobytes())

    forget = lose


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


def redirect(topology: Topology, undo: ExitStack, program: str, sizes: Mapping[str, int] | None = None) -> BpfObject:
    """Attach a program of the bench where packets enter, its device map pointing to the output, with maps of these
    sizes; ``undo`` takes what is to be closed."""
    obj = undo.enter_context(BpfObject.open(compiled("bench")))
    for name, entries in (sizes or {}).items():
        obj.resize(name, entries)
    obj.load()
    with inside(topology.gateway):  # a device map takes an index in the namespace of who fills it
        obj.map("way_out").update(struct.pack("=I", 0), struct.pack("=I", topology.output.ifindex))
        undo.enter_context(attach_xdp(obj.program(program), topology.input.ifindex))
    return obj


def trie_keys(family: Family, keys: list[int]) -> npt.NDArray[np.void]:
    """Keys of a BPF LPM trie (``struct bpf_lpm_trie_key``) for prefixes of 1 to 52 bits."""
    made = np.zeros(len(keys), _TRIE_KEYS[family])
    values = np.array(keys, np.uint64)
    made["length"] = lengths = np.frexp(values.astype(np.float64))[1] - 1  # exact below 2**53
    words = values << (64 - lengths).astype(np.uint64)
    made["address"] = words >> 32 if family == 4 else words
    return made


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
