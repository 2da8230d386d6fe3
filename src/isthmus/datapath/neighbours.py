"""MAC addresses of hosts and routers by link and address: a hash that packets read; entries change in place."""

from __future__ import annotations

from collections import defaultdict

from isthmus.datapath.libbpf import BpfMap
from isthmus.tables.address import Family
from isthmus.tables.layout import RECORDS

_MASK64 = (1 << 64) - 1


def known(mac: bytes | None) -> bytes:
    """The record of a MAC address, or of none."""
    return mac + b"\1\0" if mac is not None else bytes(8)


class Neighbours:
    """What was learned, link by link. No link holds more than ``share`` entries, so one VPC can't crowd out others."""

    def __init__(self, table: BpfMap, share: int) -> None:
        self._table = table
        self._share = share
        self._of_link: dict[int, set[bytes]] = defaultdict(set)

    def put(self, link: int, family: Family, address: int, entry: bytes | None) -> bool:
        """Note an entry, or with None forget it; False where the link has its share already."""
        key, mine = self._key(link, family, address), self._of_link[link]
        if entry is None:
            mine.discard(key)
            self._table.delete(key)
            return True
        if key not in mine and len(mine) >= self._share:
            return False
        self._table.update(key, entry)
        mine.add(key)
        return True

    def get(self, link: int, family: Family, address: int) -> bytes:
        """The entry, all zeros where there is none."""
        return self._table.lookup(self._key(link, family, address)) or known(None)

    def forget(self, link: int) -> None:
        """All of a link that is gone: its number may come again, for another VPC."""
        for key in self._of_link.pop(link, ()):
            self._table.delete(key)

    @staticmethod
    def _key(link: int, family: Family, address: int) -> bytes:
        return RECORDS["neighbour_key"].pack(address >> 64, address & _MASK64, link, int(family == 6))
