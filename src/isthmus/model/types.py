"""What the configuration means, once it is right.

Prefixes are ``isthmus.tables.address.Prefix``; item order is that of the file. Every part keeps the path of
its field (``spec.vpc-1.as[0]``) for the origin of the entries compiled from it.
"""

from __future__ import annotations

from typing import NamedTuple

from isthmus.tables.address import Family, Prefix
from isthmus.tables.entries import Nat, Tag, Timeouts


class Item(NamedTuple):
    """One CIDR of ``ips`` or ``as`` and the path of the field it came from."""

    prefix: Prefix
    path: str


class Match(NamedTuple):
    """One protocol of a rule: ``tcp``, ``udp`` or ``icmp``. Ranges are inclusive, sorted, and do not touch; empty: any.

    For ICMP ``sport`` holds types and ``dport`` codes.
    """

    proto: str
    sport: tuple[tuple[int, int], ...]
    dport: tuple[tuple[int, int], ...]


class Rule(NamedTuple):
    """One ``allow`` of an ``ingress``. ``src`` private, ``dst`` as dialled; None: any. No matches: any protocol."""

    name: str
    stateless: bool
    src: tuple[Prefix, ...] | None
    dst: tuple[Prefix, ...] | None
    matches: tuple[Match, ...]
    path: str


class Side(NamedTuple):
    """What one VPC offers in a peering. ``as_``/``as_not`` are empty on a plain side.

    ``ports`` (of the pool: inclusive, sorted, not touching) and ``per_destination`` say something of a stateful side
    alone. ``timeouts`` are those of ``nat``, which a stateful side alone can have, and else the defaults.
    """

    peering: str
    vpc: str
    nat: Nat
    ips: tuple[Item, ...]
    ips_not: tuple[Item, ...]
    as_: tuple[Item, ...]
    as_not: tuple[Item, ...]
    ingress: tuple[Rule, ...] | None
    metric: int
    path: str
    ports: tuple[tuple[int, int], ...] = ((1024, 65535),)
    per_destination: bool = False
    timeouts: Timeouts = Timeouts()


class Peering(NamedTuple):
    """Exactly two sides, in the order of the file."""

    name: str
    sides: tuple[Side, Side]


class Attachment(NamedTuple):
    """A port with a tag; ``addresses`` are (family, address, prefix length).

    ``mtu`` 0: that of the port. ``mss`` 0: TCP SYNs may ask for any segment.
    """

    interface: str
    tag: Tag
    addresses: tuple[tuple[Family, int, int], ...]
    mtu: int
    path: str
    mss: int = 0


class Subnet(NamedTuple):
    """A named subnet and the index of the attachment it lives on."""

    name: str
    prefix: Prefix
    attachment: int
    path: str


class StaticRoute(NamedTuple):
    """``to`` via a router (``via``), or on-link on an attachment. ``attachment`` is always resolved to an index."""

    to: Prefix
    via: int | None
    attachment: int
    metric: int
    path: str


class Vpc(NamedTuple):
    """A routing domain. ``defined`` False: inferred from the peerings that name it; it owns what it exposes."""

    name: str
    defined: bool
    bgp: bool
    subnets: tuple[Subnet, ...]
    attachments: tuple[Attachment, ...]
    routes: tuple[StaticRoute, ...]


class Port(NamedTuple):
    """A port's settings in the Gateway object: ``hook`` auto, xdp or tc; ``unclaimed`` drop or pass."""

    name: str
    hook: str
    unclaimed: str


class Gateway(NamedTuple):
    """The node's own object. ``flows``: how many it is to have room for, where it says so."""

    name: str
    ports: tuple[Port, ...]
    flows: int | None = None


class Model(NamedTuple):
    """Everything that is right in a set of objects: sorted by name. VPCs include inferred ones."""

    vpcs: dict[str, Vpc]
    peerings: dict[str, Peering]
    gateway: Gateway | None
