"""What is said of one prefix, and what it is made from."""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum
from typing import Final, Literal, NamedTuple, Protocol, TypeVar

LargeCommunity = tuple[int, int, int]

NO_EXPORT: Final = 0xFFFF_FF01
NO_ADVERTISE: Final = 0xFFFF_FF02
NO_EXPORT_SUBCONFED: Final = 0xFFFF_FF03
"""RFC 1997."""
GRACEFUL_SHUTDOWN: Final = 0xFFFF_0000
"""RFC 8326."""
KEPT_BACK: Final = frozenset({NO_EXPORT, NO_ADVERTISE, NO_EXPORT_SUBCONFED})
"""Communities of routes that are not passed on."""

HIGHEST_MED: Final = 2**32 - 1


_Value = TypeVar("_Value", covariant=True)


class Values(Protocol[_Value]):
    """Numbers in the form in which they came, spelled out when they are asked for."""

    @property
    def values(self) -> tuple[_Value, ...]:
        """Each of them."""


class Attributes(Protocol):
    """What of a learned route's path attributes is passed on. One object for many routes."""

    @property
    def origin(self) -> int:
        """0 IGP, 1 EGP, 2 INCOMPLETE (RFC 4271 5.1.1)."""

    @property
    def as_path(self) -> Hashable:
        """Its segments, passed on as they are."""

    @property
    def communities(self) -> Values[int]:
        """RFC 1997."""

    @property
    def large_communities(self) -> Values[LargeCommunity]:
        """RFC 8092."""


class Heard(NamedTuple):
    """What is known of one route of the VPC that offers it. ``metric``: its MED, 0 where it has none.

    ``alive``: one of its next hops is not down. ``attributes``: None of a route that nobody told.
    """

    metric: int
    alive: bool
    attributes: Attributes | None = None


class Policy(NamedTuple):
    """A VPC's own part: communities on all that it is told, and how much that is; None: by the number of routes."""

    communities: tuple[int, ...] = ()
    large_communities: tuple[LargeCommunity, ...] = ()
    advertise: Literal["routes", "summary"] | None = None


class Drain(Enum):
    """How far a gateway that leaves has come."""

    NO = "no"
    ANNOUNCED = "announced"  # all it tells carries GRACEFUL_SHUTDOWN: neighbours look for other ways
    WITHDRAWN = "withdrawn"  # it tells nothing


class Announcement(NamedTuple):
    """What the neighbours of a VPC are told of a prefix; the gateway is the next hop. Communities are sorted."""

    med: int
    origin: int = 0
    as_path: Hashable = ()
    communities: tuple[int, ...] = ()
    large_communities: tuple[LargeCommunity, ...] = ()

    def draining(self) -> Announcement:
        """The same of a gateway that is about to leave."""
        return self._replace(communities=tuple(sorted({*self.communities, GRACEFUL_SHUTDOWN})))


def announcement(med: int, attributes: Attributes | None, policy: Policy) -> Announcement:
    """Of a route of ``attributes``, to a VPC of ``policy``. ``med`` saturates."""
    med = min(med, HIGHEST_MED)
    if attributes is None:
        communities, large = set(policy.communities), set(policy.large_communities)
        return Announcement(med, 0, (), tuple(sorted(communities)), tuple(sorted(large)))
    communities = {*attributes.communities.values, *policy.communities}
    large = {*attributes.large_communities.values, *policy.large_communities}
    return Announcement(med, attributes.origin, attributes.as_path, tuple(sorted(communities)), tuple(sorted(large)))
