"""A non-blocking TCP connection that keeps what could not be written yet."""

from __future__ import annotations

import os
import select
import socket
from collections import deque
from contextlib import suppress
from itertools import islice
from typing import Final

_TOGETHER: Final = 256  # messages in one system call; the kernel takes 1,024 (IOV_MAX)


class Stream:
    """Whole messages out, any bytes in. It wakes an epoll of its owner."""

    def __init__(self, connection: socket.socket, epoll: select.epoll) -> None:
        """Takes over a socket that is connected or about to be."""
        self._socket = connection
        self._epoll = epoll
        self._unsent: deque[bytes] = deque()
        self._begun = False  # the first of them is already written in part
        self._leaving = False
        self._waits_for = select.EPOLLIN | select.EPOLLOUT
        epoll.register(connection, self._waits_for)

    @property
    def blocked(self) -> bool:
        """True if there is something that could not be written yet."""
        return bool(self._unsent)

    def connected(self) -> bool:
        """True once the connection is there; OSError if it can't be made."""
        if number := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(number, os.strerror(number))
        with suppress(OSError):  # not connected (yet)
            self._socket.getpeername()
            return True
        return False

    def read(self, most: int) -> bytes:
        """What has arrived; nothing: no more for now. OSError: the connection has ended."""
        try:
            data = self._socket.recv(most)
        except BlockingIOError:
            return b""
        if not data:
            raise ConnectionResetError("the peer has closed the connection")
        return data

    def write(self, *messages: bytes) -> None:
        """Say this after what is still unsaid, as soon as the socket takes it."""
        self._unsent.extend(messages)

    def flush(self) -> None:
        """Write what the socket takes, and have the epoll wake its owner when it takes the rest. OSError: it ended."""
        with suppress(BlockingIOError):
            while self._unsent:
                self._sent(self._socket.sendmsg(list(islice(self._unsent, _TOGETHER))))
        waits_for = select.EPOLLIN | (select.EPOLLOUT if self._unsent else 0)
        if waits_for != self._waits_for:
            self._waits_for = waits_for
            self._epoll.modify(self._socket, waits_for)

    def send_last(self, message: bytes) -> None:
        """Say this and nothing more, but for the end of a message that has begun. OSError: the connection ended."""
        first = [self._unsent[0]] if self._begun else []
        self._unsent = deque((*first, message))
        self._leaving = True
        self._finish()

    def drained(self) -> bool:
        """After ``send_last``: drop what arrives; True once the peer has closed too."""
        try:
            self._finish()
            while self._socket.recv(1 << 16):
                pass
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def close(self) -> None:
        """Let go of the connection."""
        with suppress(OSError):
            self._epoll.unregister(self._socket)
        self._socket.close()

    def _finish(self) -> None:
        self.flush()
        if not self._unsent and self._leaving:
            self._leaving = False
            self._socket.shutdown(socket.SHUT_WR)

    def _sent(self, size: int) -> None:
        while size and size >= len(self._unsent[0]):
            size -= len(self._unsent.popleft())
            self._begun = False
        if size:
            self._unsent[0] = self._unsent[0][size:]
            self._begun = True
