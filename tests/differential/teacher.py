"""What BGP teaches the VPCs of a random configuration: routes come and go, neighbours and ports are down or up."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from isthmus.tables.address import BITS, FAMILIES, Family, Prefix, step
from isthmus.tables.entries import Attachment, NextHop, Origin, Peer, Route, Tables, TagKind, Tunnel, Vpc
from isthmus.tables.learned import Down, Learned, prefix_key
from tests.differential.slots import VTEPS

ORIGIN = Origin("BGP")
PEERS = ("192.0.2.1", "192.0.2.2", "2001:db8::1")
Routes = dict[str, dict[Family, dict[int, Route]]]


class Teacher:
    """Changes come in steps; each moves the epoch."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.taught = rng.random() < 0.7
        self.routes: Routes = {}
        self.down: frozenset[Down] = frozenset()
        self.epoch = 0
        self.tables = Tables()

    @property
    def learned(self) -> Learned:
        """All that is known now; what changes later does not change it."""
        routes = {vpc: {family: dict(table) for family, table in known.items()} for vpc, known in self.routes.items()}
        return Learned(routes, self.down, self.epoch)

    def configure(self, tables: Tables) -> None:
        """From now on these are the VPCs: routes over attachments that are gone go too."""
        self.tables = tables
        keys = {one.key for vpc in tables.vpcs.values() for one in vpc.attachments}
        before, self.routes = self.routes, {}
        for vpc, known in before.items():
            for family, table in known.items():
                kept = {
                    key: route for key, route in table.items() if all(h.attachment in keys for h in route.next_hops)
                }
                if vpc in tables.vpcs and kept:
                    self.routes.setdefault(vpc, {})[family] = kept
        self.epoch += 1

    def change(self) -> None:
        """Some routes more, some less, and now and then something goes down, or comes up again."""
        rng = self.rng
        vpcs = [vpc for vpc in self.tables.vpcs.values() if vpc.attachments]
        if not self.taught or not vpcs:
            return
        self.epoch += 1
        if rng.random() < 0.3:
            self._change_down(rng.choice(vpcs))
            return
        vpc = rng.choice(vpcs)
        family = rng.choice(FAMILIES)
        table = self.routes.setdefault(vpc.name, {}).setdefault(family, {})
        if table and rng.random() < 0.1:
            table.clear()
        for key in list(table):
            if rng.random() < 0.2:
                del table[key]
        for _ in range(rng.choice([1, 2, 8])):
            route = self._route(vpc, self._prefix(vpc, family))
            table[prefix_key(route.prefix)] = route

    def _change_down(self, vpc: Vpc) -> None:
        rng = self.rng
        what: Down = rng.choice(vpc.attachments).key if rng.random() < 0.4 else Peer(vpc.name, rng.choice(PEERS))
        self.down = self.down ^ {what} if rng.random() < 0.8 else frozenset()

    def _prefix(self, vpc: Vpc, family: Family) -> Prefix:
        """Near what the VPC routes or exposes itself: the same, shorter, longer, all or one host."""
        rng, bits = self.rng, BITS[family]
        own = [route.prefix for route in vpc.routes.get(family, ()) if not route.local]
        for side in self.tables.sides.values():
            if side.key.vpc == vpc.name:
                own += [Prefix(family, span.first, bits) for span in side.private.get(family, ())]
        near = rng.choice(own) if own else Prefix(family, 0, 0)
        length = rng.choice([near.length, near.length, near.length + 1, near.length + 8, near.length - 1, 0, bits, 24])
        length = min(max(length, 0), bits)
        first = near.first + rng.randrange(4) * step(family) if length > near.length else near.first
        return Prefix(family, first & Prefix(family, 0, length).mask, length)

    def _route(self, vpc: Vpc, prefix: Prefix) -> Route:
        rng = self.rng
        hops = {self._hop(rng.choice(vpc.attachments), prefix.family) for _ in range(rng.choice([1, 1, 2, 3]))}
        ordered = sorted(hops, key=lambda hop: (hop.attachment, hop.gateway or 0, hop.peer, hop.tunnel or ()))
        return Route(prefix, rng.choice([0, 0, 5, 10]), False, tuple(ordered), ORIGIN)

    def _hop(self, attachment: Attachment, family: Family) -> NextHop:
        number = self.rng.randrange(len(PEERS))
        tunnel = None
        if attachment.key.tag.kind is TagKind.VXLAN and self.tables.vtep is not None:
            kin = self.tables.vtep.family
            tunnel = Tunnel(kin, VTEPS[kin][1 + number], bytes([2, 0xCC, 0, 0, 1, number]))
        return NextHop(attachment.key, router(family, number), ORIGIN, tunnel, PEERS[number])


def router(family: Family, number: int) -> int:
    """The address of a neighbour on its link."""
    return Prefix.parse("198.18.0.0/24" if family == 4 else "2001:db8:18::/64").first + (1 + number) * step(family)


def routers(tables: Tables) -> Iterator[tuple[Attachment, Family, int]]:
    """All that may be the next hop of a learned route."""
    for vpc in tables.vpcs.values():
        for attachment in vpc.attachments:
            for family in FAMILIES:
                yield from ((attachment, family, router(family, number)) for number in range(len(PEERS)))
