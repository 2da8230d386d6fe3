"""BIRD's control socket: commands and their replies, and what it tells without being asked.

A reply is lines of a four-digit code, ``-`` or a space on the last one, and text; a line that starts with a space has
the code of the one before, and one with ``+`` is a log message that came in between (doc/reply_codes of BIRD). Codes
from 8000 are run-time errors, from 9000 parse errors. What BIRD says of its neighbours is parsed in `status`.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from isthmus.routing.bird.status import Change, NeighborStatus, change, neighbors

_CODE_DIGITS: Final = 4
_ERROR: Final = 8000
_DONE: Final = "0000"
_BUFFER_BYTES: Final = 1 << 16
_ECHO_BYTES: Final = 1 << 16  # the most that BIRD keeps for who does not read
_CREDENTIALS: Final = struct.Struct("=3i")  # ucred: pid, uid, gid


class ControlError(Exception):
    """The daemon does not answer, or says no. ``code`` is that of the reply, 0 where there was none."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class Reply(NamedTuple):
    """A line of a reply."""

    code: int
    text: str


class Control:
    """A connection to BIRD for commands, one at a time. It waits for the answer, ``timeout_s`` at most."""

    def __init__(self, path: Path, *, timeout_s: float = 5.0) -> None:
        """Connect. ``ControlError`` where nobody answers."""
        self._timeout_s = timeout_s
        self._lines = _Lines(path, timeout_s)
        self._reply("connecting")

    @property
    def pid(self) -> int:
        """The process that listens."""
        return self._lines.pid

    def ask(self, command: str) -> list[Reply]:
        """What BIRD replies. ``ControlError`` where it says no, or nothing."""
        self._lines.send(command)
        return self._reply(command)

    def neighbors(self) -> dict[str, NeighborStatus]:
        """How it stands with every neighbour, by name."""
        shown = [reply.text for reply in self.ask("show protocols all")]
        return neighbors(shown, [reply.text for reply in self.ask("show bfd sessions")])

    def enable(self, name: str) -> None:
        """Start a neighbour's session that was disabled, or ended for too many prefixes."""
        self.ask(f"enable '{name}'")

    def disable(self, name: str) -> None:
        """End a neighbour's session, until it is enabled."""
        self.ask(f"disable '{name}'")

    def close(self) -> None:
        """Hang up. The daemon goes on."""
        self._lines.close()

    def _reply(self, command: str) -> list[Reply]:
        replies: list[Reply] = []
        deadline = time.monotonic() + self._timeout_s
        while True:
            for line in self._lines.read(command, deadline - time.monotonic()):
                if line.startswith("+"):
                    continue
                inherits = line.startswith(" ") and bool(replies)
                code = replies[-1].code if inherits else _code(line)
                replies.append(Reply(code, line[1:] if inherits else line[_CODE_DIGITS + 1 :]))
                if not inherits and line[_CODE_DIGITS : _CODE_DIGITS + 1] == " ":
                    return _approved(command, replies)


class Watch:
    """A connection to BIRD on which it tells at once what becomes of its sessions. Nothing is polled."""

    def __init__(self, path: Path, *, timeout_s: float = 5.0) -> None:
        """Start to listen. Who asks for the state of all after this has missed nothing. ``ControlError`` as above."""
        self._lines = _Lines(path, timeout_s)
        self._unread: list[str] = []
        self.ended = False
        """True once the daemon has hung up: it ended, or we did not read for long."""
        command = f"echo {{ trace, info, remote, warning, error }} {_ECHO_BYTES}"
        self._lines.send(command)
        deadline = time.monotonic() + timeout_s
        while not any(line.startswith(_DONE) for line in self._unread):
            self._unread += self._lines.read(command, deadline - time.monotonic())

    def fileno(self) -> int:
        """For select and epoll: readable when ``changes`` has something to tell."""
        return self._lines.fileno()

    def changes(self) -> Iterator[Change]:
        """What happened since the last call, in order; never waits."""
        lines, self._unread = self._unread, []
        try:
            lines += self._lines.read_now()
        except ControlError:
            self.ended = True
        yield from filter(None, map(change, lines))

    def close(self) -> None:
        """Stop listening."""
        self._lines.close()


class _Lines:
    """A stream socket, by lines."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(timeout_s)
        self._rest = b""
        directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:  # by way of the directory: a socket's path has 107 bytes at most
            self._socket.connect(f"/proc/self/fd/{directory}/{path.name}")
        except OSError as error:
            self._socket.close()
            raise ControlError(f"BIRD does not answer on {path}: {error.strerror}") from error
        finally:
            os.close(directory)
        self._socket.setblocking(False)
        peer = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        self.pid: int = _CREDENTIALS.unpack(peer)[0]

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, command: str) -> None:
        if "\n" in command:
            raise ValueError("a command is one line")
        try:
            self._socket.sendall(command.encode() + b"\n")
        except OSError as error:
            raise ControlError(f"BIRD has hung up: {error.strerror}") from error

    def read(self, command: str, timeout_s: float) -> list[str]:
        """The lines that come next. ``ControlError`` if none comes in time."""
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        if timeout_s <= 0 or not poller.poll(timeout_s * 1000):
            raise ControlError(f"BIRD does not answer to {command!r}")
        return self.read_now()

    def read_now(self) -> list[str]:
        """The lines that are there. ``ControlError`` at the end of the stream."""
        lines: list[str] = []
        while True:
            try:
                data = self._socket.recv(_BUFFER_BYTES)
            except BlockingIOError:
                return lines
            except OSError:
                data = b""
            if not data:
                if lines:
                    return lines
                raise ControlError("BIRD has hung up")
            *whole, self._rest = (self._rest + data).split(b"\n")
            lines += [line.decode(errors="replace") for line in whole]

    def close(self) -> None:
        self._socket.close()


def _code(line: str) -> int:
    digits = line[:_CODE_DIGITS]
    if not digits.isdecimal() or line[_CODE_DIGITS : _CODE_DIGITS + 1] not in ("-", " "):
        raise ControlError(f"not a reply of BIRD: {line!r}")
    return int(digits)


def _approved(command: str, replies: list[Reply]) -> list[Reply]:
    if errors := [reply for reply in replies if reply.code >= _ERROR]:
        raise ControlError(f"{command}: {'; '.join(reply.text for reply in errors)}", errors[0].code)
    return replies
