/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Written by `python -m isthmus.tables.header`; do not edit. */
/* clang-format off */
#pragma once
#include <linux/types.h>

#define VERDICT_COUNT 64
#define MAX_HOPS 0x40u
#define MAX_LABELS 0x4u
#define LINK_UNDERLAY 0xffffffffu
#define TRIE_NODE 0x80000000u
#define FIB_MORE 0x80000000u
#define FIB_KIND_SHIFT 0x1bu
#define FIB_BITS_SHIFT 0x1bu
#define UNIT_ENTRIES 0x8u
#define BUNCH_UNITS 0x8u
#define PAIR_ENTRIES 0x3u
#define CHUNK_UNITS 0x2000u
#define CANDIDATE_LAST 0x1u
#define SIDE_HAS_RULES 0x1u
#define SIDE_OPENS 0x2u
#define SIDE_PER_DESTINATION 0x4u
#define VPC_REMEMBERS 0x1u
#define RULE_STATELESS 0x1u
#define RULE_NEEDS_PORTS 0x2u
#define RULE_ANY_SRC 0x4u
#define RULE_ANY_DST 0x8u
#define ATTACHMENT_ICMP4 0x1u
#define ATTACHMENT_ICMP6 0x2u
#define ATTACHMENT_UNIFORM 0x4u
#define TAG_ANY 0xfu
#define FLOW_BACK 0x80000000u
#define FLOW_RECORD 0xfffffffu
#define USERS_OVER 0x80000000u
#define TICK_SHIFT 0x1bu
#define MOST_TRIES 0x600u
#define MOST_EACH 0x400u
#define HOLD_DOWN 0x380u
#define FRAGMENT_LIFE 0x27u

enum verdict {
	V_FORWARDED = 0,
	V_LOCAL = 1,
	V_PASSED = 2,
	V_AUDIT = 3,
	V_MALFORMED = 10,
	V_NOT_IP = 11,
	V_NOT_OUR_MAC = 12,
	V_UNKNOWN_TAG = 13,
	V_IPV6_EXT = 14,
	V_MARTIAN = 15,
	V_GATEWAY_ADDRESS = 16,
	V_GATEWAY_SPOOF = 17,
	V_SAME_VPC = 18,
	V_NO_PEERING = 20,
	V_NO_ROUTE = 21,
	V_NAT_HOLE = 22,
	V_NO_ATTACHMENT = 23,
	V_SOURCE_NOT_EXPOSED = 30,
	V_NOT_ALLOWED = 31,
	V_NO_INBOUND = 32,
	V_NO_FLOW = 33,
	V_FLOW_CONFLICT = 34,
	V_FLOW_TABLE_FULL = 35,
	V_FRAGMENT_NO_STATE = 36,
	V_ICMP_MALFORMED = 37,
	V_NAT_EXHAUSTED = 40,
	V_NAT_PROTOCOL = 41,
	V_TTL = 50,
	V_TOO_BIG = 51,
	V_NEXT_HOP_UNRESOLVED = 52,
	V_PORT_DOWN = 53,
	V_NOT_CARRIED = 60,
	V_INTERNAL = 61,
};

enum nat {
	NAT_PLAIN = 0,
	NAT_STATIC = 1,
	NAT_STATEFUL = 2,
};

enum path_kind {
	PATH_PLAIN = 0,
	PATH_STATIC = 1,
	PATH_STATEFUL = 2,
	PATH_HOLE = 3,
	PATH_SAME_VPC = 4,
};

enum tag_kind {
	TAG_UNTAGGED = 0,
	TAG_VLAN = 1,
	TAG_QINQ = 2,
	TAG_VXLAN = 3,
	TAG_MPLS = 4,
};

enum role {
	ROLE_NONE = 0,
	ROLE_WIRE = 1,
	ROLE_NAMESPACE = 2,
	ROLE_UNCLAIMED = 3,
	ROLE_VTEP = 4,
};

enum dimension {
	BY_SPORT = 0,
	BY_DPORT = 1,
	BY_SRC = 2,
	BY_DST = 3,
};

enum rule_class {
	CLASS_TCP = 0,
	CLASS_UDP = 1,
	CLASS_ICMP = 2,
	CLASS_OTHER = 3,
	CLASS_COUNT = 4,
};

enum rule_proto {
	RULE_PROTO_ANY = 0,
	RULE_PROTO_TCP = 6,
	RULE_PROTO_UDP = 17,
	RULE_PROTO_ICMP = 1,
};

enum timeout {
	TIMEOUT_UDP = 0,
	TIMEOUT_TCP_TRANSITORY = 1,
	TIMEOUT_TCP_ESTABLISHED = 2,
	TIMEOUT_ICMP = 3,
};

enum phase {
	PHASE_FREE = 0,
	PHASE_LIVE = 1,
	PHASE_OVER = 2,
	PHASE_GONE = 3,
	PHASE_BUSY = 128,
};

