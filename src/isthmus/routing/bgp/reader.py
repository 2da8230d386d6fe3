"""From the bytes of a session to its messages."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from isthmus.routing.bgp import nlri
from isthmus.routing.bgp.capabilities import Agreement, Open, decode_open
from isthmus.routing.bgp.received import Counts
from isthmus.routing.bgp.updates import MANY, Batch, Broken, EndOfRib, Updates
from isthmus.routing.bgp.wire import FAMILY_OF, HEADER_BYTES, LONGEST, MARKER, BgpError, Code, Kind
from isthmus.tables.address import Family

_UNSYNCHRONIZED, _BAD_LENGTH, _BAD_KIND = 1, 2, 3  # subcodes
_LENGTH_AND_KIND: Final = Struct(">HB").unpack_from
_REFRESH: Final = Struct(">HBB")
_SHORTEST: Final[dict[int, int]] = {
    Kind.OPEN: 29,
    Kind.UPDATE: 23,
    Kind.NOTIFICATION: 21,
    Kind.KEEPALIVE: 19,
    Kind.ROUTE_REFRESH: 23,
}
_LONGEST: Final[dict[int, int]] = {Kind.OPEN: LONGEST, Kind.KEEPALIVE: 19, Kind.ROUTE_REFRESH: 23}
# Of the others: as agreed (RFC 8654 4).
_UPDATE: Final = int(Kind.UPDATE)


class Keepalive(NamedTuple):
    """The peer is there."""


class Notification(NamedTuple):
    """The peer ends the session."""

    code: int
    subcode: int
    data: bytes


class RouteRefresh(NamedTuple):
    """The peer wants to be told all again (RFC 2918)."""

    family: Family


Message = Batch | EndOfRib | Open | Keepalive | Notification | RouteRefresh


class Reader:
    """Reads one session from its first byte on."""

    def __init__(self, agreement: Agreement | None = None, counts: Counts | None = None, many: int = MANY) -> None:
        """What is received is added to ``counts``. No agreement yet: there should be an OPEN first."""
        self._many = many
        self.counts = counts if counts is not None else Counts()
        self._rest = b""
        self.agree(agreement or Agreement())

    def agree(self, agreement: Agreement) -> None:
        """From the next message on this holds."""
        self._longest = agreement.longest
        self._updates = Updates(agreement, self.counts, self._many)

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are there whole after these bytes; to be used up before the next call.

        BgpError: the session can't go on, and nothing may be fed any more.
        """
        data = b"".join((self._rest, data, nlri.PADDING))
        at, there = 0, len(data) - len(nlri.PADDING)
        bodies: list[tuple[int, int]] = []
        while there - at >= HEADER_BYTES:
            length, kind = _LENGTH_AND_KIND(data, at + 16)
            if kind != _UPDATE or not 23 <= length <= self._longest or not data.startswith(MARKER, at):
                error = self._wrong(data, at, length, kind)
                if error is not None:
                    yield from self._read(data, bodies)
                    raise error
            end = at + length
            if end > there:
                break
            if kind == _UPDATE:
                bodies.append((at + HEADER_BYTES, end))
            else:
                yield from self._read(data, bodies)
                bodies = []
                if (message := _decode(kind, data[at + HEADER_BYTES : end])) is not None:
                    yield message
            at = end
        yield from self._read(data, bodies)
        self._rest = data[at:there]

    def _read(self, data: bytes, bodies: list[tuple[int, int]]) -> Iterator[Message]:
        """What UPDATEs say, up to the first that ends the session."""
        if not bodies:
            return
        try:
            found = self._updates.read(data, bodies)
        except Broken as broken:
            yield from self._read(data, bodies[: broken.index])
            raise broken.error from broken
        yield from found

    def _wrong(self, data: bytes, at: int, length: int, kind: int) -> BgpError | None:
        """What is wrong with a header."""
        if not data.startswith(MARKER, at):
            return BgpError(Code.HEADER, _UNSYNCHRONIZED)
        if kind not in _SHORTEST:
            return BgpError(Code.HEADER, _BAD_KIND, bytes((kind,)))
        if not _SHORTEST[kind] <= length <= _LONGEST.get(kind, self._longest):
            return BgpError(Code.HEADER, _BAD_LENGTH, length.to_bytes(2, "big"))
        return None


def _decode(kind: int, body: bytes) -> Message | None:
    """Any message but an UPDATE; None: one that asks for what nobody offered."""
    match kind:
        case Kind.OPEN:
            return decode_open(body)
        case Kind.NOTIFICATION:
            return Notification(body[0], body[1], body[2:])
        case Kind.ROUTE_REFRESH:
            afi, subtype, safi = _REFRESH.unpack(body)
            family = FAMILY_OF.get((afi, safi))
            return RouteRefresh(family) if family and not subtype else None
        case _:
            return Keepalive()
