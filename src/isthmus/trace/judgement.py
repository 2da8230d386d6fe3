"""What the stages find out about one packet: the facts from which verdict, bytes and explanation follow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from isthmus.tables.entries import Attachment, Candidate, NextHop, Range, Route, RuleEntry, Side, SideKey, Tables, Vpc
from isthmus.tables.learned import NOTHING_LEARNED, Learned
from isthmus.tables.verdicts import Verdict
from isthmus.trace.environment import Environment
from isthmus.trace.flows import Flows
from isthmus.trace.flows.records import Flow
from isthmus.trace.packet import Packet

Standing = Literal["none", "opened", "followed"]
"""What a packet has to do with a flow."""


class Path(NamedTuple):
    """One candidate of a destination after the look-up, with its rank.

    ``route`` is that of the VPC that offers it, None if there is none. A path is live with a route, or if the candidate
    is stateful. ``weight`` is that of its rendezvous hash, computed only where paths tie.
    """

    candidate: Candidate
    live: bool
    route: Route | None
    length: int
    metric: int
    weight: int | None = None


@dataclass(slots=True)
class Judgement:
    """One packet from one VPC on its way through the stages; each fills in what it finds.

    ``key`` is what path, share and source are asked with: the packet itself, or for an ICMP error the mirror of the
    packet inside. ``stage`` is where it ended. ``flow``: the one that it belongs to, and in which ``direction``;
    ``standing``: that it followed or opened it. ``reopens``: the flow that it ended, as its path is dead.
    ``allowed_before``: rules have allowed its first fragment. ``opens``: it is to open a flow.
    ``here``, ``there``: the sender's and the other side of the chosen path, or of the flow.
    ``fragmented``: leaves as several IPv4 fragments of at most ``mtu`` bytes. ``interface`` and ``neighbor``: the port
    that it leaves by, and the MAC that it leaves to there; of a tunnel those of the outer route.
    """

    tables: Tables
    environment: Environment
    vpc: Vpc
    packet: Packet
    key: Packet
    flows: Flows
    learned: Learned = NOTHING_LEARNED
    verdict: Verdict = Verdict.FORWARDED
    stage: str = ""
    flow: Flow | None = None
    direction: int = 0
    standing: Standing = "none"
    reopens: Flow | None = None
    allowed_before: bool = False
    paths: list[Path] = field(default_factory=list)
    chosen: Path | None = None
    here: Side | None = None
    there: Side | None = None
    source: Range | None = None
    rules_of: Side | None = None
    rule: RuleEntry | None = None
    opens: bool = False
    translated: Packet | None = None
    hop: NextHop | None = None
    attachment: Attachment | None = None
    mtu: int | None = None
    fragmented: bool = False
    interface: str = ""
    neighbor: bytes | None = None

    @property
    def peering(self) -> str | None:
        """The peering of the chosen path, or of the flow."""
        receiver = self._receiver
        return receiver.peering if receiver is not None else None

    @property
    def receiver(self) -> str | None:
        """The VPC at the other end of the chosen path, or of the flow."""
        receiver = self._receiver
        return receiver.vpc if receiver is not None else None

    @property
    def _receiver(self) -> SideKey | None:
        if self.chosen is not None:
            return self.chosen.candidate.there
        return self.flow.sides[1 - self.direction] if self.flow is not None else None
