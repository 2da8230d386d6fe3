"""From UPDATEs to batches of routes.

A full table comes as some hundred thousand UPDATEs of a few prefixes each, so what an UPDATE costs counts as much as
what a prefix costs. Where many have come at once, those that are like nearly all are read in bulk, column by column
(``bulk``); each of the others, and all where there are few, is read by itself, as the RFCs have it (``received``).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from isthmus.routing.bgp import nlri
from isthmus.routing.bgp.attributes import MP_REACH, MP_UNREACH, OPTIONAL, TRANSITIVE, Attributes
from isthmus.routing.bgp.bulk import NOTHING, Ordinary, ordinary
from isthmus.routing.bgp.capabilities import Agreement
from isthmus.routing.bgp.received import Counts, Found, Interpreter, Said, Span, TreatAsWithdraw, decoded
from isthmus.routing.bgp.wire import FAMILY_OF, BgpError, Code
from isthmus.tables.address import FAMILIES, Family
from isthmus.tables.prefixes import Prefixes

_MALFORMED_LIST, _OPTIONAL_ATTRIBUTE, _INVALID_NETWORK = 1, 9, 10  # subcodes

MANY: Final = 64
"""So many UPDATEs at once are read in bulk first."""
_U16: Final = Struct(">H").unpack_from
_FAMILY: Final = Struct(">HB").unpack_from
_NEXT_HOP_BYTES: Final[dict[Family, tuple[int, ...]]] = {4: (4,), 6: (16, 32)}

_log = logging.getLogger(__name__)


class Sets(NamedTuple):
    """Sets of attributes, as columns: what of them matters for the choice of paths, and where the rest can be found.

    ``raw``: all as they came, but for those with routes in them; ``next_hop``: as it came; ``large``: large
    communities, as they came; ``med``: -1 where there is none; ``hops``: length of the AS path; ``internal``: told by a
    peer of our own AS."""

    raw: list[bytes]
    next_hop: list[bytes]
    large: list[bytes]
    med: npt.NDArray[np.int64]
    local_pref: npt.NDArray[np.int64]
    hops: npt.NDArray[np.int64]
    origin: npt.NDArray[np.int64]
    internal: bool

    def attributes(self, index: int) -> Attributes:
        """One of them, spelled out."""
        return decoded(self.raw[index], self.next_hop[index], internal=self.internal)


class Batch(NamedTuple):
    """Routes of one family in the order in which they came, as columns: ``which`` of ``sets`` each prefix has (-1: it
    is withdrawn), and the identifier of its path (0 where there are none)."""

    family: Family
    sets: Sets
    which: npt.NDArray[np.int64]
    path_ids: npt.NDArray[np.uint32]
    prefixes: Prefixes

    def routes(self) -> Iterator[tuple[Attributes | None, int, int]]:
        """One by one: attributes (None: withdrawn), path identifier, and prefix key."""
        for which, path_id, key in zip(self.which.tolist(), self.path_ids.tolist(), self.prefixes, strict=True):
            yield None if which < 0 else self.sets.attributes(which), path_id, key


class EndOfRib(NamedTuple):
    """All that the peer knew when the session came up has been told (RFC 4724 2)."""

    family: Family


class Broken(Exception):
    """The session can't go on after UPDATE number ``index`` of those that were to be read."""

    def __init__(self, index: int, error: BgpError) -> None:
        super().__init__(str(error))
        self.index, self.error = index, error


class _Field(NamedTuple):
    """Prefixes in ``data[start:end]`` of an UPDATE. ``said``: None: they are withdrawn."""

    family: Family
    start: int
    end: int
    subcode: int = _INVALID_NETWORK  # of the error, if they can't be read
    said: Said | None = None


class _Reach(NamedTuple):
    """A field of routes to announce. ``next_hop``: None: an attribute says it."""

    field: _Field
    next_hop: bytes | None = None


