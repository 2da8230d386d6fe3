"""Random configurations in which most packets get through, so that conversations become long: few odd prefixes, routes
for nearly all, and rules that mostly allow. Hosts of several VPCs have the same addresses, and share pools."""

from __future__ import annotations

from random import Random

from isthmus.model.types import Attachment, Item, Match, Model, Peering, Rule, Side, StaticRoute, Subnet, Vpc
from isthmus.tables.address import BITS, FAMILIES, Family, Prefix, step
from isthmus.tables.entries import Nat
from tests.differential.configuration import MAX_PORTS
from tests.differential.pools import Pools, draw_timeouts, without_pools
from tests.differential.slots import Slots

Networks = dict[Family, Prefix]


def lively_model(rng: Random, tags: bool = True) -> Model:
    """Two to five VPCs, most of them peers."""
    numbers = rng.sample(range(8), rng.randint(2, 5))
    networks = {f"v{number}": _networks(rng, number) for number in sorted(numbers)}
    slots = Slots(rng, [f"p{number}" for number in range(1, MAX_PORTS + 1)], tags and rng.random() < 0.7)
    vpcs = {name: _vpc(rng, name, nets, slots) for name, nets in networks.items()}
    pairs = [(a, b) for a in networks for b in networks if a < b]
    chosen = sorted(rng.sample(pairs, max(1, round(len(pairs) * rng.choice([0.6, 0.8, 1])))))
    pools = Pools(rng)
    peerings = {f"{a}--{b}": lively_peering(rng, pools, networks, a, b) for a, b in chosen}
    return without_pools(Model(vpcs, peerings, slots.gateway()))


def _networks(rng: Random, number: int) -> Networks:
    return {
        4: Prefix.parse(rng.choice(["10.0.0.0/24", "10.0.0.0/24", f"10.0.{number}.0/24", "10.0.0.0/22"])),
        6: Prefix.parse(rng.choice(["fd00::/64", "fd00::/64", f"fd00:0:0:{number}::/64", "fd00::/62"])),
    }


def _vpc(rng: Random, name: str, networks: Networks, slots: Slots) -> Vpc:
    attachments: list[Attachment] = []
    count = rng.choice([1, 1, 2, 3]) if slots.tags else 1  # so that there are enough
    while len(attachments) < count:
        attachments += _attachment(rng, slots, networks, len(attachments))
    routes: list[StaticRoute] = []
    for family in FAMILIES:
        whole = networks[family]
        parts = [whole] if rng.random() < 0.9 else halves(whole)
        for part in parts:
            for _ in range(rng.choice([1, 1, 1, 2, 3])):
                via = None if rng.random() < 0.6 else whole.first + step(family) * rng.randint(0, 3)
                where = rng.randrange(count)
                if rng.random() < 0.97:
                    tunnel = slots.tunnel(attachments[where])
                    routes.append(StaticRoute(part, via, where, rng.choice([0, 0, 0, 10]), "spec.routes[0]", tunnel))
    subnets = [
        Subnet(
            f"s{family}", networks[family]._replace(length=networks[family].length + 3), 0, f"spec.subnets.s{family}"
        )
        for family in FAMILIES
        if rng.random() < 0.05
    ]
    return Vpc(name, rng.random() < 0.5, None, tuple(subnets), tuple(attachments), tuple(routes))


def _attachment(rng: Random, slots: Slots, networks: Networks, index: int) -> list[Attachment]:
    addresses: list[tuple[Family, int, int]] = [
        (family, networks[family].last - step(family) * (1 + index), networks[family].length)
        for family in FAMILIES
        if rng.random() < 0.7
    ]
    mtu, mss = rng.choice([0, 0, 0, 0, 1300, 576]), rng.choice([0, 0, 536, 1220, 1400])
    made = slots.draw(addresses, mtu, mss, f"spec.attachments[{index}]")
    return [] if made is None else [made]


def halves(prefix: Prefix) -> list[Prefix]:
    """Both of them, or the prefix where it has one address."""
    if prefix.length == BITS[prefix.family]:
        return [prefix]
    half = prefix._replace(length=prefix.length + 1)
    return [half, half._replace(first=half.last + step(prefix.family))]


