"""BGP of one VPC: its daemon, the session with it, and what was learned.

Nothing here waits or raises: what goes wrong is logged, and tried again.
"""

from __future__ import annotations

import logging
import select
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from isthmus.datapath.netns import inside
from isthmus.routing.advertise import Announcement, Heard
from isthmus.routing.bgp.attributes import AsPath, Attributes, Communities, LargeCommunities, Origin
from isthmus.routing.bgp.session import Down, Session, Up
from isthmus.routing.bgp.session import Speaker as Agent
from isthmus.routing.bgp.updates import Batch, EndOfRib
from isthmus.routing.bird.config import bird_config
from isthmus.routing.bird.control import ControlError, Watch
from isthmus.routing.bird.process import Daemon, DaemonError
from isthmus.routing.bird.speaker import MARKER_AS, Speaker
from isthmus.routing.bird.status import Event, NeighborStatus, State
from isthmus.routing.kinds import Resolve
from isthmus.routing.rib import Changed, Rib, Table, best
from isthmus.tables.address import FAMILIES, Family, parse_address
from isthmus.tables.learned import Down as IsDown
from isthmus.tables.learned import is_down

_TRY_AGAIN_S: Final = 1.0
_NOBODY: Final[dict[Family, tuple[Family, int]]] = {4: parse_address("192.0.0.8"), 6: parse_address("100::1")}
"""The next hop of what we announce, which the daemon replaces by its own address (RFC 7600, RFC 6666)."""

_log = logging.getLogger(__name__)


