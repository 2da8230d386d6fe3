"""The C layouts of the tables, written once here: ``tables.header`` prints them as C, the loader packs by them.

A record is a list of (name, type, count). Types are those of C; ``addr`` is a left-aligned 128-bit address as two
64-bit words in host order. Records are laid out by hand without implicit padding, and the loader compares
them with the BTF of the compiled object, so a mistake stops the load.
"""

from __future__ import annotations

import struct
from functools import cached_property
from typing import NamedTuple

from isthmus.tables.flows import FRAGMENT_S, HOLD_DOWN_S, MOST_EACH, MOST_TRIES, TICK_SHIFT, ticks

CODES = {"__u8": "B", "__u16": "H", "__u32": "I", "__u64": "Q"}
"""The ``struct`` codes of the C types."""


class Field(NamedTuple):
    """A member of a C struct: ``type name[number]`` (number 1: no array)."""

    name: str
    type: str
    number: int = 1
    note: str = ""

    @property
    def codes(self) -> str:
        """``struct`` codes, records inside flattened."""
        inner = CODES.get(self.type) or RECORDS[self.type.removeprefix("struct ")].codes
        return inner * self.number


class Record:
    """A C struct that both sides share; ``pack`` takes its members flattened, in order, and arrays member by member."""

    def __init__(self, name: str, about: str, fields: tuple[Field, ...]) -> None:
        self.name, self.about, self.fields = name, about, fields
        self.codes = "".join(field.codes for field in fields)
        self._struct = struct.Struct("<" + self.codes)

    @property
    def size(self) -> int:
        """Bytes."""
        return self._struct.size

    def pack(self, *values: int) -> bytes:
        """The bytes of one record."""
        return self._struct.pack(*values)

    def unpack(self, raw: bytes) -> tuple[int, ...]:
        """The members of one record, flattened."""
        return self._struct.unpack(raw)

    @cached_property
    def layout(self) -> dict[str, tuple[int, int]]:
        """(offset, size) in bytes of every member."""
        found: dict[str, tuple[int, int]] = {}
        at = 0
        for field in self.fields:
            size = struct.calcsize("<" + field.codes)
            found[field.name] = (at, size)
            at += size
        return found


RECORDS: dict[str, Record] = {}


def record(name: str, about: str, *fields: Field) -> Record:
    """Define a record; the order of definition is that of the header."""
    RECORDS[name] = made = Record(name, about, fields)
    return made


MAX_LABELS = 4
"""MPLS labels that one attachment pushes."""

