"""Tables like today's Internet, the same for the same seed, and a speaker that sends one as fast as it can.

Two externals of one seed have the same prefixes but for 1 % each, with attributes of their own. Lengths of prefixes,
sets of attributes and lengths of AS paths are those of a full table: 1.05 million IPv4 routes share 161,000 sets of
attributes, 230,000 IPv6 routes 39,000.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from isthmus.bench.internet import ROUTES, prefixes
from isthmus.routing.bgp import writer
from isthmus.routing.bgp.attributes import AsPath, Attributes, Communities, LargeCommunities, Origin
from isthmus.routing.bgp.capabilities import Open
from isthmus.routing.bgp.wire import KEEPALIVE, LONGEST
from isthmus.tables.address import Family

SETS: Final[dict[Family, int]] = {4: 161_000, 6: 39_000}
HOPS: Final = {1: 2, 2: 10, 3: 24, 4: 30, 5: 20, 6: 9, 7: 5}
"""Share of each length of an AS path, in hundredths, behind the external's own AS."""
OWN: Final = 0.01
"""Share of the prefixes that no other external has."""


@dataclass(frozen=True, slots=True)
class External:
    """A neighbour with a table: its AS, and the next hop of each family, left-aligned."""

    asn: int
    next_hops: dict[Family, int]


def attributes(external: External, family: Family, count: int, rng: random.Random) -> list[Attributes]:
    """Different sets of attributes, as a neighbour tells them."""
    transit = [rng.randint(1000, 65000) for _ in range(400)]
    hops = rng.choices(list(HOPS), list(HOPS.values()), k=count)
    found = []
    for number, length in enumerate(hops):
        path = [external.asn, *rng.choices(transit, k=length - 1), 100_000 + number // 2]
        tags = sorted({rng.choice(transit) << 16 | rng.randrange(500) for _ in range(rng.choice((0, 0, 1, 2, 3, 5)))})
        large = [(rng.choice(transit), 1, number)] if rng.random() < 0.05 else []
        found.append(
            Attributes(
                next_hop=(family, external.next_hops[family]),
                as_path=AsPath.sequence(*path),
                origin=Origin.INCOMPLETE if rng.random() < 0.1 else Origin.IGP,
                med=rng.randrange(1000) if number % 2 or rng.random() < 0.3 else None,
                communities=Communities.of(*tags),
                large_communities=LargeCommunities.of(*large),
            )
        )
    return found


Table = list[tuple[Attributes, list[int]]]
"""Sets of attributes, each with the keys of its prefixes."""


def table(external: External, family: Family, *, seed: int = 1, scale: float = 1.0) -> Table:
    """The table of an external; ``scale``: 1.0 is the Internet."""
    routes, sets = int(ROUTES[family] * scale), max(1, int(SETS[family] * scale))
    common = prefixes(family, routes, random.Random(f"{seed} {family}"))
    rng = random.Random(f"{seed} {family} {external.asn}")
    own = prefixes(family, int(routes * OWN), rng)
    keys = list(dict.fromkeys(common[: routes - len(own)] + own))
    groups: list[list[int]] = [[] for _ in range(sets)]
    for number, key in enumerate(keys):  # each set has one prefix at least, and a few have very many
        groups[number if number < sets else int(sets * rng.random() ** 2)].append(key)
    return list(zip(attributes(external, family, sets, rng), groups, strict=True))


def encoded(routes: Table, family: Family) -> bytes:
    """All UPDATEs of a table, for a neighbour of another AS, without path identifiers."""
    updates: Iterator[bytes] = (
        update
        for some, keys in routes
        if keys
        for update in writer.announcements(family, keys, some, None, internal=False, longest=LONGEST)
    )
    return b"".join(updates)


def speak(connection: socket.socket, asn: int, router_id: int, families: Sequence[Family], updates: bytes) -> None:
    """Open a session on a connected, blocking socket, send all, and stay silent; OSError if the peer closes it.

    A hold time of 0 is asked for, so that nothing needs to be said afterwards."""
    connection.sendall(Open(asn, 0, router_id, frozenset(families), extended_messages=False).encode() + KEEPALIVE)
    heard = b""
    while len(heard) < 29 + 19:  # OPEN and KEEPALIVE
        heard += connection.recv(4096)
    connection.sendall(updates + b"".join(map(writer.end_of_rib, families)))
