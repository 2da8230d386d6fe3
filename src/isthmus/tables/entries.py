"""The logical tables: what the compiler writes, the twin evaluates, and the packet path packs.

Every entry is frozen, sorted, and carries its origin, so that ``trace`` can say which line of whose
object decided. Addresses are left-aligned 128-bit integers (see ``address``); ranges include both ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from isthmus.tables.address import Family, Prefix


class Origin(NamedTuple):
    """The object and the field that made an entry: ``Peering/web``, ``spec.vpc-1.ips[0]``."""

    object: str
    path: str = ""

    def __str__(self) -> str:
        return f"{self.object} {self.path}".rstrip()


class Nat(IntEnum):
    """How a side is seen by its peer."""

    PLAIN = 0
    STATIC = 1
    STATEFUL = 2


class TagKind(IntEnum):
    """How an attachment's packets are told apart on their port."""

    UNTAGGED = 0
    VLAN = 1
    QINQ = 2
    VXLAN = 3
    MPLS = 4


class Tag(NamedTuple):
    """Tag kind and numbers: VLAN (outer), QinQ (outer, inner), VXLAN VNI or MPLS label (outer)."""

    kind: TagKind = TagKind.UNTAGGED
    outer: int = 0
    inner: int = 0


class AttachmentKey(NamedTuple):
    """What makes an attachment itself: its VPC, its port's name, its tag."""

    vpc: str
    interface: str
    tag: Tag = Tag()


class SideKey(NamedTuple):
    """One side of one peering."""

    peering: str
    vpc: str


class Range(NamedTuple):
    """Addresses first..last, and what is added (mod 2**128) to reach the other space; 0 for a plain side."""

    first: int
    last: int
    delta: int = 0
    origin: Origin | None = None


class Vtep(NamedTuple):
    """The node's own end of all its VXLAN tunnels: family and left-aligned address, and the port of the underlay."""

    family: Family
    address: int
    interface: str


class Tunnel(NamedTuple):
    """A remote end of a VXLAN segment: family and left-aligned address of its VTEP, and the inner destination MAC."""

    family: Family
    vtep: int
    mac: bytes


class Attachment(NamedTuple):
    """How packets of one VPC enter and leave.

    ``addresses`` are the gateway's own here, as (family, address, prefix length). ``icmp_source`` is the
    source of ICMP that the gateway itself sends to hosts here, per family; None: it sends none.
    ``mtu`` in bytes of the IP packet; 0: that of the port. ``mss``: the largest segment that a TCP SYN may ask for
    here, in bytes; 0: whatever it asks for. ``outer_type``: EtherType of a QinQ outer tag on the way out. ``push``:
    MPLS labels on the way out, outermost first; ``uniform``: their TTL is the IP packet's (RFC 3443), else 255.
    """

    key: AttachmentKey
    addresses: tuple[tuple[Family, int, int], ...]
    icmp_source: dict[Family, int | None]
    mtu: int
    origin: Origin
    mss: int = 0
    outer_type: int = 0x88A8
    push: tuple[int, ...] = ()
    uniform: bool = True


class NextHop(NamedTuple):
    """Where a routed packet is handed: a router's address on an attachment, or (None) the destination itself.

    On a VXLAN attachment always through a ``tunnel``: its MAC is then the inner destination, and no neighbour is asked.
    ``peer``: the BGP neighbour that told of it, by its address as text; "" where nobody did.
    """

    attachment: AttachmentKey
    gateway: int | None
    origin: Origin
    tunnel: Tunnel | None = None
    peer: str = ""


class Peer(NamedTuple):
    """A BGP neighbour of a VPC, by its address as text."""

    vpc: str
    address: str


class Route(NamedTuple):
    """One prefix of a VPC's RIB: metric, and equal next hops (ECMP). ``local``: the gateway's own address."""

    prefix: Prefix
    metric: int
    local: bool
    next_hops: tuple[NextHop, ...]
    origin: Origin


class PathKind(IntEnum):
    """What an entry of an exposure says of a destination."""

    PLAIN = 0
    STATIC = 1
    STATEFUL = 2
    HOLE = 3  # a hole of a static side, and nobody else offers the address
    SAME_VPC = 4  # in the sending VPC's own subnets