class Domain:
    """One VPC. ``lost``: neighbours whose sessions are down."""

    def __init__(
        self,
        vpc: str,
        speaker: Speaker,
        namespace: str,
        folder: Path,
        table: Table,
        resolve: Resolve,
        daemon: Daemon | None = None,
    ) -> None:
        """Its daemon runs in a network namespace, with its files in ``folder``. Without one, ``serve`` starts it."""
        self.vpc, self.namespace = vpc, namespace
        self.lost: frozenset[str] = frozenset()
        self._folder = folder
        self._by_name: dict[str, str] = {}
        self._by_marker: dict[tuple[int, int, int], str] = {}
        self._know(speaker)
        self.rib = Rib(table, resolve, self._peer)
        self._untold: set[Family] = set(speaker.families)  # where the daemon has not said all yet
        self._due = 0.0  # when a daemon that ended is started again
        self._epoll = select.epoll()
        self._daemon: Daemon | None = None
        self._watch: Watch | None = None
        if daemon:
            self._try(lambda: daemon, 0.0)
        agent = Agent(speaker.asn, int(speaker.router_id) ^ 1 or 2, speaker.asn, speaker.families)
        self._session = Session(agent, self._connect)
        self._epoll.register(self._session.fileno(), select.EPOLLIN)
        for family in speaker.families:
            self._session.complete(family)

    def fileno(self) -> int:
        """Readable when ``serve`` has something to do."""
        return self._epoll.fileno()

    def timeout(self, now: float) -> float:
        """Seconds after which it has in any case."""
        waits = [self._session.timeout(now)]
        if self._daemon is None:
            waits.append(max(0.0, self._due - now))
        wait = self.rib.wait(now)
        return min(waits) if wait is None else min(*waits, wait)

    def serve(self, now: float) -> Iterator[Changed]:
        """Read what there is, and pass on at most one portion of changes: to be used up."""
        self._look_after(now)
        heard = 0
        for event in self._session.pump(now):
            if isinstance(event, Batch):
                self.rib.take(event)
                heard += len(event.prefixes)
            elif isinstance(event, Down):
                _log.warning("%s: the session with the daemon ended: %s", self.vpc, event.reason)
                self.rib.clear()
            elif isinstance(event, EndOfRib):
                self._untold.discard(event.family)
            elif isinstance(event, Up):
                self._untold = set(self.speaker.families)
        if self.rib.due(heard, now) and (changed := self.rib.flush()):
            yield changed

    @property
    def settled(self) -> bool:
        """True if every session is up, and all that was told is passed on."""
        return not (self.lost or self._untold or self.rib.pending)

    def can_follow(self, speaker: Speaker, namespace: str) -> bool:
        """False where it would be another speaker, and not the same one with other neighbours."""
        mine, nobody = self.speaker, ()
        return self.namespace == namespace and replace(speaker, neighbors=nobody) == replace(mine, neighbors=nobody)

    def check(self, speaker: Speaker) -> None:
        """``DaemonError`` if its daemon would not take this configuration."""
        if self._daemon and speaker != self.speaker:
            self._daemon.check(bird_config(speaker))

    def follow(self, speaker: Speaker) -> None:
        """Have other neighbours. The sessions with those that stay as they are stay up."""
        if speaker == self.speaker:
            return
        self._know(speaker)
        if self._daemon:
            try:
                self._daemon.reconfigure(bird_config(speaker))
            except DaemonError as error:
                _log.error("%s: %s", self.vpc, error)

    def tell(self, changes: Mapping[Family, Mapping[int, Announcement | None]]) -> None:
        """Announce and withdraw prefixes, by key."""
        for family, changed in changes.items():
            groups: dict[Announcement | None, list[int]] = {}
            for key, said in changed.items():
                groups.setdefault(said, []).append(key)
            for said, keys in groups.items():
                if said is None:
                    self._session.withdraw(family, keys)
                else:
                    self._session.announce(family, keys, _attributes(family, said))

    def heard(self, down: Callable[[], frozenset[IsDown]]) -> dict[Family, Mapping[int, Heard]]:
        """What was learned, as others may be told of it: a view."""
        return heard(self.rib, down)

    def neighbors(self) -> dict[str, NeighborStatus]:
        """How it stands with every neighbour; empty while the daemon does not answer."""
        try:
            return self._daemon.control.neighbors() if self._daemon else {}
        except ControlError as error:
            _log.warning("%s: %s", self.vpc, error)
            return {}

    def close(self) -> None:
        """End the session and the daemon."""
        self._session.close()
        if self._watch:
            self._watch.close()
        if self._daemon:
            self._daemon.stop()
        self._epoll.close()

    def _peer(self, communities: LargeCommunities) -> str:
        for community in communities.values:
            if community[0] == MARKER_AS and (peer := self._by_marker.get(community)):
                return peer
        return ""

    def _connect(self) -> socket.socket:
        feed = self.speaker.feed
        with inside(self.namespace):
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            made.bind((str(feed.agent), 0))
            made.connect_ex((str(IPv4Address(feed.daemon)), feed.port))
        except OSError:
            made.close()
            raise
        return made

    def _know(self, speaker: Speaker) -> None:
        """These are the neighbours; those that are new have no session yet."""
        known = frozenset(self._by_name.values())
        self.speaker = speaker
        self._by_name = {neighbor.name: str(neighbor.address) for neighbor in speaker.neighbors}
        self._by_marker = {neighbor.marker: str(neighbor.address) for neighbor in speaker.neighbors}
        now = frozenset(self._by_name.values())
        self.lost = self.lost & now | now - known

    def _try(self, daemon: Callable[[], Daemon], now: float) -> None:
        """Have this daemon; if it can't be had, another attempt is made later, which finds it if it runs."""
        try:
            self._listen(daemon())
        except (DaemonError, ControlError) as error:
            _log.error("%s: %s", self.vpc, error)
            self._due = now + _TRY_AGAIN_S

    def _listen(self, daemon: Daemon) -> None:
        """Hear of its sessions from now on. ``ControlError`` if it does not say anything."""
        self._watch = Watch(daemon.control_socket)
        self._daemon = daemon
        for fd in (daemon.fileno(), self._watch.fileno()):
            self._epoll.register(fd, select.EPOLLIN)
        states = self.neighbors()
        self.lost = frozenset(
            address
            for name, address in self._by_name.items()
            if (status := states.get(name)) is None or not (status.state is State.ESTABLISHED or status.restarting)
        )

    def _look_after(self, now: float) -> None:
        """Hear what became of sessions, and start a daemon that has ended once more."""
        if self._daemon is None:
            if now >= self._due:
                self._try(lambda: start(self.speaker, self.namespace, self._folder), now)
            return
        if self._watch:
            for change in self._watch.changes():
                self._note(change.name, change.event, change.text)
        if not self._daemon.alive() or (self._watch and self._watch.ended):
            self._mourn(now)

    def _note(self, name: str, event: Event, text: str) -> None:
        address = self._by_name.get(name)
        if address is None:
            return
        if event in (Event.DOWN, Event.BFD_DOWN, Event.LINK_DOWN, Event.OVER_LIMIT):
            self.lost |= {address}
        elif event is Event.UP:
            self.lost -= {address}
        _log.info("%s: %s: %s", self.vpc, name, text)

    def _mourn(self, now: float) -> None:
        _log.error("%s: the daemon has ended", self.vpc)
        assert self._daemon is not None
        self._epoll.unregister(self._daemon.fileno())
        if self._watch:
            self._epoll.unregister(self._watch.fileno())
            self._watch.close()
        self._daemon.stop()
        self._daemon, self._watch, self._due = None, None, now + _TRY_AGAIN_S
        self.lost = frozenset(self._by_name.values())


def start(speaker: Speaker, namespace: str, folder: Path) -> Daemon:
    """The daemon of a domain. ``DaemonError`` if it can't be started."""
    with inside(namespace):
        return Daemon(folder, bird_config(speaker))


def heard(rib: Rib, down: Callable[[], frozenset[IsDown]]) -> dict[Family, Mapping[int, Heard]]:
    """What a RIB has learned, as others may be told of it: a view."""
    return {family: _Heard(rib, family, down) for family in FAMILIES}


class _Heard(Mapping[int, Heard]):
    """Learned routes of one family by key, made as they are asked for."""

    def __init__(self, rib: Rib, family: Family, down: Callable[[], frozenset[IsDown]]) -> None:
        self._paths, self._down = rib.paths(family), down

    def __getitem__(self, key: int) -> Heard:
        used = best(self._paths[key])
        if not used:
            return Heard(0, alive=False)
        down = self._down()
        alive = not down or any(path.hop is not None and not is_down(path.hop, down) for path in used)
        return Heard(used[0].metric, alive, used[0].attributes)

    def __iter__(self) -> Iterator[int]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def _attributes(family: Family, said: Announcement) -> Attributes:
    return Attributes(
        _NOBODY[family],
        said.as_path if isinstance(said.as_path, AsPath) else AsPath(),
        Origin(said.origin),
        said.med,
        communities=Communities.of(*said.communities),
        large_communities=LargeCommunities.of(*said.large_communities),
    )