ADDR = record("addr", "A left-aligned 128-bit address in host order.", Field("hi", "__u64"), Field("lo", "__u64"))
SPAN = record("span", "A run of entries in another table.", Field("first", "__u32"), Field("count", "__u32"))
CONTROL = record(
    "control",
    "Slot 0: what all packets read.",
    Field("generation", "__u32", 1, "its lowest bit says which root tables count; one write flips it"),
    Field("epoch", "__u32", 1, "moves with the generation, and with learned routes; both are read and written at once"),
    Field("now", "__u32", 1, "the time in ticks"),
    Field("pad", "__u32"),
)
ALLOCATION = record(
    "allocation",
    "Slot 0 of flows, 1 of mappings: how many records were ever taken. The rest was never used.",
    Field("taken", "__u32"),
    Field("pad", "__u32", 15, "a cache line: every new flow writes here"),
)
CLASSIFY_KEY = record(
    "classify_key",
    "A packet's port and tag, in one generation.",
    Field("ifindex", "__u32"),
    Field("generation", "__u16"),
    Field("kind", "__u16", 1, "enum tag_kind; TAG_ANY: whatever nobody claims on the port"),
    Field("outer", "__u32"),
    Field("inner", "__u32"),
)
OWNER_KEY = record(
    "owner_key",
    "An address of the gateway's own on an MPLS attachment, in one generation: whose untagged ARP and ND it is.",
    Field("address", "struct addr"),
    Field("ifindex", "__u32"),
    Field("generation", "__u16"),
    Field("family", "__u16"),
)
CLASSIFIED = record(
    "classified",
    "Whose packet it is.",
    Field("vpc", "__u32"),
    Field("attachment", "__u32"),
    Field("role", "__u32", 1, "enum role"),
)
VPC = record(
    "vpc",
    "The root of a VPC's tables, once for each generation. Tries: index by family (0 IPv4, 1 IPv6).",
    Field("exposures", "__u32", 2, "trie: destination to its first candidate"),
    Field("routes", "__u32", 2, "trie: private address to route"),
    Field("own", "struct span", 2, "ranges: the gateway's addresses in this VPC"),
    Field("seed", "__u64", 1, "stable id, for rendezvous hashing"),
    Field("flags", "__u32"),
    Field("pad", "__u32"),
)
NODE = record(
    "node",
    "A path-compressed trie node of stride 8. Outside of prefix/mask the answer is `miss`.",
    Field("prefix", "struct addr"),
    Field("mask", "struct addr"),
    Field("shift", "__u32", 1, "of the byte branched on, in its 64-bit word"),
    Field("low", "__u32", 1, "1: that byte is in the low word"),
    Field("miss", "__u32"),
    Field("pad", "__u32"),
    Field("child", "__u32", 256, "a value, or TRIE_NODE | node"),
)
CANDIDATE = record(
    "candidate",
    "One offer of a destination; those of one destination stand together, the last has CANDIDATE_LAST.",
    Field("delta", "struct addr", 1, "public to private"),
    Field("id", "__u64", 1, "stable id of the peering"),
    Field("vpc", "__u32", 1, "that offers it"),
    Field("here", "__u32", 1, "side of the sending VPC"),
    Field("there", "__u32", 1, "side of the offering VPC"),
    Field("metric", "__u32"),
    Field("length", "__u16"),
    Field("kind", "__u8", 1, "enum path_kind"),
    Field("flags", "__u8"),
    Field("pad", "__u32"),
)
SIDE = record(
    "side",
    "One side of a peering: source ranges by family, and rules.",
    Field("ranges", "struct span", 2),
    Field("rules", "struct span", 1, "all of them, in order"),
    Field("index", "__u32", 1, "of the first of its rule_index records, 0: few rules, no index"),
    Field("nat", "__u8", 1, "enum nat"),
    Field("flags", "__u8"),
    Field("pad", "__u16"),
    Field("peering", "__u32", 1, "number of the peering, for events and records"),
    Field("number", "__u32", 1, "of the side, for counts of its pool"),
    Field("pool", "struct span", 2, "ranges of a stateful side: delta is the number of addresses before"),
    Field("pool_size", "__u64", 2, "addresses"),
    Field("ports", "struct span", 1, "port_ranges"),
    Field("port_count", "__u32"),
    Field("timeouts", "__u32", 4, "in ticks: enum timeout"),
    Field("port_stride", "__u32", 1, "from one port that is looked at to the next"),
)
PORT_RANGE = record(
    "port_range",
    "Public ports of a pool.",
    Field("first", "__u16"),
    Field("last", "__u16"),
    Field("before", "__u32", 1, "ports in the ranges before"),
)
RANGE = record(
    "range",
    "Addresses first..last, and what leads to the other space.",
    Field("first", "struct addr"),
    Field("last", "struct addr"),
    Field("delta", "struct addr"),
)
RULE = record(
    "rule",
    "One way to match. Ports are inclusive; for ICMP type and code. src and dst by family.",
    Field("src", "struct span", 2),
    Field("dst", "struct span", 2),
    Field("sport_first", "__u16"),
    Field("sport_last", "__u16"),
    Field("dport_first", "__u16"),
    Field("dport_last", "__u16"),
    Field("proto", "__u8", 1, "enum rule_proto"),
    Field("flags", "__u8"),
    Field("pad", "__u16"),
)
RULE_INDEX = record(
    "rule_index",
    "Where the rules for one family and class of protocols are cut: by one dimension, which tells them apart best.",
    Field("cuts", "struct span"),
    Field("dimension", "__u32", 1, "enum dimension"),
    Field("pad", "__u32"),
)
CUT = record(
    "cut",
    "From `first` on in the dimension (up to the next cut) these rules can match, in order.",
    Field("first", "struct addr"),
    Field("rules", "struct span"),
)
ROUTE = record(
    "route",
    "A route of a VPC and its equal next hops.",
    Field("metric", "__u32"),
    Field("length", "__u16"),
    Field("local", "__u8"),
    Field("down", "__u8", 1, "1: nothing can leave by any hop; changed in place"),
    Field("hops", "struct span"),
)
HOP = record(
    "hop",
    "A next hop: a router on an attachment, the remote VTEP of a tunnel, or (on-link) the destination itself.",
    Field("gateway", "struct addr"),
    Field("id", "__u64", 1, "stable id, for rendezvous hashing"),
    Field("attachment", "__u32"),
    Field("adjacency", "__u32", 1, "of the router, or of the next hop to the VTEP; 0: on-link"),
    Field("mac", "__u8", 6, "inner destination of a tunnel"),
    Field("tunnel", "__u8", 1, "IP version of the VTEP; 0: no tunnel"),
    Field("down", "__u8", 1, "1: nothing can leave here; changed in place"),
)
FIB = record(
    "fib",
    "What a VPC has learned in one family: by number of the VPC * 2 + family. Changed in place, by one write.",
    Field("root", "__u32", 1, "where the root begins, below the bits it takes; 0: there is none"),
    Field("default_route", "__u32", 1, "where the rest says nothing; 0: none"),
)
ATTACHMENT = record(
    "attachment",
    "How packets leave toward one VPC on one port.",
    Field("icmp_source", "struct addr", 2),
    Field("link", "__u32", 1, "stable number of the attachment, in neighbour keys and events"),
    Field("ifindex", "__u32", 1, "0: no such port on this node"),
    Field("namespace_ifindex", "__u32", 1, "gateway end of the veth to the VPC's namespace"),
    Field("mtu", "__u32"),
    Field("port", "__u32", 1, "slot of the port in the devmap"),
    Field("namespace_port", "__u32"),
    Field("mac", "__u8", 6),
    Field("flags", "__u8"),
    Field("kind", "__u8", 1, "enum tag_kind"),
    Field("outer", "__u32"),
    Field("inner", "__u32"),
    Field("mss", "__u32", 1, "that TCP SYNs are clamped to, 0: not at all"),
    Field("outer_type", "__u16", 1, "EtherType of the outer VLAN tag"),
    Field("label_count", "__u8"),
    Field("vtep_version", "__u8", 1, "of IP, of the node's own VTEP; 0: there is none"),
    Field("vtep", "struct addr"),
    Field("labels", "__u32", MAX_LABELS, "MPLS label stack entries, outermost first; traffic class and TTL 0"),
)
EXIT = record(
    "exit",
    "A port of this node, by its slot in the devmap; changed in place.",
    Field("ifindex", "__u32"),
    Field("mac", "__u8", 6),
    Field("pad", "__u16"),
)
NEIGHBOUR_KEY = record(
    "neighbour_key",
    "A next hop's address on a link.",
    Field("address", "struct addr"),
    Field("link", "__u32", 1, "or LINK_UNDERLAY: of a VTEP"),
    Field("family", "__u32"),
)
NEIGHBOUR = record(
    "neighbour",
    "Its MAC address; changed in place, by one write of 8 bytes.",
    Field("mac", "__u8", 6),
    Field("known", "__u16", 1, "not 0; of the next hop to a VTEP: the slot of the port on the way there"),
)
TRACE = record(
    "trace_record",
    "What became of the last packet; written only where the object was loaded with `record`.",
    Field("verdict", "__u32"),
    Field("ifindex", "__u32", 1, "that it left on"),
    Field("peering", "__u32", 1, "number of the peering plus one; 0: none was chosen"),
    Field("answered", "__u32", 1, "1: the gateway answered with ICMP"),
)

