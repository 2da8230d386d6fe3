"""How the attachments of a lab's VPCs are wired: ports, cables, tags, and the fabric between. Pure.

An untagged attachment that has a port to itself is a cable from that port to its hosts. All others meet in the fabric,
a namespace that plays the switches: there the tagger stands between the wire of each port and the cables of the hosts.

::

    N-VPC              N.fabric                     N.gw                                     N.gw.VPC
    eth0 ------------- host2  tagger  wire1 ------- port1   packet path   kern2 ------------ eth0
    eth0 ------------- host3          (the same)                          kern3 ------------ eth0   (of another VPC)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from isthmus.lab import names
from isthmus.routing.onlink import on_link
from isthmus.tables.address import FAMILIES, Family, Prefix, parse_address
from isthmus.tables.entries import Attachment, AttachmentKey, PortPolicy, Tables, TagKind, Tunnel, Vtep

PORT_MTU = 1500
"""MTU of a port none of whose attachments asks for more, in bytes of the IP packet."""

ON_LINK: dict[Family, int] = {4: parse_address("169.254.0.1")[1], 6: parse_address("fe80::1")[1]}
"""The gateway as hosts know it where the VPC has no object that says otherwise."""

_LABEL_BYTES, _INNER_TAG_BYTES = 4, 4
_TUNNEL_BYTES: dict[Family, int] = {4: 50, 6: 70}  # Ethernet, IP, UDP, VXLAN


class LinkRoute(NamedTuple):
    """A prefix behind a link: through a router there (left-aligned), through a tunnel, or (neither) on the link."""

    prefix: Prefix
    via: int | None
    tunnel: Tunnel | None = None


class Port(NamedTuple):
    """A port of the gateway, which the objects call ``interface``. ``mtu`` in bytes of the IP packet without a tag.

    ``wire`` is its other end, in the fabric; "" where the port's cable leads straight to the hosts.
    """

    interface: str
    name: str
    hook: str
    mac: str
    mtu: int
    wire: str
    wire_mac: str


class Link(NamedTuple):
    """An attachment: a cable from the hosts to the gateway's port, and one from there to the VPC's own namespace.

    ``hook`` is the one asked for: ``auto`` (native XDP, else generic), ``xdp`` or ``tc``. ``inside`` is the link's name
    in both the hosts' and the VPC's namespace; ``port`` and ``kernel_port`` are in the gateway's. ``addresses`` are the
    gateway's own (family, address, prefix length), ``gateway`` its address as hosts route to it. ``routers`` are those
    that ``routes`` go through. ``mtu`` is that of the IP packet, the tag taken off.

    ``cable`` is the other end of the hosts' ``inside``, in the fabric; "" where that is the port itself.
    ``outer_type``, ``push`` and ``uniform`` are those of the attachment. ``told``: families in which neighbours can't
    find each other across the tag, and are told who they are. ``shown``: public addresses on the link itself, for which
    the gateway answers. ``speakers``: BGP neighbours on the link, as (family, address, length of the network).
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
    cable: str = ""
    outer_type: int = 0x88A8
    push: tuple[int, ...] = ()
    uniform: bool = True
    told: frozenset[Family] = frozenset()
    shown: tuple[Prefix, ...] = ()
    speakers: tuple[tuple[Family, int, int], ...] = ()

    @property
    def tunnels(self) -> tuple[LinkRoute, ...]:
        """The routes through tunnels: on a VXLAN attachment all of them."""
        return tuple(route for route in self.routes if route.tunnel)


class Wiring(NamedTuple):
    """Ports by interface, links by VPC, the node's VTEP if anything is tunnelled, and what is left out, and why."""

    ports: dict[str, Port]
    links: dict[str, tuple[Link, ...]]
    vtep: Vtep | None
    notices: tuple[str, ...]


def wire(tables: Tables, vpcs: Iterable[str], hook: str) -> Wiring:
    """The wiring of these VPCs; ``hook`` other than ``auto`` is that of every port, whatever the objects say."""
    carried: dict[str, list[Attachment]] = {}
    notices: list[str] = []
    for vpc in vpcs:
        carried[vpc] = []
        for attachment in tables.vpcs[vpc].attachments:
            why = _not_carried(attachment, tables.vtep)
            if why:
                notices.append(f"VPC/{vpc}: attachment {attachment.key.interface} {why}: left out")
            else:
                carried[vpc].append(attachment)
    ports = _ports(tables, [attachment for each in carried.values() for attachment in each], hook)
    numbers = iter(range(1 << 16))
    shown = on_link(tables)
    links = {
        vpc: tuple(
            _link(each, ports[each.key.interface], tables, next(numbers), place)._replace(shown=shown.get(each.key, ()))
            for place, each in enumerate(attachments)
        )
        for vpc, attachments in carried.items()
    }
    tunnelled = any(link.tunnels for each in links.values() for link in each)
    return Wiring(ports, links, tables.vtep if tunnelled else None, tuple(notices))


