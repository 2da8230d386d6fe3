"""The neighbour table of a network namespace, followed as it changes (RTNETLINK, rtnetlink(7)).

The kernel of a VPC's namespace does ARP and neighbour discovery; this tells which MAC addresses it found. A wanted
neighbour is asked for with ``NTF_USE``, as if a packet had needed it. One that has become stale is asked for again,
because the kernel does not see the packet path use it; so a host that moved or left is noticed.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from isthmus.routing.netlink import (
    CREATE,
    DONE,
    DUMP,
    FAMILIES,
    INTERRUPTED,
    KIN,
    REQUEST,
    attribute,
    attributes,
    datagrams,
    listen,
    message,
    messages,
)
from isthmus.tables.address import Family, address_bytes, address_from_bytes

_GROUP_NEIGH: Final = 4  # RTMGRP_NEIGH
_NEWNEIGH, _DELNEIGH, _GETNEIGH = 28, 29, 30
_DESTINATION, _LINK_ADDRESS = 1, 2  # NDA_DST, NDA_LLADDR
_USE: Final = 0x01  # NTF_USE

_INCOMPLETE, _REACHABLE, _STALE, _DELAY, _PROBE, _FAILED, _NOARP, _PERMANENT = (1 << bit for bit in range(8))
_USABLE: Final = _REACHABLE | _STALE | _DELAY | _PROBE | _NOARP | _PERMANENT

_NEIGHBOUR: Final = Struct("=BxxxiHBB")  # ndmsg: family, interface, state, flags, type
_MAC_BYTES, _GROUP_MAC = 6, 1  # a multicast neighbour is nobody's


_Key = tuple[int, Family, int]  # interface, family, address


class Neighbour(NamedTuple):
    """What is known of an address (left-aligned) on a link now: its MAC, or None if there is none that can be used."""

    interface: int
    family: Family
    address: int
    mac: bytes | None
    stale: bool = False
    permanent: bool = False


class Neighbours:
    """The neighbours of the network namespace in which this is made; it may be read and asked from anywhere."""

    def __init__(self) -> None:
        """Start to listen. OSError if the kernel refuses."""
        self._socket = listen(_GROUP_NEIGH)
        self._usable: set[_Key] = set()
        self._permanent: set[_Key] = set()
        self._asked: dict[_Key, None] = {}  # while it is not known yet who is permanent
        self._unheard: set[_Key] | None = None  # while the whole table is being told: who has not been heard of in it
        self._again = False  # the table must be told once more: what has been told has a hole
        self._dump()

    def fileno(self) -> int:
        """For select and epoll: readable when ``changes`` has something to tell."""
        return self._socket.fileno()

    def changes(self) -> Iterator[Neighbour]:
        """What was told since the last call; never waits. The first call tells what was known from the start.

        Where the kernel had more to tell than the socket could hold, the whole table is asked for again, and whoever is
        not in it any more is told as gone. OSError if the kernel refuses to tell; the next call tries again.
        """
        self._dump_again()
        for data in datagrams(self._socket):
            if data is None:
                self._again = True
            for kind, flags, body in messages(data or b""):
                self._again = self._again or bool(flags & INTERRUPTED)
                if kind == DONE:
                    yield from self._gone()
                elif kind in (_NEWNEIGH, _DELNEIGH) and (neighbour := _neighbour(body, gone=kind == _DELNEIGH)):
                    self._hear(neighbour)
                    yield neighbour
            self._dump_again()

    def resolve(self, interface: int, family: Family, address: int) -> None:
        """Have the kernel find out, or confirm, who has this address (left-aligned) on a link of its namespace.

        The answer comes with ``changes``. Asking while it is being found out changes nothing; an interface that has
        gone is passed over, and so is who is known for good: asking would make it an entry like any other.
        """
        key = interface, family, address
        if self._unheard is not None:
            self._asked[key] = None
            return
        if key in self._permanent:
            return
        body = _NEIGHBOUR.pack(KIN[family], interface, 0, _USE, 0)
        self._send(_NEWNEIGH, REQUEST | CREATE, body + attribute(_DESTINATION, address_bytes(family, address)))

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def _dump_again(self) -> None:
        """Where that is due, and the table is not being told already."""
        if self._again and self._unheard is None:
            self._dump()

    def _dump(self) -> None:
        """Ask for the whole table. Only where it is not being told already: that would be refused (EBUSY)."""
        self._again = True  # until it is asked for
        self._send(_GETNEIGH, REQUEST | DUMP, _NEIGHBOUR.pack(0, 0, 0, 0, 0))
        self._again = False
        self._unheard = set(self._usable)

    def _hear(self, neighbour: Neighbour) -> None:
        key = neighbour[:3]
        if self._unheard is not None:
            self._unheard.discard(key)
        (self._usable.discard if neighbour.mac is None else self._usable.add)(key)
        (self._permanent.add if neighbour.permanent else self._permanent.discard)(key)
        if neighbour.stale:
            self.resolve(*key)

    def _gone(self) -> Iterator[Neighbour]:
        """At the end of the table: whom it does not hold any more. Nobody, if it has to be told once more."""
        missing, self._unheard = self._unheard or set(), None
        asked, self._asked = self._asked, {}
        for key in asked:
            self.resolve(*key)
        if not self._again:
            self._usable -= missing
            self._permanent -= missing
            yield from (Neighbour(*key, None) for key in sorted(missing))

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._socket.send(message(kind, flags, body))


def parse(data: bytes) -> Iterator[Neighbour]:
    """The neighbours in a netlink datagram. Passed over: other messages, other families, what is not there whole."""
    for kind, _, body in messages(data):
        if kind in (_NEWNEIGH, _DELNEIGH) and (found := _neighbour(body, gone=kind == _DELNEIGH)):
            yield found


def _neighbour(body: bytes, *, gone: bool) -> Neighbour | None:
    if len(body) < _NEIGHBOUR.size:
        return None
    kin, interface, state, _, _ = _NEIGHBOUR.unpack_from(body)
    family = FAMILIES.get(kin)
    found = dict(attributes(body[_NEIGHBOUR.size :]))
    if family is None or _DESTINATION not in found:
        return None
    _, address = address_from_bytes(found[_DESTINATION])
    mac = found.get(_LINK_ADDRESS)
    usable = not gone and state & _USABLE and mac is not None and len(mac) == _MAC_BYTES and not mac[0] & _GROUP_MAC
    stale, permanent = (bool(usable and state & bit) for bit in (_STALE, _PERMANENT))
    return Neighbour(interface, family, address, mac if usable else None, stale, permanent)
