"""The routes that one VPC has learned: all paths of each prefix, and which of them carry packets.

BGP's own decision (RFC 4271 9.1.2.2): highest local preference, shortest AS path, lowest origin, lowest MED (of all
neighbours, not of one AS alone); what is equal so far shares. Paths are few kinds and many prefixes, so
what an UPDATE says of many prefixes is one object, and its rank and next hop are worked out once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Final, NamedTuple, Protocol

from isthmus.routing.bgp.attributes import Attributes
from isthmus.routing.bgp.updates import Batch
from isthmus.tables.address import FAMILIES, Family
from isthmus.tables.entries import NextHop
from isthmus.tables.layout import MAX_HOPS

AT_ONCE: Final = 1 << 15
"""Prefixes that are written in one go: some tens of milliseconds."""
_FLOOD: Final = 500  # batches at once, behind which there are more
_MOST_RECENT: Final = 1 << 12  # kinds of paths that are remembered by their attributes

Rank = tuple[int, int, int, int]
Resolve = Callable[[Family, int, str], NextHop | None]
"""Family and left-aligned address of a next hop, and who told of it: where that is, or None."""


class Path:
    """A path as one neighbour tells it, of as many prefixes as share it. Compared by identity.

    ``number``: the path's identifier in the session. ``hop``: None while nothing leads to its next hop.
    """

    __slots__ = ("attributes", "group", "hop", "number", "peer", "rank")

    def __init__(self, number: int, attributes: Attributes, peer: str, hop: NextHop | None) -> None:
        self.number, self.attributes, self.peer, self.hop = number, attributes, peer, hop
        self.rank: Rank = (
            -attributes.local_pref,
            attributes.as_path.hops,
            attributes.origin,
            attributes.med or 0,
        )
        self.group = -1  # of the packet path, where this path is alone; -1: not asked for yet

    @property
    def metric(self) -> int:
        """Of the route: its MED."""
        return self.attributes.med or 0


Paths = Path | tuple[Path, ...]


class Table(Protocol):
    """Where the routes go: see ``datapath.learned.LearnedTable``."""

    def group(self, metric: int, next_hops: tuple[NextHop, ...]) -> int:
        """The number of a metric with next hops."""

    def update(self, family: Family, keys: list[int], groups: list[int]) -> None:
        """Set the group of every key, 0: withdrawn."""


class Changed(NamedTuple):
    """Prefixes whose routes are other than before, as keys."""

    family: Family
    keys: list[int]


class Rib:
    """Takes what the session says, and passes on what packets are to follow when it is flushed."""

    def __init__(self, table: Table, resolve: Resolve, peer: Callable[[Attributes], str]) -> None:
        """``peer``: which neighbour told of a path, by its address as text; "" if nobody knows."""
        self._table, self._resolve, self._peer = table, resolve, peer
        self._paths: dict[Family, dict[int, Paths]] = {family: {} for family in FAMILIES}
        self._recent: dict[tuple[int, int], Path] = {}  # by identifier, and identity of the attributes
        self._hops: dict[tuple[tuple[Family, int], str], NextHop | None] = {}
        self._alone: dict[tuple[int, int], int] = {}  # groups by metric, and identity of the only next hop
        self._changed: dict[Family, dict[int, None]] = {family: {} for family in FAMILIES}

    def take(self, batch: Batch) -> None:
        """Note the routes of one part of an UPDATE."""
        paths, changed = self._paths[batch.family], self._changed[batch.family]
        if batch.attributes is None:
            for number, key in zip(batch.path_ids, batch.keys, strict=True):
                self._forget(paths, key, number)
                changed[key] = None
            return
        kind: Path | None = None
        for number, key in zip(batch.path_ids, batch.keys, strict=True):
            if kind is None or kind.number != number:
                kind = self._kind(number, batch.attributes)
            there = paths.get(key)
            if there is None or (there.__class__ is Path and there.number == number):
                paths[key] = kind
            else:
                paths[key] = _joined(there, kind)
            changed[key] = None

    def clear(self) -> None:
        """Forget all that was learned; the next flushes withdraw it."""
        for family, paths in self._paths.items():
            self._changed[family].update(dict.fromkeys(paths))
            paths.clear()
        self._recent.clear()

    def resolve_again(self) -> None:
        """What leads to next hops has changed."""
        self._hops.clear()
        self._alone.clear()
        self._recent.clear()  # no prefix may have them just now
        for family, paths in self._paths.items():
            for path in {path for there in paths.values() for path in _each(there)}:
                path.hop = self._hop(path.attributes.next_hop, path.peer)
                path.group = -1
            self._changed[family].update(dict.fromkeys(paths))

    @property
    def pending(self) -> int:
        """Prefixes that are to be flushed."""
        return sum(map(len, self._changed.values()))

    def due(self, heard: int) -> bool:
        """False where more is on its way, after so many batches at once: a larger portion costs less."""
        return heard < _FLOOD or self.pending >= AT_ONCE

    def flush(self, most: int = AT_ONCE) -> Changed | None:
        """Write the changes of one family, of so many prefixes at most, and say which; None: there are none."""
        for family, changed in self._changed.items():
            if not changed:
                continue
            if len(changed) <= most:
                keys, self._changed[family] = list(changed), {}
            else:
                keys = list(islice(changed, most))
                for key in keys:
                    del changed[key]
            paths = self._paths[family]
            self._table.update(family, keys, [self._group(paths.get(key)) for key in keys])
            return Changed(family, keys)
        return None

    def count(self, family: Family) -> int:
        """Prefixes."""
        return len(self._paths[family])

    def keys_of(self, peers: set[str]) -> Iterator[Changed]:
        """The prefixes of which one of these neighbours told."""
        for family, paths in self._paths.items():
            if keys := [key for key, there in paths.items() if any(path.peer in peers for path in _each(there))]:
                yield Changed(family, keys)

    def paths(self, family: Family) -> Mapping[int, Paths]:
        """All paths by prefix key."""
        return self._paths[family]

    def _kind(self, number: int, attributes: Attributes) -> Path:
        kind = self._recent.get((number, id(attributes)))
        if kind is None:
            peer = self._peer(attributes)
            kind = Path(number, attributes, peer, self._hop(attributes.next_hop, peer))
            if len(self._recent) >= _MOST_RECENT:
                self._recent.clear()
            self._recent[number, id(attributes)] = kind
        return kind

    def _hop(self, next_hop: tuple[Family, int], peer: str) -> NextHop | None:
        try:
            return self._hops[next_hop, peer]
        except KeyError:
            hop = self._hops[next_hop, peer] = self._resolve(*next_hop, peer)
            return hop

    def _group(self, there: Paths | None) -> int:
        if there.__class__ is Path:
            if there.group < 0:
                there.group = self._group_alone(there)
            return there.group
        return 0 if there is None else self._group_of(best(there))

    def _group_alone(self, path: Path) -> int:
        if path.hop is None:
            return 0
        which = path.metric, id(path.hop)
        group = self._alone.get(which)
        if group is None:
            group = self._alone[which] = self._table.group(path.metric, (path.hop,))
        return group

    def _group_of(self, equal: tuple[Path, ...]) -> int:
        if len(equal) < 2:
            return self._group_alone(equal[0]) if equal else 0
        hops = {(path.hop.attachment, path.hop.gateway, path.peer): path.hop for path in equal if path.hop is not None}
        ordered = tuple(hops[key] for key in sorted(hops, key=str)[:MAX_HOPS])
        return self._table.group(equal[0].metric, ordered)

    @staticmethod
    def _forget(paths: dict[int, Paths], key: int, number: int) -> None:
        there = paths.get(key)
        if there is None:
            return
        left = tuple(path for path in _each(there) if path.number != number)
        if not left:
            del paths[key]
        else:
            paths[key] = left[0] if len(left) == 1 else left


def best(there: Paths | None) -> tuple[Path, ...]:
    """The paths that carry packets: the best of those that lead somewhere, and their equals."""
    usable = [path for path in _each(there) if path.hop is not None]
    if len(usable) < 2:
        return tuple(usable)
    rank = min(path.rank for path in usable)
    return tuple(path for path in usable if path.rank == rank)


def in_order(there: Paths | None) -> list[Path]:
    """All paths, the best first; those that lead nowhere last."""
    return sorted(_each(there), key=lambda path: (path.hop is None, path.rank))


def _each(there: Paths | None) -> tuple[Path, ...]:
    if there is None:
        return ()
    return (there,) if isinstance(there, Path) else there


def _joined(there: Paths, new: Path) -> Paths:
    """With one path more, or in the place of the one of its number."""
    others = tuple(path for path in _each(there) if path.number != new.number)
    return (*others, new) if others else new
