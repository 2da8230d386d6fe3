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

/* Protocol and ports for the entropy of a tunnel; a piece of a packet shows no ports. */
static __always_inline __u64 flow_entropy(const struct ip *ip, struct ports ports, bool pieces)
{
	bool shown = ip->flags & PORTS && !(ip->flags & FRAGMENT) && !pieces;

	return (__u64)ip->proto << 32 | (shown ? (__u32)ports.src << 16 | ports.dst : 0);
}

/* Lead the packet to the VTEP of a next hop; false, and it is asked for, where the way to it is not known. */
static __always_inline bool set_tunnel(struct packet *packet, const struct hop *hop)
{
	volatile __u64 *found = (__u64 *)neighbour_at(hop->adjacency);

	packet->tunnel.vtep = hop->gateway;
	packet->tunnel.version = hop->tunnel;
	packet->tunnel.pieces = 0;
	packet->tunnel.next_hop = found ? *found : 0;
	if (packet->tunnel.next_hop)
		return true;
	ask(&(struct neighbour_key){ hop->gateway, LINK_UNDERLAY, hop->tunnel == 4 ? IPV4 : IPV6 });
	return false;
}

/*
 * The next hop's record in one piece, MAC first: a router's by its adjacency, a host's by its address on the link. Unknown: 0, and
 * it is asked for. Of a tunnel the remote's inner MAC, once the way to its VTEP is known.
 */
static __always_inline __u64 resolve(const struct hop *hop, const struct attachment *out, struct packet *packet)
{
	struct neighbour_key key = { hop->adjacency ? hop->gateway : packet->dst, out->link, packet->ip.family };
	volatile __u64 *found;
	__u64 mac = 0;

	if (hop->tunnel)
		return set_tunnel(packet, hop) ? *(const __u64 *)hop->mac : 0;
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
