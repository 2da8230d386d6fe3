"""Path attributes as they are received: what is right, and what becomes of what is not (RFC 7606).

Three things can happen to a wrong attribute. *Attribute discard*: it is left out. *Treat-as-withdraw*: the routes of
the UPDATE are withdrawn. *Session reset*: it can't be known what was meant, so the session ends (``BgpError``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

from isthmus.routing.bgp import attributes as a
from isthmus.routing.bgp.attributes import AsPath, Attributes, Communities, LargeCommunities, Origin
from isthmus.routing.bgp.wire import BgpError, Code
from isthmus.tables.address import Family, address_from_bytes

_SHORT_HEADER: Final = Struct(">BBB").unpack_from  # flags, code, length
_MALFORMED_LIST, _UNRECOGNIZED = 1, 2  # subcodes of UPDATE errors
_ORIGINS: Final = tuple(Origin)
_MOST_DECODED: Final = 1 << 12


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


class Span(NamedTuple):
    """An attribute in ``data``: its header starts at ``head``, its value is ``data[start:end]``."""

    flags: int
    head: int
    start: int
    end: int


class Found(NamedTuple):
    """What is in a block of attributes. ``error``: why its routes can't be announced; empty if they can."""

    values: dict[int, bytes]
    other: list[bytes]
    multiprotocol: dict[int, Span]
    error: str


class Said(NamedTuple):
    """A set of attributes: see ``updates.Sets``."""

    raw: bytes
    next_hop: bytes
    large: bytes
    med: int
    local_pref: int
    hops: int
    origin: int


class Rule(NamedTuple):
    """What an attribute must be like."""

    flags: int  # optional, transitive
    size: int  # bytes of the value
    many: bool = False  # or of each of its parts, of which there is one at least
    valid: Callable[[bytes], bool] | None = None  # says it instead
    passed_on: bool = False  # whole, in ``Attributes.other``
    discard: bool = False  # wrong: left out, rather than treat-as-withdraw
    internal: bool = False  # of a peer of another AS: left out


def _valid_path(value: bytes) -> bool:
    """What nearly every path is can be told at once."""
    return (len(value) > 2 and value[0] == a.SEQUENCE and len(value) == 2 + 4 * value[1]) or AsPath(value).valid()


BOTH: Final = a.OPTIONAL | a.TRANSITIVE
"""The flags that an attribute of a type must have or not have."""
_NEVER: Final = -1
RULES: Final[dict[int, Rule]] = {  # RFC 7606 7; RFC 8092 5 for large communities
    a.ORIGIN: Rule(a.TRANSITIVE, 1, valid=lambda value: len(value) == 1 and value[0] < len(_ORIGINS)),
    a.AS_PATH: Rule(a.TRANSITIVE, 0, valid=_valid_path),
    a.NEXT_HOP: Rule(a.TRANSITIVE, 4),
    a.MED: Rule(a.OPTIONAL, 4),
    a.LOCAL_PREF: Rule(a.TRANSITIVE, 4, internal=True),
    a.ATOMIC_AGGREGATE: Rule(a.TRANSITIVE, 0, passed_on=True, discard=True),
    a.AGGREGATOR: Rule(BOTH, 8, passed_on=True, discard=True),
    a.COMMUNITIES: Rule(BOTH, 4, many=True),
    a.ORIGINATOR_ID: Rule(a.OPTIONAL, 4, internal=True),
    a.CLUSTER_LIST: Rule(a.OPTIONAL, 4, many=True, internal=True),
    a.EXTENDED_COMMUNITIES: Rule(BOTH, 8, many=True, passed_on=True),
    a.AS4_PATH: Rule(BOTH, _NEVER, discard=True),  # not between speakers with AS numbers of 4 bytes (RFC 6793 4.1)
    a.AS4_AGGREGATOR: Rule(BOTH, _NEVER, discard=True),
    a.LARGE_COMMUNITIES: Rule(BOTH, 12, many=True),
}


