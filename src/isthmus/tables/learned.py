"""Routes that change while the tables stand: what BGP taught each VPC, and what of all next hops is down.

A prefix is a number here, its *key*: a one, then the bits of the prefix. ``10.0.0.0/8`` is ``1 00001010``. So the key
of the next shorter prefix is ``key >> 1``, the length is ``key.bit_length() - 1``, and no two prefixes of a family
share one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from isthmus.tables.address import Family, Prefix
from isthmus.tables.entries import AttachmentKey, NextHop, Peer, Route

Down = AttachmentKey | Peer
"""What can be down: an attachment (its port), or a neighbour (its session, or BFD)."""


def prefix_key(prefix: Prefix) -> int:
    """The key of a prefix."""
    return 1 << prefix.length | prefix.first >> (128 - prefix.length)


def key_prefix(family: Family, key: int) -> Prefix:
    """The prefix of a key."""
    length = key.bit_length() - 1
    return Prefix(family, (key ^ 1 << length) << (128 - length), length)


def is_down(hop: NextHop, down: frozenset[Down]) -> bool:
    """True if nothing can leave to this next hop."""
    return hop.attachment in down or (bool(hop.peer) and Peer(hop.attachment.vpc, hop.peer) in down)


@dataclass(frozen=True, slots=True)
class Learned:
    """What the packet path knows of BGP. ``routes``: VPC, family, key to the route. ``epoch``: moves with changes."""

    routes: Mapping[str, Mapping[Family, Mapping[int, Route]]] = field(default_factory=dict)
    down: frozenset[Down] = frozenset()
    epoch: int = 0

    def find(self, vpc: str, family: Family, address: int) -> Route | None:
        """The learned route with the longest prefix that holds a left-aligned address, whether it is down or not."""
        table = self.routes.get(vpc, {}).get(family)
        if not table:
            return None
        bits = 32 if family == 4 else 128
        key = 1 << bits | address >> (128 - bits)
        while key:
            if (route := table.get(key)) is not None:
                return route
            key >>= 1
        return None


NOTHING_LEARNED = Learned()