FLOW_KEY = record(
    "flow_key",
    "How the packets of one direction look when they enter; or one end of a mapping.",
    Field("src", "struct addr"),
    Field("dst", "struct addr"),
    Field("sport", "__u16"),
    Field("dport", "__u16"),
    Field("vpc", "__u32", 1, "that they enter from; in the inside key of a mapping: that VPC << 16 | its peer"),
)
FLOW = record(
    "flow",
    "A conversation. Changed in place: `life` by compare-and-swap; the rest, but for the keys, by who holds its BUSY.",
    Field("life", "__u64", 1, "deadline | TCP bits << 32 | enum phase << 40 | version << 48"),
    Field("epoch", "__u32", 1, "that it was last judged in"),
    Field("peering", "__u32", 1, "its number"),
    Field("keys", "struct flow_key", 2, "of the initiator's packets, and of the answers"),
    Field("hops", "__u32", 2, "that packets of a direction leave to; 0: no way"),
    Field("sides", "__u32", 2, "of the VPC that packets of a direction enter from"),
    Field("mapping", "__u32", 1, "record of its mapping, 0: none"),
    Field("proto", "__u8"),
    Field("family", "__u8"),
    Field("kind", "__u8", 1, "enum record_kind"),
    Field("code", "__u8", 1, "of the ICMP echo request that opened it"),
    Field("timeouts", "__u32", 2, "in ticks: before and after it is established"),
)
MAPPING = record(
    "mapping",
    "A record of the same table and size: a private address and port as a peer sees them; or the use of an address.",
    Field("life", "__u64"),
    Field("pad", "__u32", 2),
    Field("keys", "struct flow_key", 2, "inside and outside: src is the private or public end, dst the remote or 0"),
    Field("users", "__u32", 1, "flows of a mapping, mappings of an address"),
    Field("held_until", "__u32", 1, "tick"),
    Field("usage", "__u32", 1, "record of the use of the public address, 0: none"),
    Field("pad2", "__u32", 2),
    Field("proto", "__u8"),
    Field("family", "__u8"),
    Field("kind", "__u8", 1, "enum record_kind"),
    Field("per_destination", "__u8"),
    Field("pad4", "__u32", 2),
)
FRAGMENT = record(
    "fragment",
    "What the first fragment of a packet found, for the others.",
    Field("src", "struct addr"),
    Field("dst", "struct addr"),
    Field("vpc", "__u32"),
    Field("id", "__u32"),
    Field("proto", "__u8"),
    Field("family", "__u8"),
    Field("version", "__u16", 1, "of the flow's record"),
    Field("flow", "__u32", 1, "record and direction; 0: none, but rules allow it"),
    Field("generation", "__u32"),
    Field("expires", "__u32", 1, "tick"),
    Field("pad", "__u32", 2),
)

