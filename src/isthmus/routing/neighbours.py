"""The neighbour table of a network namespace, followed as it changes (RTNETLINK, rtnetlink(7)).

The kernel of a VPC's namespace does ARP and neighbour discovery; this tells which MAC addresses it found. A wanted
neighbour is asked for with ``NTF_USE``, as if a packet had needed it. One that has become stale is asked for again,
because the kernel does not see the packet path use it; so a host that moved or left is noticed.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from isthmus.tables.address import Family, address_bytes, address_from_bytes

_GROUP_NEIGH: Final = 4  # RTMGRP_NEIGH
_NEWNEIGH, _DELNEIGH, _GETNEIGH = 28, 29, 30
_REQUEST, _CREATE, _DUMP = 0x1, 0x400, 0x300
_DESTINATION, _LINK_ADDRESS = 1, 2  # NDA_DST, NDA_LLADDR
_USE: Final = 0x01  # NTF_USE

_INCOMPLETE, _REACHABLE, _STALE, _DELAY, _PROBE, _FAILED, _NOARP, _PERMANENT = (1 << bit for bit in range(8))
_USABLE: Final = _REACHABLE | _STALE | _DELAY | _PROBE | _NOARP | _PERMANENT

_HEADER: Final = Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_NEIGHBOUR: Final = Struct("=BxxxiHBB")  # ndmsg: family, interface, state, flags, type
_ATTRIBUTE: Final = Struct("=HH")  # nlattr: length with its header, type
_FAMILIES: Final[dict[int, Family]] = {int(socket.AF_INET): 4, int(socket.AF_INET6): 6}
_MAC_BYTES, _GROUP_MAC = 6, 1  # a multicast neighbour is nobody's
_BUFFER_BYTES: Final = 1 << 20


class Neighbour(NamedTuple):
    """What is known of an address (left-aligned) on a link now: its MAC, or None if there is none that can be used."""

    interface: int
    family: Family
    address: int
    mac: bytes | None
    stale: bool = False


class Neighbours:
    """The neighbours of the network namespace in which this is made; it may be read and asked from anywhere."""

    def __init__(self) -> None:
        """Start to listen. OSError if the kernel refuses."""
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._socket.bind((0, _GROUP_NEIGH))
        self._dump()

    def fileno(self) -> int:
        """For select and epoll: readable when ``changes`` has something to tell."""
        return self._socket.fileno()

    def changes(self) -> Iterator[Neighbour]:
        """What was told since the last call; never waits. The first call tells what was known from the start.

        If the kernel had more to tell than the socket could hold, the whole table is asked for again. A neighbour
        deleted in that very moment stays known until it is deleted again or asked for.
        """
        while True:
            try:
                data = self._socket.recv(_BUFFER_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._dump()
                continue
            for neighbour in parse(data):
                if neighbour.stale:
                    self.resolve(neighbour.interface, neighbour.family, neighbour.address)
                yield neighbour

    def resolve(self, interface: int, family: Family, address: int) -> None:
        """Have the kernel find out, or confirm, who has this address (left-aligned) on a link of its namespace.

        The answer comes with ``changes``. Asking while it is being found out changes nothing; an interface that has
        gone is passed over.
        """
        kin = next(number for number, name in _FAMILIES.items() if name == family)
        raw = address_bytes(family, address)
        body = _NEIGHBOUR.pack(kin, interface, 0, _USE, 0) + _ATTRIBUTE.pack(4 + len(raw), _DESTINATION) + raw
        self._send(_NEWNEIGH, _REQUEST | _CREATE, body)

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def _dump(self) -> None:
        self._send(_GETNEIGH, _REQUEST | _DUMP, _NEIGHBOUR.pack(0, 0, 0, 0, 0))

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, 0, 0) + body)


def parse(data: bytes) -> Iterator[Neighbour]:
    """The neighbours in a netlink datagram. Passed over: other messages, other families, what is not there whole."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > len(data):
            return
        if kind in (_NEWNEIGH, _DELNEIGH):
            found = _neighbour(data[at + _HEADER.size : at + length], gone=kind == _DELNEIGH)
            if found:
                yield found
        at += (length + 3) & ~3


def _neighbour(body: bytes, *, gone: bool) -> Neighbour | None:
    if len(body) < _NEIGHBOUR.size:
        return None
    kin, interface, state, _, _ = _NEIGHBOUR.unpack_from(body)
    family = _FAMILIES.get(kin)
    attributes = dict(_attributes(body[_NEIGHBOUR.size :]))
    if family is None or _DESTINATION not in attributes:
        return None
    _, address = address_from_bytes(attributes[_DESTINATION])
    mac = attributes.get(_LINK_ADDRESS)
    usable = not gone and state & _USABLE and mac is not None and len(mac) == _MAC_BYTES and not mac[0] & _GROUP_MAC
    return Neighbour(interface, family, address, mac if usable else None, stale=bool(usable and state & _STALE))


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
