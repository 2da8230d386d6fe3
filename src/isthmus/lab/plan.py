"""What a lab of some objects consists of: namespaces, veths, addresses, routes. Pure; ``build`` makes it.

::

    N-VPC (hosts)          N.gw                                    N.gw.VPC (the gateway's own kernel for this VPC)
    eth0 ------------------ port0   packet path   kern0 ------------------ eth0

One such row for every attachment. ``port0`` is the port that the objects call ``interface``; it and the ``eth0`` of
``N.gw.VPC`` have the same MAC address, so what that kernel says (ARP, ping) comes from where hosts expect it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from isthmus.lab import names
from isthmus.lab.hosts import HostAddress, host_addresses
from isthmus.model.types import Model
from isthmus.tables.address import FAMILIES, Family, Prefix, format_address, parse_address
from isthmus.tables.entries import AttachmentKey, PortPolicy, Route, Tables, TagKind
from isthmus.tables.martians import is_martian

PORT_MTU = 1500
"""MTU of a link whose attachment asks for none, in bytes of the IP packet."""

ON_LINK: dict[Family, int] = {4: parse_address("169.254.0.1")[1], 6: parse_address("fe80::1")[1]}
"""The gateway as hosts know it where the VPC has no object that says otherwise."""


class LinkRoute(NamedTuple):
    """A prefix behind a link: through a router there (left-aligned), or (None) on the link itself."""

    prefix: Prefix
    via: int | None


class Link(NamedTuple):
    """An attachment: a veth from the hosts to the gateway's port, and one from there to the VPC's own namespace.

    ``hook`` is the one asked for: ``auto`` (native XDP, else generic), ``xdp`` or ``tc``. ``inside`` is the link's name
    in both the hosts' and the VPC's namespace; ``port`` and ``kernel_port`` are in the gateway's. ``addresses`` are the
    gateway's own (family, address, prefix length), ``gateway`` its address as hosts route to it. ``routers`` are those
    that ``routes`` go through.
    """

    attachment: AttachmentKey
    hook: str
    inside: str
    port: str
    kernel_port: str
    host_mac: str
    port_mac: str
    kernel_mac: str
    mtu: int
    addresses: tuple[tuple[Family, int, int], ...]
    gateway: dict[Family, int]
    routes: tuple[LinkRoute, ...]
    routers: tuple[tuple[Family, int], ...]


class Host(NamedTuple):
    """A host address, the names of the links it lives on (``eth0``), and what made it (empty: asked for)."""

    family: Family
    address: int
    links: tuple[str, ...]
    origin: str


class LabVpc(NamedTuple):
    """One VPC of the lab."""

    name: str
    host_namespace: str
    gateway_namespace: str
    links: tuple[Link, ...]
    hosts: tuple[Host, ...]

    def next_hops(self) -> Iterator[tuple[Link, Family, int]]:
        """Whom the gateway must be able to reach before every host can be: (link, family, address)."""
        for link in self.links:
            for family, router in link.routers:
                yield link, family, router
            for host in self.hosts:
                route = _longest(link.routes, host.family, host.address)
                if link.inside in host.links and route and route.via is None:
                    yield link, host.family, host.address


class LabPlan(NamedTuple):
    """A whole lab. ``notices`` say what of the objects it leaves out, and why."""

    name: str
    gateway_namespace: str
    vpcs: tuple[LabVpc, ...]
    notices: tuple[str, ...]

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Every namespace, in the order of making."""
        return (self.gateway_namespace, *(n for v in self.vpcs for n in (v.gateway_namespace, v.host_namespace)))

    def links(self) -> Iterator[tuple[LabVpc, Link]]:
        """Every link with its VPC."""
        for vpc in self.vpcs:
            for link in vpc.links:
                yield vpc, link

    def vpc(self, name: str) -> LabVpc | None:
        """The VPC of that name, if the lab has it."""
        return next((vpc for vpc in self.vpcs if vpc.name == name), None)


class WrongHost(ValueError):
    """``--host`` asks for what can't be; the text says why."""


