"""What the stages find out about one packet: the facts from which verdict, bytes and explanation follow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from isthmus.tables.entries import Attachment, Candidate, NextHop, Range, Route, RuleEntry, Side, Tables, Vpc
from isthmus.tables.verdicts import Verdict
from isthmus.trace.environment import Environment
from isthmus.trace.packet import Packet


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
    packet inside. ``stage`` is where it ended. ``here``, ``there``: sending and offering side of the chosen path.
    ``fragmented``: leaves as several IPv4 fragments of at most ``mtu`` bytes. ``neighbor``: the MAC it leaves to.
    """

    tables: Tables
    environment: Environment
    vpc: Vpc
    packet: Packet
    key: Packet
    verdict: Verdict = Verdict.FORWARDED
    stage: str = ""
    paths: list[Path] = field(default_factory=list)
    chosen: Path | None = None
    here: Side | None = None
    there: Side | None = None
    source: Range | None = None
    rules_of: Side | None = None
    rule: RuleEntry | None = None
    translated: Packet | None = None
    hop: NextHop | None = None
    attachment: Attachment | None = None
    mtu: int | None = None
    fragmented: bool = False
    neighbor: bytes | None = None

    @property
    def peering(self) -> str | None:
        """The peering of the chosen path."""
        there = self.chosen.candidate.there if self.chosen is not None else None
        return there.peering if there is not None else None

    @property
    def receiver(self) -> str | None:
        """The VPC at the other end of the chosen path."""
        there = self.chosen.candidate.there if self.chosen is not None else None
        return there.vpc if there is not None else None
