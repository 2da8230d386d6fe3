"""Who is told what now, and what changes when routes do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Final

from isthmus.routing.advertise.announcement import Announcement, Drain, Policy
from isthmus.routing.advertise.offers import Cover, Piece, Segment, key_range
from isthmus.routing.advertise.receiver import Receiver, keys_in
from isthmus.routing.advertise.routes import Learned, Routes
from isthmus.tables.address import FAMILIES, Family
from isthmus.tables.entries import Tables, Vpc
from isthmus.tables.learned import Down

Changes = dict[str, dict[Family, dict[int, Announcement | None]]]
"""By VPC that is to be told, family and prefix key. None: withdrawn."""

MANY_ROUTES: Final = 1000
"""A VPC with more is told of as a summary, if nothing else is asked for."""

_AT_ONCE: Final = 1 << 14  # routes whose consequences are collected before they are worked out
_Reached = Cover[tuple[Receiver, Segment | Piece]]
_Changed = dict[Receiver, dict[int, Announcement | None]]
"""What was said before, of all that may be different now."""


class Advertiser:
    """What every VPC with a policy is told. It says what changes, and whoever asked tells BGP.

    ``learned`` is read when it is needed, so it may change; ``update`` must then be told what did.
    """

    def __init__(
        self,
        tables: Tables,
        policies: Mapping[str, Policy],
        learned: Learned,
        down: frozenset[Down] = frozenset(),
        drain: Drain = Drain.NO,
    ) -> None:
        """Work all of it out."""
        self._tables, self._drain = tables, drain
        self._routes = Routes(tables, learned, down)
        self._receivers: list[Receiver] = []
        self._reached: dict[tuple[str, Family], _Reached] = {}
        self._receive(policies, {}, defaultdict(dict))

    def announced(self, vpc: str) -> dict[Family, dict[int, Announcement]]:
        """All that a VPC is told now, by prefix key."""
        told = {one.family: one.told for one in self._receivers if one.vpc == vpc and one.told}
        if self._drain is Drain.NO:
            return told
        if self._drain is Drain.WITHDRAWN:
            return {}
        draining = {said: said.draining() for all_ in told.values() for said in set(all_.values())}
        return {family: {key: draining[said] for key, said in all_.items()} for family, all_ in told.items()}

    def update(self, vpc: str, family: Family, keys: Iterable[int]) -> Changes:
        """Learned routes of a VPC came, went, changed, went down or came up: who is to be told what."""
        changes: _Changed = defaultdict(dict)
        self._turn(vpc, changes)
        self._refresh(vpc, family, keys, changes)
        return self._say(changes)

    def follow(self, tables: Tables, policies: Mapping[str, Policy]) -> Changes:
        """Another configuration: who is to be told what. Who is offered the same as before is looked at for the routes
        that changed alone; who is not told any more is passed over."""
        changes: _Changed = defaultdict(dict)
        before, self._tables = self._tables, tables
        moved = self._routes.follow(tables)
        self._receive(policies, before.vpcs, changes)
        for vpc, family in moved:
            self._turn(vpc, changes)
            self._refresh(vpc, family, moved[vpc, family], changes)
        return self._say(changes)

    def set_down(self, down: frozenset[Down]) -> Changes:
        """What is down now, for the routes of the tables; of learned ones ``update`` is told."""
        changes: _Changed = defaultdict(dict)
        for (vpc, family), keys in self._routes.set_down(down).items():
            self._refresh(vpc, family, keys, changes)
        return self._say(changes)

    def set_drain(self, drain: Drain) -> Changes:
        """The gateway is to leave, or stays after all: everything is told once more, or withdrawn."""
        if drain is self._drain:
            return {}
        self._drain = drain
        if drain is not Drain.WITHDRAWN:
            return self._say({one: dict.fromkeys(one.told) for one in self._receivers})
        withdrawn: Changes = defaultdict(dict)
        for one in self._receivers:
            if one.told:
                withdrawn[one.vpc][one.family] = dict.fromkeys(one.told)
        return dict(withdrawn)

    def _receive(self, policies: Mapping[str, Policy], before: Mapping[str, Vpc], changes: _Changed) -> None:
        """Have a receiver for each VPC that is told. Those stay that find all as it was."""
        known = {(one.vpc, one.family): one for one in self._receivers}
        vpcs, fresh = self._tables.vpcs, list[Receiver]()
        turned = {
            name for name in before.keys() & vpcs.keys() if _has_attachment(before, name) != _has_attachment(vpcs, name)
        }
        self._receivers = []
        for name, policy in sorted(policies.items()):
            for family in FAMILIES if name in vpcs else ():
                one = known.get((name, family))
                if one is not None and one.is_for(vpcs[name], policy) and turned.isdisjoint(one.summed):
                    del known[name, family]
                else:
                    told = one.told if one is not None else {}
                    one = Receiver(vpcs[name], family, policy)
                    one.told = told
                    fresh.append(one)
                self._receivers.append(one)
        for vpc, family in {(vpc, one.family): None for one in known.values() for vpc in one.summed}:
            self._lay_out(vpc, family)
        self._arrange(fresh, changes)

    def _turn(self, vpc: str, changes: _Changed) -> None:
        """Tell of a VPC as a summary, or no longer, where that depends on how many routes it has."""
        many = self._routes.size(vpc) > MANY_ROUTES
        turned = [
            one for one in self._receivers if one.policy.advertise is None and one.summed.get(vpc, many) is not many
        ]
        if turned:
            self._arrange(turned, changes)

    def _is_summed(self, receiver: Receiver, vpc: str) -> bool:
        asked = receiver.policy.advertise
        return self._routes.size(vpc) > MANY_ROUTES if asked is None else asked == "summary"

    def _arrange(self, receivers: Collection[Receiver], changes: _Changed) -> None:
        """Lay out anew what some VPCs are offered, and tell them whatever is different by that."""
        before = {one: list(one.told) for one in receivers}
        for one in receivers:
            one.arrange(self._is_summed, lambda vpc: _has_attachment(self._tables.vpcs, vpc))
        for vpc, family in {(vpc, one.family): None for one in receivers for vpc in one.summed}:
            self._lay_out(vpc, family)
            self._look_through(vpc, [one for one in receivers if one.family == family and vpc in one.summed], changes)
        for one, keys in before.items():
            self._settle(one, chain(keys, one.piece_keys()), changes)

    def _lay_out(self, vpc: str, family: Family) -> None:
        """Note whom the routes of a VPC reach."""
        told = [one for one in self._receivers if one.family == family and vpc in one.summed]
        self._reached[vpc, family] = Cover(family, _spans(vpc, told))

    def _look_through(self, vpc: str, receivers: Sequence[Receiver], changes: _Changed) -> None:
        """Work out what the routes of a VPC mean to some receivers of one family. A summary asks for one of them."""
        family = receivers[0].family
        spans = list(_spans(vpc, receivers))
        pieces = [part for _, _, (_, part) in spans if isinstance(part, Piece)]
        if lonely := [one for one in pieces if not (one.stateful or self._routes.has_cover(one, family))]:
            self._routes.find_witnesses(vpc, family, lonely)
        if segments := [span for span in spans if isinstance(span[2][1], Segment)]:
            self._refresh(vpc, family, chain(*self._routes.of(vpc, family)), changes, Cover(family, segments))

    def _refresh(
        self, vpc: str, family: Family, keys: Iterable[int], changes: _Changed, reached: _Reached | None = None
    ) -> None:
        """Work out what some routes of a VPC have come to mean, to all that they reach if nobody is named."""
        reached = self._reached.get((vpc, family)) if reached is None else reached
        keys = iter(keys)
        while reached is not None and (some := list(islice(keys, _AT_ONCE))):
            dirty: dict[Receiver, set[int]] = defaultdict(set)
            orphans: list[Piece] = []
            for key in some:
                low, high = key_range(family, key)
                for receiver, part in reached.overlapping(low, high):
                    if isinstance(part, Piece):
                        if not self._routes.watch(part, family, key):
                            orphans.append(part)
                        dirty[receiver].add(part.key)
                    elif part.first == part.low and part.low <= low and high <= part.high:
                        dirty[receiver].add(key)
                    else:
                        dirty[receiver].update(keys_in(family, part, low, high))
            if orphans:
                self._routes.find_witnesses(vpc, family, orphans)
            for receiver, affected in dirty.items():
                self._settle(receiver, affected, changes)

    def _settle(self, receiver: Receiver, keys: Iterable[int], changes: _Changed) -> None:
        """Note what is to be said now of some prefix keys, where it is not what was said last."""
        told, routes = receiver.told, self._routes
        for key in keys:
            best = receiver.best(key, routes)
            if told.get(key) == best:
                continue
            changes[receiver].setdefault(key, told.get(key))
            if best is None:
                del told[key]
            else:
                told[key] = best

    def _say(self, changes: _Changed) -> Changes:
        """What is different now, as neighbours hear it from a gateway that may be about to leave."""
        said: Changes = defaultdict(dict)
        for one, before in changes.items() if self._drain is not Drain.WITHDRAWN else ():
            now = {key: one.told.get(key) for key, was in before.items() if one.told.get(key) != was}
            if self._drain is Drain.ANNOUNCED:
                draining = {each: each.draining() for each in set(now.values()) if each is not None}
                now = {key: each and draining[each] for key, each in now.items()}
            if now:
                said[one.vpc][one.family] = now
        return dict(said)


def _spans(vpc: str, receivers: Iterable[Receiver]) -> Iterator[tuple[int, int, tuple[Receiver, Segment | Piece]]]:
    """Which private addresses of a VPC matter to receivers: first, last, to whom, and what they are part of."""
    for one in receivers:
        yield from ((low, high, (one, part)) for low, high, part in one.reached_from(vpc))


def _has_attachment(vpcs: Mapping[str, Vpc], name: str) -> bool:
    return bool(vpcs[name].attachments)
