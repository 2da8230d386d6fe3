/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* mtu and next hop: how large the packet is on the wire, and whose MAC it goes to. */
#pragma once
#include "lib/context.h"
#include "lib/packet.h"
#include "lib/share.h"

#define ASK_AGAIN_NS 100000000ull
#define GSO_BY_FRAGS 0xffff /* SCTP: pieces have sizes of their own, none more than the sender takes for its path */

/* Bytes of the largest IP packet that this one will be on the wire. */
static __always_inline __u32 wire_length(void *ctx, const enum hook hook, const struct ip *ip)
{
	__u32 segment = packet_segment(ctx, hook);
	void *start, *end;
	struct tcphdr *tcp;

	if (!segment)
		return ip->length;
	if (segment == GSO_BY_FRAGS)
		return 0;
	start = packet_start(ctx, hook);
	end = packet_end(ctx, hook);
	tcp = start + (ip->l4 & 0x7fff);
	if (ip->proto == IPPROTO_TCP && (void *)(tcp + 1) <= end)
		return ip->l4 - ip->l3 + tcp->doff * 4 + segment;
	return ip->l4 - ip->l3 + sizeof(struct udphdr) + segment;
}

/* Ask for a next hop, each at most ten times a second, so that nobody's packets crowd out the questions of others. */
static __always_inline void ask(const struct neighbour_key *key)
{
	__u64 now = bpf_ktime_get_ns(), *next;
	__u32 slot = weigh(weigh(weigh(key->link, key->family), key->address.hi), key->address.lo) & (ASKED_SLOTS - 1);

	next = bpf_map_lookup_elem(&asked, &slot);
	if (!next || *next > now)
		return;
	*next = now + ASK_AGAIN_NS;
	bpf_ringbuf_output(&wanted, (void *)key, sizeof(*key), 0);
}

/*
 * The next hop's record in one piece, MAC first: a router's by its adjacency, a host's by its address on the link. Unknown: 0, and
 * it is asked for.
 */
static __always_inline __u64 resolve(const struct hop *hop, const struct attachment *out, const struct packet *packet)
{
	struct neighbour_key key = { hop->adjacency ? hop->gateway : packet->dst, out->link, packet->ip.family };
	volatile __u64 *found;
	__u64 mac = 0;

	if (hop->adjacency)
		found = (__u64 *)neighbour_at(hop->adjacency);
	else
		found = bpf_map_lookup_elem(&neighbours, &key);
	if (found)
		mac = *found;
	if (!mac)
		ask(&key);
	return mac;
}
