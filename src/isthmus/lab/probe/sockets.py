"""Clients and servers of a probe: real sockets, each made inside the namespace of its host.

A client says something of its own (``token``); a server says it backwards from the address that it was asked at, so
that on the wire a question is no answer. Both are driven by a selector: ``Ears`` are what it listens to.
"""

from __future__ import annotations

import errno
import selectors
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from isthmus.lab.probe.cases import Case
from isthmus.tables.address import Family, format_address
from isthmus.trace.checksum import checksum
from isthmus.trace.packet import ECHO_REQUEST

_FAMILIES: Final[dict[Family, socket.AddressFamily]] = {4: socket.AF_INET, 6: socket.AF_INET6}
_ANY: Final[dict[Family, str]] = {4: "0.0.0.0", 6: "::"}
_BACKLOG: Final = 512
_MESSAGE_BYTES: Final = 2048
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # struct linger: no TIME_WAIT holds the port for the next probe
_IP_PKTINFO: Final = 8  # ip(7); the socket module has the name from Python 3.14 on
_ECHO_REPLY: Final[dict[Family, int]] = {4: 0, 6: 129}


class Ears:
    """Sockets, and whom to call when they have something to say."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets: set[socket.socket] = set()

    def on(self, one: socket.socket, call: Callable[[], None], *, writable: bool = False) -> None:
        """Keep the socket, and call when it is readable (or writable), in place of what was to be called before."""
        events = selectors.EVENT_WRITE if writable else selectors.EVENT_READ
        if one in self._sockets:
            self._selector.modify(one, events, call)
        else:
            self._sockets.add(one)
            self._selector.register(one, events, call)

    def listen(self, timeout_s: float) -> None:
        """Call all whose sockets are ready, after waiting at most so long for the first."""
        for key, _ in self._selector.select(timeout_s):
            if key.fileobj in self._sockets:  # it may have been closed by one that was called before
                key.data()

    def close_one(self, one: socket.socket) -> None:
        """Stop listening to a socket, and close it."""
        if one in self._sockets:
            self._sockets.discard(one)
            self._selector.unregister(one)
        one.close()

    def close(self) -> None:
        """Close all sockets."""
        for one in list(self._sockets):
            self.close_one(one)
        self._selector.close()


class Client:
    """Tries one case. Made inside the source's namespace.

    ``answered``: the reply came back whole. ``connected``: that of TCP, whoever serves there. ``error``: the last one.
    """

    def __init__(self, ears: Ears, case: Case, token: bytes) -> None:
        self.answered = False
        self.connected = False
        self.error = ""
        self._ears = ears
        self._case = case
        self._token = token
        self._say_again: Callable[[], object] | None = None
        start = {"tcp": self._start_tcp, "udp": self._start_udp, "icmp": self._start_icmp}[case.proto]
        try:
            start()
        except OSError as error:
            self.error = error.strerror or str(error)

    def again(self) -> None:
        """Say it again, as TCP does by itself, in case it was lost on the way; nothing happens if it was answered."""
        if self._say_again and not self.answered:
            with suppress(OSError):
                self._say_again()

    def _socket(self, kind: int, protocol: int, port: int) -> socket.socket:
        case = self._case
        one = socket.socket(_FAMILIES[case.family], kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
        try:
            if port:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind((format_address(case.family, case.source), port))
        except OSError:
            one.close()
            raise
        return one

    @property
    def _target(self) -> tuple[str, int]:
        return format_address(self._case.family, self._case.target), self._case.dport

    def _start_tcp(self) -> None:
        one = self._socket(socket.SOCK_STREAM, 0, self._case.sport)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._ears.on(one, lambda: self._connected(one), writable=True)
        number = one.connect_ex(self._target)
        if number not in (0, errno.EINPROGRESS):
            self._ears.close_one(one)
            raise OSError(number, errno.errorcode.get(number, "connect"))

    def _connected(self, one: socket.socket) -> None:
        number = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self.error = errno.errorcode.get(number, str(number))
            self._ears.close_one(one)
            return
        self.connected = True
        self._ears.on(one, lambda: self._read(one))
        self._send(one)

    def _start_udp(self) -> None:
        one = self._socket(socket.SOCK_DGRAM, 0, self._case.sport)
        self._ears.on(one, lambda: self._read(one))
        one.connect(self._target)
        self._say_again = lambda: one.send(self._token)
        self._send(one)

    def _send(self, one: socket.socket) -> None:
        try:
            one.send(self._token)
        except OSError as error:
            self.error = error.strerror or str(error)

    def _read(self, one: socket.socket) -> None:
        try:
            self.answered = self.answered or one.recv(_MESSAGE_BYTES) == self._token[::-1]
        except OSError as error:
            self.error = error.strerror or str(error)
        self._ears.close_one(one)

    def _start_icmp(self) -> None:
        case = self._case
        protocol = socket.IPPROTO_ICMP if case.family == 4 else socket.IPPROTO_ICMPV6
        one = self._socket(socket.SOCK_RAW, protocol, 0)
        self._ears.on(one, lambda: self._read_icmp(one))
        head = struct.pack(">BBHHH", ECHO_REQUEST[case.family], 0, 0, case.sport, 1)
        message = head + self._token
        if case.family == 4:  # the kernel does it for IPv6, whose checksum holds the addresses (RFC 3542 3.1)
            message = head[:2] + checksum(message).to_bytes(2, "big") + message[4:]
        self._say_again = lambda: one.sendto(message, (self._target[0], 0))
        self._say_again()

    def _read_icmp(self, one: socket.socket) -> None:
        """Every raw socket sees all ICMP of its namespace; an IPv4 one with the IP header."""
        case = self._case
        try:
            data, (address, *_) = one.recvfrom(_MESSAGE_BYTES)
        except OSError as error:
            self.error = error.strerror or str(error)
            return
        message = data[(data[0] & 15) * 4 :] if case.family == 4 else data
        kind, _, _, identifier, _ = struct.unpack_from(">BBHHH", message)
        if (kind, identifier, address) == (_ECHO_REPLY[case.family], case.sport, self._target[0]):
            self.answered = self.answered or message[8:] == self._token


def serve(ears: Ears, family: Family, proto: str, port: int) -> bool:
    """Answer on a port at every address of the namespace; False if another program has that port."""
    kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
    one = socket.socket(_FAMILIES[family], kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == 6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        one.bind((_ANY[family], port))
        if proto == "tcp":
            one.listen(_BACKLOG)
    except OSError:
        one.close()
        return False
    if proto == "tcp":
        ears.on(one, lambda: _accept(ears, one))
    else:
        one.setsockopt(
            *((socket.IPPROTO_IP, _IP_PKTINFO) if family == 4 else (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO)), 1
        )
        ears.on(one, lambda: _answer_datagram(one))
    return True


def _accept(ears: Ears, one: socket.socket) -> None:
    with suppress(OSError):
        connection, _ = one.accept()
        connection.setblocking(False)
        ears.on(connection, lambda: _answer_stream(ears, connection))


def _answer_stream(ears: Ears, connection: socket.socket) -> None:
    try:
        said = connection.recv(_MESSAGE_BYTES)
        if said:
            connection.send(said[::-1])
            return
    except OSError:
        pass
    ears.close_one(connection)


def _answer_datagram(one: socket.socket) -> None:
    """Send it back from the address that it came to: the ancillary data tells it, with the interface left open."""
    with suppress(OSError):
        said, ancillary, _, sender = one.recvmsg(_MESSAGE_BYTES, 256)
        level, kind, data = ancillary[0]
        if level == socket.IPPROTO_IP:
            _, local, _ = struct.unpack("=i4s4s", data)
            reply = struct.pack("=i4s4s", 0, local, bytes(4))
        else:
            local, _ = struct.unpack("=16si", data)
            reply = struct.pack("=16si", local, 0)
        one.sendmsg([said[::-1]], [(level, kind, reply)], 0, sender)
