"""Makes what a plan says: namespaces, veths, addresses, routes, kernel settings.

The settings are those that let a namespace be a host or the gateway's kernel for one VPC without surprises: no reverse
path filter (the gateway's addresses are routed oddly on purpose), no duplicate address detection (addresses are usable
at once), no autoconfiguration.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from pyroute2 import IPRoute, netns
from pyroute2.netlink.exceptions import NetlinkError

from isthmus.datapath.netns import NAMED, inside
from isthmus.datapath.offloads import prepare_for_xdp
from isthmus.lab.plan import ON_LINK, LabPlan, LabVpc, Link
from isthmus.tables.address import BITS, FAMILIES, Family, Prefix, format_address, parse_address

_SETTINGS = Path("/proc/sys/net")

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
    "ipv4/conf/all/arp_ignore": "1",  # an address is answered for on its own attachment only
    "ipv4/conf/all/arp_announce": "2",
}
"""Of the gateway's kernel in one VPC: its hosts are a tenant's, so no redirect or source route of theirs counts."""

PORTS = {"ipv4/ip_forward": "0", "ipv6/conf/all/disable_ipv6": "1", "ipv6/conf/default/disable_ipv6": "1"}
"""Of the namespace of the ports: no kernel there speaks at all."""

HOST_LINK_LOCAL = parse_address("fe80::2")[1]
"""The one of every link of every host."""

_HOST_SCOPE, _LINK_SCOPE, _ON_LINK_FLAG = 0, 253, 4  # RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RTNH_F_ONLINK
_NO_DAD = 2  # IFA_F_NODAD
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
    with ExitStack() as opened:
        ports = opened.enter_context(_netlink(plan.gateway_namespace, PORTS))
        ports.link("set", index=1, state="up")
        for vpc in plan.vpcs:
            with _netlink(vpc.host_namespace, QUIET) as hosts, _netlink(vpc.gateway_namespace, KERNEL) as kernel:
                _join(ports, vpc)
                _furnish_kernel(kernel, vpc)
                _furnish_hosts(hosts, vpc)
            _set_offloads(vpc)


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


@contextmanager
def _netlink(namespace: str, settings: dict[str, str]) -> Iterator[IPRoute]:
    """A netlink socket of a namespace, after its settings are written."""
    with inside(namespace):
        for name, value in settings.items():
            (_SETTINGS / name).write_text(value)
        netlink = IPRoute()
    with closing(netlink):
        yield netlink


def _join(ports: IPRoute, vpc: LabVpc) -> None:
    """Make both veths of every link of a VPC. The gateway's ends are up at once: they have nothing to say."""
    for link in vpc.links:
        ends = (
            (link.port, link.port_mac, vpc.host_namespace, link.host_mac),
            (link.kernel_port, link.kernel_mac, vpc.gateway_namespace, link.port_mac),
        )
        for near, near_mac, namespace, far_mac in ends:
            fd = os.open(NAMED / namespace, os.O_RDONLY | os.O_CLOEXEC)
            try:
                far = {"ifname": link.inside, "address": far_mac, "mtu": link.mtu, "net_ns_fd": fd}
                ports.link("add", ifname=near, kind="veth", address=near_mac, mtu=link.mtu, peer=far)
            finally:
                os.close(fd)
            ports.link("set", index=ports.link_lookup(ifname=near)[0], state="up")


def _furnish_kernel(netlink: IPRoute, vpc: LabVpc) -> None:
    """The gateway's kernel of a VPC: its addresses, and routes, so that it can find hosts and answer them."""
    netlink.link("set", index=1, state="up")
    for link in vpc.links:
        index = _up(netlink, link)
        _address(netlink, index, 6, ON_LINK[6], 64, _LINK_SCOPE)
        if link.gateway[4] == ON_LINK[4]:
            _address(netlink, index, 4, ON_LINK[4], 32, _LINK_SCOPE)
        for family, address, length in link.addresses:
            _address(netlink, index, family, address, length, _HOST_SCOPE)
        for route in link.routes:
            _route(netlink, index, route.prefix, via=route.via)


def _furnish_hosts(netlink: IPRoute, vpc: LabVpc) -> None:
    """The hosts of a VPC: their addresses, the routers that stand before some of them, and the way to the gateway."""
    netlink.link("set", index=1, state="up")
    for number, link in enumerate(vpc.links):
        index = _up(netlink, link)
        _address(netlink, index, 6, HOST_LINK_LOCAL, 64, _LINK_SCOPE)
        mine = [(host.family, host.address) for host in vpc.hosts if link.inside in host.links]
        for family, address in dict.fromkeys([*mine, *link.routers]):
            _address(netlink, index, family, address, BITS[family], _HOST_SCOPE)
        for family in FAMILIES:
            everything = Prefix(family, 0, 0)
            source = next((address for kin, address in mine if kin == family), None)
            _route(netlink, index, everything, via=link.gateway[family], source=source, metric=1024 + number)
            if len(vpc.links) > 1:
                _route(netlink, index, everything, via=link.gateway[family], table=_PER_LINK_TABLE + number)
        if len(vpc.links) > 1:
            for family, address in mine:
                _from(netlink, family, address, _PER_LINK_TABLE + number)


def _up(netlink: IPRoute, link: Link) -> int:
    index: int = netlink.link_lookup(ifname=link.inside)[0]
    netlink.link("set", index=index, state="up")
    return index


def _address(netlink: IPRoute, index: int, family: Family, address: int, length: int, scope: int) -> None:
    """Add an address to a link; nothing happens if it has it."""
    text = format_address(family, address)
    _unless_there(lambda: netlink.addr("add", index=index, address=text, prefixlen=length, scope=scope, flags=_NO_DAD))


def _route(
    netlink: IPRoute,
    index: int,
    prefix: Prefix,
    *,
    via: int | None,
    source: int | None = None,
    metric: int | None = None,
    table: int | None = None,
) -> None:
    """Add a route on a link; nothing happens if the kernel has it (an address of the gateway brought it)."""
    wanted: dict[str, object] = {"family": 2 if prefix.family == 4 else 10, "oif": index, "dst": str(prefix)}
    if via is not None:
        wanted |= {"gateway": format_address(prefix.family, via), "flags": _ON_LINK_FLAG}
    elif prefix.family == 4:
        wanted["scope"] = _LINK_SCOPE
    if source is not None:
        wanted["prefsrc"] = format_address(prefix.family, source)
    if metric is not None:
        wanted["priority"] = metric
    if table is not None:
        wanted["table"] = table
    _unless_there(lambda: netlink.route("add", **wanted))


def _from(netlink: IPRoute, family: Family, address: int, table: int) -> None:
    """What a host says leaves on the link that the host lives on."""
    kin, length = (2, 32) if family == 4 else (10, 128)
    _unless_there(
        lambda: netlink.rule(
            "add", family=kin, src=format_address(family, address), src_len=length, table=table, priority=1000
        )
    )


def _unless_there(add: Callable[[], object]) -> None:
    try:
        add()
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise


def _set_offloads(vpc: LabVpc) -> None:
    """On links with an XDP hook; TC takes packets with offloads as they are."""
    xdp = [link.inside for link in vpc.links if link.hook != "tc"]
    for namespace in (vpc.host_namespace, vpc.gateway_namespace):
        with inside(namespace):
            _each(prepare_for_xdp, xdp)


def _each(do: Callable[[str], None], interfaces: Iterable[str]) -> None:
    for interface in interfaces:
        do(interface)
