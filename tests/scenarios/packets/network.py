"""The node that the packet tests run on.

    red  hosts 10.1.1.0/24  2001:db8:a::/64 --- red0  [          ] blue0 --- 10.1.1.0/24  2001:db8:b::/64 hosts  blue
                                                      [ gateway  ]
    net  a router 198.18.0.2, the rest behind ---- net0 [        ] green0 --- 10.3.1.0/24  2001:db8:c::/64 hosts  green

The gateway is .1 (or ::1) on every link, and 198.18.0.1 toward the router. Every VPC has the routes to its hosts; net
has only a default route, to its router. red and blue use the same IPv4 addresses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from isthmus.tables.address import FAMILIES, Family, parse_address
from isthmus.tables.entries import Attachment, AttachmentKey, Origin, PortPolicy, Route, Tables, Vpc, Vtep
from isthmus.tables.learned import NOTHING_LEARNED, Learned
from isthmus.trace.environment import Environment, PortInfo
from isthmus.trace.twin import Outcome, Twin
from tests.scenarios.packets.builder import Offer, Peering, attachment, exposures, hop, route, side

RED_MAC, BLUE_MAC, NET_MAC, GREEN_MAC = (bytes([2, 0, 0, 0, 0, last]) for last in (1, 2, 3, 4))
"""Those of the gateway's ports."""
HOST_MAC = bytes([2, 0, 0, 0, 1, 1])
"""Of the host that sends."""
NEIGHBOR_MAC = bytes([2, 0, 0, 0, 2, 2])
"""Of every host and router that the gateway knows."""

LINKS: dict[str, Attachment] = {
    "red": attachment("red", "red0", "10.1.1.1/24", "2001:db8:a::1/64"),
    "blue": attachment("blue", "blue0", "10.1.1.1/24", "2001:db8:b::1/64"),
    "net": attachment("net", "net0", "198.18.0.1/24", "2001:db8:f::1/64"),
    "green": attachment("green", "green0", "10.3.1.1/24", "2001:db8:c::1/64"),
}
ROUTES: dict[str, tuple[Route, ...]] = {
    "red": (route("10.1.1.0/24", hop(LINKS["red"])), route("2001:db8:a::/64", hop(LINKS["red"]))),
    "blue": (route("10.1.1.0/24", hop(LINKS["blue"])), route("2001:db8:b::/64", hop(LINKS["blue"]))),
    "net": (
        route("0.0.0.0/0", hop(LINKS["net"], "198.18.0.2")),
        route("::/0", hop(LINKS["net"], "2001:db8:f::2")),
    ),
    "green": (route("10.3.1.0/24", hop(LINKS["green"])), route("2001:db8:c::/64", hop(LINKS["green"]))),
}
PORTS = {
    "red0": PortInfo(RED_MAC, 1500),
    "blue0": PortInfo(BLUE_MAC, 1500),
    "net0": PortInfo(NET_MAC, 1500),
    "green0": PortInfo(GREEN_MAC, 1500),
}

RED_SIDE = side(
    "red--blue",
    "red",
    Offer("10.1.1.0/24", "192.168.1.0/24", holes=("10.1.1.42/32",)),
    Offer("2001:db8:a::/64", "2001:db8:1::/64", holes=("2001:db8:a::42/128",)),
)
BLUE_SIDE = side(
    "red--blue",
    "blue",
    Offer("10.1.1.0/24", "192.168.2.0/24", holes=("10.1.1.42/32",)),
    Offer("2001:db8:b::/64", "2001:db8:2::/64", holes=("2001:db8:b::42/128",)),
)
RED_BLUE = Peering(RED_SIDE, BLUE_SIDE)
"""Static on both sides, in both families; .42 is a hole on both."""


class Everyone(dict[tuple[AttachmentKey, Family, int], bytes]):
    """Neighbours that have all been resolved."""

    def get(self, key: object, default: object = None) -> bytes:
        """The one MAC of all."""
        return NEIGHBOR_MAC


@dataclass(frozen=True)
class Network:
    """Tables and the node around them.

    ``own_subnets``: by VPC, a CIDR that its hosts reach without the gateway. ``broken``: the tables lack every side.
    """

    peerings: Sequence[Peering] = (RED_BLUE,)
    links: Mapping[str, Attachment] = field(default_factory=lambda: LINKS)
    routes: Mapping[str, tuple[Route, ...]] = field(default_factory=lambda: ROUTES)
    ports: Mapping[str, PortInfo] = field(default_factory=lambda: PORTS)
    neighbors: Mapping[tuple[AttachmentKey, Family, int], bytes] = field(default_factory=Everyone)
    policies: Mapping[str, PortPolicy] = field(default_factory=dict)
    hook: Literal["xdp", "tc"] = "xdp"
    own_subnets: Mapping[str, str] = field(default_factory=dict)
    broken: bool = False
    vtep: Vtep | None = None
    tunnels: Mapping[tuple[Family, int], tuple[str, bytes]] = field(default_factory=dict)
    learned: Learned = NOTHING_LEARNED

    def tables(self) -> Tables:
        """The logical tables."""
        vpcs = {}
        for name, link in self.links.items():
            routes = {family: tuple(r for r in self.routes[name] if r.prefix.family == family) for family in FAMILIES}
            exposed = exposures(name, self.peerings, self.own_subnets.get(name))
            vpcs[name] = Vpc(name, True, False, (link,), exposed, routes, Origin(f"VPC/{name}"))
        sides = {one.key: one for peering in self.peerings for one in (peering.left, peering.right)}
        return Tables(vpcs, {} if self.broken else sides, dict(self.policies), vtep=self.vtep)

    def environment(self) -> Environment:
        """The node."""
        return Environment(self.ports, self.neighbors, self.hook, tunnels=self.tunnels)

    def process(self, frame: bytes, port: str = "red0") -> Outcome:
        """What the twin makes of a frame."""
        return Twin(self.tables(), self.environment(), learned=self.learned).process(frame, port)

    def with_route(self, vpc: str, *routes: Route) -> Network:
        """Other routes for one VPC."""
        return replace(self, routes={**self.routes, vpc: routes})

    def with_link(self, vpc: str, link: Attachment) -> Network:
        """Another attachment for one VPC."""
        return replace(self, links={**self.links, vpc: link})


def own(vpc: str, address: str) -> Route:
    """The gateway's own address as a route of a VPC."""
    return route(f"{address}/{128 if ':' in address else 32}", local=True)


def known(vpc: str, *addresses: str) -> dict[tuple[AttachmentKey, Family, int], bytes]:
    """Just these neighbours."""
    return {(LINKS[vpc].key, *parse_address(address)): NEIGHBOR_MAC for address in addresses}
