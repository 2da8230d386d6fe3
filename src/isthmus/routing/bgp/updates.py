"""From UPDATEs to batches of routes.

A full table comes as some hundred thousand UPDATEs of a few prefixes each, so what an UPDATE costs counts as much as
what a prefix costs. Sets of attributes that were seen before are found again by their bytes, without a look at them;
an UPDATE that holds nothing but such a set and its prefixes, which is nearly every one, is done in few steps.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from typing import Final, NamedTuple

from isthmus.routing.bgp import nlri
from isthmus.routing.bgp.attributes import MP_REACH, MP_UNREACH, OPTIONAL, TRANSITIVE, Attributes
from isthmus.routing.bgp.capabilities import Agreement
from isthmus.routing.bgp.received import Counts, Found, Interpreter, Span, TreatAsWithdraw
from isthmus.routing.bgp.wire import FAMILY_OF, BgpError, Code
from isthmus.tables.address import Family

MOST_KNOWN: Final = 1 << 19
"""Sets of attributes that are remembered; then all are forgotten. Two full tables have about 400,000."""

_MALFORMED_LIST, _OPTIONAL_ATTRIBUTE, _INVALID_NETWORK = 1, 9, 10  # subcodes

_U16: Final = Struct(">H").unpack_from
_REACH: Final = Struct(">BBHHBB").unpack_from  # flags, code, length of 16 bits, AFI, SAFI, length of the next hop
_REACH_BYTES: Final = 9  # with the reserved byte behind the next hop
_REACH_FLAGS: Final = 0x90  # optional, extended length
_FAMILY: Final = Struct(">HB").unpack_from
_NEXT_HOP_BYTES: Final[dict[Family, tuple[int, ...]]] = {4: (4,), 6: (16, 32)}

_log = logging.getLogger(__name__)


class Batch(NamedTuple):
    """Routes of one part of an UPDATE: prefix keys with equal attributes (None: withdrawn), each with the identifier
    of its path (0 where there are none)."""

    family: Family
    attributes: Attributes | None
    path_ids: Sequence[int]
    keys: Sequence[int]


class EndOfRib(NamedTuple):
    """All that the peer knew when the session came up has been told (RFC 4724 2)."""

    family: Family


class _Field(NamedTuple):
    """Prefixes in ``data[start:end]``. ``known_by``: what stands before the other attributes to tell sets apart."""

    family: Family
    data: bytes
    start: int
    end: int
    subcode: int = _INVALID_NETWORK  # of the error, if they can't be read
    next_hop: bytes | None = None  # None: the attribute says it
    known_by: bytes = b""


class Updates:
    """Reads the UPDATEs of a session."""

    def __init__(self, agreement: Agreement, counts: Counts) -> None:
        """What is received is added to ``counts``."""
        self._families = agreement.families
        self._with_ids = agreement.receive
        self._counts = counts
        self._interpreter = Interpreter(counts, internal=agreement.internal)
        self._known: dict[bytes, Attributes] = {}

    def read(self, data: bytes, at: int, end: int) -> Sequence[Batch | EndOfRib]:
        """What the UPDATE whose body is ``data[at:end]`` says, withdrawals first. ``nlri.PADDING`` must follow.

        BgpError if the session can't go on.
        """
        (withdrawn,) = _U16(data, at)
        start = at + 4 + withdrawn  # of the attributes
        stop = start + _U16(data, start - 2)[0] if start <= end else end + 1
        if stop > end:
            raise BgpError(Code.UPDATE, _MALFORMED_LIST, detail="a length leads behind the end")
        if not withdrawn:
            if start == end:
                return (EndOfRib(4),) if 4 in self._families else ()
            if batch := self._seen_before(data, start, stop, end):
                return (batch,)
        return list(self._unseen(data, at + 2, start, stop, end))

    def _seen_before(self, data: bytes, start: int, stop: int, end: int) -> Batch | None:
        """What an UPDATE says that has nothing but known attributes and prefixes, be it in NLRI or in an MP_REACH_NLRI
        in front; else None. No other set has the bytes of a family and a next hop followed by attributes: as
        attributes they would have wrong flags, and such a set is never remembered."""
        if data[start + 1] != MP_REACH:
            attributes = self._known.get(data[start:stop])
            if not attributes or stop == end:
                return None
            return self._batch(attributes, _Field(4, data, stop, end))
        flags, _, length, afi, safi, hop = _REACH(data, start)
        rest = start + 4 + length
        prefixes = start + _REACH_BYTES + hop
        if flags != _REACH_FLAGS or stop != end or not prefixes < rest <= stop:
            return None
        attributes = self._known.get(data[start + 4 : prefixes - 1] + data[rest:stop])
        if not attributes:
            return None
        return self._batch(attributes, _Field(FAMILY_OF[afi, safi], data, prefixes, rest, _OPTIONAL_ATTRIBUTE))

    def _unseen(self, data: bytes, at: int, start: int, stop: int, end: int) -> Iterator[Batch | EndOfRib]:
        """Any UPDATE: what to withdraw from ``at`` on, attributes from ``start``, what to announce from ``stop``."""
        found = self._interpreter.find(data, start, stop)
        reach, unreach = found.multiprotocol.get(MP_REACH), found.multiprotocol.get(MP_UNREACH)
        if at < start - 2 and self._agreed(4):
            yield self._batch(None, _Field(4, data, at, start - 2))
        if unreach and (gone := self._unreach(data, unreach)):
            if gone.start < gone.end:
                yield self._batch(None, gone)
            elif (at, start, stop) == (start - 2, unreach.head, end) and unreach.end == end:  # it is alone
                yield EndOfRib(gone.family)
        fields = [_Field(4, data, stop, end)] if stop < end and self._agreed(4) else []
        if reach and (field := self._reach(data, reach)):
            fields.append(field)
        if found.error and not reach and stop == end:  # routes that it was meant for can't be told (RFC 7606 5.2)
            raise BgpError(Code.UPDATE, _MALFORMED_LIST, detail=found.error)
        for field in fields:
            if batch := self._announced(field, found, data, start, stop):
                yield batch

    def _announced(self, field: _Field, found: Found, data: bytes, start: int, stop: int) -> Batch | None:
        """The routes of a field, with the attributes in ``data[start:stop]``; withdrawn, if these are wrong."""
        try:
            if (reach := found.multiprotocol.get(MP_REACH)) and reach.flags & (OPTIONAL | TRANSITIVE) != OPTIONAL:
                raise TreatAsWithdraw("MP_REACH_NLRI has wrong flags")
            key = field.known_by + _without(data, start, stop, found.multiprotocol.values())
            attributes = self._known.get(key) or self._remember(
                key, self._interpreter.attributes(found, field.next_hop)
            )
        except TreatAsWithdraw as error:
            _log.warning("an UPDATE is treated as a withdrawal: %s", error)
            self._counts.treated_as_withdrawn += 1
            attributes = None
        return self._batch(attributes, field) if field.start < field.end else None

    def _remember(self, key: bytes, attributes: Attributes) -> Attributes:
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[key] = attributes
        return attributes

    def _reach(self, data: bytes, reach: Span) -> _Field | None:
        """The prefixes in an MP_REACH_NLRI (RFC 4760 3); None: of a family that is not agreed on."""
        _, head, start, end = reach
        family = self._family(data, reach)
        if family is None:
            return None
        hop = start + 4
        first = hop + data[start + 3] + 1
        if data[start + 3] not in _NEXT_HOP_BYTES[family] or first > end:
            raise BgpError(Code.UPDATE, _OPTIONAL_ATTRIBUTE, data[head:end], "a next hop has a wrong length")
        return _Field(family, data, first, end, _OPTIONAL_ATTRIBUTE, data[hop : first - 1], data[start : first - 1])

    def _unreach(self, data: bytes, unreach: Span) -> _Field | None:
        """The prefixes in an MP_UNREACH_NLRI (RFC 4760 4); None: of a family that is not agreed on."""
        family = self._family(data, unreach)
        return _Field(family, data, unreach.start + 3, unreach.end, _OPTIONAL_ATTRIBUTE) if family else None

    def _family(self, data: bytes, span: Span) -> Family | None:
        if span.end - span.start < 3:
            raise BgpError(Code.UPDATE, _OPTIONAL_ATTRIBUTE, data[span.head : span.end], "it lacks its family")
        afi, safi = _FAMILY(data, span.start)
        family = FAMILY_OF.get((afi, safi))
        return family if self._agreed(family) else None

    def _agreed(self, family: Family | None) -> bool:
        """False for routes of a family that nobody asked for: they are passed over, and counted."""
        agreed = family in self._families
        self._counts.foreign += not agreed
        return agreed

    def _batch(self, attributes: Attributes | None, field: _Field) -> Batch:
        family, data, start, end, subcode, _, _ = field
        try:
            path_ids, keys = nlri.decode(family, data, start, end, with_ids=family in self._with_ids)
        except ValueError as error:
            raise BgpError(Code.UPDATE, subcode, detail=str(error)) from error
        if attributes is None:
            self._counts.withdrawn += len(keys)
        else:
            self._counts.announced += len(keys)
        return Batch(family, attributes, path_ids, keys)


def _without(data: bytes, start: int, stop: int, spans: Iterable[Span]) -> bytes:
    """``data[start:stop]`` but for these attributes, which are in the order in which they stand there."""
    kept = b""
    for span in spans:
        kept += data[start : span.head]
        start = span.end
    return kept + data[start:stop]
