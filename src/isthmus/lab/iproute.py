"""What is asked of the kernels of a lab: cables, addresses, routes, rules, neighbours. Nothing happens that was."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from isthmus.datapath.netns import NAMED, inside
from isthmus.tables.address import Family, Prefix, format_address

_SETTINGS = Path("/proc/sys/net")
_LINK_SCOPE, _ON_LINK_FLAG = 253, 4  # RT_SCOPE_LINK, RTNH_F_ONLINK
_NO_DAD, _NO_PREFIX_ROUTE = 2, 0x200  # IFA_F_NODAD, IFA_F_NOPREFIXROUTE
_KIN: dict[Family, int] = {4: 2, 6: 10}  # AF_INET, AF_INET6


class End(NamedTuple):
    """One end of a cable: its interface, its MAC address ("": any), and its namespace ("": that of the netlink)."""

    interface: str
    mac: str = ""
    namespace: str = ""


@contextmanager
def opened(namespace: str, settings: dict[str, str]) -> Iterator[IPRoute]:
    """A netlink socket of a namespace, after its settings are written."""
    with inside(namespace):
        for name, value in settings.items():
            set_up(name, value)
        netlink = IPRoute()
    with closing(netlink):
        yield netlink


def set_up(name: str, value: str) -> None:
    """Write a kernel setting of the calling thread's namespace: ``ipv4/ip_forward``."""
    (_SETTINGS / name).write_text(value)


def cable(netlink: IPRoute, near: End, far: End, mtu: int) -> None:
    """A veth from the netlink's namespace to another. The near end is up at once: it has nothing to say."""
    fd = os.open(NAMED / far.namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        peer: dict[str, object] = {"ifname": far.interface, "mtu": mtu, "net_ns_fd": fd}
        mine: dict[str, object] = {"ifname": near.interface, "mtu": mtu}
        for end, attributes in ((near, mine), (far, peer)):
            if end.mac:
                attributes["address"] = end.mac
        netlink.link("add", kind="veth", peer=peer, **mine)
    finally:
        os.close(fd)
    up(netlink, near.interface)


def up(netlink: IPRoute, interface: str) -> int:
    """Have an interface up; its index."""
    index: int = netlink.link_lookup(ifname=interface)[0]
    netlink.link("set", index=index, state="up")
    return index


def add_address(
    netlink: IPRoute,
    index: int,
    family: Family,
    address: int,
    length: int,
    *,
    link_scope: bool = False,
    bare: bool = False,
) -> None:
    """Add an address to a link. ``bare``: it brings no route to its network."""
    flags = _NO_DAD | (_NO_PREFIX_ROUTE if bare else 0)
    scope, text = _LINK_SCOPE if link_scope else 0, format_address(family, address)
    _unless_there(lambda: netlink.addr("add", index=index, address=text, prefixlen=length, scope=scope, flags=flags))


def add_route(
    netlink: IPRoute,
    index: int,
    prefix: Prefix,
    *,
    via: int | None = None,
    source: int | None = None,
    metric: int | None = None,
    table: int | None = None,
) -> None:
    """Add a route on a link; nothing happens if the kernel has it (an address of the gateway brought it)."""
    wanted: dict[str, object] = {"family": _KIN[prefix.family], "oif": index, "dst": str(prefix)}
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


def add_neighbour(netlink: IPRoute, index: int, family: Family, address: int, mac: str) -> None:
    """Tell the kernel for good which MAC address a neighbour has."""
    text = format_address(family, address)
    netlink.neigh("replace", family=_KIN[family], dst=text, lladdr=mac, ifindex=index, state="permanent")


def add_rule(netlink: IPRoute, family: Family, source: int, length: int, table: int) -> None:
    """What comes from these addresses is routed by a table of its own."""
    text = format_address(family, source)
    _unless_there(
        lambda: netlink.rule("add", family=_KIN[family], src=text, src_len=length, table=table, priority=1000)
    )


def _unless_there(add: Callable[[], object]) -> None:
    try:
        add()
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise
