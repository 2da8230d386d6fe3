"""Which interfaces of a network namespace can carry packets, followed as it changes (RTNETLINK)."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from isthmus.routing.netlink import Message, Questions, datagrams, listen, messages

_GROUP_LINK: Final = 0x1  # RTMGRP_LINK
_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_UP, _LOWER_UP = 0x1, 0x10000  # IFF_UP: somebody wants it; IFF_LOWER_UP: there is somebody at the other end
_LINK: Final = Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change


class LinkState(NamedTuple):
    """An interface, and whether it can carry packets now."""

    interface: int
    up: bool


class Links:
    """The interfaces of the network namespace in which this is made; it may be read from anywhere."""

    def __init__(self) -> None:
        """Start to listen. OSError if the kernel refuses."""
        self._socket = listen(_GROUP_LINK)
        self._questions = Questions()
        self._up: set[int] | None = None
        self._lost = True  # at first all is asked for

    def fileno(self) -> int:
        """For select and epoll: readable when ``changes`` has something to tell."""
        return self._socket.fileno()

    def changes(self) -> Iterator[LinkState]:
        """Whatever is otherwise than at the last call; waits for nothing. The first call tells all there is.

        OSError if the kernel refuses to tell; the next call tries again.
        """
        now = set(self._up or ())
        seen: set[int] = set()
        for told in self._told():
            seen.add(told.interface)
            (now.add if told.up else now.discard)(told.interface)
        if self._lost:
            found = {state.interface: state.up for state in self._everything()}
            seen |= found.keys()
            now = {interface for interface, up in found.items() if up}
            self._lost = False
        before, self._up = self._up, now
        changed = seen | now if before is None else before ^ now
        yield from (LinkState(interface, interface in now) for interface in sorted(changed))

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()
        self._questions.close()

    def _told(self) -> Iterator[LinkState]:
        """What was told since the last call, in order; notes if some of it was lost."""
        for data in datagrams(self._socket):
            if data is None:
                self._lost = True
            else:
                yield from (state for each in messages(data) if (state := _state(each)))

    def _everything(self) -> Iterator[LinkState]:
        answer = self._questions.ask(_GETLINK, _LINK.pack(0, 0, 0, 0, 0), dump=True)
        yield from (state for each in answer if (state := _state(each)))


def _state(told: Message) -> LinkState | None:
    if told.kind not in (_NEWLINK, _DELLINK) or len(told.body) < _LINK.size:
        return None
    _, _, interface, flags, _ = _LINK.unpack_from(told.body)
    return LinkState(interface, told.kind == _NEWLINK and bool(flags & _UP and flags & _LOWER_UP))
