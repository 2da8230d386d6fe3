"""Path attributes: what a route says beside its prefix (RFC 4271 5, RFC 1997, RFC 8092).

``Attributes`` are values: frozen, compared by content. A full table has some hundred thousand of them, so AS paths and
communities stay in the form in which they came, and are spelled out when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct, unpack
from typing import Final, NamedTuple

from isthmus.tables.address import Family, address_bytes

ORIGIN, AS_PATH, NEXT_HOP, MED, LOCAL_PREF, ATOMIC_AGGREGATE, AGGREGATOR, COMMUNITIES = range(1, 9)
ORIGINATOR_ID, CLUSTER_LIST = 9, 10
MP_REACH, MP_UNREACH, EXTENDED_COMMUNITIES, AS4_PATH, AS4_AGGREGATOR = range(14, 19)
LARGE_COMMUNITIES: Final = 32

OPTIONAL, TRANSITIVE, PARTIAL, EXTENDED = 0x80, 0x40, 0x20, 0x10
"""Attribute flags (RFC 4271 4.3)."""

DEFAULT_LOCAL_PREF: Final = 100
NO_EXPORT, NO_ADVERTISE = 0xFFFFFF01, 0xFFFFFF02
"""Well-known communities (RFC 1997)."""

_U32: Final = Struct(">I").pack
_SET, SEQUENCE, _CONFED_SEQUENCE, _CONFED_SET = range(1, 5)
_BRACKETS: Final = {(False, True): "{}", (False, False): "{{{}}}", (True, True): "({})", (True, False): "[{}]"}


class Origin(IntEnum):
    """Where a route comes from; the lower is preferred."""

    IGP = 0
    EGP = 1
    INCOMPLETE = 2


class Segment(NamedTuple):
    """A part of an AS path: AS numbers in order, or (``ordered`` is false) a set. ``confed``: see RFC 5065."""

    ordered: bool
    asns: tuple[int, ...]
    confed: bool = False


class AsPath(bytes):
    """An AS path, as it stands in an UPDATE with AS numbers of 4 bytes (RFC 4271 4.3, RFC 6793)."""

    __slots__ = ()

    @classmethod
    def of(cls, *segments: Segment) -> AsPath:
        """From its segments, of at most 255 AS numbers each; none: the path of a route that starts here."""
        return cls(b"".join(bytes((_kind(one), len(one.asns))) + b"".join(map(_U32, one.asns)) for one in segments))

    @classmethod
    def sequence(cls, *asns: int) -> AsPath:
        """A path of one ordered segment: the neighbour first, the origin last."""
        return cls.of(Segment(True, asns)) if asns else cls()

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Its segments, the nearest first. ValueError if it is malformed; one that was received never is."""
        return tuple(
            Segment(kind in (SEQUENCE, _CONFED_SEQUENCE), unpack(f">{len(asns) // 4}I", asns), kind > SEQUENCE)
            for kind, asns in self._parts()
        )

    @property
    def hops(self) -> int:
        """Its length, as routes are compared: a set counts as one, a confederation's part not (RFC 4271 9.1.2.2 a)."""
        if len(self) > 1 and self[0] == SEQUENCE and len(self) == 2 + 4 * self[1]:
            return self[1]
        return sum(
            len(asns) // 4 if kind == SEQUENCE else 1 for kind, asns in self._parts() if kind in (SEQUENCE, _SET)
        )

    @property
    def neighbour(self) -> int:
        """The AS that told of the route, whose MEDs are comparable (RFC 4271 9.1.2.2 c); 0 where none leads it."""
        first = next((part for part in self._parts() if part[0] in (SEQUENCE, _SET)), (_SET, b""))
        return int.from_bytes(first[1][:4], "big") if first[0] == SEQUENCE else 0

    def valid(self) -> bool:
        """True if every segment is of a known kind, there whole, and not empty (RFC 7606 7.2)."""
        try:
            return all(asns for _, asns in self._parts())
        except ValueError:
            return False

    def _parts(self) -> Iterator[tuple[int, bytes]]:
        """Kind and packed AS numbers of each segment."""
        at = 0
        while at < len(self):
            end = at + 2 + 4 * self[at + 1] if at + 1 < len(self) else len(self) + 1
            if end > len(self) or not _SET <= self[at] <= _CONFED_SET:
                raise ValueError("malformed AS path")
            yield self[at], self[at + 2 : end]
            at = end

    def __str__(self) -> str:
        return " ".join(
            _BRACKETS[one.confed, one.ordered].format(" ".join(map(str, one.asns))) for one in self.segments
        )


