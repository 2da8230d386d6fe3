"""Public addresses that a VPC's hosts look for on their own link: an ISP's /29 whose upper half is a pool.

No router stands before them, so hosts ask for them by ARP and neighbour discovery, and the gateway must answer. The
packets that follow are the packet path's: the kernel of the VPC's namespace only says who has the addresses.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from isthmus.compile.intervals import Interval, cut, merged
from isthmus.tables.address import BITS, MASK128, Family, Prefix, format_address, range_prefixes, step
from isthmus.tables.entries import AttachmentKey, Nat, Side, Tables

if TYPE_CHECKING:
    from pyroute2 import IPRoute

MOST_PROXIED: Final = 1024
"""IPv6 addresses of one link that are answered for: the kernel takes them one by one."""

_LINK_LOCAL: Final = (Prefix.parse("169.254.0.0/16"), Prefix.parse("fe80::/10"))
_LOCAL_ROUTE, _LOCAL_TABLE, _HOST_SCOPE = 2, 255, 254  # RTN_LOCAL, RT_TABLE_LOCAL, RT_SCOPE_HOST
_PROXY: Final = 0x08  # NTF_PROXY
_SETTINGS: Final = Path("/proc/sys/net")


def on_link(tables: Tables) -> dict[AttachmentKey, tuple[Prefix, ...]]:
    """By attachment, what of the public addresses that its VPC is shown lies in the networks of its own addresses.

    Sorted and disjoint, without the gateway's own addresses; attachments without any are left out.
    """
    shown = _shown(tables)
    found: dict[AttachmentKey, tuple[Prefix, ...]] = {}
    for vpc in tables.vpcs.values():
        own = [(family, address) for each in vpc.attachments for family, address, _ in each.addresses]
        for attachment in vpc.attachments:
            networks = dict.fromkeys(_network(*each) for each in attachment.addresses)
            prefixes = [
                prefix
                for network in networks
                if not any(local.covers(network) for local in _LINK_LOCAL)
                for prefix in _within(network, shown.get((vpc.name, network.family), ()), own)
            ]
            if prefixes:
                found[attachment.key] = tuple(sorted(set(prefixes)))
    return found


def answer_for(netlink: IPRoute, interface: str, prefixes: Iterable[Prefix]) -> list[Prefix]:
    """Have the kernel of the calling thread's namespace answer on an interface for all these addresses; once.

    IPv4: a local route, however many addresses it holds. IPv6: a proxy entry for each, at most MOST_PROXIED: what is
    more is returned. The netlink socket is of this namespace.
    """
    [index] = netlink.link_lookup(ifname=interface)
    left: list[Prefix] = []
    room = MOST_PROXIED
    for prefix in prefixes:
        if prefix.family == 4:
            _set(f"ipv4/conf/{interface}/arp_ignore", "0")  # 1 answers for configured addresses alone
            netlink.route(
                "replace", dst=str(prefix), oif=index, type=_LOCAL_ROUTE, table=_LOCAL_TABLE, scope=_HOST_SCOPE
            )
            continue
        if prefix.size > room:
            left.append(prefix)
            continue
        room -= prefix.size
        _set(f"ipv6/conf/{interface}/forwarding", "1")  # of the interface alone: answers as a router, forwards nothing
        _set(f"ipv6/conf/{interface}/proxy_ndp", "1")
        _set(f"ipv6/neigh/{interface}/proxy_delay", "0")
        for address in range(prefix.first, prefix.last + 1):
            netlink.neigh("replace", family=10, dst=format_address(6, address), ifindex=index, flags=_PROXY)
    return left


def _shown(tables: Tables) -> dict[tuple[str, Family], list[Interval]]:
    """The translated addresses of all sides, by the VPC that they are shown to."""
    pairs: dict[str, list[Side]] = defaultdict(list)
    for side in tables.sides.values():
        pairs[side.key.peering].append(side)
    found: dict[tuple[str, Family], list[Interval]] = defaultdict(list)
    for sides in pairs.values():
        for side, other in zip(sides, reversed(sides), strict=True):
            for family, first, last in _public(side):
                found[other.key.vpc, family].append((first, last))
    return {key: merged(intervals, step(key[1])) for key, intervals in found.items()}


def _public(side: Side) -> Iterator[tuple[Family, int, int]]:
    if side.nat is Nat.STATIC:
        for family, ranges in side.private.items():
            for each in ranges:
                yield family, each.first + each.delta & MASK128, each.last + each.delta & MASK128
    elif side.pool:
        for family, intervals in side.pool.addresses.items():
            yield from ((family, *interval) for interval in intervals)


def _network(family: Family, address: int, length: int) -> Prefix:
    return Prefix(family, address & Prefix(family, 0, length).mask, length)


def _within(network: Prefix, shown: Iterable[Interval], own: Iterable[tuple[Family, int]]) -> Iterator[Prefix]:
    """What is shown and in a network, but for the gateway's own addresses, as prefixes."""
    if network.length == BITS[network.family]:
        return
    unit = step(network.family)
    holes = merged([(address, address) for family, address in own if family == network.family], unit)
    for first, last in shown:
        low, high = max(first, network.first), min(last, network.last)
        if low <= high:
            for outside in cut(low, high, holes, unit)[0]:
                yield from range_prefixes(network.family, *outside)


def _set(name: str, value: str) -> None:
    (_SETTINGS / name).write_text(value)
