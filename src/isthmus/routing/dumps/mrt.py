"""MRT: the RIB of a router or collector, as TABLE_DUMP_V2 (RFC 6396 4.3, with add-path: RFC 8050)."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from struct import error as StructError
from typing import BinaryIO, Final

from isthmus.routing.dumps.path import DEFAULT_LOCAL_PREF, DumpError, Origin, Path, Paths
from isthmus.tables.address import BITS, Family, address_from_bytes, format_address

TABLE_DUMP_V2: Final = 13
_PEER_INDEX_TABLE: Final = 1
_RIBS: Final[dict[int, tuple[Family, bool]]] = {2: (4, False), 4: (6, False), 8: (4, True), 10: (6, True)}
"""Unicast RIBs by subtype: family, and whether entries have a path identifier."""

_HEADER: Final = Struct(">IHHI")  # timestamp, type, subtype, length
_ORIGIN, _AS_PATH, _NEXT_HOP, _MED, _LOCAL_PREF, _MP_REACH = 1, 2, 3, 4, 5, 14
_EXTENDED_LENGTH: Final = 0x10
_AS_SET, _AS_SEQUENCE = 1, 2
_MOST_RECORD: Final = 1 << 24


def is_mrt(start: bytes) -> bool:
    """True if a file that starts so is an MRT file: its first record is of a type that RFC 6396 names."""
    if len(start) < _HEADER.size:
        return False
    _, kind, _, length = _HEADER.unpack_from(start)
    return kind in (11, 12, TABLE_DUMP_V2, 16, 17, 32, 33, 48, 49) and length < _MOST_RECORD


def read_mrt(stream: BinaryIO, vpc: str) -> Paths:
    """The paths of a dump, all of them of one VPC. DumpError."""
    peers: list[str] | None = None
    known: dict[tuple[Family, int, bytes], Path | None] = {}
    at = 0
    while header := stream.read(_HEADER.size):
        try:
            _, kind, subtype, length = _HEADER.unpack(header)
            body = stream.read(length) if length < _MOST_RECORD else b""
            if len(body) != length:
                raise DumpError("it ends in the middle of a record")
            if kind == TABLE_DUMP_V2 and subtype == _PEER_INDEX_TABLE:
                peers = _peers(body)
                known.clear()
            elif kind == TABLE_DUMP_V2 and subtype in _RIBS:
                if peers is None:
                    raise DumpError("a RIB before the table of peers")
                yield from _rib(vpc, body, *_RIBS[subtype], peers, known)
        except (StructError, IndexError, ValueError) as error:
            raise DumpError(f"the record at byte {at}: {error}") from error
        at += _HEADER.size + length
    if peers is None:
        raise DumpError("it holds no TABLE_DUMP_V2 (RFC 6396): a dump of the RIB is asked for, not of updates")


def _peers(body: bytes) -> list[str]:
    """The peers' addresses, in the order of their indexes (4.3.1)."""
    at = 6 + int.from_bytes(body[4:6], "big")
    count = int.from_bytes(body[at : at + 2], "big")
    at += 2
    found = []
    for _ in range(count):
        kind = body[at]
        size = 16 if kind & 1 else 4
        found.append(format_address(*address_from_bytes(body[at + 5 : at + 5 + size])))
        at += 5 + size + (4 if kind & 2 else 2)
    return found


def _rib(
    vpc: str,
    body: bytes,
    family: Family,
    add_path: bool,
    peers: list[str],
    known: dict[tuple[Family, int, bytes], Path | None],
) -> Paths:
    """One prefix and its paths (4.3.2). Equal attributes are decoded once."""
    length = body[4]
    size = (length + 7) // 8
    if length > BITS[family]:
        raise DumpError(f"a prefix of {length} bits")
    bits = int.from_bytes(body[5 : 5 + size], "big") >> (8 * size - length)
    key = 1 << length | bits
    at = 5 + size
    (count,) = _SHORT.unpack_from(body, at)
    at += 2
    for _ in range(count):
        (peer,) = _SHORT.unpack_from(body, at)
        at += 10 if add_path else 6
        (length,) = _SHORT.unpack_from(body, at)
        raw = body[at + 2 : at + 2 + length]
        at += 2 + length
        if len(raw) != length:
            raise DumpError("attributes beyond its end")
        which = family, peer, raw
        if which not in known:
            known[which] = _path(family, peers[peer], raw)
        path = known[which]
        if path is not None:
            yield vpc, family, key, path


_SHORT: Final = Struct(">H")


def _path(family: Family, peer: str, raw: bytes) -> Path | None:
    """A path from its attributes (RFC 4271 5); None where they tell no next hop."""
    hops, origin, med, preference = 0, Origin.INCOMPLETE, None, DEFAULT_LOCAL_PREF
    next_hop: tuple[Family, int] | None = None
    for code, value in _attributes(raw):
        if code == _ORIGIN:
            origin = Origin(value[0])
        elif code == _AS_PATH:
            hops = _hops(value)
        elif code == _NEXT_HOP and family == 4:
            next_hop = address_from_bytes(value)
        elif code == _MED:
            med = int.from_bytes(value, "big")
        elif code == _LOCAL_PREF:
            preference = int.from_bytes(value, "big")
        elif code == _MP_REACH:
            next_hop = _mp_next_hop(value)
    return None if next_hop is None else Path(next_hop, peer, hops, origin, med, preference)


def _attributes(raw: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(raw):
        flags, code = raw[at], raw[at + 1]
        wide = 2 if flags & _EXTENDED_LENGTH else 1
        length = int.from_bytes(raw[at + 2 : at + 2 + wide], "big")
        at += 2 + wide
        if at + length > len(raw):
            raise DumpError(f"attribute {code} beyond its end")
        yield code, raw[at : at + length]
        at += length


def _hops(value: bytes) -> int:
    """The length of an AS path, with AS numbers of 4 bytes (4.3.4)."""
    at = hops = 0
    while at < len(value):
        kind, count = value[at], value[at + 1]
        hops += count if kind == _AS_SEQUENCE else 1 if kind == _AS_SET else 0
        at += 2 + 4 * count
    return hops


def _mp_next_hop(value: bytes) -> tuple[Family, int]:
    """From MP_REACH_NLRI: the next hop alone (4.3.4), or, as some write it, the whole attribute (RFC 4760 3)."""
    at = 0 if value[0] == len(value) - 1 else 3
    length = value[at]
    raw = value[at + 1 : at + 1 + length]
    return address_from_bytes(raw[:16] if length in (16, 32) else raw[:4])
