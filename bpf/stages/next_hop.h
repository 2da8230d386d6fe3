/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* mtu and next hop: how large the packet is on the wire, and whose MAC it goes to. */
#pragma once
#include "lib/context.h"
#include "lib/packet.h"

/* Bytes of the largest IP packet that this one will be on the wire. */
static __always_inline __u32 wire_length(void *ctx, const enum hook hook, const struct ip *ip)
{
	__u32 segment = packet_segment(ctx, hook);
	void *start, *end;
	struct tcphdr *tcp;

	if (!segment)
		return ip->length;
	start = packet_start(ctx, hook);
	end = packet_end(ctx, hook);
	tcp = start + (ip->l4 & 0x7fff);
	if (ip->proto == IPPROTO_TCP && (void *)(tcp + 1) <= end)
		return ip->l4 - ip->l3 + tcp->doff * 4 + segment;
	return ip->l4 - ip->l3 + sizeof(struct udphdr) + segment;
}

/* The next hop's MAC: a router's by its adjacency, a host's by its address on the link. Unknown: NULL, and it is asked for. */
static __always_inline struct neighbour *resolve(const struct hop *hop, const struct attachment *out,
						 const struct packet *packet)
{
	struct neighbour_key key = { hop->adjacency ? hop->gateway : packet->dst, out->link, packet->ip.family };
	struct neighbour *found;

	if (hop->adjacency)
		found = neighbour_at(hop->adjacency);
	else
		found = bpf_map_lookup_elem(&neighbours, &key);
	if (found && found->known)
		return found;
	bpf_ringbuf_output(&wanted, &key, sizeof(key), 0);
	return NULL;
}
