"""Makes what a plan says: namespaces, veths, addresses, routes, kernel settings.

The settings are those that let a namespace be a host or the gateway's kernel for one VPC without surprises: no reverse
path filter (the gateway's addresses are routed oddly on purpose), no duplicate address detection (addresses are usable
at once), no autoconfiguration.
"""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from pyroute2 import IPRoute, netns
from pyroute2.netlink.exceptions import NetlinkError

from isthmus.datapath.netns import NAMED, inside
from isthmus.datapath.offloads import prepare_for_xdp
from isthmus.lab.iproute import End, add_address, add_neighbour, add_route, add_rule, cable, opened, set_up, up
from isthmus.lab.plan import LabPlan, LabVpc
from isthmus.lab.wiring import ON_LINK
from isthmus.routing.onlink import answer_for
from isthmus.tables.address import BITS, FAMILIES, Family, Prefix, parse_address
from isthmus.tables.entries import TagKind

QUIET = {
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv6/conf/default/accept_dad": "0",
    "ipv6/conf/all/accept_dad": "0",
    "ipv6/conf/default/accept_ra": "0",
    "ipv6/conf/default/router_solicitations": "0",
    "ipv6/conf/default/addr_gen_mode": "1",  # no link-local address but ours, which is there at once
}
"""Of hosts and of the gateway's kernels."""

KERNEL = {
    "ipv4/ip_forward": "0",  # forwarding is the packet path's alone; first, because it sets accept_redirects
    "ipv6/conf/all/forwarding": "0",
    "ipv6/conf/default/forwarding": "0",
    **{
        f"ipv4/conf/{which}/{setting}": "0"
        for which in ("all", "default")
        for setting in ("accept_redirects", "secure_redirects", "send_redirects", "accept_source_route")
    },
    **{
        f"ipv6/conf/{which}/{setting}": value
        for which in ("all", "default")
        for setting, value in (("accept_redirects", "0"), ("accept_source_route", "-1"))
    },
    **QUIET,
    "ipv4/conf/default/arp_ignore": "1",  # an address is answered for on its own attachment only
    "ipv4/conf/all/arp_announce": "2",
}
"""Of the gateway's kernel in one VPC: its hosts are a tenant's, so no redirect or source route of theirs counts."""

PORTS = {"ipv4/ip_forward": "0", "ipv6/conf/all/disable_ipv6": "1", "ipv6/conf/default/disable_ipv6": "1"}
"""Of the namespace of the ports: no kernel there speaks at all."""

FABRIC = {**PORTS, **QUIET}
"""Of the fabric: it hands frames over, and its kernel answers for remote VTEPs alone."""

FAR_END: dict[Family, int] = {4: parse_address("169.254.0.2")[1], 6: parse_address("fe80::2")[1]}
"""The link-local address of every link of every host; and what stands at the end of a tunnel, whoever that is."""

_PER_LINK_TABLE = 100  # the routing table of a host's first link; used where it has several


def make_namespace(name: str) -> None:
    """Make a named network namespace; FileExistsError if there is one of that name."""
    try:
        netns.create(name)
    except OSError as error:
        if error.errno == errno.EEXIST or (NAMED / name).exists():
            raise FileExistsError(errno.EEXIST, "there is a network namespace of that name", name) from error
        raise


def furnish(plan: LabPlan) -> None:
    """Fill the namespaces of a plan, which exist and are empty."""
    with ExitStack() as stack:
        ports = stack.enter_context(opened(plan.gateway_namespace, PORTS))
        ports.link("set", index=1, state="up")
        fabric = stack.enter_context(opened(plan.fabric, FABRIC)) if plan.fabric else None
        for port in plan.ports:
            if port.wire:
                wire = End(port.wire, port.wire_mac, plan.fabric)
                cable(ports, End(port.name, port.mac), wire, port.mtu)
        for vpc in plan.vpcs:
            with opened(vpc.host_namespace, QUIET) as hosts, opened(vpc.gateway_namespace, KERNEL) as kernel:
                _join(ports, fabric, vpc)
                _furnish_kernel(kernel, vpc)
                _furnish_hosts(hosts, vpc)
        if fabric:
            for port in plan.ports:
                if port.wire:
                    up(fabric, port.wire)
            _furnish_underlay(ports, fabric, plan)
        _set_offloads(plan)


def tear_down_links(namespace: str) -> None:
    """Remove every link of a namespace, so that also one that a process still holds is cut off."""
    with inside(namespace), closing(IPRoute()) as netlink:
        for link in netlink.get_links():
            if link["index"] != 1:
                with _unless_gone():
                    netlink.link("del", index=link["index"])


@contextmanager
def _unless_gone() -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        if error.code not in (errno.ENODEV, errno.EOPNOTSUPP):
            raise


