"""The way of the kernel to some addresses: port and MAC address of the next hop, followed as it changes (RTNETLINK).

The packet path sends VXLAN packets to remote VTEPs by itself; the kernel of the underlay's namespace says how. Its
routes may be anybody's: static, a routing daemon's.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Collection, Iterator
from struct import Struct
from typing import Final, NamedTuple

from isthmus.routing.neighbours import Neighbours
from isthmus.routing.netlink import FAMILIES, KIN, Questions, attribute, attributes, datagrams, listen
from isthmus.tables.address import BITS, Family, address_bytes, address_from_bytes

_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400  # RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE
_NEWROUTE, _GETROUTE = 24, 26
_ROUTE: Final = Struct("=BBBBBBBBI")  # rtmsg: family, two lengths, tos, table, protocol, scope, type, flags
_DESTINATION, _INTERFACE, _GATEWAY, _VIA = 1, 4, 5, 18  # RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_VIA (RFC 5549)
_UNICAST: Final = 1  # RTN_UNICAST

_Hop = tuple[int, Family, int]  # interface, family, address: of a router, or of the destination itself
_End = tuple[Family, int]


class Way(NamedTuple):
    """How to reach an address (left-aligned): out of an interface, to a MAC address; both None if it is not known."""

    family: Family
    address: int
    interface: int | None
    mac: bytes | None


class Underlay:
    """The ways to some addresses from the network namespace in which this is made; it may be asked from anywhere."""

    def __init__(self, ends: Collection[_End] = ()) -> None:
        """Start to follow. OSError if the kernel refuses."""
        self._neighbours = Neighbours()
        self._routes = listen(_GROUPS)
        self._questions = Questions()
        self._epoll = select.epoll()
        for source in (self._neighbours, self._routes):
            self._epoll.register(source.fileno(), select.EPOLLIN)
        self._hops: dict[_End, _Hop | None] = {}
        self._macs: dict[_Hop, bytes] = {}
        self._told: dict[_End, Way] = {}
        self.follow(ends)

    def fileno(self) -> int:
        """For select and epoll: readable when ``changes`` has something to tell."""
        return self._epoll.fileno()

    def follow(self, ends: Collection[_End]) -> None:
        """From now on these are the addresses; ``changes`` tells the new ones, and nothing of those that are gone."""
        self._hops = {end: self._hops.get(end) for end in ends}
        self._told = {end: way for end, way in self._told.items() if end in self._hops}
        self._look_up()

    def changes(self) -> Iterator[Way]:
        """The ways that are otherwise than at the last call. A new address is told once, known or not.

        OSError if the kernel refuses to tell; the next call tries again.
        """
        for neighbour in self._neighbours.changes():
            if neighbour.mac is None:
                self._macs.pop(neighbour[:3], None)
            else:
                self._macs[neighbour[:3]] = neighbour.mac
        if self._routes_changed():
            self._look_up()
        for end, hop in self._hops.items():
            mac = self._macs.get(hop) if hop else None
            way = Way(*end, hop[0] if hop and mac else None, mac)
            if self._told.get(end) != way:
                self._told[end] = way
                yield way

    def resolve(self, family: Family, address: int) -> None:
        """Have the kernel find out the next hop's MAC address. Nothing happens where there is no route."""
        hop = self._hops.get((family, address))
        if hop:
            self._neighbours.resolve(*hop)

    def close(self) -> None:
        """Follow no more."""
        self._epoll.close()
        self._neighbours.close()
        self._routes.close()
        self._questions.close()

    def _routes_changed(self) -> bool:
        """True if anything was told that may lead another way, or was told and lost."""
        return sum(1 for _ in datagrams(self._routes)) > 0

    def _look_up(self) -> None:
        for end, before in self._hops.items():
            hop = self._hop(*end)
            self._hops[end] = hop
            if hop and (hop != before or hop not in self._macs):
                self._neighbours.resolve(*hop)

    def _hop(self, family: Family, address: int) -> _Hop | None:
        """The next hop of the kernel's route; None where there is none, or to the kernel itself, or nowhere."""
        kin, bits = KIN[family], BITS[family]
        wanted = attribute(_DESTINATION, address_bytes(family, address))
        try:
            [answer] = self._questions.ask(_GETROUTE, _ROUTE.pack(kin, bits, 0, 0, 0, 0, 0, 0, 0) + wanted)
        except OSError:
            return None
        if answer.kind != _NEWROUTE or _ROUTE.unpack_from(answer.body)[7] != _UNICAST:
            return None
        found = dict(attributes(answer.body[_ROUTE.size :]))
        if _INTERFACE not in found:
            return None
        interface = int.from_bytes(found[_INTERFACE], sys.byteorder)
        if _GATEWAY in found:
            return (interface, *address_from_bytes(found[_GATEWAY]))
        if _VIA in found and int.from_bytes(found[_VIA][:2], sys.byteorder) in FAMILIES:
            return (interface, *address_from_bytes(found[_VIA][2:]))
        return interface, family, address
