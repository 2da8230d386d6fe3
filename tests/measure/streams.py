"""Numbered packets at a steady rate, and who received which of them when: what a way's change does to traffic.

The sender and every receiver are processes of their own. Arrival is the kernel's time stamp of a packet, by the same
clock (CLOCK_REALTIME, ns) that ``now`` reads.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from multiprocessing.synchronize import Event
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from isthmus.datapath.netns import inside

PORT: Final = 7000
SOURCE_PORT: Final = 7001
"""Of what is sent: a namespace may also receive."""
MOST_LATE: Final = 4
"""Packets that a sender which was held up sends at once; the others it does not send at all."""

_fork = get_context("fork")
_NUMBER: Final = struct.Struct("=Q")
_TIMESPEC: Final = struct.Struct("=qq")
_RCVBUFFORCE, _TIMESTAMPNS, _MEMINFO, _DROPS = 33, 35, 55, 8  # of SOL_SOCKET; SK_MEMINFO_DROPS
_ROOM: Final = 1 << 27  # bytes of a receiver's socket
_DRAIN_S: Final = 0.02  # how often a receiver looks: time stamps are the kernel's
_START_S: Final = 10.0
_LATE_S: Final = 0.5  # so long packets may be on their way

Times = npt.NDArray[np.int64]


def now() -> int:
    """The clock of all times here."""
    return time.time_ns()


class Arrivals(NamedTuple):
    """What one receiver saw: numbers of packets, and when, in the order of arrival."""

    numbers: Times
    times: Times

    def of(self, stream: int, streams: int) -> Arrivals:
        """Those of one stream."""
        mine = self.numbers % streams == stream
        return Arrivals(self.numbers[mine], self.times[mine])

    def after(self, moment: int) -> Arrivals:
        """Those that came later."""
        late = self.times > moment
        return Arrivals(self.numbers[late], self.times[late])

    def until(self, moment: int) -> Arrivals:
        """Those that came by then."""
        early = self.times <= moment
        return Arrivals(self.numbers[early], self.times[early])


class Source(NamedTuple):
    """A stream: from a network namespace to an address (IPv4)."""

    namespace: str
    address: str


class Streams:
    """Some streams that run: packet ``n`` is of stream ``n % len(sources)``.

    ``seen``: by receiver, for each stream, the number of the packet that came last, as of some 20 ms ago.
    """

    def __init__(self, sources: Sequence[Source], places: dict[str, str], rate: int) -> None:
        """``places``: namespaces of receivers by name. ``rate``: packets a second, of all streams together."""
        self.sources, self._stop = sources, _fork.Event()
        self._pipes: dict[str, Connection] = {}
        self.seen: dict[str, Sequence[int]] = {}
        self.sent: Times = np.empty(0, np.int64)
        """When each packet was sent; known after ``stop``."""
        self.arrived: dict[str, Arrivals] = {}
        self._processes: list[ForkProcess] = []
        self._ready: list[Event] = []
        for name, namespace in places.items():
            self.seen[name] = seen = _fork.Array("q", [-1] * len(sources), lock=False)
            self._run(name, _receive, namespace, seen)
        if not all(ready.wait(_START_S) for ready in self._ready):
            raise TimeoutError("a receiver does not start")
        self._run("", _send, sources, rate)

    def _run(self, name: str, what: Callable[..., None], *arguments: object) -> None:
        ours, theirs = _fork.Pipe(duplex=False)
        ready = _fork.Event()
        process = _fork.Process(target=what, args=(*arguments, ready, self._stop, theirs), daemon=True)
        process.start()
        theirs.close()
        self._processes.append(process)
        self._ready.append(ready)
        self._pipes[name] = ours

    def until(self, met: Callable[[], bool], seconds: float) -> bool:
        """Wait for something, so long at most; whether it came."""
        end = time.monotonic() + seconds
        while not (came := met()) and time.monotonic() < end:
            time.sleep(_DRAIN_S)
        return came

    def comes_to(self, place: str, stream: int) -> Callable[[], bool]:
        """True from now on when a packet of the stream that is sent after this comes to a receiver."""
        newest = max(seen[stream] for seen in self.seen.values())
        return lambda: self.seen[place][stream] > newest

    def stop(self) -> None:
        """Send no more, and collect. RuntimeError if a receiver had no room for what came: then nothing is known."""
        self._stop.set()
        for name, pipe in self._pipes.items():
            found = np.frombuffer(pipe.recv_bytes(), np.int64)
            if name:
                if found[0]:
                    raise RuntimeError(f"the receiver at {name} had no room for {found[0]} packets")
                self.arrived[name] = Arrivals(found[1::2], found[2::2])
            else:
                self.sent = found
        self.close()

    def close(self) -> None:
        """End all."""
        for process in self._processes:
            process.kill()
            process.join()

    def lost(self, stream: int, since: int = 0, until: int = 1 << 62) -> int:
        """Packets of a stream, sent between two moments, that came nowhere."""
        numbers = np.arange(stream, len(self.sent), len(self.sources))
        sent = self.sent[numbers]
        mine = numbers[(sent >= since) & (sent < until)]
        return int((~np.isin(mine, np.concatenate([each.numbers for each in self.arrived.values()]))).sum())

    def twice(self) -> int:
        """Packets that came again, wherever."""
        numbers = np.concatenate([each.numbers for each in self.arrived.values()])
        return len(numbers) - len(np.unique(numbers))

    def held_up(self, since: int, until: int) -> float:
        """The longest time between two packets sent between two moments, in ms: as exact as all times here are."""
        sent = self.sent[(self.sent >= since) & (self.sent < until)]
        return float(np.diff(sent).max()) / 1e6 if len(sent) > 1 else float("inf")


@contextmanager
def streams(sources: Sequence[Source], places: dict[str, str], rate: int) -> Iterator[Streams]:
    """Streams for a while, which ``stop`` ends."""
    running = Streams(sources, places, rate)
    try:
        yield running
    finally:
        running.close()


def _receive(namespace: str, seen: list[int], ready: Event, stop: Event, said: Connection) -> None:
    with inside(namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, _ROOM)
        receiver.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
        receiver.bind(("0.0.0.0", PORT))
        found = [0]
        ready.set()
        end = None
        while end is None or time.monotonic() < end:
            if end is None and stop.is_set():
                end = time.monotonic() + _LATE_S
            time.sleep(_DRAIN_S)
            at = len(found)
            try:
                while True:
                    data, notes, _, _ = receiver.recvmsg(16, 64)
                    seconds, rest = _TIMESPEC.unpack(notes[0][2])
                    found += (*_NUMBER.unpack(data), seconds * 1_000_000_000 + rest)
            except BlockingIOError:
                for number in found[at::2]:
                    seen[number % len(seen)] = number
        memory = receiver.getsockopt(socket.SOL_SOCKET, _MEMINFO, 36)
        found[0] = struct.unpack("=9I", memory)[_DROPS]
        said.send_bytes(np.array(found, np.int64).tobytes())


def _send(sources: Sequence[Source], rate: int, ready: Event, stop: Event, said: Connection) -> None:
    with ExitStack() as stack:
        sockets: dict[str, socket.socket] = {}
        for namespace in {source.namespace: None for source in sources}:
            with inside(namespace):
                made = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                made.bind(("0.0.0.0", SOURCE_PORT))
                sockets[namespace] = made
        calls = [(sockets[source.namespace].sendto, (source.address, PORT)) for source in sources]
        period = 1_000_000_000 // rate
        sent: list[int] = []
        ready.set()
        due = time.monotonic_ns()
        while not stop.is_set():
            late = (time.monotonic_ns() - due) // period
            if late < 0:
                time.sleep(period / 2e9)
                continue
            if late > MOST_LATE:
                due += (late - MOST_LATE) * period
            number = len(sent)
            send, address = calls[number % len(calls)]
            sent.append(now())
            send(_NUMBER.pack(number), address)
            due += period
        said.send_bytes(np.array(sent, np.int64).tobytes())
