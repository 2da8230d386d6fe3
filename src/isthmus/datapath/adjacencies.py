"""MAC addresses of next hops that have a place of their own: routers on links, and the ways to remote VTEPs.

An entry is one write of 8 bytes: the MAC address, and a number that is not 0. For a VTEP that is the slot of the port
on the way there, so that port and MAC change together.
"""

from __future__ import annotations

import struct
from collections.abc import Collection

from isthmus.datapath.libbpf import BpfObject
from isthmus.datapath.neighbours import Neighbours, known
from isthmus.datapath.numbers import Names
from isthmus.datapath.pack import NextHopKey, next_hop_key
from isthmus.tables.address import Family
from isthmus.tables.entries import AttachmentKey, Tables

_ENTRY = struct.Struct("<6sH")


class Adjacencies:
    """Slots by router or VTEP, kept while routes name it; slot 0 is never one."""

    def __init__(self, loaded: BpfObject, capacity: int) -> None:
        self._names = Names("routers", capacity - 1)
        self._memory = loaded.map("adjacencies").mmap()
        self._ports: dict[NextHopKey, int] = {}  # of ways to VTEPs
        self._learned: set[NextHopKey] = set()

    def number(self, tables: Tables, links: Names, neighbours: Neighbours) -> dict[NextHopKey, int]:
        """The slots of all that routes name; a new router starts with what its link knows. Raises ``TableFull``."""
        found: dict[NextHopKey, int] = {}
        for vpc in tables.vpcs.values():
            for family, routes in vpc.routes.items():
                for hop in (hop for route in routes for hop in route.next_hops):
                    key = next_hop_key(family, hop)
                    if key is not None and key not in found:
                        found[key] = self._number(key, links, neighbours)
        return found

    def learn(self, key: NextHopKey, links: Names, neighbours: Neighbours) -> int:
        """The slot of one that a learned route names; kept until its link is gone. Raises ``TableFull``."""
        self._learned.add(key)
        return self._number(key, links, neighbours)

    def _number(self, key: NextHopKey, links: Names, neighbours: Neighbours) -> int:
        new = key not in self._names
        slot = self._names.number(key) + 1
        if new:
            self._write(slot, _known_before(key, links, neighbours))
        return slot

    def keep(self, keys: Collection[NextHopKey], links: Collection[AttachmentKey]) -> None:
        """Free the slots of all others, but for learned ones on these links."""
        self._learned = {key for key in self._learned if key.attachment is None or key.attachment in links}
        keys = {*keys, *self._learned}
        self._names.keep(keys)
        self._ports = {key: port for key, port in self._ports.items() if key in keys}

    def set_router(self, key: NextHopKey, entry: bytes) -> None:
        """Note what is known of a router, if a route names it."""
        if key in self._names:
            self._write(self._names.number(key) + 1, entry)

    def set_tunnel(self, family: Family, vtep: int, mac: bytes, port: int) -> bool:
        """Note the way to a VTEP, or that there is none (port 0); False where no route names it."""
        key = NextHopKey(None, family, vtep)
        if key not in self._names:
            return False
        self._ports[key] = port
        self._write(self._names.number(key) + 1, _ENTRY.pack(mac, port))
        return True

    def forget_port(self, port: int) -> None:
        """No way leads over a port that is gone: its slot may come again, for another."""
        for key in [key for key, way in self._ports.items() if way == port]:
            self.set_tunnel(key.family, key.address, bytes(6), 0)

    def _write(self, slot: int, entry: bytes) -> None:
        self._memory[8 * slot : 8 * slot + 8] = entry


def _known_before(key: NextHopKey, links: Names, neighbours: Neighbours) -> bytes:
    if key.attachment is None:
        return known(None)
    return neighbours.get(links.number(key.attachment), key.family, key.address)
