"""One configuration after another: what an operator changes while conversations run."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from isthmus.model.types import Item, Model, Peering, Side, StaticRoute, Vpc
from isthmus.tables.address import BITS, FAMILIES, Family, step
from isthmus.tables.entries import Nat, TagKind
from tests.differential.lively import Networks, halves, lively_peering, lively_rules
from tests.differential.pools import Pools, Terms, draw_timeouts, part_of, without_pools

LARGEST: dict[Family, int] = {4: 16, 6: 48}
"""Networks of this length have as many public addresses."""

Change = Callable[[Random, Model], Model]


def varied(rng: Random, model: Model) -> Model:
    """The model with one to three things changed; pools stay such that a real model could have them."""
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        change = rng.choices(CHANGES, WEIGHTS)[0]
        if model.peerings:
            model = change(rng, model)
    return without_pools(model)


def _with_side(model: Model, side: Side) -> Model:
    """The side in place of the one of its peering and VPC."""
    peering = model.peerings[side.peering]
    left, right = (side if side.vpc == old.vpc else old for old in peering.sides)
    return model._replace(peerings={**model.peerings, peering.name: Peering(peering.name, (left, right))})


def _any_side(rng: Random, model: Model, nat: Nat | None = None) -> Side | None:
    sides = [side for p in model.peerings.values() for side in p.sides if nat is None or side.nat is nat]
    return rng.choice(sides) if sides else None


def _peer_of(model: Model, side: Side) -> str:
    return next(other.vpc for other in model.peerings[side.peering].sides if other.vpc != side.vpc)


def _drop_peering(rng: Random, model: Model) -> Model:
    gone = rng.choice(list(model.peerings))
    return model._replace(peerings={name: p for name, p in model.peerings.items() if name != gone})


def _change_rules(rng: Random, model: Model) -> Model:
    side = _any_side(rng, model)
    assert side is not None
    rules = side.ingress
    kind = rng.random()
    if rules and kind < 0.3:
        gone = rng.randrange(len(rules))
        rules = rules[:gone] + rules[gone + 1 :]
    elif rules and kind < 0.6:
        turned = rng.randrange(len(rules))
        other = rules[turned]._replace(stateless=not rules[turned].stateless)
        rules = (*rules[:turned], other, *rules[turned + 1 :])
    else:
        rules = lively_rules(rng, f"{side.path}.ingress")
    return _with_side(model, side._replace(ingress=rules))


def _change_metric(rng: Random, model: Model) -> Model:
    side = _any_side(rng, model)
    assert side is not None
    return _with_side(model, side._replace(metric=rng.choice([0, 1, 10, 2**31 - 1])))


def _change_timeouts(rng: Random, model: Model) -> Model:
    """Of a side without a pool; those of pools change with their terms."""
    side = _any_side(rng, model)
    assert side is not None
    return model if side.nat is Nat.STATEFUL else _with_side(model, side._replace(timeouts=draw_timeouts(rng)))


def _change_terms(rng: Random, model: Model) -> Model:
    """Other ports, mapping or timeouts, for all sides that shared the old ones toward a VPC."""
    chosen = _any_side(rng, model, Nat.STATEFUL)
    if chosen is None:
        return model
    old, peer = Terms.of(chosen), _peer_of(model, chosen)
    drawn = Terms.draw(rng)
    fresh = rng.choice([drawn, old._replace(ports=drawn.ports), old._replace(per_destination=not old.per_destination)])
    for peering in list(model.peerings.values()):
        for side in peering.sides:
            if side.nat is Nat.STATEFUL and _peer_of(model, side) == peer and Terms.of(side) == old:
                model = _with_side(model, fresh.given_to(side))
    return model


def _change_pool(rng: Random, model: Model) -> Model:
    """Fewer addresses, others beside them, or those in another order."""
    side = _any_side(rng, model, Nat.STATEFUL)
    if side is None or not side.as_:
        return model
    at = rng.randrange(len(side.as_))
    old = side.as_[at]
    kind = rng.random()
    if kind < 0.4:
        fresh = [part_of(rng, old.prefix)]
    elif kind < 0.6:
        fresh = [rng.choice(halves(old.prefix))]
    else:
        wider = max(old.prefix.length - 2, 24 if old.prefix.family == 4 else 64, 0)
        mask = old.prefix._replace(length=min(wider, old.prefix.length)).mask
        fresh = [old.prefix._replace(first=old.prefix.first & mask, length=min(wider, old.prefix.length))]
    others = [item for index, item in enumerate(side.as_) if index != at]
    if any(one.overlaps(item.prefix) for one in fresh for item in others):
        return model
    made = [*others[:at], *(Item(prefix, old.path) for prefix in fresh), *others[at:]]
    return _with_side(_unless_conflict(model, side, made), side._replace(as_=tuple(made)))


def _unless_conflict(model: Model, changed: Side, pool: list[Item]) -> Model:
    """All pools toward the peer that the new one meets are put on its terms."""
    peer, terms = _peer_of(model, changed), Terms.of(changed)
    met = {item.prefix for item in pool}
    again = True
    while again:
        again = False
        for peering in list(model.peerings.values()):
            for side in peering.sides:
                if side.nat is not Nat.STATEFUL or _peer_of(model, side) != peer or Terms.of(side) == terms:
                    continue
                if any(item.prefix.overlaps(other) for item in side.as_ for other in met):
                    model = _with_side(model, terms.given_to(side))
                    met |= {item.prefix for item in side.as_}
                    again = True
    return model


def _change_hole(rng: Random, model: Model) -> Model:
    """One host is taken out of a side, or all are let in again that no pool needs out."""
    side = _any_side(rng, model)
    if side is None or not side.ips:
        return model
    if side.ips_not and rng.random() < 0.5:
        return _with_side(model, side._replace(ips_not=(), as_not=()))
    shown = side.as_ if side.nat is not Nat.PLAIN and rng.random() < 0.5 else side.ips
    prefix = rng.choice(shown).prefix
    bits = BITS[prefix.family]
    first = prefix.first + min(rng.randrange(4), prefix.size - 1) * step(prefix.family)
    hole = Item(prefix._replace(first=first, length=bits), f"{side.path}.not")
    if shown is side.ips:
        return _with_side(model, side._replace(ips_not=(*side.ips_not, hole)))
    return _with_side(model, side._replace(as_not=(*side.as_not, hole)))


def _change_routes(rng: Random, model: Model) -> Model:
    vpc = rng.choice(list(model.vpcs.values()))
    routes = list(vpc.routes)
    if not routes:
        return model
    at = rng.randrange(len(routes))
    kind = rng.random()
    if kind < 0.4:
        del routes[at]
    elif kind < 0.6:
        routes[at] = routes[at]._replace(metric=rng.choice([0, 5, 20]))
    elif kind < 0.8:
        prefix = routes[at].to
        routes[at] = routes[at]._replace(via=rng.choice([None, prefix.first + step(prefix.family)]))
    else:
        routes.append(routes[at]._replace(to=rng.choice(halves(routes[at].to))))
    return model._replace(vpcs={**model.vpcs, vpc.name: vpc._replace(routes=tuple(routes))})


def _change_attachment(rng: Random, model: Model) -> Model:
    """MTU, MSS, or the gateway's own address becomes that of a host, or it has none."""
    vpc = rng.choice(list(model.vpcs.values()))
    if not vpc.attachments:
        return model
    at = rng.randrange(len(vpc.attachments))
    one = vpc.attachments[at]
    kind = rng.random()
    if kind < 0.4:
        one = one._replace(mss=rng.choice([0, 536, 1000, 1400]))
    elif kind < 0.6:
        one = one._replace(mtu=rng.choice([0, 576, 1280, 9000]))
    elif kind < 0.8 and vpc.routes and one.tag.kind is not TagKind.MPLS:  # there addresses tell attachments apart
        prefix = rng.choice(vpc.routes).to
        own = (prefix.family, prefix.first + min(3, prefix.size - 1) * step(prefix.family), prefix.length)
        one = one._replace(addresses=(*one.addresses, own))
    else:
        one = one._replace(addresses=())
    attachments = (*vpc.attachments[:at], one, *vpc.attachments[at + 1 :])
    return model._replace(vpcs={**model.vpcs, vpc.name: vpc._replace(attachments=attachments)})


