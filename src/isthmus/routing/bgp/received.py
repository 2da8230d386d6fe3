"""Path attributes as they are received: what is right, and what becomes of what is not (RFC 7606).

Three things can happen to a wrong attribute. *Attribute discard*: it is left out. *Treat-as-withdraw*: the routes of
the UPDATE are withdrawn. *Session reset*: it can't be known what was meant, so the session ends (``BgpError``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple

from isthmus.routing.bgp import attributes as a
from isthmus.routing.bgp.attributes import AsPath, Attributes, Communities, LargeCommunities, Origin
from isthmus.routing.bgp.wire import BgpError, Code
from isthmus.tables.address import Family, address_from_bytes

_LONG_HEADER: Final = Struct(">BBH").unpack_from
_MALFORMED_LIST, _UNRECOGNIZED = 1, 2  # subcodes of UPDATE errors
_ORIGINS: Final = tuple(Origin)
_NO_COMMUNITIES: Final = Communities()
_NO_LARGE_COMMUNITIES: Final = LargeCommunities()


@dataclass(slots=True)
class Counts:
    """What a session has received. ``treated_as_withdrawn`` counts UPDATEs; ``discarded`` counts attributes, once for
    each set of attributes that was new; ``foreign``: parts of UPDATEs of a family that was not agreed on."""

    updates: int = 0
    announced: int = 0
    withdrawn: int = 0
    treated_as_withdrawn: int = 0
    discarded: int = 0
    foreign: int = 0


class TreatAsWithdraw(Exception):
    """The attributes are wrong in a way that costs their routes, and nothing else."""


class Attribute(NamedTuple):
    """One attribute. ``raw``: with its header."""

    flags: int
    code: int
    value: bytes
    raw: bytes


def split(block: bytes) -> tuple[list[Attribute], bool]:
    """The attributes in a block, and whether it is whole: if not, the last one is cut off (RFC 7606 4)."""
    found: list[Attribute] = []
    at, end = 0, len(block)
    while at < end:
        if at + 3 > end:
            return found, False
        flags, code, length = block[at], block[at + 1], block[at + 2]
        start = at + 3
        if flags & a.EXTENDED:
            if at + 4 > end:
                return found, False
            flags, code, length = _LONG_HEADER(block, at)
            start = at + 4
        if start + length > end:
            return found, False
        found.append(Attribute(flags, code, block[start : start + length], block[at : start + length]))
        at = start + length
    return found, True


class _Rule(NamedTuple):
    flags: int  # optional, transitive
    valid: Callable[[bytes], bool]
    discard: bool = False  # wrong: left out, rather than treat-as-withdraw
    internal: bool = False  # of a peer of another AS: left out


def _of(size: int) -> Callable[[bytes], bool]:
    return lambda value: len(value) == size


def _some(size: int) -> Callable[[bytes], bool]:
    return lambda value: len(value) > 0 and len(value) % size == 0


_BOTH: Final = a.OPTIONAL | a.TRANSITIVE
_RULES: Final[dict[int, _Rule]] = {  # RFC 7606 7; RFC 8092 5 for large communities
    a.ORIGIN: _Rule(a.TRANSITIVE, lambda value: len(value) == 1 and value[0] < len(_ORIGINS)),
    a.AS_PATH: _Rule(a.TRANSITIVE, lambda value: AsPath(value).valid()),
    a.NEXT_HOP: _Rule(a.TRANSITIVE, _of(4)),
    a.MED: _Rule(a.OPTIONAL, _of(4)),
    a.LOCAL_PREF: _Rule(a.TRANSITIVE, _of(4), internal=True),
    a.ATOMIC_AGGREGATE: _Rule(a.TRANSITIVE, _of(0), discard=True),
    a.AGGREGATOR: _Rule(_BOTH, _of(8), discard=True),
    a.COMMUNITIES: _Rule(_BOTH, _some(4)),
    a.ORIGINATOR_ID: _Rule(a.OPTIONAL, _of(4), internal=True),
    a.CLUSTER_LIST: _Rule(a.OPTIONAL, _some(4), internal=True),
    a.EXTENDED_COMMUNITIES: _Rule(_BOTH, _some(8)),
    a.AS4_PATH: _Rule(_BOTH, lambda value: False, discard=True),  # between speakers with AS numbers of 4 bytes
    a.AS4_AGGREGATOR: _Rule(_BOTH, lambda value: False, discard=True),  # (RFC 6793 4.1)
    a.LARGE_COMMUNITIES: _Rule(_BOTH, _some(12)),
}
_READ: Final = frozenset(
    (a.ORIGIN, a.AS_PATH, a.NEXT_HOP, a.MED, a.LOCAL_PREF, a.COMMUNITIES, a.LARGE_COMMUNITIES)
)  # have a field of their own


class Interpreter:
    """Makes ``Attributes`` of what is received in a session."""

    def __init__(self, counts: Counts, *, internal: bool) -> None:
        """``internal``: the peer is of our own AS."""
        self._counts = counts
        self._internal = internal
        self._next_hops: dict[bytes, tuple[Family, int]] = {}

    def attributes(self, found: list[Attribute], next_hop: bytes | None) -> Attributes:
        """From all attributes but MP_REACH_NLRI, whose next hop is ``next_hop``; None: NEXT_HOP says it.

        TreatAsWithdraw: one is wrong, or one that must be there is missing. BgpError: one is well-known, but not to us.
        """
        values, other = self.sift(found)
        hop = next_hop if next_hop is not None else values.get(a.NEXT_HOP)
        origin, path = values.get(a.ORIGIN), values.get(a.AS_PATH)
        if hop is None or origin is None or path is None:
            raise TreatAsWithdraw("ORIGIN, AS_PATH or NEXT_HOP is missing")  # RFC 7606 3 d
        med, local_pref = values.get(a.MED), values.get(a.LOCAL_PREF)
        communities, large = values.get(a.COMMUNITIES), values.get(a.LARGE_COMMUNITIES)
        return Attributes(
            self._next_hop(hop),
            AsPath(path),
            _ORIGINS[origin[0]],
            None if med is None else int.from_bytes(med, "big"),
            a.DEFAULT_LOCAL_PREF if local_pref is None else int.from_bytes(local_pref, "big"),
            _NO_COMMUNITIES if communities is None else Communities(communities),
            _NO_LARGE_COMMUNITIES if large is None else LargeCommunities(large),
            b"".join(other),
        )

    def sift(self, found: list[Attribute]) -> tuple[dict[int, bytes], list[bytes]]:
        """The values that have a field in ``Attributes``, by code; what else is to be passed on. Raises as above."""
        values: dict[int, bytes] = {}
        other: list[bytes] = []
        seen: set[int] = set()
        for flags, code, value, raw in found:
            rule = _RULES.get(code)
            if code in seen or (rule and rule.internal and not self._internal):
                self._counts.discarded += 1  # the first one counts (RFC 7606 3 g)
                continue
            seen.add(code)
            if rule is None:
                self._unknown(flags, raw, other)
            elif (flags ^ rule.flags) & _BOTH:
                raise TreatAsWithdraw(f"flags {flags:#x} of attribute {code}")  # RFC 7606 3 c
            elif rule.valid(value):
                if code in _READ:
                    values[code] = value
                elif flags & a.TRANSITIVE:
                    other.append(raw)
            elif rule.discard:
                self._counts.discarded += 1
            else:
                raise TreatAsWithdraw(f"attribute {code} is malformed")
        return values, other

    def _unknown(self, flags: int, raw: bytes, other: list[bytes]) -> None:
        """Optional ones are passed on if they are transitive, marked as partial (RFC 4271 5)."""
        if not flags & a.OPTIONAL:
            raise BgpError(Code.UPDATE, _UNRECOGNIZED, raw)
        if flags & a.TRANSITIVE:
            other.append(bytes((flags | a.PARTIAL,)) + raw[1:])

    def _next_hop(self, raw: bytes) -> tuple[Family, int]:
        """32 bytes are a global address and one of the link (RFC 2545 3), which counts where the former is ``::``."""
        known = self._next_hops.get(raw)
        if known is None:
            address = raw[:16] if any(raw[:16]) else raw[-16:]
            known = self._next_hops[raw] = address_from_bytes(address)
        return known