class Updates:
    """Reads the UPDATEs of a session."""

    def __init__(self, agreement: Agreement, counts: Counts, many: int) -> None:
        """What is received is added to ``counts``; ``many``: see ``MANY``."""
        self._families = agreement.families
        self._with_ids = agreement.receive
        self._counts, self._many = counts, many
        self._internal = agreement.internal
        self._interpreter = Interpreter(counts, internal=agreement.internal)

    def read(self, data: bytes, bodies: Sequence[tuple[int, int]]) -> list[Batch | EndOfRib]:
        """What UPDATEs say whose bodies are ``data[start:end]``; at most one batch of each family, then what has ended.

        ``nlri.PADDING`` must follow the data. Raises ``Broken``.
        """
        if len(bodies) < self._many:
            bulk, rest = NOTHING, list(range(len(bodies)))
        else:
            bulk = ordinary(data, bodies, self._families, internal=self._internal)
            rest = np.flatnonzero(~bulk.ok).tolist()
        others: dict[Family, list[tuple[int, _Field]]] = {family: [] for family in FAMILIES}
        ended: list[EndOfRib] = []
        for index in rest:
            try:
                found = list(self._each(data, *bodies[index]))
            except BgpError as error:
                raise Broken(index, error) from error
            for one in found:
                if isinstance(one, EndOfRib):
                    ended.append(one)
                else:
                    others[one.family].append((index, one))
        batches = [self._batch(family, data, bulk, others[family]) for family in FAMILIES]
        self._counts.updates += len(bodies)
        for batch in batches:
            if batch is not None:
                withdrawn = int((batch.which < 0).sum())
                self._counts.announced += len(batch.which) - withdrawn
                self._counts.withdrawn += withdrawn
        return [*(batch for batch in batches if batch is not None), *ended]

    def _batch(self, family: Family, data: bytes, bulk: Ordinary, others: list[tuple[int, _Field]]) -> Batch | None:
        """The routes of one family: those of the UPDATEs read in bulk, and those of others, by number of UPDATE."""
        index, starts, ends = bulk.fields(family)
        if not len(index) and not others:
            return None
        said = [field.said for _, field in others if field.said is not None]
        sets = bulk.sets(data, index, said)
        which = order = np.arange(len(index))
        if others:
            index = np.concatenate((index, [index for index, _ in others]))
            order = np.argsort(index, kind="stable")
            mine = np.array([field.said is not None for _, field in others])
            which = np.concatenate((which, np.where(mine, len(which) - 1 + np.cumsum(mine), -1)))[order]
            starts = np.concatenate((starts, [field.start for _, field in others]))[order]
            ends = np.concatenate((ends, [field.end for _, field in others]))[order]
        try:
            counts, path_ids, prefixes = nlri.decode(family, data, starts, ends, with_ids=family in self._with_ids)
        except nlri.NotPrefixes as error:
            place = int(order[error.index])
            bulky = len(index) - len(others)
            in_bulk = _INVALID_NETWORK if family == 4 else _OPTIONAL_ATTRIBUTE  # by NLRI, or by MP_REACH_NLRI
            subcode = others[place - bulky][1].subcode if place >= bulky else in_bulk
            raise Broken(int(index[place]), BgpError(Code.UPDATE, subcode, detail=str(error))) from error
        return Batch(family, Sets(*sets, self._internal), np.repeat(which, counts), path_ids, prefixes)

    def _each(self, data: bytes, at: int, end: int) -> Iterator[_Field | EndOfRib]:
        """One UPDATE by itself, withdrawals first."""
        (withdrawn,) = _U16(data, at)
        start = at + 4 + withdrawn  # of the attributes
        stop = start + _U16(data, start - 2)[0] if start <= end else end + 1
        if stop > end:
            raise BgpError(Code.UPDATE, _MALFORMED_LIST, detail="a length leads behind the end")
        if not withdrawn and start == end:
            if 4 in self._families:
                yield EndOfRib(4)
            return
        found = self._interpreter.find(data, start, stop)
        reach, unreach = found.multiprotocol.get(MP_REACH), found.multiprotocol.get(MP_UNREACH)
        if withdrawn and self._agreed(4):
            yield _Field(4, at + 2, start - 2)
        if unreach and (gone := self._unreach(data, unreach)):
            if gone.start < gone.end:
                yield gone
            elif not withdrawn and (start, stop) == (unreach.head, end) and unreach.end == end:  # it is alone
                yield EndOfRib(gone.family)
        told = [_Reach(_Field(4, stop, end))] if stop < end and self._agreed(4) else []
        if reach and (one := self._reach(data, reach)):
            told.append(one)
        if found.error and not reach and stop == end:  # routes that it was meant for can't be told (RFC 7606 5.2)
            raise BgpError(Code.UPDATE, _MALFORMED_LIST, detail=found.error)
        raw = _without(data, start, stop, found.multiprotocol.values()) if told else b""
        for field, next_hop in told:
            said = self._said(found, next_hop, raw)
            if field.start < field.end:
                yield field._replace(said=said)

    def _said(self, found: Found, next_hop: bytes | None, raw: bytes) -> Said | None:
        """The attributes of an UPDATE; None: they are wrong, and its routes are withdrawn."""
        try:
            if (reach := found.multiprotocol.get(MP_REACH)) and reach.flags & (OPTIONAL | TRANSITIVE) != OPTIONAL:
                raise TreatAsWithdraw("MP_REACH_NLRI has wrong flags")
            return self._interpreter.said(found, next_hop, raw)
        except TreatAsWithdraw as error:
            _log.warning("an UPDATE is treated as a withdrawal: %s", error)
            self._counts.treated_as_withdrawn += 1
            return None

    def _reach(self, data: bytes, reach: Span) -> _Reach | None:
        """The prefixes in an MP_REACH_NLRI (RFC 4760 3); None: of a family that is not agreed on."""
        _, head, start, end = reach
        family = self._family(data, reach)
        if family is None:
            return None
        hop = start + 4
        first = hop + data[start + 3] + 1
        if data[start + 3] not in _NEXT_HOP_BYTES[family] or first > end:
            raise BgpError(Code.UPDATE, _OPTIONAL_ATTRIBUTE, data[head:end], "a next hop has a wrong length")
        return _Reach(_Field(family, first, end, _OPTIONAL_ATTRIBUTE), data[hop : first - 1])

    def _unreach(self, data: bytes, unreach: Span) -> _Field | None:
        """The prefixes in an MP_UNREACH_NLRI (RFC 4760 4); None: of a family that is not agreed on."""
        family = self._family(data, unreach)
        return _Field(family, unreach.start + 3, unreach.end, _OPTIONAL_ATTRIBUTE) if family else None

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


def _without(data: bytes, start: int, stop: int, spans: Iterable[Span]) -> bytes:
    """``data[start:stop]`` but for these attributes, which are in the order in which they stand there."""
    kept = b""
    for span in spans:
        kept += data[start : span.head]
        start = span.end
    return kept + data[start:stop]
