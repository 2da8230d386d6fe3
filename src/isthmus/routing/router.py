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
from isthmus.routing.advertise import Advertiser, Changes, Drain, Heard, Policy
from isthmus.routing.bird.process import Daemon
from isthmus.routing.bird.speaker import Speaker
from isthmus.routing.domain import Domain, start
from isthmus.routing.resolve import resolve
from isthmus.routing.speakers import speaker
from isthmus.tables.address import FAMILIES, Family
from isthmus.tables.entries import NextHop, Origin, Peer, Tables
from isthmus.tables.entries import Vpc as TableVpc
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
        *,
        drain: bool = False,
    ) -> None:
        """Start with a configuration, see ``follow``, that ``path`` has already. ``tell_down`` is told of the
        neighbours whose sessions are down."""
        gc.set_threshold(*COLLECT)
        self.tables, self._path, self._folder, self._tell_down = Tables(), path, folder, tell_down
        self.down: frozenset[Down] = frozenset()
        """What of all that routes lead to is down."""
        self._epoll = select.epoll()
        self._waiting: deque[tuple[str, Family, Iterator[int]]] = deque()  # prefixes that others are to be told of
        self._drain_due = float("inf")
        self._wanted = False  # by the configuration: that the gateway drains
        self.draining = False
        self.domains: dict[str, Domain] = {}
        self._learned: dict[str, Mapping[Family, Mapping[int, Heard]]] = {}
        self._advertiser = Advertiser(self.tables, {}, self._learned)
        try:
            self.follow(tables, vpcs, places, drain=drain)
        except BaseException:
            self.close()
            raise

    def follow(
        self,
        tables: Tables,
        vpcs: Mapping[str, Vpc],
        places: Mapping[str, Place],
        *,
        drain: bool = False,
        apply: Callable[[], None] | None = None,
    ) -> None:
        """Go over to another configuration. Neighbours that stay as they are keep their sessions, and are told what is
        different. ``drain`` counts where it is other than before.

        ``tables`` are compiled without assumed routes. ``apply`` gives them to the packet path, once all else is known
        to be right. Whatever it raises, and ``DaemonError``, ``PasswordMissing``, leave everything as it was.
        """
        settings = {name: bgp for name in places if (bgp := vpcs[name].bgp) is not None and bgp.neighbors}
        speakers = {
            name: speaker(vpcs[name], bgp, places[name].interfaces.__getitem__) for name, bgp in settings.items()
        }
        policies = {name: _policy(bgp) for name, bgp in settings.items()}
        started: dict[str, Daemon] = {}
        try:
            for name, wanted in speakers.items():
                if name in self.domains:
                    self.domains[name].check(wanted)
                else:
                    started[name] = start(wanted, places[name].namespace, self._folder / name)
            if apply:
                apply()
            self._go_over(tables, speakers, places, policies, started)
        finally:
            for daemon in started.values():
                daemon.stop()
        if drain != self._wanted:
            self._wanted = drain
            self.drain(drain)
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

    def _go_over(
        self,
        tables: Tables,
        speakers: Mapping[str, Speaker],
        places: Mapping[str, Place],
        policies: Mapping[str, Policy],
        started: dict[str, Daemon],
    ) -> None:
        """To what nobody refuses any more. Takes the daemons that are started over."""
        before, self.tables = self.tables.vpcs, tables
        self._waiting = deque(each for each in self._waiting if each[0] in tables.vpcs)
        for name, domain in list(self.domains.items()):
            if name not in speakers or not domain.can_follow(speakers[name], places[name].namespace):
                self._leave(domain)
        fresh = speakers.keys() - self.domains.keys()
        for name, wanted in speakers.items():
            if name in fresh:
                self._enter(name, wanted, places[name].namespace, started.pop(name, None))
                continue
            self.domains[name].follow(wanted)
            if _ways(before[name]) != _ways(tables.vpcs[name]):
                self.domains[name].rib.resolve_again()
        self._say(self._advertiser.follow(tables, policies))
        for name in fresh:
            self.domains[name].tell(self._advertiser.announced(name))

    def _enter(self, name: str, wanted: Speaker, namespace: str, daemon: Daemon | None) -> None:
        """Have BGP in a VPC."""
        table, folder = self._path.learned(name), self._folder / name
        self.domains[name] = domain = Domain(name, wanted, namespace, folder, table, self._resolver(name), daemon)
        self._learned[name] = domain.heard(lambda: self.down)
        self._epoll.register(domain.fileno(), select.EPOLLIN)

    def _leave(self, domain: Domain) -> None:
        """Have none there any more: what was learned is forgotten, and withdrawn from others."""
        name = domain.vpc
        del self.domains[name], self._learned[name]
        self._epoll.unregister(domain.fileno())
        domain.close()
        if name in self.tables.vpcs:
            self._waiting += [(name, family, iter(domain.rib.paths(family))) for family in FAMILIES]
            domain.rib.clear()
            self._path.learned(name).clear()

    def _say(self, changes: Changes) -> None:
        for name, of_vpc in changes.items():
            if name in self.domains:
                self.domains[name].tell(of_vpc)

    def _hear_of_lost(self) -> None:
        """Tell whose sessions are down now."""
        self._tell_down([Peer(name, peer) for name, domain in self.domains.items() for peer in domain.lost])

    def _resolver(self, name: str) -> Callable[[Family, int, str], NextHop | None]:
        def find(family: Family, address: int, peer: str) -> NextHop | None:
            return resolve(self.tables.vpcs[name], family, address, peer, Origin(f"VPC/{name}", f"BGP from {peer}"))

        return find


def _ways(vpc: TableVpc) -> tuple[object, object]:
    """All that leads to next hops."""
    return vpc.attachments, vpc.routes


def _policy(bgp: Bgp) -> Policy:
    def of(size: int) -> Iterable[tuple[int, ...]]:
        return (each for each in bgp.communities if len(each) == size)

    return Policy(
        tuple(high << 16 | low for high, low in of(2)),
        tuple((one, two, three) for one, two, three in of(3)),
        bgp.advertise,
    )
