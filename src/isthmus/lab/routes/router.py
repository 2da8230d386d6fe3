"""What the part of a gateway that speaks BGP tells of itself, and does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from isthmus.tables.address import Family
from isthmus.tables.learned import Down


class Use(StrEnum):
    """Why a path carries packets, or does not."""

    USED = "used"  # alone, or with equals
    WORSE = "worse"  # another is better (RFC 4271 9.1.2)
    OWN = "own"  # the VPC has a route of its own for this prefix
    DOWN = "down"  # its next hop is down
    UNRESOLVED = "unresolved"  # nothing leads to its next hop


class LearnedPath(NamedTuple):
    """A path as a neighbour told it. ``peer``: the neighbour's address as text; ``as_path`` and ``origin`` as text."""

    peer: str
    next_hop: tuple[Family, int]
    as_path: str
    origin: str
    med: int | None
    local_pref: int
    communities: Sequence[str]
    use: Use


class NeighborRow(NamedTuple):
    """How it stands with a neighbour. ``since``: seconds since 1970. ``error``: why the last session ended.

    ``routes`` it told and ``announced`` to it, of all families; ``refused``: told and not taken. ``bfd``: up or not,
    None without BFD.
    """

    vpc: str
    address: str
    asn: int
    state: str
    since: float
    error: str
    routes: int
    announced: int
    refused: int
    bfd: bool | None
    restarting: bool = False
    over_limit: bool = False


class Ambiguity(NamedTuple):
    """Prefixes that several peers offer one VPC. ``tied``: so many are shared; of the others metric decides."""

    vpc: str
    peers: tuple[str, ...]
    prefixes: int
    tied: int


class RoutingAnswers(Protocol):
    """What the router is asked. Nothing of it may take more than some milliseconds: what does is told in pieces."""

    def paths(self, vpc: str) -> Mapping[Family, Mapping[int, Sequence[LearnedPath]]]:
        """All paths of a VPC by prefix key, best first; made when they are asked for. Empty without neighbours.

        To iterate over them is to be told the keys of that moment, whatever changes meanwhile."""

    def vpcs(self) -> Collection[str]:
        """The VPCs that can be asked for."""

    def neighbors(self) -> Iterable[NeighborRow]:
        """Every neighbour of every VPC."""

    def ambiguous(self, vpc: str | None) -> Iterable[Ambiguity | None]:
        """Where several peers offer one VPC, or (None) any, the same learned prefixes (``route-ambiguous``); with
        moments to pause (None) between. What took long to count is not counted again for a while."""

    @property
    def down(self) -> frozenset[Down]:
        """What of all that routes lead to is down."""

    @property
    def draining(self) -> bool:
        """True if the gateway is to leave, or has left."""

    def drain(self, on: bool) -> None:
        """Leave politely (RFC 8326): say so, then withdraw all. Or stay after all."""
