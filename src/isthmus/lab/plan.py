"""What a lab of some objects consists of: namespaces, veths, addresses, routes. Pure; ``build`` makes it.

::

    N-VPC (hosts)          N.gw                                    N.gw.VPC (the gateway's own kernel for this VPC)
    eth0 ------------------ port0   packet path   kern0 ------------------ eth0

One such row for every attachment, with the fabric between ``eth0`` and ``port0`` where there are tags: see ``wiring``.
``port0`` is the port that the objects call ``interface``; it and the ``eth0`` of ``N.gw.VPC`` have the same MAC
address, so what that kernel says (ARP, ping) comes from where hosts expect it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from isthmus.lab import names
from isthmus.lab.externals.routes import Announced
from isthmus.lab.externals.speakers import External, Program
from isthmus.lab.externals.speakers import external as found_external
from isthmus.lab.hosts import HostAddress, host_addresses
from isthmus.lab.wiring import Link, LinkRoute, Port, wire
from isthmus.model.types import Model, Vpc
from isthmus.tables.address import Family, format_address
from isthmus.tables.entries import AttachmentKey, Tables, Vtep
from isthmus.tables.martians import is_martian


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
            speakers = () if link.tunnels else (speaker[:2] for speaker in link.speakers)
            for family, router in dict.fromkeys([*link.routers, *speakers]):
                yield link, family, router
            for host in self.hosts:
                route = _longest(link.routes, host.family, host.address)
                if link.inside in host.links and route and route.via is None and route.tunnel is None:
                    yield link, host.family, host.address


class LabPlan(NamedTuple):
    """A whole lab. ``notices`` say what of the objects it leaves out, and why.

    ``fabric``: the namespace between tagged ports and hosts, "" where nothing has a tag. ``vtep``: the node's own,
    where a link goes through tunnels. ``externals``: the VPCs whose BGP neighbours are played.
    """

    name: str
    gateway_namespace: str
    vpcs: tuple[LabVpc, ...]
    notices: tuple[str, ...]
    ports: tuple[Port, ...] = ()
    fabric: str = ""
    vtep: Vtep | None = None
    externals: tuple[External, ...] = ()

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Every namespace, in the order of making."""
        shared = (self.gateway_namespace, self.fabric) if self.fabric else (self.gateway_namespace,)
        return (*shared, *(n for v in self.vpcs for n in (v.gateway_namespace, v.host_namespace)))

    @property
    def remote_vteps(self) -> tuple[tuple[Family, int], ...]:
        """The far ends of all tunnels."""
        found = {(t.tunnel.family, t.tunnel.vtep) for _, link in self.links() for t in link.tunnels if t.tunnel}
        return tuple(sorted(found))

    @property
    def vtep_port(self) -> Port | None:
        """The port of the underlay, where there is one."""
        return next((port for port in self.ports if self.vtep and port.interface == self.vtep.interface), None)

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
    announced: Mapping[str, Sequence[Announced]] | None = None,
    program: Program = "bird",
) -> LabPlan:
    """The lab ``name`` of a model and its tables, with ``extra`` host addresses by VPC.

    ``announced``: what externals announce beside what their sides offer; ``program``: the daemon that plays them.
    ``hook`` other than ``auto`` is that of every port, whatever the objects say. Raises WrongHost for a VPC that no
    peering names, a martian, and the gateway's own address.
    """
    extra = extra or {}
    known = sorted({side.vpc for peering in model.peerings.values() for side in peering.sides})
    for vpc, addresses in extra.items():
        _check_extra(vpc, addresses, tables, known)
    hosts = host_addresses(model, tables, extra)
    wiring = wire(tables, known, hook)
    notices = list(wiring.notices)
    vpcs: list[LabVpc] = []
    externals: list[External] = []
    for vpc in known:
        outside = names.host_namespace(name, vpc)
        external = found_external(model, vpc, outside, program, (announced or {}).get(vpc, ()))
        links = _with_speakers(wiring.links[vpc], model.vpcs[vpc], external)
        if not links:
            notices.append(f"VPC/{vpc}: has no attachment that a lab can carry, so it is left out")
            continue
        if external:
            externals.append(external)
        mine = tuple(_host(host, links) for host in hosts[vpc])
        vpcs.append(LabVpc(vpc, outside, names.vpc_namespace(name, vpc), links, mine))
    ports = tuple(wiring.ports.values())
    fabric = names.fabric_namespace(name) if any(port.wire for port in ports) else ""
    return LabPlan(
        name,
        names.gateway_namespace(name),
        tuple(vpcs),
        tuple(notices),
        ports,
        fabric,
        wiring.vtep,
        tuple(externals),
    )


def _with_speakers(links: tuple[Link, ...], vpc: Vpc, external: External | None) -> tuple[Link, ...]:
    """Put the neighbours of a VPC on their links; those that are several hops away behind the first."""
    on: dict[AttachmentKey, list[tuple[Family, int, int]]] = defaultdict(list)
    for speaker in external.speakers if external else ():
        attachment = vpc.attachments[speaker.attachment or 0]
        key = AttachmentKey(vpc.name, attachment.interface, attachment.tag)
        on[key].append((speaker.family, speaker.address, speaker.length))
    return tuple(link._replace(speakers=tuple(on[link.attachment])) for link in links)


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


def _host(host: HostAddress, links: tuple[Link, ...]) -> Host:
    """Put a host where its VPC's longest matching route leads; on the first link if none does."""
    best = {link.inside: _longest(link.routes, host.family, host.address) for link in links}
    length = max((route.prefix.length for route in best.values() if route), default=-1)
    on = tuple(inside for inside, route in best.items() if route and route.prefix.length == length)
    return Host(host.family, host.address, on or (links[0].inside,), host.origin)


def _longest(routes: Iterable[LinkRoute], family: Family, address: int) -> LinkRoute | None:
    fitting = (r for r in routes if r.prefix.family == family and address in r.prefix)
    return max(fitting, key=lambda route: route.prefix.length, default=None)