class Candidate(NamedTuple):
    """One offer of a destination to one VPC: through which peering, and how it is translated.

    ``here`` is the sending VPC's side (source check, rules), ``there`` the side that offers; both None for
    HOLE without a peering to name and SAME_VPC. ``length`` is that of the public CIDR as written;
    ``delta`` takes the public to the private address.
    """

    kind: PathKind
    here: SideKey | None
    there: SideKey | None
    length: int
    metric: int
    delta: int
    origin: Origin


class Exposure(NamedTuple):
    """Destinations first..last as one VPC dials them, and all who offer exactly these (sorted, stable)."""

    first: int
    last: int
    candidates: tuple[Candidate, ...]


class RuleEntry(NamedTuple):
    """One way to match one ``ingress`` rule; a rule with several protocols or port lists is several entries.

    ``proto``: None any, 6, 17, or 1 for the family's own ICMP. ``sport``/``dport`` are inclusive ranges of
    ports, for ICMP of type and code. ``src`` (private) and ``dst`` (as dialled) hold sorted disjoint
    ranges per family; None: any address. ``needs_ports``: a fragment without them can't be judged here.
    """

    proto: int | None
    sport: tuple[int, int]
    dport: tuple[int, int]
    needs_ports: bool
    src: dict[Family, tuple[Range, ...]] | None
    dst: dict[Family, tuple[Range, ...]] | None
    stateless: bool
    origin: Origin


class Timeouts(NamedTuple):
    """Seconds that a silent conversation is remembered. Defaults: RFC 4787 REQ-5, RFC 5382 REQ-5, RFC 5508 REQ-1."""

    udp: int = 300
    tcp_established: int = 7440
    tcp_transitory: int = 240
    icmp: int = 60


class Pool(NamedTuple):
    """The public addresses and ports that the hosts of a stateful side share.

    ``addresses``: first and last, sorted, disjoint, no martians. ``ports``: first and last, sorted, disjoint; echo
    identifiers too. ``per_destination``: a mapping is for one remote address and port, else for all of the peer VPC.
    """

    addresses: dict[Family, tuple[tuple[int, int], ...]]
    ports: tuple[tuple[int, int], ...] = ((1024, 65535),)
    per_destination: bool = False


class Side(NamedTuple):
    """What one side offers and allows. ``private`` ranges lead to public addresses, sorted, without holes.

    ``holes`` are the private addresses of a static side that a ``not`` took out, with the delta they would have had.
    ``rules`` None: no ``ingress``, everything exposed may pass. ``opens``: the other side has rules and this one
    has none, so what this side starts also opens a flow. ``pool``: of a stateful side, else None.
    """

    key: SideKey
    nat: Nat
    private: dict[Family, tuple[Range, ...]]
    holes: dict[Family, tuple[Range, ...]]
    rules: tuple[RuleEntry, ...] | None
    opens: bool
    origin: Origin
    pool: Pool | None = None
    timeouts: Timeouts = Timeouts()


class Vpc(NamedTuple):
    """All that is decided for packets that come from one VPC, and the routes of those that go to it."""

    name: str
    defined: bool
    assumed: bool  # has BGP and no routes were given: taken to route all that it exposes
    attachments: tuple[Attachment, ...]
    exposures: dict[Family, tuple[Exposure, ...]]  # sorted, disjoint
    routes: dict[Family, tuple[Route, ...]]  # sorted by prefix; longest match wins
    origin: Origin


@dataclass(frozen=True, slots=True)
class PortPolicy:
    """What a port does with tags that nobody claims, and which hook was asked for (auto, xdp, tc)."""

    hook: str = "auto"
    unclaimed: str = "drop"


@dataclass(frozen=True, slots=True)
class Tables:
    """The whole configuration as the packet path sees it. Equal configurations give equal tables."""

    vpcs: dict[str, Vpc] = field(default_factory=dict)
    sides: dict[SideKey, Side] = field(default_factory=dict)
    ports: dict[str, PortPolicy] = field(default_factory=dict)
    flows: int | None = None  # how many the gateway is to have room for, where its object says so
    vtep: Vtep | None = None
