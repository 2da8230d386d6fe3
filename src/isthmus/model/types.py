"""What the configuration means, once it is right.

Prefixes are ``isthmus.tables.address.Prefix``; item order is that of the file. Every part keeps the path of
its field (``spec.vpc-1.as[0]``) for the origin of the entries compiled from it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from isthmus.tables.address import Family, Prefix
from isthmus.tables.entries import Nat, Tag, Timeouts, Tunnel, Vtep


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

    ``mtu`` 0: that of the port. ``mss`` 0: TCP SYNs may ask for any segment. ``outer_type``: EtherType of a QinQ outer
    tag on the way out. ``push``: MPLS labels on the way out, outermost first; ``uniform``: their TTL is the packet's.
    """

    interface: str
    tag: Tag
    addresses: tuple[tuple[Family, int, int], ...]
    mtu: int
    path: str
    mss: int = 0
    outer_type: int = 0x88A8
    push: tuple[int, ...] = ()
    uniform: bool = True


class Subnet(NamedTuple):
    """A named subnet and the index of the attachment it lives on."""

    name: str
    prefix: Prefix
    attachment: int
    path: str


class StaticRoute(NamedTuple):
    """``to`` via a router (``via``), or on-link on an attachment. ``attachment`` is always resolved to an index.

    On a VXLAN attachment always through a ``tunnel``; its remotes are such routes.
    """

    to: Prefix
    via: int | None
    attachment: int
    metric: int
    path: str
    tunnel: Tunnel | None = None


class Bfd(NamedTuple):
    """Milliseconds between two packets, and how many in a row have to be missing (RFC 5880)."""

    interval: int
    multiplier: int


class Neighbor(NamedTuple):
    """A BGP neighbour. ``attachment``: the index of the one whose link it is on; None: it is not on a link.

    ``multihop``: the most hops that it may be away, 0: it is on the link. ``max_prefixes`` of one family; None: any
    number. ``graceful_restart``: seconds that its routes are kept, 0: none. ``password_file``: a path, never read here.
    """

    address: tuple[Family, int]
    asn: int
    attachment: int | None
    path: str
    password_file: str | None = None
    bfd: Bfd | None = None
    multihop: int = 0
    max_prefixes: int | None = None
    graceful_restart: int = 120


class Bgp(NamedTuple):
    """How a VPC speaks BGP. ``router_id``: 32 bits, never 0. ``communities``: of two numbers, or large ones of three.

    ``advertise``: ``routes`` or ``summary``; None: by their number.
    """

    asn: int
    router_id: int
    neighbors: tuple[Neighbor, ...] = ()
    communities: tuple[tuple[int, ...], ...] = ()
    advertise: Literal["routes", "summary"] | None = None
    path: str = "spec.bgp"


class Vpc(NamedTuple):
    """A routing domain. ``defined`` False: inferred from the peerings that name it; it owns what it exposes."""

    name: str
    defined: bool
    bgp: Bgp | None
    subnets: tuple[Subnet, ...]
    attachments: tuple[Attachment, ...]
    routes: tuple[StaticRoute, ...]


class Port(NamedTuple):
    """A port's settings in the Gateway object: ``hook`` auto, xdp or tc; ``unclaimed`` drop or pass."""

    name: str
    hook: str
    unclaimed: str


class Gateway(NamedTuple):
    """The node's own object. ``flows``: how many it is to have room for, where it says so.

    ``router_id``: 32 bits. ``drain``: withdraw all that is advertised, and go on forwarding.
    """

    name: str
    ports: tuple[Port, ...]
    flows: int | None = None
    asn: int | None = None
    router_id: int | None = None
    vtep: Vtep | None = None
    drain: bool = False


class Model(NamedTuple):
    """Everything that is right in a set of objects: sorted by name. VPCs include inferred ones."""

    vpcs: dict[str, Vpc]
    peerings: dict[str, Peering]
    gateway: Gateway | None