def _kind(segment: Segment) -> int:
    if segment.confed:
        return _CONFED_SEQUENCE if segment.ordered else _CONFED_SET
    return SEQUENCE if segment.ordered else _SET


class Communities(bytes):
    """Communities, as they stand in an UPDATE: 32 bits each (RFC 1997)."""

    __slots__ = ()

    @classmethod
    def of(cls, *values: int) -> Communities:
        """From their numbers: ``65000:1`` is ``65000 << 16 | 1``."""
        return cls(b"".join(map(_U32, values)))

    @property
    def values(self) -> tuple[int, ...]:
        """Their numbers, in the order in which they came."""
        return unpack(f">{len(self) // 4}I", self)


class LargeCommunities(bytes):
    """Large communities, as they stand in an UPDATE: three numbers of 32 bits each (RFC 8092)."""

    __slots__ = ()

    @classmethod
    def of(cls, *values: tuple[int, int, int]) -> LargeCommunities:
        """From their three numbers: the AS that defines them first."""
        return cls(b"".join(_U32(number) for value in values for number in value))

    @property
    def values(self) -> tuple[tuple[int, int, int], ...]:
        """Their numbers, in the order in which they came."""
        numbers = unpack(f">{len(self) // 4}I", self)
        return tuple(zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True))


class Attributes(NamedTuple):
    """What a route says beside its prefix.

    ``next_hop``: family and left-aligned address. ``med``: None if there is none. ``other``: further transitive
    attributes (aggregator, extended communities, unknown ones), whole, as they are to be passed on.
    """

    next_hop: tuple[Family, int]
    as_path: AsPath = AsPath()
    origin: Origin = Origin.IGP
    med: int | None = None
    local_pref: int = DEFAULT_LOCAL_PREF
    communities: Communities = Communities()
    large_communities: LargeCommunities = LargeCommunities()
    other: bytes = b""

    def encode(self, *, next_hop: bool, internal: bool) -> bytes:
        """As they stand in an UPDATE. ``next_hop``: NEXT_HOP too (else it is in MP_REACH_NLRI). ``internal``: to a peer
        of the own AS, which is told LOCAL_PREF."""
        parts = [attribute(TRANSITIVE, ORIGIN, bytes((self.origin,))), attribute(TRANSITIVE, AS_PATH, self.as_path)]
        if next_hop:
            parts.append(attribute(TRANSITIVE, NEXT_HOP, address_bytes(*self.next_hop)))
        if self.med is not None:
            parts.append(attribute(OPTIONAL, MED, _U32(self.med)))
        if internal:
            parts.append(attribute(TRANSITIVE, LOCAL_PREF, _U32(self.local_pref)))
        if self.communities:
            parts.append(attribute(OPTIONAL | TRANSITIVE, COMMUNITIES, self.communities))
        if self.large_communities:
            parts.append(attribute(OPTIONAL | TRANSITIVE, LARGE_COMMUNITIES, self.large_communities))
        return b"".join((*parts, self.other))


def attribute(flags: int, code: int, value: bytes) -> bytes:
    """One attribute, with its header."""
    if len(value) > 255:
        return bytes((flags | EXTENDED, code)) + len(value).to_bytes(2, "big") + value
    return bytes((flags & ~EXTENDED, code, len(value))) + value