def _drop_vpc(rng: Random, model: Model) -> Model:
    if len(model.vpcs) < 3:
        return model
    gone = rng.choice(list(model.vpcs))
    peerings = {name: p for name, p in model.peerings.items() if all(side.vpc != gone for side in p.sides)}
    return model._replace(vpcs={name: vpc for name, vpc in model.vpcs.items() if name != gone}, peerings=peerings)


def _rename_vpc(rng: Random, model: Model) -> Model:
    """Another VPC comes in the place of one that goes, with the same ports, networks and peers."""
    old = rng.choice(list(model.vpcs))
    new = f"v{rng.randrange(10)}"
    if new in model.vpcs:
        return model
    vpcs = {new if name == old else name: vpc for name, vpc in model.vpcs.items()}
    vpcs[new] = vpcs[new]._replace(name=new)
    peerings = {}
    for peering in model.peerings.values():
        left, right = (side._replace(vpc=new) if side.vpc == old else side for side in peering.sides)
        name = f"{left.vpc}--{right.vpc}"
        peerings[name] = Peering(name, (left._replace(peering=name), right._replace(peering=name)))
    return model._replace(vpcs=dict(sorted(vpcs.items())), peerings=dict(sorted(peerings.items())))


def _remake_peering(rng: Random, model: Model) -> Model:
    """The same two VPCs on other terms; pools of their own, so that they fit to all others."""
    peering = rng.choice(list(model.peerings.values()))
    first, second = (side.vpc for side in peering.sides)
    networks: dict[str, Networks] = {}
    for name in (first, second):
        networks[name] = _networks_of(model.vpcs[name])
        if len(networks[name]) < len(FAMILIES) or any(net.length < LARGEST[f] for f, net in networks[name].items()):
            return model
    made = lively_peering(rng, Pools(rng), networks, first, second)
    model = model._replace(peerings={**model.peerings, peering.name: made})
    for side in made.sides:
        if side.nat is Nat.STATEFUL:
            model = _unless_conflict(model, side, list(side.as_))
    return model


def _networks_of(vpc: Vpc) -> Networks:
    found: dict[Family, list[StaticRoute]] = {}
    for route in vpc.routes:
        found.setdefault(route.to.family, []).append(route)
    return {family: min(routes, key=lambda route: route.to.length).to for family, routes in found.items()}


CHANGES: list[Change] = [
    _drop_peering, _change_rules, _change_metric, _change_timeouts, _change_terms, _change_pool, _change_hole,
    _change_routes, _change_attachment, _drop_vpc, _rename_vpc, _remake_peering,
]  # fmt: skip
WEIGHTS = [1, 3, 1, 0.5, 2, 3, 2, 3, 1.5, 0.7, 1.5, 1]
