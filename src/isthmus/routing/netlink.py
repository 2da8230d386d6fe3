"""Messages of RTNETLINK (netlink(7), rtnetlink(7)) as bytes: what is told to all, and questions with an answer."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from isthmus.tables.address import Family

FAMILIES: Final[dict[int, Family]] = {int(socket.AF_INET): 4, int(socket.AF_INET6): 6}
KIN: Final[dict[Family, int]] = {family: number for number, family in FAMILIES.items()}

ERROR, DONE = 2, 3
REQUEST, MULTI, INTERRUPTED, CREATE, DUMP = 0x1, 0x2, 0x10, 0x400, 0x300
LOST: Final = (errno.ENOBUFS, errno.ENOMEM)
"""What the kernel says where it had more to tell than there was room."""

BUFFER_BYTES: Final = 1 << 20

_HEADER: Final = Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE: Final = Struct("=HH")  # nlattr: length with its header, type
_ANSWER_WITHIN_S: Final = 2.0


class Message(NamedTuple):
    """Type, flags, and what is behind the header."""

    kind: int
    flags: int
    body: bytes


def listen(groups: int) -> socket.socket:
    """A socket that hears what the kernel of the calling thread's namespace tells these groups (RTMGRP_*)."""
    found = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
    )
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    found.bind((0, groups))
    return found


def datagrams(listening: socket.socket) -> Iterator[bytes | None]:
    """What has been told and not been read yet, in order; None: here the kernel had more to tell than there was room.

    OSError if it refuses to tell."""
    while True:
        try:
            data = listening.recv(BUFFER_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno not in LOST:
                raise
            data = None
        yield data


def message(kind: int, flags: int, body: bytes) -> bytes:
    """A message as it is sent."""
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 0, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    """An attribute as it stands in a message."""
    return (_ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value).ljust(
        _ATTRIBUTE.size + len(value) + 3 & ~3, b"\0"
    )


def messages(data: bytes) -> Iterator[Message]:
    """The messages of a datagram that are there whole."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, _, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > len(data):
            return
        yield Message(kind, flags, data[at + _HEADER.size : at + length])
        at += (length + 3) & ~3


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each attribute."""
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3


class Questions:
    """Asks the kernel of the namespace in which this is made, and waits for its answer."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._socket.settimeout(_ANSWER_WITHIN_S)
        self._socket.bind((0, 0))

    def ask(self, kind: int, body: bytes, *, dump: bool = False) -> Iterator[Message]:
        """The answer, in full. OSError, with the kernel's reason, where it refuses."""
        self._socket.send(message(kind, REQUEST | (DUMP if dump else 0), body))
        while True:
            for answer in messages(self._socket.recv(BUFFER_BYTES)):
                if answer.kind == DONE:
                    return
                if answer.kind == ERROR:
                    number = -int.from_bytes(answer.body[:4], sys.byteorder, signed=True)
                    raise OSError(number, os.strerror(number))
                yield answer
                if not dump:
                    return

    def close(self) -> None:
        """Ask no more."""
        self._socket.close()
