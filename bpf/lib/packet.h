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
	__u16 l3, l4;
	__u16 csum; /* of the transport; 0: none to update */
	__u16 sport, dport;
	__u16 offset; /* of an IPv4 fragment, in units of 8 bytes */
	__u8 family, proto, ttl, flags;
};

enum {
	FRAGMENT = 1,
	LATER = 2, /* a fragment with an offset: no ports, no transport checksum */
	DONT_FRAGMENT = 4,
	STARTS = 8, /* begins a conversation: SYN, UDP, echo request, other protocols */
	ICMP = 16,
	ICMP_ERROR = 32,
	LINK_ONLY = 64, /* ICMPv6 133-137; ICMP redirect and source quench */
};

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

struct packet {
	struct ip ip;
	struct key key;
	struct path path;
	struct addr src, dst; /* after translation */
	struct ip inner;      /* inside an ICMP error */
	struct addr inner_src, inner_dst;
	__u64 seed; /* of the sending VPC */
	__u32 generation, vpc;
	__u32 peering; /* number + 1, 0 until one is picked */
	__u32 frame;   /* enum ethernet */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct packet);
	__uint(max_entries, 1);
} packets SEC(".maps");

static __always_inline struct packet *packet_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&packets, &zero);
}

#define stage_done() asm volatile("" ::: "memory")