enum record_kind {
	RECORD_FLOW = 0,
	RECORD_MAPPING = 1,
	RECORD_USAGE = 2,
};

enum tcp_state {
	TCP_STATE_ANSWERED = 1,
	TCP_STATE_ESTABLISHED = 2,
	TCP_STATE_FIN_OUT = 4,
	TCP_STATE_FIN_BACK = 8,
	TCP_STATE_RESET = 16,
};

/* A left-aligned 128-bit address in host order. */
struct addr {
	__u64 hi;
	__u64 lo;
};

/* A run of entries in another table. */
struct span {
	__u32 first;
	__u32 count;
};

/* Slot 0: what all packets read. */
struct control {
	__u32 generation; /* its lowest bit says which root tables count; one write flips it */
	__u32 epoch; /* moves with the generation, and with learned routes; both are read and written at once */
	__u32 now; /* the time in ticks */
	__u32 pad;
};

/* Slot 0 of flows, 1 of mappings: how many records were ever taken. The rest was never used. */
struct allocation {
	__u32 taken;
	__u32 pad[15]; /* a cache line: every new flow writes here */
};

/* A packet's port and tag, in one generation. */
struct classify_key {
	__u32 ifindex;
	__u16 generation;
	__u16 kind; /* enum tag_kind; TAG_ANY: whatever nobody claims on the port */
	__u32 outer;
	__u32 inner;
};

/* An address of the gateway's own on an MPLS attachment, in one generation: whose untagged ARP and ND it is. */
struct owner_key {
	struct addr address;
	__u32 ifindex;
	__u16 generation;
	__u16 family;
};

/* Whose packet it is. */
struct classified {
	__u32 vpc;
	__u32 attachment;
	__u32 role; /* enum role */
};

/* The root of a VPC's tables, once for each generation. Tries: index by family (0 IPv4, 1 IPv6). */
struct vpc {
	__u32 exposures[2]; /* trie: destination to its first candidate */
	__u32 routes[2]; /* trie: private address to route */
	struct span own[2]; /* ranges: the gateway's addresses in this VPC */
	__u64 seed; /* stable id, for rendezvous hashing */
	__u32 flags;
	__u32 pad;
};

/* A path-compressed trie node of stride 8. Outside of prefix/mask the answer is `miss`. */
struct node {
	struct addr prefix;
	struct addr mask;
	__u32 shift; /* of the byte branched on, in its 64-bit word */
	__u32 low; /* 1: that byte is in the low word */
	__u32 miss;
	__u32 pad;
	__u32 child[256]; /* a value, or TRIE_NODE | node */
};

/* One offer of a destination; those of one destination stand together, the last has CANDIDATE_LAST. */
struct candidate {
	struct addr delta; /* public to private */
	__u64 id; /* stable id of the peering */
	__u32 vpc; /* that offers it */
	__u32 here; /* side of the sending VPC */
	__u32 there; /* side of the offering VPC */
	__u32 metric;
	__u16 length;
	__u8 kind; /* enum path_kind */
	__u8 flags;
	__u32 pad;
};

/* One side of a peering: source ranges by family, and rules. */
struct side {
	struct span ranges[2];
	struct span rules; /* all of them, in order */
	__u32 index; /* of the first of its rule_index records, 0: few rules, no index */
	__u8 nat; /* enum nat */
	__u8 flags;
	__u16 pad;
	__u32 peering; /* number of the peering, for events and records */
	__u32 number; /* of the side, for counts of its pool */
	struct span pool[2]; /* ranges of a stateful side: delta is the number of addresses before */
	__u64 pool_size[2]; /* addresses */
	struct span ports; /* port_ranges */
	__u32 port_count;
	__u32 timeouts[4]; /* in ticks: enum timeout */
	__u32 port_stride; /* from one port that is looked at to the next */
};

/* Public ports of a pool. */
struct port_range {
	__u16 first;
	__u16 last;
	__u32 before; /* ports in the ranges before */
};

/* Addresses first..last, and what leads to the other space. */
struct range {
	struct addr first;
	struct addr last;
	struct addr delta;
};

/* One way to match. Ports are inclusive; for ICMP type and code. src and dst by family. */
struct rule {
	struct span src[2];
	struct span dst[2];
	__u16 sport_first;
	__u16 sport_last;
	__u16 dport_first;
	__u16 dport_last;
	__u8 proto; /* enum rule_proto */
	__u8 flags;
	__u16 pad;
};

/* Where the rules for one family and class of protocols are cut: by one dimension, which tells them apart best. */
struct rule_index {
	struct span cuts;
	__u32 dimension; /* enum dimension */
	__u32 pad;
};

/* From `first` on in the dimension (up to the next cut) these rules can match, in order. */
struct cut {
	struct addr first;
	struct span rules;
};

