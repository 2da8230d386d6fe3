"""A socket on which a process answers requests beside its own work, and is never kept from it.

Everything is done in slices: whoever has a loop waits for ``fileno()`` as long as ``timeout()`` says, and calls
``serve()``, which takes a few milliseconds at most. An answer is made as fast as it is read, so that a long one takes
little memory. A client that does not get on is left behind.
"""

from __future__ import annotations

import json
import logging
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

Answer = Callable[[object], Iterator[bytes]]
"""From a request (any JSON) to its answer in pieces; an empty one only says that this is a good moment to pause."""

MOST_CLIENTS: Final = 16
"""Served at once; more of them wait."""
MOST_REQUEST: Final = 1 << 16
"""Bytes of a request."""
PATIENCE_S: Final = 5.0
"""A client may take so long to send its request, and then to read something of the answer."""

_SLICE_S: Final = 0.005
_UNSENT: Final = 1 << 18  # bytes that are made ahead of a client
_READ: Final = 1 << 14

_log = logging.getLogger(__name__)


class Service:
    """A Unix socket that only its owner (root) can open."""

    def __init__(self, where: Path, answer: Answer) -> None:
        """Listen at a path where nothing is yet."""
        self._answer = answer
        self._clients: deque[_Client] = deque()  # the next one to be worked for first
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        os.fchmod(self._listener.fileno(), 0o600)  # what bind makes has the mode of the socket (unix(7))
        self._listener.bind(os.fspath(where))
        self._listener.listen(MOST_CLIENTS)
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)

    def fileno(self) -> int:
        """Readable when ``serve`` has something to do."""
        return self._epoll.fileno()

    def timeout(self) -> float | None:
        """Seconds after which ``serve`` has something to do in any case; None: never."""
        if any(client.hungry for client in self._clients):
            return 0.0
        return max(0.0, min(client.until for client in self._clients) - time.monotonic()) if self._clients else None

    def serve(self) -> None:
        """Hear what clients have to say, and do one slice of work for one of them. Never waits, never raises."""
        clients = {client.connection.fileno(): client for client in self._clients}
        for fd, events in self._epoll.poll(0):
            if fd == self._listener.fileno():
                self._accept()
            else:
                self._attend(clients[fd], events)
        self._work()
        now = time.monotonic()
        for client in [client for client in self._clients if client.until <= now]:
            _log.warning("a client that did not get on was left behind")
            self._leave(client)

    def close(self) -> None:
        """Leave all clients, and listen no more."""
        for client in list(self._clients):
            self._leave(client)
        self._epoll.close()
        self._listener.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it has left already, or there are no file descriptors: then it waits
            return
        connection.setblocking(False)
        self._clients.append(_Client(connection))
        self._epoll.register(connection, select.EPOLLIN)
        if len(self._clients) == MOST_CLIENTS:
            self._epoll.modify(self._listener, 0)

    def _attend(self, client: _Client, events: int) -> None:
        try:
            if events & (select.EPOLLHUP | select.EPOLLERR):
                raise ConnectionError("it has left")
            if events & select.EPOLLIN:
                self._hear(client)
            elif events & select.EPOLLOUT:
                self._send(client)
        except OSError:
            self._leave(client)

    def _hear(self, client: _Client) -> None:
        said = client.connection.recv(_READ)
        client.request += said
        line, end, _ = client.request.partition(b"\n")
        if end or not said:
            client.until = time.monotonic() + PATIENCE_S
            client.answer = self._answer(_parsed(bytes(line)))
            self._epoll.modify(client.connection, 0)
        elif len(client.request) > MOST_REQUEST:
            raise ConnectionError("a request without end")

    def _work(self) -> None:
        """One slice for the next client that is hungry."""
        client = next((one for one in self._clients if one.hungry), None)
        if client is None:
            return
        self._clients.remove(client)
        self._clients.append(client)
        try:
            client.work(time.monotonic() + _SLICE_S)
            self._send(client)
        except ConnectionError:
            self._leave(client)
        except Exception:  # noqa: BLE001 -- whatever an answer fails on, who serves has other things to do
            _log.exception("a request could not be answered")
            self._leave(client)

    def _send(self, client: _Client) -> None:
        """Send what can be sent now; a client that has everything is left."""
        try:
            if client.unsent:
                sent = client.connection.send(client.unsent)
                del client.unsent[:sent]
                client.until = time.monotonic() + PATIENCE_S
        except BlockingIOError:
            pass
        if client.unsent:
            self._epoll.modify(client.connection, select.EPOLLOUT)
        elif client.answer is None:
            self._leave(client)
        else:
            self._epoll.modify(client.connection, 0)

    def _leave(self, client: _Client) -> None:
        if len(self._clients) == MOST_CLIENTS:
            self._epoll.modify(self._listener, select.EPOLLIN)
        self._clients.remove(client)
        self._epoll.unregister(client.connection)
        client.connection.close()


class _Client:
    """One connection: first its request comes in, then its answer is made and goes out."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.request = bytearray()
        self.answer: Iterator[bytes] | None = None
        self.unsent = bytearray()
        self.until = time.monotonic() + PATIENCE_S

    @property
    def hungry(self) -> bool:
        """True if something can be done for it now."""
        return self.answer is not None and len(self.unsent) < _UNSENT

    def work(self, stop: float) -> None:
        """Make more of the answer until a moment of the monotonic clock, or there is enough of it for now."""
        while self.answer is not None and len(self.unsent) < _UNSENT and time.monotonic() < stop:
            piece = next(self.answer, None)
            if piece is None:
                self.answer = None
            else:
                self.unsent += piece
        self.until = time.monotonic() + PATIENCE_S


def _parsed(line: bytes) -> object:
    """The request, or None where it is no JSON: that is no request either."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