def _join(ports: IPRoute, fabric: IPRoute | None, vpc: LabVpc) -> None:
    """Lay both cables of every link of a VPC: to its hosts, from the port or the fabric, and to its own namespace."""
    for link in vpc.links:
        hosts = End(link.inside, link.host_mac, vpc.host_namespace)
        if fabric and link.cable:
            cable(fabric, End(link.cable), hosts, link.mtu)
        else:
            cable(ports, End(link.port, link.port_mac), hosts, link.mtu)
        kernel = End(link.inside, link.port_mac, vpc.gateway_namespace)
        cable(ports, End(link.kernel_port, link.kernel_mac), kernel, link.mtu)


def _furnish_kernel(netlink: IPRoute, vpc: LabVpc) -> None:
    """The gateway's kernel of a VPC: its addresses, and routes, so that it can find hosts and answer them."""
    netlink.link("set", index=1, state="up")
    for link in vpc.links:
        index = up(netlink, link.inside)
        tunnelled = bool(link.tunnels)
        add_address(netlink, index, 6, ON_LINK[6], 64, link_scope=True)
        if link.gateway[4] == ON_LINK[4]:
            add_address(netlink, index, 4, ON_LINK[4], 32, link_scope=True)
        for family, address, length in link.addresses:
            add_address(netlink, index, family, address, length, bare=tunnelled)
        for family in link.told if tunnelled else ():
            add_neighbour(netlink, index, family, FAR_END[family], link.host_mac)  # the tunnel's own MAC goes over it
        for route in link.routes:
            via = FAR_END[route.prefix.family] if route.tunnel else route.via
            add_route(netlink, index, route.prefix, via=via)
        with inside(vpc.gateway_namespace):
            answer_for(netlink, link.inside, link.shown)
    for link, family, address in vpc.next_hops():
        if family in link.told:
            index = netlink.link_lookup(ifname=link.inside)[0]
            add_neighbour(netlink, index, family, address, link.host_mac)


def _furnish_hosts(netlink: IPRoute, vpc: LabVpc) -> None:
    """The hosts of a VPC: their addresses, the routers that stand before some of them, and the way to the gateway."""
    netlink.link("set", index=1, state="up")
    for number, link in enumerate(vpc.links):
        index = up(netlink, link.inside)
        add_address(netlink, index, 6, FAR_END[6], 64, link_scope=True)
        mine = [(host.family, host.address) for host in vpc.hosts if link.inside in host.links]
        for family, address in dict.fromkeys([*mine, *link.routers]):
            add_address(netlink, index, family, address, BITS[family])
        for family, address, length in link.speakers:
            add_address(netlink, index, family, address, length)
        for family in FAMILIES:
            everything = Prefix(family, 0, 0)
            source = next((address for kin, address in mine if kin == family), None)
            add_route(netlink, index, everything, via=link.gateway[family], source=source, metric=1024 + number)
            if len(vpc.links) > 1:
                add_route(netlink, index, everything, via=link.gateway[family], table=_PER_LINK_TABLE + number)
            if family in link.told:
                add_neighbour(netlink, index, family, link.gateway[family], link.port_mac)
        if len(vpc.links) > 1:
            for family, address in [*mine, *(speaker[:2] for speaker in link.speakers)]:
                add_rule(netlink, family, address, BITS[family], _PER_LINK_TABLE + number)


def _furnish_underlay(ports: IPRoute, fabric: IPRoute, plan: LabPlan) -> None:
    """The VTEPs: the gateway's on its port, all others on the other end of that wire, and on-link routes between."""
    vtep, port = plan.vtep, plan.vtep_port
    if vtep is None or port is None:
        return
    near, far = (netlink.link_lookup(ifname=name)[0] for netlink, name in ((ports, port.name), (fabric, port.wire)))
    if vtep.family == 6:
        for namespace, interface in ((plan.gateway_namespace, port.name), (plan.fabric, port.wire)):
            with inside(namespace):
                set_up(f"ipv6/conf/{interface}/accept_dad", "0")
                set_up(f"ipv6/conf/{interface}/disable_ipv6", "0")
    everybody = BITS[vtep.family]
    add_address(ports, near, vtep.family, vtep.address, everybody)
    for family, remote in plan.remote_vteps:
        add_address(fabric, far, family, remote, everybody)
        add_route(ports, near, Prefix(family, remote, everybody), source=vtep.address)
    add_route(fabric, far, Prefix(vtep.family, vtep.address, everybody))


def _set_offloads(plan: LabPlan) -> None:
    """Complete packets, as XDP needs them, from the hosts of links with an XDP hook, and from all where the tagger has
    to build headers; TC takes packets with offloads as they are."""
    built = any(link.attachment.tag.kind in (TagKind.MPLS, TagKind.VXLAN) for _, link in plan.links())
    whole: dict[str, list[str]] = defaultdict(list)
    for vpc, link in plan.links():
        if built or link.hook != "tc":
            whole[vpc.host_namespace].append(link.inside)
            whole[vpc.gateway_namespace].append(link.inside)
    for port in plan.ports:
        if port.wire and (built or port.hook != "tc"):
            whole[plan.fabric].append(port.wire)
    for namespace, interfaces in whole.items():
        with inside(namespace):
            for interface in interfaces:
                prepare_for_xdp(interface)
