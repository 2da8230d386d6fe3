"""Routes that come, change and go at random, as BGP brings them, and what they come to in the plainest words.

``change`` writes to the packet path's table what a RIB would; ``Telling`` says it in UPDATEs, as a daemon does.
Prefixes are drawn from few addresses, so that they nest, leave holes, and come again.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from isthmus.datapath import PacketPath
from isthmus.datapath.fib.groups import Group
from isthmus.datapath.learned import LearnedTable
from isthmus.model.types import Vpc
from isthmus.routing.bgp import nlri
from isthmus.routing.bgp.attributes import (
    MP_REACH,
    MP_UNREACH,
    OPTIONAL,
    AsPath,
    Attributes,
    LargeCommunities,
    attribute,
)
from isthmus.routing.bgp.attributes import Origin as From
from isthmus.routing.bgp.capabilities import Agreement
from isthmus.routing.bgp.reader import Reader
from isthmus.routing.bgp.updates import MANY, Batch
from isthmus.routing.bgp.wire import LONGEST, Kind, message
from isthmus.routing.rib import AT_ONCE, Rib
from isthmus.tables.address import BITS, FAMILIES, Family, address_bytes, parse_address, step
from isthmus.tables.entries import NextHop, Origin, Route, Tables
from isthmus.tables.learned import Learned, key_prefix
from isthmus.trace.environment import Environment, PortInfo
from isthmus.trace.twin import Twin
from tests.bpf.network import HOST_MAC, MTU, key, peering, port_mac, tables, vpc
from tests.differential.compare import Bench, Difference
from tests.differential.frames import ETHERTYPE, UDP, packet, summed

HERE, ISP = vpc("here", "p1", "10.1.1.0/24", "fd01::/64"), vpc("isp", "p2", "0.0.0.0/0", "::/0")
ROUTERS = [parse_address(f"198.51.100.{number}")[1] for number in (1, 2, 3, 4, 5)]
LENGTHS: dict[Family, list[int]] = {
    4: [0, 1, 3, 8, 9, 12, 16, 17, 20, 22, 23, 24, 24, 25, 30, 31, 32],
    6: [0, 3, 16, 29, 32, 44, 48, 56, 64, 65, 127, 128],
}
Routes = dict[Family, dict[int, Route]]
"""By prefix key."""
Said = tuple[int, int, tuple[int, ...]]
"""Metric, prefix length, routers."""
End = tuple[int, Said | None]
"""From this address on: what packets are told, None where there is no route."""


def learns(*others: Vpc) -> Tables:
    """A VPC and its provider, or several, which have no routes but what they learn."""
    providers = [ISP, *others]
    made = tables([HERE, *providers], [peering(HERE, one) for one in providers])
    learning = {one.name: made.vpcs[one.name]._replace(routes={4: (), 6: ()}) for one in providers}
    return Tables({**made.vpcs, **learning}, made.sides)


def hop(number: int) -> NextHop:
    return NextHop(key(ISP), ROUTERS[number % 2], Origin("BGP"), None, f"peer-{number % 3}")


def host(rng: random.Random, family: Family, few: int) -> int:
    """An address (left-aligned) that has one of ``few`` values, at most 256, in each byte."""
    drawn = bytes(10 + 37 * rng.randrange(few) & 255 for _ in range(BITS[family] // 8))
    return int.from_bytes(drawn) << 128 - BITS[family]


def prefix(rng: random.Random, family: Family, few: int) -> int:
    """The key of a prefix around such an address."""
    length = rng.choice(LENGTHS[family])
    return 1 << length | host(rng, family, few) >> 128 - length


def change(
    rng: random.Random,
    table: LearnedTable,
    routes: Routes,
    few: int,
    count: int,
    *,
    gone: float = 0.4,
    metrics: Sequence[int] = range(1, 40),
) -> None:
    """Some routes come, change and go in one batch; ``gone``: how much of it is withdrawals."""
    family = rng.choice(FAMILIES)
    mine, known = routes[family], list(routes[family])
    keys, groups = [], []
    for _ in range(count):
        one = rng.choice(known) if known and rng.random() < 0.4 else prefix(rng, family, few)
        alike = [one]
        if rng.random() < 0.05 and one >= 32:  # siblings that say the same
            alike = list(range(one & ~15, (one & ~15) + 16))
        if rng.random() < gone:
            told, group = None, 0
        else:
            first = rng.randrange(6)
            hops = tuple(hop(first + other) for other in range(rng.choice((1, 1, 1, 2, 3))))
            told = Group(rng.choice(metrics), hops)
            group = table.group(*told)
        for each in alike:
            keys.append(each)
            groups.append(group)
            mine.pop(each, None)
            if told:
                mine[each] = Route(key_prefix(family, each), told.metric, False, told.next_hops, Origin("BGP"))
    table.update(family, keys, groups)


def dump(path: PacketPath, name: str) -> object:
    """What packets of a VPC's peers are told, in canonical form."""
    found = path.dump()[name]
    assert isinstance(found, dict)
    return found["learned"]


