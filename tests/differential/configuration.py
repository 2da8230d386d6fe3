"""Random configurations: few VPCs, few prefixes, much overlap; holes, metrics, ties, rules, every kind of NAT."""

from __future__ import annotations

from random import Random

from isthmus.model.types import (
    Attachment,
    Bgp,
    Item,
    Match,
    Model,
    Peering,
    Rule,
    Side,
    StaticRoute,
    Subnet,
    Vpc,
)
from isthmus.tables.address import BITS, Family, Prefix, step
from isthmus.tables.entries import Nat, TagKind, Tunnel
from tests.differential.pools import Pools, draw_timeouts, without_pools
from tests.differential.slots import Slots

SHARED = [Prefix.parse(p) for p in ("10.9.0.0/24", "10.8.0.0/16", "2001:db8:9::/64", "2001:db8:8::/48")]
"""Offered by many at once, so that metric and rendezvous hash decide."""
BASES = {
    4: [
        Prefix.parse(p)
        for p in (
            "10.1.0.0/16",
            "10.1.0.0/16",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "1.0.0.0/8",
            "0.0.0.0/0",
            "169.254.0.0/15",
        )
    ],
    6: [
        Prefix.parse(p)
        for p in (
            "2001:db8::/32",
            "2001:db8::/32",
            "fd00:1::/48",
            "fd00:1:2:3::/64",
            "2001:db8:1::/56",
            "::/0",
            "fe80::/9",
        )
    ],
}
MAX_PORTS = 7


def random_model(rng: Random, tags: bool = True) -> Model:
    """A model as the resolver would give it: right, and as tangled as it may be."""
    names = [f"v{index}" for index in range(rng.randint(2, 6))]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    chosen = rng.sample(pairs, rng.randint(1, len(pairs)))
    metrics = rng.choice([[0], [0, 10], [0, 0, 5, 10, 2**31 - 1]])
    pools = Pools(rng)
    peerings = {f"{a}--{b}": _peering(rng, pools, metrics, f"{a}--{b}", a, b) for a, b in chosen}
    vpcs = {}
    slots = Slots(rng, [f"p{index}" for index in range(1, MAX_PORTS + 1)], tags and rng.random() < 0.7)
    for name in names:
        offered = [item.prefix for p in peerings.values() for side in p.sides if side.vpc == name for item in side.ips]
        vpcs[name] = _vpc(rng, metrics, name, slots, offered)
    peerings = dict(sorted(peerings.items()))
    return without_pools(Model(dict(sorted(vpcs.items())), peerings, slots.gateway()))


def _prefix(rng: Random, family: Family, inside: Prefix | None = None, length: int | None = None) -> Prefix:
    base = inside or rng.choice(BASES[family])
    bits = BITS[family]
    if length is None:
        length = min(bits, base.length + rng.choice([0, 0, 1, 2, 3, 8, 9, 16, 24, bits - base.length]))
    length = max(length, base.length)
    offset = rng.getrandbits(length - base.length) if length > base.length else 0
    if rng.random() < 0.7:
        offset &= 3  # few places, so that they meet
    return Prefix(family, base.first + (offset << (128 - length)), length)


def _split(rng: Random, prefix: Prefix) -> list[Prefix]:
    """The prefix, or its halves, or theirs, in any order: the same number of addresses."""
    if prefix.length >= BITS[prefix.family] or rng.random() < 0.6:
        return [prefix]
    half = prefix.length + 1
    parts = [prefix._replace(length=half), Prefix(prefix.family, prefix.first + (1 << (128 - half)), half)]
    rng.shuffle(parts)
    return [piece for part in parts for piece in _split(rng, part)]


def _items(prefixes: list[Prefix], path: str) -> tuple[Item, ...]:
    return tuple(Item(prefix, f"{path}[{index}]") for index, prefix in enumerate(prefixes))


def _holes(rng: Random, prefixes: list[Prefix]) -> list[Prefix]:
    return [_prefix(rng, p.family, p) for p in prefixes if p.length < BITS[p.family] - 1 and rng.random() < 0.4]


def _families(rng: Random) -> list[Family]:
    return rng.choice([[4], [6], [4, 6]])


def _peering(rng: Random, pools: Pools, metrics: list[int], name: str, first: str, second: str) -> Peering:
    families = _families(rng)
    kinds = [rng.choice([Nat.PLAIN, Nat.PLAIN, Nat.STATIC, Nat.STATIC, Nat.STATIC, Nat.STATEFUL]) for _ in range(2)]
    if kinds == [Nat.STATEFUL, Nat.STATEFUL]:
        kinds[0] = Nat.PLAIN
    sides = [_side(rng, metrics, name, vpc, kind, families) for vpc, kind in zip((first, second), kinds, strict=True)]
    for index, peer in enumerate((second, first)):
        if kinds[index] is Nat.STATEFUL:
            sides[index] = _pooled(rng, pools, sides[index], peer, families)
    return Peering(name, (sides[0], sides[1]))


def _pooled(rng: Random, pools: Pools, side: Side, peer: str, families: list[Family]) -> Side:
    """A stateful side with a pool that other sides may share."""
    shown, terms = pools.draw(peer, families, lambda family: _prefix(rng, family))
    holes = [hole for hole in _holes(rng, shown) if rng.random() < 0.3]
    path = f"{side.path}.as"
    return terms.given_to(side._replace(as_=_items(shown, path), as_not=_items(holes, f"{path}.not")))