def lively_peering(rng: Random, pools: Pools, networks: dict[str, Networks], first: str, second: str) -> Peering:
    """Any two kinds of sides that go together."""
    kinds = rng.choice(
        [
            (Nat.STATEFUL, Nat.PLAIN), (Nat.PLAIN, Nat.STATEFUL), (Nat.STATEFUL, Nat.STATIC),
            (Nat.STATIC, Nat.STATEFUL), (Nat.STATIC, Nat.STATIC), (Nat.PLAIN, Nat.PLAIN), (Nat.STATIC, Nat.PLAIN),
        ]
    )  # fmt: skip
    families: list[Family] = rng.choice([[4], [6], [4, 6], [4, 6]])
    name = f"{first}--{second}"
    sides = [
        _side(rng, pools, name, vpc, peer, kind, {family: networks[vpc][family] for family in families})
        for vpc, peer, kind in zip((first, second), (second, first), kinds, strict=True)
    ]
    return Peering(name, (sides[0], sides[1]))


def _side(rng: Random, pools: Pools, peering: str, vpc: str, peer: str, nat: Nat, networks: Networks) -> Side:
    path = f"spec.{vpc}"
    ips = list(networks.values())
    if rng.random() < 0.15:
        ips = [part for network in ips for part in halves(network)]
    if rng.random() < 0.1:
        ips = [one._replace(length=BITS[one.family] - 1) for one in ips]
    shown: list[Prefix] = []
    side = Side(
        peering,
        vpc,
        nat,
        tuple(Item(prefix, f"{path}.ips[{index}]") for index, prefix in enumerate(ips)),
        (),
        (),
        (),
        lively_rules(rng, f"{path}.ingress"),
        rng.choice([0, 0, 0, 10]),
        path,
        timeouts=draw_timeouts(rng),
    )
    if nat is Nat.STATEFUL:
        shown, terms = pools.draw(peer, list(networks))
        side = terms.given_to(side)
    elif nat is Nat.STATIC:
        shown = [_public(rng, prefix, index) for index, prefix in enumerate(ips)]
    return side._replace(as_=tuple(Item(prefix, f"{path}.as[{index}]") for index, prefix in enumerate(shown)))


def _public(rng: Random, private: Prefix, index: int) -> Prefix:
    """As many public addresses, which hosts of other VPCs may be seen as too."""
    block = Prefix.parse(f"172.{16 + index}.0.0/16" if private.family == 4 else f"2001:db8:{index}::/48")
    return Prefix(private.family, block.first + (rng.choice([0, 0, 1]) << (128 - private.length)), private.length)


def lively_rules(rng: Random, path: str) -> tuple[Rule, ...] | None:
    """None, nothing, or a few rules; the last mostly allows what the first did not."""
    kind = rng.random()
    if kind < 0.5:
        return None
    if kind < 0.6:
        return ()
    rules = [_rule(rng, f"{path}[{index}]") for index in range(rng.randint(0, 2))]
    if rng.random() < 0.8:
        rules.append(Rule("", rng.random() < 0.15, None, None, (), f"{path}[{len(rules)}]"))
    return tuple(rules)


def _rule(rng: Random, path: str) -> Rule:
    protos = rng.sample(["tcp", "udp", "icmp"], rng.randint(0, 2))
    matches = tuple(
        Match(proto, ((0, 255),) if proto == "icmp" else _some(rng), () if proto == "icmp" else _some(rng))
        for proto in protos
    )
    src = None if rng.random() < 0.7 else (Prefix.parse("10.0.0.0/31"), Prefix.parse("fd00::/127"))
    dst = None if rng.random() < 0.7 else (Prefix.parse("0.0.0.0/0"), Prefix.parse("::/1"))
    return Rule("", rng.random() < 0.25, src, dst, matches, path)


def _some(rng: Random) -> tuple[tuple[int, int], ...]:
    return rng.choice([(), (), ((0, 1025),), ((1024, 65535),), ((53, 53), (80, 443))])