def fresh(path: PacketPath, routes: Mapping[Family, Mapping[int, Route]]) -> object:
    """The dump of a table that has just been made of these routes."""
    other = path.learned("here")
    other.clear()
    for family, mine in routes.items():
        other.update(family, list(mine), [other.group(route.metric, route.next_hops) for route in mine.values()])
    found = dump(path, "here")
    other.clear()
    return found


def spelled(dumped: object) -> dict[Family, list[End]]:
    """A dump in the words of ``ends``."""
    assert isinstance(dumped, tuple)
    return {
        family: [(at, said and (said[0], said[1], tuple(each[0] for each in said[3]))) for at, said in dumped[place]]
        for place, family in enumerate(FAMILIES)
    }


def ends(routes: Mapping[int, Route]) -> list[End]:
    """Where what addresses are told changes: by a sweep over prefixes in order, of which the innermost counts."""
    told: list[End] = [(0, None)]

    def say(at: int, what: Said | None) -> None:
        if told[-1][0] == at:
            told.pop()
        if not told or told[-1][1] != what:
            told.append((at, what))

    opened: list[End] = [(1 << 128, None)]  # how far each goes that holds here, the innermost last
    for of, route in sorted((route.prefix, route) for route in routes.values()):
        while opened[-1][0] <= of.first:
            end, _ = opened.pop()
            say(end, opened[-1][1])
        said = route.metric, of.length, tuple(each.gateway or 0 for each in route.next_hops)
        say(of.first, said)
        opened.append((of.first + (1 << 128 - of.length), said))
    while len(opened) > 1:
        end, _ = opened.pop()
        if end < 1 << 128:
            say(end, opened[-1][1])
    return [] if told == [(0, None)] else told


def unordered(routes: Mapping[int, Route]) -> dict[int, tuple[int, frozenset[NextHop]]]:
    """Metric and next hops by key."""
    return {one: (route.metric, frozenset(route.next_hops)) for one, route in routes.items()}


def check(path: PacketPath, routes: Routes, anew: PacketPath | None = None) -> None:
    """``Difference`` if the provider's table is not what a fresh build has (of another packet path, perhaps), or
    packets find something else than these routes."""
    table = path.learned("isp")
    found = {family: table.routes(family) for family in FAMILIES}
    for family, mine in routes.items():
        if unordered(found[family]) != unordered(mine) or table.count(family) != len(mine):
            raise Difference(f"IPv{family}: the routes are others than those that were told")
    dumped = dump(path, "isp")
    if dumped != fresh(anew or path, found):
        raise Difference("a fresh build of the same routes has another dump")
    for family, ours in found.items():
        if spelled(dumped)[family] != ends(ours):
            raise Difference(f"IPv{family}: packets find other than the longest prefix")


def near(rng: random.Random, family: Family, known: Sequence[int], few: int) -> int:
    """An address that packets may go to: at an edge of a known prefix, on either side of it, or anywhere."""
    if not known or rng.random() < 0.3:
        return host(rng, family, few)
    within, unit = key_prefix(family, rng.choice(known)), step(family)
    end = within.first + (1 << 128 - within.length)
    return rng.choice((within.first, within.first - unit, end - unit, end)) % (1 << 128)