def _side(rng: Random, metrics: list[int], peering: str, vpc: str, nat: Nat, families: list[Family]) -> Side:
    ips: list[Prefix] = []
    shown: list[Prefix] = []
    for family in families:
        for _ in range(rng.choice([1, 1, 2])):
            common = rng.choice([prefix for prefix in SHARED if prefix.family == family])
            whole = common if rng.random() < 0.3 else _prefix(rng, family)
            public = _prefix(rng, family, _roomy(rng, family, whole.length), whole.length)
            if rng.random() < 0.3:
                whole, public = _prefix(rng, family, None, common.length), common
            taken = any(whole.overlaps(o) for o in ips) or any(public.overlaps(o) for o in shown)
            if taken and nat is not Nat.PLAIN:
                continue
            ips += _split(rng, whole)
            if nat is Nat.STATIC:
                shown += _split(rng, public)
    path = f"spec.{vpc}"
    hole, shown_hole = _holes(rng, ips), _holes(rng, shown)
    count = rng.randint(0, 4) if rng.random() < 0.7 else rng.randint(9, 40)
    rules = None if rng.random() < 0.5 else tuple(_rule(rng, f"{path}.ingress[{i}]") for i in range(count))
    metric = rng.choice(metrics)
    return Side(
        peering, vpc, nat, _items(ips, f"{path}.ips"), _items(hole, f"{path}.ips.not"),
        _items(shown, f"{path}.as"), _items(shown_hole, f"{path}.as.not"), rules, metric, path,
        timeouts=draw_timeouts(rng),
    )  # fmt: skip


def _roomy(rng: Random, family: Family, length: int) -> Prefix:
    return rng.choice([base for base in BASES[family] if base.length <= length])


def _rule(rng: Random, path: str) -> Rule:
    def prefixes() -> tuple[Prefix, ...] | None:
        if rng.random() < 0.6:
            return None
        return tuple(_prefix(rng, rng.choice([4, 6])) for _ in range(rng.randint(1, 2)))

    def numbers(most: int) -> tuple[tuple[int, int], ...]:
        if rng.random() < 0.4:
            return ()
        low = rng.randint(0, most)
        return ((low, rng.randint(low, most)),) + (((most, most),) if rng.random() < 0.2 else ())

    matches = []
    for proto in rng.sample(["tcp", "udp", "icmp"], rng.choice([0, 1, 1, 2, 3])):
        most = 255 if proto == "icmp" else 4
        matches.append(Match(proto, numbers(most), numbers(most)))
    return Rule("", rng.random() < 0.8, prefixes(), prefixes(), tuple(matches), path)


def _vpc(rng: Random, metrics: list[int], name: str, slots: Slots, offered: list[Prefix]) -> Vpc:
    count = rng.choice([0, 1, 1, 1, 1, 1, 2, 3])
    drawn = [_attachment(rng, slots, index) for index in range(count)]
    attachments = tuple(one for one in drawn if one is not None)
    if not attachments:
        return Vpc(name, True, None, (), (), ())
    defined = rng.random() < 0.5
    subnets = []
    routes = []
    for index, prefix in enumerate(dict.fromkeys(offered)):
        at = rng.randrange(len(attachments))
        if defined and rng.random() < 0.15:
            subnets.append(Subnet(f"s{index}", _prefix(rng, prefix.family, prefix), at, f"spec.subnets.s{index}"))
        if rng.random() < 0.9:
            routes.append(_route(rng, metrics, prefix, at, index, slots.tunnel(attachments[at])))
            while rng.random() < 0.4:
                at = rng.randrange(len(attachments))
                to = prefix if rng.random() < 0.6 else _prefix(rng, prefix.family, prefix)
                routes.append(_route(rng, metrics, to, at, index, slots.tunnel(attachments[at])))
    plain = attachments[0].tag.kind is not TagKind.VXLAN  # there nothing is assumed: a tunnel is missing
    bgp = Bgp(65000, 1) if plain and rng.random() < 0.2 else None
    return Vpc(name, defined, bgp, tuple(subnets), attachments, tuple(routes))


def _route(
    rng: Random, metrics: list[int], prefix: Prefix, attachment: int, index: int, tunnel: Tunnel | None
) -> StaticRoute:
    via = None if rng.random() < 0.5 else prefix.first + step(prefix.family) * rng.randint(0, 3)
    return StaticRoute(prefix, via, attachment, rng.choice(metrics), f"spec.routes[{index}]", tunnel)


def _attachment(rng: Random, slots: Slots, index: int) -> Attachment | None:
    addresses: list[tuple[Family, int, int]] = []
    for family in (4, 6):
        for _ in range(rng.choice([0, 1, 1, 2])):
            host = _prefix(rng, family, None, BITS[family])
            addresses.append((family, host.first, 24 if family == 4 else 64))
    mtu, mss = rng.choice([0, 0, 1300, 1500, 9000]), rng.choice([0, 0, 536, 1220, 1400])
    return slots.draw(addresses, mtu, mss, f"spec.attachments[{index}]")