class Interpreter:
    """Makes ``Attributes`` of what is received in a session."""

    def __init__(self, counts: Counts, *, internal: bool) -> None:
        """``internal``: the peer is of our own AS."""
        self._counts = counts
        self._rules = {code: rule for code, rule in RULES.items() if internal or not rule.internal}

    def find(self, data: bytes, at: int, end: int) -> Found:
        """The attributes in ``data[at:end]``; some bytes must follow. BgpError if the session can't go on."""
        values: dict[int, bytes] = {}
        found = Found(values, [], {}, "")
        error = ""
        while at < end:
            head = at
            flags, code, length = _SHORT_HEADER(data, at)
            at += 3
            if flags & a.EXTENDED:
                length = length << 8 | data[at]
                at += 1
            start = at
            at += length
            if at > end:
                error = error or "the attributes go on behind their end"  # RFC 7606 4
                break
            rule = self._rules.get(code)
            if rule is None or code in values:
                self._unusual(code, Span(flags, head, start, at), data, found)
                continue
            value = data[start:at]
            expected, size, many, valid, passed_on, discard, _ = rule
            if (flags ^ expected) & BOTH:
                error = error or f"attribute {code} has flags {flags:#x}"  # RFC 7606 3 c
            elif valid(value) if valid else length == size or (many and length and not length % size):
                values[code] = value
                if passed_on:
                    found.other.append(data[head:at])
            elif discard:
                self._counts.discarded += 1
            else:
                error = error or f"attribute {code} is malformed"
        return found._replace(error=error) if error else found

    def _unusual(self, code: int, span: Span, data: bytes, found: Found) -> None:
        """An attribute that is there again, has routes in it, or is unknown."""
        raw = data[span.head : span.end]
        if code in (a.MP_REACH, a.MP_UNREACH):
            if code in found.multiprotocol:  # RFC 7606 3 g
                raise BgpError(Code.UPDATE, _MALFORMED_LIST, detail=f"attribute {code} stands there twice")
            found.multiprotocol[code] = span
        elif code in found.values or code in RULES:  # of several the first counts; some are not for other ASes to say
            self._counts.discarded += 1
        elif not span.flags & a.OPTIONAL:
            raise BgpError(Code.UPDATE, _UNRECOGNIZED, raw)
        else:
            found.values[code] = b""
            if span.flags & a.TRANSITIVE:  # passed on, marked as partial (RFC 4271 5)
                found.other.append(bytes((span.flags | a.PARTIAL,)) + raw[1:])

    def said(self, found: Found, next_hop: bytes | None, raw: bytes) -> Said:
        """The columns of the attributes ``raw``; see ``attributes``."""
        get = found.values.get
        made = self.attributes(found, next_hop)
        hop = get(a.NEXT_HOP, b"") if next_hop is None else next_hop
        med = -1 if made.med is None else made.med
        large = bytes(made.large_communities)
        return Said(raw, hop, large, med, made.local_pref, made.as_path.hops, made.origin)

    def attributes(self, found: Found, next_hop: bytes | None) -> Attributes:
        """``next_hop``: that of MP_REACH_NLRI; None: NEXT_HOP says it. TreatAsWithdraw if one is wrong or missing."""
        get = found.values.get
        hop = get(a.NEXT_HOP) if next_hop is None else next_hop
        origin, path = get(a.ORIGIN), get(a.AS_PATH)
        if found.error or hop is None or origin is None or path is None:
            raise TreatAsWithdraw(found.error or "ORIGIN, AS_PATH or NEXT_HOP is missing")  # RFC 7606 3 d
        med, local_pref = get(a.MED), get(a.LOCAL_PREF)
        return Attributes(
            next_hop_of(hop),
            AsPath(path),
            _ORIGINS[origin[0]],
            None if med is None else int.from_bytes(med, "big"),
            a.DEFAULT_LOCAL_PREF if local_pref is None else int.from_bytes(local_pref, "big"),
            Communities(get(a.COMMUNITIES, b"")),
            LargeCommunities(get(a.LARGE_COMMUNITIES, b"")),
            b"".join(found.other),
        )


def next_hop_of(raw: bytes) -> tuple[Family, int]:
    """32 bytes are a global address and one of the link (RFC 2545 3), which counts where the former is ``::``."""
    return address_from_bytes(raw[:16] if any(raw[:16]) else raw[-16:])


@lru_cache(_MOST_DECODED)
def decoded(raw: bytes, next_hop: bytes, *, internal: bool) -> Attributes:
    """Attributes that were received, and found right, from their bytes (``updates.Sets``)."""
    reader = Interpreter(Counts(), internal=internal)
    return reader.attributes(reader.find(raw + bytes(4), 0, len(raw)), next_hop)