class Asking:
    """Sends packets from one VPC to random destinations in the other, to the packet path and to the twin."""

    SOURCES: ClassVar[dict[Family, bytes]] = {4: bytes([10, 1, 1, 1]), 6: b"\xfd\x01" + bytes(13) + b"\x01"}

    def __init__(self, place: Bench) -> None:
        """The routers' MACs end in their numbers; nobody knows that of the last."""
        self._place = place
        ports = {port: PortInfo(port_mac(port), MTU) for port in ("p1", "p2")}
        macs = {
            (key(ISP), family, router): HOST_MAC[:5] + bytes([number])
            for number, router in enumerate(ROUTERS[:-1])
            for family in FAMILIES
        }
        self._twin = Twin(learns(), Environment(ports, macs))
        place.apply(learns(), ports, macs, judge_flows=True)

    def ask(self, rng: random.Random, routes: Routes, few: int, count: int) -> None:
        """So many packets; ``Difference`` where the two disagree. Verdicts are counted in the place."""
        self._twin.learned = Learned({"isp": routes})
        for family in FAMILIES:
            known = list(routes[family])
            for _ in range(count // 2):
                to = address_bytes(family, near(rng, family, known, few))
                body = summed(family, self.SOURCES[family], to, UDP, struct.pack("!4H", 9, 53, 8, 0))
                frame = packet(family, self.SOURCES[family], to, UDP, body)
                where = f"IPv{family} to {to.hex()}"
                ethernet = port_mac("p1") + HOST_MAC + ETHERTYPE[family].to_bytes(2, "big")
                self._place.compare(self._twin, ethernet + frame, "p1", "xdp", where)


def decided(paths: Iterable[Attributes]) -> list[Attributes]:
    """Those that carry packets, by RFC 4271 9.1.2.2, each step as the text says it."""
    left = list(paths)
    left = [path for path in left if path.local_pref == max(each.local_pref for each in left)]
    left = [path for path in left if path.as_path.hops == min(each.as_path.hops for each in left)]
    left = [path for path in left if path.origin == min(each.origin for each in left)]
    return [path for path in left if (path.med or 0) == min(each.med or 0 for each in left)]


class Telling:
    """A daemon that tells a RIB of paths over a session with add-path, and the plain list of all that it told."""

    PATH_IDS = (1, 2, 3, 70_000)
    IN_AN_UPDATE = 60
    """Routes, at most: what has room in its bytes."""

    def __init__(self, rng: random.Random, table: LearnedTable, few: int) -> None:
        self._rng, self.few = rng, few
        self.rib = Rib(table, self._resolve, _peer)
        self.told: dict[Family, dict[int, dict[int, Attributes]]] = {family: {} for family in FAMILIES}
        self._flushed: dict[Family, set[int]] = {family: set() for family in FAMILIES}
        self._before: Routes = {family: {} for family in FAMILIES}
        self._nowhere = {ROUTERS[-1]}
        self._connect()

    def tell(self, count: int, gone: float) -> None:
        """UPDATEs of so many paths, in pieces, flushed in between now and then; ``gone``: the share withdrawn."""
        rng, data = self._rng, b""
        while count > 0:
            some = min(count, rng.randrange(1, self.IN_AN_UPDATE))
            count -= some
            data += self._update(rng.choice(FAMILIES), some, gone)
        while data:
            cut = rng.choice((1, 19, 300, 4096, 1 << 16))
            for event in self._reader.feed(data[:cut]):
                assert isinstance(event, Batch), event
                self.rib.take(event)
            data = data[cut:]
            if rng.random() < 0.1:
                self._flush_some(rng.choice((1, 7, 500)))

    def lose(self) -> None:
        """The session ends, and another begins."""
        self.rib.clear()
        for of in self.told.values():
            of.clear()
        self._connect()

    def move(self) -> None:
        """A router is found, or is not any more."""
        self._nowhere ^= {self._rng.choice(ROUTERS)}
        self.rib.resolve_again()

    def flush(self) -> Routes:
        """Write all that was told. What it comes to; of what changed since the last time, the RIB must have said so."""
        while self._flush_some(self._rng.choice((97, 4000, AT_ONCE))):
            pass
        if self.rib.pending:
            raise Difference("the RIB has something to write, and does not")
        routes = {
            family: {one: route for one, paths in of.items() if (route := self._route(family, one, paths.values()))}
            for family, of in self.told.items()
        }
        for family, mine in routes.items():
            before, said = self._before[family], self._flushed[family]
            if any(one not in said and before.get(one) != mine.get(one) for one in {**before, **mine}):
                raise Difference(f"IPv{family}: a route is another, and nobody is told of it")
            said.clear()
        self._before = routes
        return routes

    def _flush_some(self, most: int) -> bool:
        changed = self.rib.flush(most)
        if changed:
            if len(changed.keys) > most:
                raise Difference(f"{len(changed.keys)} prefixes are written at once instead of {most}")
            self._flushed[changed.family].update(changed.keys)
        return changed is not None

    def _connect(self) -> None:
        both = frozenset(FAMILIES)
        many = self._rng.choice((1, MANY))  # all are read in bulk, or those that come together
        self._reader = Reader(Agreement(both, both, both, internal=True, longest=LONGEST), many=many)

    def _update(self, family: Family, count: int, gone: float) -> bytes:
        """One of one family: some paths that are gone, and some with equal attributes. It is noted as told."""
        rng, of = self._rng, self.told[family]
        known = rng.sample(list(of), min(count, len(of)))
        attributes = self._attributes(family)
        withdrawn: list[Path] = []
        announced: list[Path] = []
        for _ in range(count):
            one = known.pop() if known and rng.random() < 0.5 else prefix(rng, family, self.few)
            (withdrawn if rng.random() < gone else announced).append((rng.choice(self.PATH_IDS), one))
        for number, one in withdrawn:
            if of.get(one, {}).pop(number, None) is not None and not of[one]:
                del of[one]
        for number, one in announced:
            of.setdefault(one, {})[number] = attributes
        return update(family, withdrawn, announced, attributes)

    def _attributes(self, family: Family) -> Attributes:
        rng = self._rng
        return Attributes(
            (family, rng.choice(ROUTERS)),
            AsPath.sequence(*(65001 + one for one in range(rng.choice((1, 1, 1, 2))))),
            rng.choice((From.IGP, From.IGP, From.INCOMPLETE)),
            rng.choice((None, None, 0, 5, rng.randrange(100))),
            rng.choice((100, 100, 100, 200)),
            large_communities=LargeCommunities.of((0, 0, rng.randrange(3))),
        )

    def _resolve(self, _family: Family, address: int, peer: str) -> NextHop | None:
        return None if address in self._nowhere else NextHop(key(ISP), address, Origin("BGP"), None, peer)

    def _route(self, family: Family, one: int, paths: Iterable[Attributes]) -> Route | None:
        best = decided(path for path in paths if path.next_hop[1] not in self._nowhere)
        hops = {hop for path in best if (hop := self._resolve(*path.next_hop, _peer(path.large_communities)))}
        ordered = tuple(sorted(hops, key=lambda hop: (hop.gateway, hop.peer)))
        return Route(key_prefix(family, one), best[0].med or 0, False, ordered, Origin("BGP")) if best else None


def _peer(communities: LargeCommunities) -> str:
    return "".join(f"192.0.2.{value[2]}" for value in communities.values)


Path = tuple[int, int]
"""Path identifier and prefix key."""


def update(family: Family, withdrawn: Sequence[Path], announced: Sequence[Path], attributes: Attributes) -> bytes:
    """One UPDATE, of paths with any identifiers; the attributes are those of the announced."""
    gone, prefixes = (
        b"".join(field for number, one in of for field in nlri.encode([one], number, 64))
        for of in (withdrawn, announced)
    )
    said = attributes.encode(next_hop=family == 4, internal=True) if announced else b""
    if family == 6:
        hop = address_bytes(*attributes.next_hop)
        reach = attribute(OPTIONAL, MP_REACH, b"\0\2\1" + bytes((len(hop),)) + hop + b"\0" + prefixes)
        unreach = attribute(OPTIONAL, MP_UNREACH, b"\0\2\1" + gone)
        said = (reach if announced else b"") + (unreach if withdrawn else b"") + said
        gone = prefixes = b""
    sized = len(gone).to_bytes(2, "big") + gone + len(said).to_bytes(2, "big") + said
    return message(Kind.UPDATE, sized + prefixes)