/* A route of a VPC and its equal next hops. */
struct route {
	__u32 metric;
	__u16 length;
	__u8 local;
	__u8 down; /* 1: nothing can leave by any hop; changed in place */
	struct span hops;
};

/* A next hop: a router on an attachment, the remote VTEP of a tunnel, or (on-link) the destination itself. */
struct hop {
	struct addr gateway;
	__u64 id; /* stable id, for rendezvous hashing */
	__u32 attachment;
	__u32 adjacency; /* of the router, or of the next hop to the VTEP; 0: on-link */
	__u8 mac[6]; /* inner destination of a tunnel */
	__u8 tunnel; /* IP version of the VTEP; 0: no tunnel */
	__u8 down; /* 1: nothing can leave here; changed in place */
};

/* What a VPC has learned in one family: by number of the VPC * 2 + family. Changed in place, by one write. */
struct fib {
	__u32 root; /* where the root begins, below the bits it takes; 0: there is none */
	__u32 default_route; /* where the rest says nothing; 0: none */
};

/* How packets leave toward one VPC on one port. */
struct attachment {
	struct addr icmp_source[2];
	__u32 link; /* stable number of the attachment, in neighbour keys and events */
	__u32 ifindex; /* 0: no such port on this node */
	__u32 namespace_ifindex; /* gateway end of the veth to the VPC's namespace */
	__u32 mtu;
	__u32 port; /* slot of the port in the devmap */
	__u32 namespace_port;
	__u8 mac[6];
	__u8 flags;
	__u8 kind; /* enum tag_kind */
	__u32 outer;
	__u32 inner;
	__u32 mss; /* that TCP SYNs are clamped to, 0: not at all */
	__u16 outer_type; /* EtherType of the outer VLAN tag */
	__u8 label_count;
	__u8 vtep_version; /* of IP, of the node's own VTEP; 0: there is none */
	struct addr vtep;
	__u32 labels[4]; /* MPLS label stack entries, outermost first; traffic class and TTL 0 */
};

/* A port of this node, by its slot in the devmap; changed in place. */
struct exit {
	__u32 ifindex;
	__u8 mac[6];
	__u16 pad;
};

/* A next hop's address on a link. */
struct neighbour_key {
	struct addr address;
	__u32 link; /* or LINK_UNDERLAY: of a VTEP */
	__u32 family;
};

/* Its MAC address; changed in place, by one write of 8 bytes. */
struct neighbour {
	__u8 mac[6];
	__u16 known; /* not 0; of the next hop to a VTEP: the slot of the port on the way there */
};

/* What became of the last packet; written only where the object was loaded with `record`. */
struct trace_record {
	__u32 verdict;
	__u32 ifindex; /* that it left on */
	__u32 peering; /* number of the peering plus one; 0: none was chosen */
	__u32 answered; /* 1: the gateway answered with ICMP */
};

/* How the packets of one direction look when they enter; or one end of a mapping. */
struct flow_key {
	struct addr src;
	struct addr dst;
	__u16 sport;
	__u16 dport;
	__u32 vpc; /* that they enter from; in the inside key of a mapping: that VPC << 16 | its peer */
};

/* A conversation. Changed in place: `life` by compare-and-swap; the rest, but for the keys, by who holds its BUSY. */
struct flow {
	__u64 life; /* deadline | TCP bits << 32 | enum phase << 40 | version << 48 */
	__u32 epoch; /* that it was last judged in */
	__u32 peering; /* its number */
	struct flow_key keys[2]; /* of the initiator's packets, and of the answers */
	__u32 hops[2]; /* that packets of a direction leave to; 0: no way */
	__u32 sides[2]; /* of the VPC that packets of a direction enter from */
	__u32 mapping; /* record of its mapping, 0: none */
	__u8 proto;
	__u8 family;
	__u8 kind; /* enum record_kind */
	__u8 code; /* of the ICMP echo request that opened it */
	__u32 timeouts[2]; /* in ticks: before and after it is established */
};

/* A record of the same table and size: a private address and port as a peer sees them; or the use of an address. */
struct mapping {
	__u64 life;
	__u32 pad[2];
	struct flow_key keys[2]; /* inside and outside: src is the private or public end, dst the remote or 0 */
	__u32 users; /* flows of a mapping, mappings of an address */
	__u32 held_until; /* tick */
	__u32 usage; /* record of the use of the public address, 0: none */
	__u32 pad2[2];
	__u8 proto;
	__u8 family;
	__u8 kind; /* enum record_kind */
	__u8 per_destination;
	__u32 pad4[2];
};

/* What the first fragment of a packet found, for the others. */
struct fragment {
	struct addr src;
	struct addr dst;
	__u32 vpc;
	__u32 id;
	__u8 proto;
	__u8 family;
	__u16 version; /* of the flow's record */
	__u32 flow; /* record and direction; 0: none, but rules allow it */
	__u32 generation;
	__u32 expires; /* tick */
	__u32 pad[2];
};