def overhead(attachment: Attachment, vtep: Vtep | None) -> int:
    """What the attachment's tag takes from the MTU of its port, in bytes; a port carries one VLAN tag beside that."""
    kind = attachment.key.tag.kind
    if kind is TagKind.VXLAN:
        return _TUNNEL_BYTES[vtep.family] if vtep else 0
    return {TagKind.QINQ: _INNER_TAG_BYTES, TagKind.MPLS: _LABEL_BYTES * len(attachment.push)}.get(kind, 0)


def _not_carried(attachment: Attachment, vtep: Vtep | None) -> str:
    """Why a lab can't have an attachment; empty if it can."""
    if attachment.key.tag.kind is not TagKind.VXLAN:
        return ""
    if vtep is None:
        return "is a VXLAN segment, and no Gateway object says the node's vtep"
    return "" if vtep.interface == attachment.key.interface else f"is not on the vtep's interface {vtep.interface}"


def _ports(tables: Tables, attachments: Iterable[Attachment], hook: str) -> dict[str, Port]:
    """A port for each interface that is named, in the order of the attachments."""
    on: dict[str, list[Attachment]] = defaultdict(list)
    for attachment in attachments:
        on[attachment.key.interface].append(attachment)
    ports = {}
    for number, (interface, mine) in enumerate(on.items()):
        alone = len(mine) == 1 and mine[0].key.tag.kind is TagKind.UNTAGGED
        wanted = [each.mtu + overhead(each, tables.vtep) for each in mine if each.mtu]
        asked = tables.ports.get(interface, PortPolicy()).hook
        ports[interface] = Port(
            interface,
            f"port{number}",
            asked if hook == "auto" else hook,
            names.mac(names.PORT, number),
            max(wanted if wanted and alone else [PORT_MTU, *wanted]),
            "" if alone else f"wire{number}",
            names.mac(names.WIRE, number),
        )
    return ports


def _link(attachment: Attachment, port: Port, tables: Tables, number: int, place: int) -> Link:
    """Link ``number`` of the lab; the one at ``place`` in its VPC."""
    key = attachment.key
    routes = tuple(
        LinkRoute(route.prefix, hop.gateway, hop.tunnel)
        for family in FAMILIES
        for route in tables.vpcs[key.vpc].routes.get(family, ())
        for hop in route.next_hops
        if hop.attachment == key
    )
    room = port.mtu - overhead(attachment, tables.vtep)
    own = {family: address for family, address, _ in reversed(attachment.addresses)}  # the first of each
    return Link(
        attachment=key,
        hook=port.hook,
        inside=f"eth{place}",
        port=port.name,
        kernel_port=f"kern{number}",
        host_mac=names.mac(names.HOST, number),
        port_mac=port.mac,
        kernel_mac=names.mac(names.KERNEL, number),
        mtu=min(attachment.mtu or room, room),
        addresses=attachment.addresses,
        gateway={family: own.get(family, ON_LINK[family]) for family in FAMILIES},
        routes=routes,
        routers=tuple(sorted({(r.prefix.family, r.via) for r in routes if r.via is not None and not r.tunnel})),
        cable=f"host{number}" if port.wire else "",
        outer_type=attachment.outer_type,
        push=attachment.push,
        uniform=attachment.uniform,
        told=_told(attachment),
    )


def _told(attachment: Attachment) -> frozenset[Family]:
    """Through a tunnel nobody asks around: the gateway's MAC comes with the segment (RFC 9136), and routes know theirs.

    ARP and ND of an MPLS attachment have no label, and are known by the gateway's own address alone: so a link-local
    address, which is what the kernel asks for IPv6 neighbours with, leads nowhere.
    """
    kind = attachment.key.tag.kind
    if kind is TagKind.VXLAN:
        return frozenset(FAMILIES)
    if kind is TagKind.MPLS:
        asked = {family for family, _, _ in attachment.addresses if family == 4}
        return frozenset(family for family in FAMILIES if family not in asked)
    return frozenset()
