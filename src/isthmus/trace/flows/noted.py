"""What first fragments found, for those that follow without ports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from isthmus.tables.address import Family
from isthmus.tables.flows import FRAGMENT_S, ticks
from isthmus.trace.flows.records import Flow
from isthmus.trace.packet import Packet


class _Whole(NamedTuple):
    """Of which packet a fragment is a part (RFC 791 3.2; RFC 8200 4.5, where the protocol does not count)."""

    vpc: str
    family: Family
    src: int
    dst: int
    proto: int
    identification: int


class Note(NamedTuple):
    """``flow`` and direction that the first fragment followed; None: the rules of that ``generation`` allowed it."""

    deadline: int
    generation: int
    flow: Flow | None = None
    direction: int = 0


@dataclass(slots=True)
class Notes:
    """One for each packet of which the first fragment was seen lately."""

    _notes: dict[_Whole, Note] = field(default_factory=dict)

    def write(self, vpc: str, packet: Packet, now: int, generation: int, flow: Flow | None, direction: int) -> None:
        """Notes what a first fragment found, if this is one whose later fragments lack what its flow is known by."""
        if packet.fragment and not packet.later_fragment and packet.ported:
            self._notes[_whole(vpc, packet)] = Note(now + ticks(FRAGMENT_S), generation, flow, direction)

    def read(self, vpc: str, packet: Packet, now: int) -> Note | None:
        """What the first fragment of the same packet found."""
        note = self._notes.get(_whole(vpc, packet))
        return note if note is not None and now < note.deadline else None


def _whole(vpc: str, packet: Packet) -> _Whole:
    proto = packet.proto if packet.family == 4 else 0
    return _Whole(vpc, packet.family, packet.src, packet.dst, proto, packet.identification)
