"""UPDATEs that say as much as fits of routes with equal attributes (RFC 4271 4.3, RFC 4760)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from isthmus.routing.bgp import nlri
from isthmus.routing.bgp.attributes import MP_REACH, MP_UNREACH, OPTIONAL, Attributes, attribute
from isthmus.routing.bgp.wire import AFI, HEADER_BYTES, LONGEST, UNICAST, Kind, message
from isthmus.tables.address import Family, address_bytes

_LONGEST_NLRI: Final = 4 + 1 + 16  # path identifier, length, address
_OVERHEAD: Final = HEADER_BYTES + 2 + 2  # with the lengths of withdrawn routes and of attributes
_MP_OVERHEAD: Final = 4 + 4 + 16 + 1  # attribute header, family and length, next hop, reserved
MOST_ATTRIBUTES: Final = LONGEST - _OVERHEAD - _MP_OVERHEAD - _LONGEST_NLRI
"""Bytes of attributes that leave room for a prefix in any message."""


def announcements(
    family: Family, keys: Sequence[int], attributes: Attributes, path_id: int | None, *, internal: bool, longest: int
) -> Iterator[bytes]:
    """UPDATEs of at most ``longest`` bytes: the classic ones for IPv4, MP_REACH_NLRI for IPv6.

    ``path_id``: of all; None: no identifiers are sent. ``internal``: to a peer of the own AS.
    """
    classic = family == 4
    encoded = attributes.encode(next_hop=classic, internal=internal)
    room = longest - _OVERHEAD - len(encoded)
    if classic:
        for field in nlri.encode(keys, path_id, room):
            yield _update(b"", encoded, field)
        return
    hop = address_bytes(*attributes.next_hop)
    head = _family(family) + bytes((len(hop),)) + hop + b"\0"
    for field in nlri.encode(keys, path_id, room - _MP_OVERHEAD):
        yield _update(b"", attribute(OPTIONAL, MP_REACH, head + field) + encoded, b"")


def withdrawals(family: Family, keys: Sequence[int], path_id: int | None, *, longest: int) -> Iterator[bytes]:
    """UPDATEs of at most ``longest`` bytes."""
    for field in nlri.encode(keys, path_id, longest - _OVERHEAD - _MP_OVERHEAD):
        if family == 4:
            yield _update(field, b"", b"")
        else:
            yield _update(b"", attribute(OPTIONAL, MP_UNREACH, _family(family) + field), b"")


def end_of_rib(family: Family) -> bytes:
    """The UPDATE that says so (RFC 4724 2)."""
    return _update(b"", b"" if family == 4 else attribute(OPTIONAL, MP_UNREACH, _family(family)), b"")


def route_refresh(family: Family) -> bytes:
    """The message that asks to be told all again (RFC 2918)."""
    return message(Kind.ROUTE_REFRESH, AFI[family].to_bytes(2, "big") + bytes((0, UNICAST)))


def _family(family: Family) -> bytes:
    return AFI[family].to_bytes(2, "big") + bytes((UNICAST,))


def _update(withdrawn: bytes, attributes: bytes, prefixes: bytes) -> bytes:
    sized = (len(withdrawn).to_bytes(2, "big"), withdrawn, len(attributes).to_bytes(2, "big"), attributes, prefixes)
    return message(Kind.UPDATE, b"".join(sized))
