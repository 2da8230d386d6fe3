"""All BGP of a gateway: what every VPC learns goes into the packet path, and what it is offered is announced to it.

One thread, one loop: whoever has it waits for ``fileno()`` as long as ``timeout()`` says, and calls ``serve()``. What
neighbours do reaches packets in this order: a session that is down takes all its paths out of use by one write; the
routes themselves go, and are withdrawn from others, as the daemon tells of them.
"""

from __future__ import annotations

import gc
import select
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from isthmus.datapath import PacketPath
from isthmus.model.types import Bgp, Vpc
from isthmus.routing.advertise import Advertiser, Changes, Drain, Policy
from isthmus.routing.domain import Domain
from isthmus.routing.resolve import resolve
from isthmus.routing.speakers import speaker
from isthmus.tables.address import Family
from isthmus.tables.entries import NextHop, Origin, Peer, Tables
from isthmus.tables.learned import Down

DRAIN_S: Final = 5.0
"""So long neighbours know that the gateway will leave, before all is withdrawn (RFC 8326)."""
COLLECT: Final = (200_000, 50, 1000)
"""Thresholds of the garbage collector: routes are no garbage, and looking at millions of them takes long."""
_SLICE: Final = 2000  # prefixes whose announcements are worked out in one go


class Place(NamedTuple):
    """Where a VPC speaks BGP: its network namespace, and the names that its attachments (by index) have there."""

    namespace: str
    interfaces: Sequence[str]


class Router:
    """The BGP of all VPCs that have neighbours."""

    def __init__(
        self,
        tables: Tables,
        vpcs: Mapping[str, Vpc],
        places: Mapping[str, Place],
        path: PacketPath,
        folder: Path,
        tell_down: Callable[[Collection[Down]], None],
    ) -> None:
        """Start the daemons. ``tables`` are compiled without assumed routes. ``tell_down`` is told of the neighbours
        whose sessions are down. ``DaemonError``, ``PasswordMissing`` where one can't be started."""
        gc.set_threshold(*COLLECT)
        self.tables, self._path, self._tell_down = tables, path, tell_down
        self.down: frozenset[Down] = frozenset()
        """What of all that routes lead to is down."""
        self._epoll = select.epoll()
        self._waiting: deque[tuple[str, Family, Iterator[int]]] = deque()  # prefixes that others are to be told of
        self._drain_due = float("inf")
        self.draining = False
        self.domains: dict[str, Domain] = {}
        settings = {name: bgp for name in places if (bgp := vpcs[name].bgp) is not None and bgp.neighbors}
        for name, bgp in settings.items():
            self.domains[name] = domain = Domain(
                name,
                speaker(vpcs[name], bgp, places[name].interfaces.__getitem__),
                places[name].namespace,
                folder / name,
                path.learned(name),
                self._resolver(name),
            )
            self._epoll.register(domain.fileno(), select.EPOLLIN)
        learned = {name: domain.heard(lambda: self.down) for name, domain in self.domains.items()}
        self._advertiser = Advertiser(tables, {name: _policy(bgp) for name, bgp in settings.items()}, learned)
        for name, domain in self.domains.items():
            domain.tell(self._advertiser.announced(name))
        self._hear_of_lost()

    def fileno(self) -> int:
        """Readable when ``serve`` has something to do."""
        return self._epoll.fileno()

    def timeout(self) -> float | None:
        """Seconds after which it has in any case; None: never."""
        now = time.monotonic()
        if self._waiting:
            return 0.0
        waits = [domain.timeout(now) for domain in self.domains.values()]
        late = self._path.settle()
        if late is not None:
            waits.append(late)
        if self._drain_due < float("inf"):
            waits.append(max(0.0, self._drain_due - now))
        return min(waits, default=None)

    @property
    def settled(self) -> bool:
        """True if every session is up, and what was told is where packets see it."""
        return not self._waiting and not self.unsettled()

    def unsettled(self) -> list[str]:
        """The neighbours, and VPCs, that this is not true of."""
        lost = [f"{peer} of {name}" for name, domain in self.domains.items() for peer in sorted(domain.lost)]
        return lost or [name for name, domain in self.domains.items() if not domain.settled]

    def serve(self) -> None:
        """Do some of what there is to do."""
        now = time.monotonic()
        for name, domain in self.domains.items():
            for changed in domain.serve(now):
                self._waiting.append((name, changed.family, iter(changed.keys)))
        self._hear_of_lost()
        if self._waiting:
            name, family, keys = self._waiting[0]
            some = list(islice(keys, _SLICE))
            if len(some) < _SLICE:
                self._waiting.popleft()
            self._say(self._advertiser.update(name, family, some))
        if now >= self._drain_due:
            self._drain_due = float("inf")
            self._say(self._advertiser.set_drain(Drain.WITHDRAWN))
        self._path.settle()

    def set_down(self, down: frozenset[Down]) -> None:
        """What of all that routes lead to is down now: links and sessions. What is told of them changes with it."""
        if down == self.down:
            return
        changed, self.down = down ^ self.down, down
        self._say(self._advertiser.set_down(down))
        for name, domain in self.domains.items():
            peers = {each.address for each in changed if isinstance(each, Peer) and each.vpc == name}
            links = any(not isinstance(each, Peer) and each.vpc == name for each in changed)
            if links:
                peers = {str(neighbor.address) for neighbor in domain.speaker.neighbors}
            for keys in domain.rib.keys_of(peers) if peers else ():  # it looks at every route
                self._waiting.append((name, keys.family, iter(keys.keys)))

    def drain(self, on: bool) -> None:
        """Leave politely (RFC 8326): say so, and later withdraw all. Or stay after all."""
        self.draining = on
        self._say(self._advertiser.set_drain(Drain.ANNOUNCED if on else Drain.NO))
        self._drain_due = time.monotonic() + DRAIN_S if on else float("inf")

    def close(self) -> None:
        """End all sessions and daemons."""
        for domain in self.domains.values():
            domain.close()
        self._epoll.close()

    def _say(self, changes: Changes) -> None:
        for name, of_vpc in changes.items():
            if name in self.domains:
                self.domains[name].tell(of_vpc)

    def _hear_of_lost(self) -> None:
        """Tell whose sessions are down now."""
        self._tell_down([Peer(name, peer) for name, domain in self.domains.items() for peer in domain.lost])

    def _resolver(self, name: str) -> Callable[[Family, int, str], NextHop | None]:
        vpc = self.tables.vpcs[name]

        def find(family: Family, address: int, peer: str) -> NextHop | None:
            return resolve(vpc, family, address, peer, Origin(f"VPC/{name}", f"BGP from {peer}"))

        return find


def _policy(bgp: Bgp) -> Policy:
    def of(size: int) -> Iterable[tuple[int, ...]]:
        return (each for each in bgp.communities if len(each) == size)

    return Policy(
        tuple(high << 16 | low for high, low in of(2)),
        tuple((one, two, three) for one, two, three in of(3)),
        bgp.advertise,
    )
