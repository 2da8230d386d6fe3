"""One BGP session with a local daemon, over one socket, without a thread (RFC 4271 8).

Whoever has a loop waits for ``fileno()`` as long as ``timeout()`` says, and calls ``pump()``. It never waits, and does
a bounded piece of work; what it could not write is kept, and the daemon's silence or nonsense ends in a new attempt.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from isthmus.routing.bgp import writer
from isthmus.routing.bgp.attributes import Attributes
from isthmus.routing.bgp.capabilities import AddPath, Agreement, Open, agree
from isthmus.routing.bgp.outbox import Outbox
from isthmus.routing.bgp.reader import Keepalive, Notification, Reader, RouteRefresh
from isthmus.routing.bgp.received import Counts
from isthmus.routing.bgp.stream import Stream
from isthmus.routing.bgp.updates import Batch, EndOfRib
from isthmus.routing.bgp.wire import KEEPALIVE, BgpError, Code, error_text
from isthmus.tables.address import FAMILIES, Family

CONNECT_S: Final = 5.0
"""A connection may take so long to come up."""
FAREWELL_S: Final = 1.0
"""A peer has so long to read why it is left."""
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
"""Between attempts: twice as long each time, until a session comes up."""

_READ: Final = 1 << 18
_READS: Final = 4  # of this many bytes, in one go
_SLICES: Final = 4  # of routes to be told, in one go
_ADMINISTRATIVE_SHUTDOWN: Final = 2


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who we are to the daemon, and who it is to be. ``router_id``: 32 bits. ``hold_time`` in seconds.

    ``restart_time``: so many seconds the daemon keeps what we announced after we are gone without a word (RFC 4724).
    """

    asn: int
    router_id: int
    peer_asn: int
    families: tuple[Family, ...] = FAMILIES
    hold_time: int = 30
    restart_time: int = 0


class Up(NamedTuple):
    """The session is there. All that the daemon knows follows."""

    agreement: Agreement


class Down(NamedTuple):
    """The session is over, and with it all that was learned by it. The next attempt is made without being asked."""

    reason: str


Event = Batch | EndOfRib | Up | Down


class State(Enum):
    """Of the session. RFC 4271 8.2.2, and LEAVING: the peer is given time to read why."""

    IDLE = "idle"
    CONNECT = "connect"
    OPEN_SENT = "open sent"
    OPEN_CONFIRM = "open confirm"
    ESTABLISHED = "established"
    LEAVING = "leaving"


_UNEXPECTED: Final = {State.OPEN_SENT: 1, State.OPEN_CONFIRM: 2, State.ESTABLISHED: 3}  # subcodes (RFC 6608)


class _Gone(Exception):
    """The peer has ended the session: there is nobody to tell why."""


_log = logging.getLogger(__name__)