TRIE_NODE = 1 << 31
FIB_MORE = 1 << 31
"""An entry of a learned table: the slot of a route, 0 for none, or this | FIB_KIND | where more is known: a number of
units."""
FIB_KIND_SHIFT = 27
"""Kinds of what knows more: 0: a node; n: a bunch of n units."""
FIB_BITS_SHIFT = 27
"""A root of a learned table: the bits of an address that it takes at once stand above this bit."""
UNIT_ENTRIES = 8
"""Memory of learned tables is counted in units of so many entries, half a line of the processor's cache."""
NODE_UNITS = 2
BUNCH_UNITS = 8
"""Of the largest bunch."""
PAIR_ENTRIES = 3
"""Two routes of a bunch take the room of so many entries. First stand all prefixes, two in a 64-bit word, in its lower
half one of the first half of the routes: a one, 30 bits with a one where the prefix ends, and 0. Behind them the slots,
in the order of the words' halves, 16 bits each: above those of the configuration, from 1 on; 0: there is no route."""
CHUNK_UNITS = 8192
"""Units come in chunks of so many: the one value of an inner map of the array `chunks`."""
MAX_HOPS = 64
"""Equal next hops of one route that share its traffic; the compiler keeps the first so many."""
LINK_UNDERLAY = 0xFFFFFFFF
"""In place of a link's number: the address is that of a VTEP, which the kernel has a route to."""
FLOW_BACK, FLOW_RECORD = 1 << 31, (1 << 28) - 1
"""In a reference to a flow: it is about the answers' direction; and the number of its record."""
USERS_OVER = 1 << 31
"""`users` of a mapping that is being taken out."""
FLAGS = {
    "MAX_HOPS": MAX_HOPS,
    "MAX_LABELS": MAX_LABELS,
    "LINK_UNDERLAY": LINK_UNDERLAY,
    "TRIE_NODE": TRIE_NODE,
    "FIB_MORE": FIB_MORE,
    "FIB_KIND_SHIFT": FIB_KIND_SHIFT,
    "FIB_BITS_SHIFT": FIB_BITS_SHIFT,
    "UNIT_ENTRIES": UNIT_ENTRIES,
    "BUNCH_UNITS": BUNCH_UNITS,
    "PAIR_ENTRIES": PAIR_ENTRIES,
    "CHUNK_UNITS": CHUNK_UNITS,
    "CANDIDATE_LAST": 1,
    "SIDE_HAS_RULES": 1,
    "SIDE_OPENS": 2,
    "SIDE_PER_DESTINATION": 4,
    "VPC_REMEMBERS": 1,
    "RULE_STATELESS": 1,
    "RULE_NEEDS_PORTS": 2,
    "RULE_ANY_SRC": 4,
    "RULE_ANY_DST": 8,
    "ATTACHMENT_ICMP4": 1,
    "ATTACHMENT_ICMP6": 2,
    "ATTACHMENT_UNIFORM": 4,
    "TAG_ANY": 15,
    "FLOW_BACK": FLOW_BACK,
    "FLOW_RECORD": FLOW_RECORD,
    "USERS_OVER": USERS_OVER,
    "TICK_SHIFT": TICK_SHIFT,
    "MOST_TRIES": MOST_TRIES,
    "MOST_EACH": MOST_EACH,
    "HOLD_DOWN": ticks(HOLD_DOWN_S),
    "FRAGMENT_LIFE": ticks(FRAGMENT_S),
}
"""Names of bits and numbers that both sides use; printed into the header."""
TIMEOUTS = {"UDP": 0, "TCP_TRANSITORY": 1, "TCP_ESTABLISHED": 2, "ICMP": 3}
PHASES = {"FREE": 0, "LIVE": 1, "OVER": 2, "GONE": 3, "BUSY": 128}
"""Of a record: to be had; matching packets; matching none any more; out of the index. BUSY: a bit, someone writes."""
RECORD_KINDS = {"FLOW": 0, "MAPPING": 1, "USAGE": 2}
ROLES = {"NONE": 0, "WIRE": 1, "NAMESPACE": 2, "UNCLAIMED": 3, "VTEP": 4}
"""Who sent a frame: a VPC's link, the gateway's own kernel in that VPC, nobody that we know, or the underlay of VXLAN;
0: an empty slot."""
DIMENSIONS = {"SPORT": 0, "DPORT": 1, "SRC": 2, "DST": 3}
"""What rules are told apart by: a port (type, code), or an address."""
RULE_CLASSES = {"TCP": 0, "UDP": 1, "ICMP": 2, "OTHER": 3, "COUNT": 4}
"""Classes of protocols: index records of a side are at family * COUNT + class."""
RULE_PROTOS = {"ANY": 0, "TCP": 6, "UDP": 17, "ICMP": 1}