def plan(
    name: str,
    model: Model,
    tables: Tables,
    extra: Mapping[str, Collection[tuple[Family, int]]] | None = None,
    hook: str = "auto",
) -> LabPlan:
    """The lab ``name`` of a model and its tables, with ``extra`` host addresses by VPC.

    ``hook`` other than ``auto`` is that of every port, whatever the objects say. Raises WrongHost for a VPC that no
    peering names, a martian, and the gateway's own address.
    """
    extra = extra or {}
    known = sorted({side.vpc for peering in model.peerings.values() for side in peering.sides})
    for vpc, addresses in extra.items():
        _check_extra(vpc, addresses, tables, known)
    hosts = host_addresses(model, tables, extra)
    notices: list[str] = []
    vpcs: list[LabVpc] = []
    numbers = iter(range(1 << 16))
    for vpc in known:
        links = tuple(_links(vpc, tables, hook, numbers, notices))
        if not links:
            notices.append(f"VPC/{vpc}: has no attachment that a lab can carry, so it is left out")
            continue
        mine = tuple(_host(host, links) for host in hosts[vpc])
        vpcs.append(LabVpc(vpc, names.host_namespace(name, vpc), names.vpc_namespace(name, vpc), links, mine))
    return LabPlan(name, names.gateway_namespace(name), tuple(vpcs), tuple(notices))


def _check_extra(vpc: str, addresses: Collection[tuple[Family, int]], tables: Tables, known: list[str]) -> None:
    if vpc not in known:
        raise WrongHost(f"no peering names VPC {vpc}; there are: {', '.join(known) or 'none'}")
    own = {(kin, a) for attachment in tables.vpcs[vpc].attachments for kin, a, _ in attachment.addresses}
    for family, address in addresses:
        text = format_address(family, address)
        if (family, address) in own:
            raise WrongHost(f"{text} is the gateway's own address in {vpc}")
        if is_martian(family, address):
            raise WrongHost(f"{text} is a martian: no host may have it")


def _links(vpc: str, tables: Tables, hook: str, numbers: Iterator[int], notices: list[str]) -> Iterator[Link]:
    carried = 0
    for attachment in tables.vpcs[vpc].attachments:
        key = attachment.key
        if key.tag.kind is not TagKind.UNTAGGED:
            notices.append(
                f"VPC/{vpc}: attachment {key.interface} has a {key.tag.kind.name} tag, not carried yet: left out"
            )
            continue
        number = next(numbers)
        routes = tuple(
            LinkRoute(route.prefix, hop.gateway)
            for route in _routes(tables, vpc)
            for hop in route.next_hops
            if hop.attachment == key
        )
        yield Link(
            attachment=key,
            hook=hook if hook != "auto" else tables.ports.get(key.interface, PortPolicy()).hook,
            inside=f"eth{carried}",
            port=f"port{number}",
            kernel_port=f"kern{number}",
            host_mac=names.mac(names.HOST, number),
            port_mac=names.mac(names.PORT, number),
            kernel_mac=names.mac(names.KERNEL, number),
            mtu=attachment.mtu or PORT_MTU,
            addresses=attachment.addresses,
            gateway={f: _first(f, attachment.addresses) or ON_LINK[f] for f in FAMILIES},
            routes=routes,
            routers=tuple(sorted({(r.prefix.family, r.via) for r in routes if r.via is not None})),
        )
        carried += 1


def _routes(tables: Tables, vpc: str) -> Iterator[Route]:
    for family in FAMILIES:
        yield from tables.vpcs[vpc].routes.get(family, ())


def _first(family: Family, addresses: Iterable[tuple[Family, int, int]]) -> int | None:
    return next((address for kin, address, _ in addresses if kin == family), None)


def _host(host: HostAddress, links: tuple[Link, ...]) -> Host:
    """Put a host where its VPC's longest matching route leads; on the first link if none does."""
    best = {link.inside: _longest(link.routes, host.family, host.address) for link in links}
    length = max((route.prefix.length for route in best.values() if route), default=-1)
    on = tuple(inside for inside, route in best.items() if route and route.prefix.length == length)
    return Host(host.family, host.address, on or (links[0].inside,), host.origin)


def _longest(routes: Iterable[LinkRoute], family: Family, address: int) -> LinkRoute | None:
    fitting = (r for r in routes if r.prefix.family == family and address in r.prefix)
    return max(fitting, key=lambda route: route.prefix.length, default=None)
