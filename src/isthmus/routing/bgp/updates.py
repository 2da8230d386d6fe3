"""From UPDATEs to batches of routes.

A full table comes as some hundred thousand UPDATEs of a few prefixes each, so what an UPDATE costs counts as much as
what a prefix costs. Sets of attributes that were seen before are found again by their bytes, without a look at them;
an UPDATE that holds nothing but such a set and its prefixes, which is nearly every one, is done in few steps.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final, NamedTuple

from isthmus.routing.bgp import nlri
from isthmus.routing.bgp.attributes import MP_REACH, MP_UNREACH, OPTIONAL, TRANSITIVE, Attributes
from isthmus.routing.bgp.capabilities import Agreement
from isthmus.routing.bgp.received import Attribute, Counts, Interpreter, TreatAsWithdraw, split
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
        found, whole = split(data[start:stop])
        reach, unreach = _only(found, MP_REACH), _only(found, MP_UNREACH)
        if at < start - 2 and self._agreed(4):
            yield self._batch(None, _Field(4, data, at, start - 2))
        if unreach and (gone := self._unreach(unreach)):
            alone = len(found) == 1 and whole and at == start - 2 and stop == end
            if gone.start < gone.end:
                yield self._batch(None, gone)
            elif alone:
                yield EndOfRib(gone.family)
        fields = [_Field(4, data, stop, end)] if stop < end and self._agreed(4) else []
        if reach and (field := self._reach(reach)):
            fields.append(field)
        rest = [one for one in found if one.code not in (MP_REACH, MP_UNREACH)]
        try:
            if not whole or (reach and reach.flags & (OPTIONAL | TRANSITIVE) != OPTIONAL):
                raise TreatAsWithdraw("the attributes are cut off, or MP_REACH_NLRI has wrong flags")
            if not fields:
                self._interpreter.sift(rest)
            batches = [self._batch(self._attributes(rest, field), field) for field in fields]
        except TreatAsWithdraw as error:
            if not reach and stop == end:  # routes that it was meant for can't be told (RFC 7606 5.2)
                raise BgpError(Code.UPDATE, _MALFORMED_LIST, detail=str(error)) from error
            _log.warning("an UPDATE is treated as a withdrawal: %s", error)
            self._counts.treated_as_withdrawn += 1
            batches = [self._batch(None, field) for field in fields]
        yield from (batch for batch in batches if batch.keys)

    def _attributes(self, rest: list[Attribute], field: _Field) -> Attributes:
        """Those of the routes in a field, one object for equal ones. Raises as ``Interpreter.attributes``."""
        key = field.known_by + b"".join(one.raw for one in rest)
        attributes = self._known.get(key)
        if attributes is None:
            attributes = self._interpreter.attributes(rest, field.next_hop)
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[key] = attributes
        return attributes

    def _reach(self, reach: Attribute) -> _Field | None:
        """The prefixes in an MP_REACH_NLRI (RFC 4760 3); None: of a family that is not agreed on."""
        value = reach.value
        family = self._family(reach)
        if family is None:
            return None
        hop = value[3] if len(value) > 3 else 0
        first = _REACH_BYTES - 4 + hop
        if hop not in _NEXT_HOP_BYTES[family] or len(value) < first:
            raise BgpError(Code.UPDATE, _OPTIONAL_ATTRIBUTE, reach.raw, "a next hop has a wrong length")
        start, end = len(reach.raw) - len(value) + first, len(reach.raw)
        padded = reach.raw + nlri.PADDING
        return _Field(family, padded, start, end, _OPTIONAL_ATTRIBUTE, value[4 : 4 + hop], value[: 4 + hop])

    def _unreach(self, unreach: Attribute) -> _Field | None:
        """The prefixes in an MP_UNREACH_NLRI (RFC 4760 4); None: of a family that is not agreed on."""
        family = self._family(unreach)
        if family is None:
            return None
        start, end = len(unreach.raw) - len(unreach.value) + 3, len(unreach.raw)
        return _Field(family, unreach.raw + nlri.PADDING, start, end, _OPTIONAL_ATTRIBUTE)

    def _family(self, attribute: Attribute) -> Family | None:
        if len(attribute.value) < 3:
            raise BgpError(Code.UPDATE, _OPTIONAL_ATTRIBUTE, attribute.raw, "an attribute without a family")
        afi, safi = _FAMILY(attribute.value)
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


def _only(found: list[Attribute], code: int) -> Attribute | None:
    """The attribute of this code, if there is one; BgpError if there are two (RFC 7606 3 g)."""
    all_of_it = [one for one in found if one.code == code]
    if len(all_of_it) > 1:
        raise BgpError(Code.UPDATE, _MALFORMED_LIST, detail=f"attribute {code} stands there twice")
    return all_of_it[0] if all_of_it else None
