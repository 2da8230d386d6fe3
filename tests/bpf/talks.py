"""Frames of hosts through the packet path, in the network of ``tests.differential.nat``, and what became of them."""

from __future__ import annotations

from typing import NamedTuple

from isthmus.tables.verdicts import Verdict
from tests.differential.compare import Bench
from tests.differential.frames import ACK, SYN, Ends, ends, read
from tests.differential.nat import PLACES, frame


class Sent(NamedTuple):
    """A frame of a VPC, what became of it, and the frame that left, if one did."""

    vpc: str
    frame: bytes
    verdict: Verdict
    out: bytes

    @property
    def seen(self) -> Ends:
        """From and to whom it is now."""
        found = read(self.out)
        assert found is not None
        own = ends(self.out, found)
        assert own is not None
        return own


def send(place: Bench, vpc: str, own: Ends, flags: int = SYN) -> Sent:
    """A frame of a host, by XDP."""
    data = frame(vpc, own, flags)
    outcome = place.path.run(data, place.ifindex[PLACES[vpc]], "xdp")
    return Sent(vpc, data, outcome.verdict, outcome.frame)


def passed(sent: Sent) -> Sent:
    """The same, and it did."""
    assert sent.verdict is Verdict.FORWARDED
    return sent


def talk(place: Bench, vpc: str, own: Ends) -> list[Sent]:
    """Opened and established: what both ends send from now on, as it leaves."""
    seen = passed(send(place, vpc, own)).seen
    passed(send(place, "t", seen.mirror, SYN | ACK))
    return [passed(send(place, vpc, own, ACK)), passed(send(place, "t", seen.mirror, ACK))]
