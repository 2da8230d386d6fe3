/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A packet on its way through the stages. It lies in a per-CPU map and not on the stack: there is room, and the verifier
 * forgets what earlier stages knew of a value, so that their branches do not multiply. `stage_done` makes the compiler
 * forget too.
 */
#pragma once
#include "lib/address.h"
#include "lib/maps.h"

/* One IP packet. Offsets count from the start of the frame. For ICMP the ports are type and code. */
struct ip {
	struct addr src, dst;
	__u32 length; /* bytes, header included */
	__u32 left;   /* bytes that are there behind the headers read so far */
	__u32 id;     /* of a fragment */
	__u16 l3, l4;
	__u16 csum; /* of the transport, where it covers addresses; 0: none to update */
	__u16 sport, dport;
	__u16 echo;   /* identifier of an ICMP echo */
	__u16 offset; /* of an IPv4 fragment, in units of 8 bytes */
	__u16 flags;
	__u8 family, proto, ttl, tcp;
};

enum {
	FRAGMENT = 1,
	LATER = 2, /* a fragment with an offset: no ports, no transport checksum */
	DONT_FRAGMENT = 4,
	STARTS = 8, /* begins a conversation: SYN, UDP, echo request, other protocols */
	ICMP = 16,
	ICMP_ERROR = 32,
	LINK_ONLY = 64, /* ICMPv6 133-137; ICMP redirect and source quench */
	PORTS = 128,	/* TCP or UDP, and not LATER */
	ECHO_REQUEST = 256,
	ECHO_REPLY = 512,
	NEEDS_FIRST = 1024, /* LATER, and its ports are in the first fragment */
};

enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_ACK = 16 };

/* What path and share look at: for an ICMP error the mirror of the packet inside. */
struct key {
	struct addr src, dst;
	__u32 family;
	__u32 ports;
};

/* The path so far. `at` and `route` are slots; the rank of the best is (length, metric, weight). */
struct path {
	__u32 at, route;
	__u32 length, metric;
	__u64 weight;
	__u32 found, weighed;
};

enum ethernet { FRAME_OTHER, FRAME_IP, FRAME_ARP, FRAME_TAGGED };

/* Both ports; or an echo identifier, in the place that its direction gives it. */
struct ports {
	__u16 src, dst;
};

/* What a rule is asked about: private source, destination as dialled, and the protocol. */
struct subject {
	struct addr src, dst;
	__u32 family;
	__u16 sport, dport;
	__u16 flags;
	__u8 proto, pad;
};

/* The far end of a VXLAN tunnel: where the packet came from, later where it goes to. */
struct tunnel {
	struct addr vtep;
	union {
		__u64 next_hop; /* as it stands in `adjacencies` */
		struct {
			__u8 mac[ETH_ALEN];
			__u16 port; /* slot */
		};
	};
	__u32 version; /* of IP */
	__u32 pieces; /* 1: the packet is still to be cut, which the kernel lets nobody do inside a tunnel that it knows of */
};

struct packet {
	struct ip ip;
	struct key key;
	struct path path;
	struct addr src, dst; /* after translation */
	struct ports ports;
	struct ip inner; /* inside an ICMP error */
	struct addr inner_src, inner_dst;
	struct ports inner_ports;
	struct flow_key flow_key;
	struct flow_key inside; /* of its mapping */
	struct subject subject;
	struct key way;		 /* for the share of a flow's next hops */
	struct classified class; /* where the port alone does not tell */
	struct tunnel tunnel;
	__u64 entropy;		    /* protocol << 32 | ports of the packet as it leaves */
	__u64 seed;		    /* of the sending VPC */
	__u32 generation, revision; /* its root tables, and the whole number */
	__u32 epoch;
	__u32 vpc;
	__u32 peering; /* number + 1, 0 until one is picked */
	__u32 frame;   /* enum ethernet */
	__u32 what;    /* protocol, family and kind of the flow that it may be of */
	__u32 flow;    /* the one that it follows or has opened, and direction */
	__u32 hop;     /* slot; 0: that of the path */
	__u32 mapping;
	__u32 side; /* of the VPC that a flow's packet enters from */
	__u32 revised_sides[2];
	__u32 revised[2]; /* hops, as revise found them */
	union {
		__u32 state; /* all of it */
		struct {
			__u8 allowed;  /* rules have allowed the first fragment */
			__u8 by_rules; /* rules were asked */
			__u8 reopens;  /* a flow on a dead path, */
			__u8 tcp;      /* with these TCP bits */
		};
	};
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct packet);
	__uint(max_entries, 3); /* the packet in hand; and stand-ins, for flows that a sweep judges */
} packets SEC(".maps");

enum { IN_HAND, STAND_IN_OF_TIMER, STAND_IN_OF_USER };

static __always_inline struct packet *packet_here(__u32 which)
{
	return bpf_map_lookup_elem(&packets, &which);
}

#define ARP_TARGET	(ETH_LEN + 24) /* protocol address (RFC 826), IPv4 over Ethernet */
#define ND_SOLICITATION 135
#define ND_TARGET	8 /* RFC 4861 4.3 */

/* Which tables count, and which state of learned routes: one read, so that the one is not newer than the other. */
static __always_inline void set_world(struct packet *packet, const struct control *control)
{
	__u64 world = *(volatile __u64 *)&control->generation;

	packet->revision = (__u32)world;
	packet->generation = packet->revision & 1;
	packet->epoch = world >> 32;
}

#define stage_done() asm volatile("" ::: "memory")