class Session:
    """Speaks with one daemon, and again after each end, until it is closed."""

    def __init__(self, speaker: Speaker, connect: Callable[[], socket.socket]) -> None:
        """``connect`` makes a non-blocking TCP socket that is connected or about to be; OSError: later, perhaps."""
        self.state = State.IDLE
        self.counts = Counts()
        self.ended: str = ""
        """Why the last attempt or session ended."""
        self._speaker = speaker
        self._connect = connect
        self._epoll = select.epoll()
        self._stream: Stream | None = None
        self._pause = SHORTEST_PAUSE_S
        self._due = 0.0  # when the state is left at the latest: connecting, hold time, farewell, pause
        self._keepalive_due = 0.0
        self._restarted = True  # until a session has come up
        self._agreement = Agreement()
        self._outboxes = {family: Outbox() for family in speaker.families}
        self._begun: set[Family] = set()  # where the caller has said what is to be announced
        self._unfinished: set[Family] = set()  # where End-of-RIB is still to be sent

    def fileno(self) -> int:
        """Readable when ``pump`` has something to do. Stays the same through all connections."""
        return self._epoll.fileno()

    def events(self) -> int:
        """What to wait for: always EPOLLIN, also where there is something to write."""
        return select.EPOLLIN

    def timeout(self, now: float | None = None) -> float:
        """Seconds after which ``pump`` has something to do in any case. ``now``: that of the monotonic clock."""
        if self.state is State.ESTABLISHED and self._stream and not self._stream.blocked and self._to_tell():
            return 0.0
        due = min(self._due, self._keepalive_due) if self.state in _UNEXPECTED else self._due
        return max(0.0, due - (time.monotonic() if now is None else now))

    def announce(self, family: Family, keys: Iterable[int], attributes: Attributes, path_id: int = 0) -> None:
        """From now on these prefixes are announced so, in this session and all that follow.

        Path identifiers other than 0 are for daemons that agreed to receive several paths. ValueError: the next hop is
        of another family, or the attributes do not fit into a message.
        """
        if attributes.next_hop[0] != family:
            raise ValueError(f"an IPv{family} route with an IPv{attributes.next_hop[0]} next hop")
        if len(attributes.encode(next_hop=True, internal=True)) > writer.MOST_ATTRIBUTES:
            raise ValueError(f"more than {writer.MOST_ATTRIBUTES} bytes of attributes")
        self._begun.add(family)
        self._outboxes[family].announce(keys, attributes, path_id)

    def withdraw(self, family: Family, keys: Iterable[int], path_id: int = 0) -> None:
        """These prefixes are not announced any more. Those that never were are passed over."""
        self._outboxes[family].withdraw(keys, path_id)

    def complete(self, family: Family) -> None:
        """There may be nothing to announce: End-of-RIB need not wait for a first announcement."""
        self._begun.add(family)

    def pump(self, now: float) -> Iterator[Event]:
        """Do what there is to do at ``now`` (monotonic seconds), and tell what happened; to be used up."""
        try:
            yield from self._step(now)
        except BgpError as error:
            yield from self._leave(now, str(error), error.notification())
        except _Gone as error:
            yield from self._leave(now, str(error))
        except OSError as error:
            yield from self._leave(now, error.strerror or str(error))

    def close(self, *, cease: bool = True) -> None:
        """End it. ``cease``: the daemon is told, and forgets our routes; else it keeps them for ``restart_time``."""
        if self._stream:
            if cease and self.state in _UNEXPECTED:
                self._stream.send_last(BgpError(Code.CEASE, _ADMINISTRATIVE_SHUTDOWN).notification())
            self._stream.close()
        self._stream, self.state = None, State.IDLE
        self._epoll.close()

    def _step(self, now: float) -> Iterator[Event]:
        if self.state is State.IDLE and now >= self._due:
            self._stream = Stream(self._connect(), self._epoll)
            self.state, self._due = State.CONNECT, now + CONNECT_S
        stream = self._stream
        if stream is None:
            return
        if self.state is State.CONNECT and stream.connected():
            self._greet(now, stream)
        if self.state in _UNEXPECTED:
            yield from self._listen(now, stream)
        if self.state in _UNEXPECTED:
            self._speak(now, stream)
        elif self.state is State.LEAVING and stream.drained():
            self._rest(now)
        if now >= self._due:
            self._overdue(now)

    def _overdue(self, now: float) -> None:
        if self.state is State.CONNECT:
            raise TimeoutError("no connection in time")
        if self.state in _UNEXPECTED:
            raise BgpError(Code.HOLD_TIMER, 0)
        if self.state is State.LEAVING:
            self._rest(now)

    def _greet(self, now: float, stream: Stream) -> None:
        """Send the OPEN."""
        speaker = self._speaker
        self._open = Open(
            asn=speaker.asn,
            hold_time=speaker.hold_time,
            router_id=speaker.router_id,
            families=frozenset(speaker.families),
            add_path=tuple((family, AddPath.BOTH) for family in speaker.families),
            restart_time=speaker.restart_time,
            restarted=self._restarted,
        )
        self._reader = Reader(counts=self.counts)
        self._hold(now, speaker.hold_time)
        stream.write(self._open.encode())
        self.state = State.OPEN_SENT

    def _listen(self, now: float, stream: Stream) -> Iterator[Event]:
        """Read some, and do what it says."""
        for _ in range(_READS):
            data = stream.read(_READ)
            if not data:
                return
            for message in self._reader.feed(data):
                match message:
                    case Batch() | EndOfRib() if self.state is State.ESTABLISHED:
                        yield message
                    case Keepalive() if self.state is State.OPEN_CONFIRM:
                        yield self._established()
                    case Keepalive() if self.state is State.ESTABLISHED:
                        pass
                    case Open() if self.state is State.OPEN_SENT:
                        self._agree(message, stream)
                    case RouteRefresh(family) if self.state is State.ESTABLISHED:
                        if family in self._outboxes:
                            self._outboxes[family].tell_again()
                    case Notification(code, subcode):
                        raise _Gone(f"the peer says: {error_text(code, subcode)}")
                    case _:
                        raise BgpError(Code.STATE, _UNEXPECTED[self.state])
            self._hold(now, self._agreement.hold_time if self.state is not State.OPEN_SENT else self._speaker.hold_time)

    def _agree(self, theirs: Open, stream: Stream) -> None:
        self._agreement = agree(self._open, theirs, self._speaker.peer_asn)
        self._reader.agree(self._agreement)
        stream.write(KEEPALIVE)
        self.state = State.OPEN_CONFIRM

    def _established(self) -> Up:
        self.state = State.ESTABLISHED
        self._pause, self._restarted = SHORTEST_PAUSE_S, False
        self._unfinished = set(self._agreement.families)
        for outbox in self._outboxes.values():
            outbox.start_over()
        return Up(self._agreement)

    def _speak(self, now: float, stream: Stream) -> None:
        """Write what there is to say, and otherwise a sign of life three times in a hold time."""
        if now >= self._keepalive_due:
            if not stream.blocked and self.state is not State.OPEN_SENT:
                stream.write(KEEPALIVE)
            hold_time = self._agreement.hold_time if self.state is not State.OPEN_SENT else self._speaker.hold_time
            self._keepalive_due = now + hold_time / 3 if hold_time else float("inf")
        if self.state is State.ESTABLISHED:
            for _ in range(_SLICES):
                if stream.blocked or not self._to_tell():
                    break
                for family in sorted(self._agreement.families):
                    stream.write(*self._tell(family))
        stream.flush()

    def _to_tell(self) -> bool:
        return bool(self._unfinished & self._begun) or any(self._outboxes[one] for one in self._agreement.families)

    def _tell(self, family: Family) -> Iterator[bytes]:
        """The next UPDATEs of a family; after the first of all, its End-of-RIB."""
        agreed, outbox = self._agreement, self._outboxes[family]
        with_ids = family in agreed.send
        for number, attributes, keys in outbox.take():
            path_id = number if with_ids else None
            if attributes is None:
                yield from writer.withdrawals(family, keys, path_id, longest=agreed.longest)
            else:
                yield from writer.announcements(
                    family, keys, attributes, path_id, internal=agreed.internal, longest=agreed.longest
                )
        if not outbox and family in self._unfinished & self._begun:
            self._unfinished.remove(family)
            yield writer.end_of_rib(family)

    def _hold(self, now: float, hold_time: int) -> None:
        self._due = now + hold_time if hold_time else float("inf")

    def _leave(self, now: float, reason: str, notification: bytes = b"") -> Iterator[Event]:
        """End the connection. Who is told why gets time to read it: a socket closed at once may swallow it."""
        was_up, self.ended = self.state is State.ESTABLISHED, reason
        _log.log(logging.WARNING if was_up else logging.DEBUG, "BGP session ended: %s", reason)
        if notification and self._stream:
            self.state, self._due = State.LEAVING, now + FAREWELL_S
            try:
                self._stream.send_last(notification)
            except OSError:
                self._rest(now)
        else:
            self._rest(now)
        if was_up:
            yield Down(reason)

    def _rest(self, now: float) -> None:
        """Let go of the connection, and wait a while for the next."""
        if self._stream:
            self._stream.close()
        self._stream, self.state, self._due = None, State.IDLE, now + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE_S)
