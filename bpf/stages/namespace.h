/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Frames from the kernel of a VPC's namespace: ARP, ND, pings, BGP. They leave by the attachment as they are, with its tag. */
#pragma once
#include "stages/encapsulate.h"
#include "stages/next_hop.h"
#include "stages/path.h"

/* Aim at the first remote of the VPC's own route to an address, as far as this segment has it. 0 or a verdict. */
static __always_inline int aim(struct packet *packet, struct addr to)
{
	struct vpc *vpc = vpc_at(packet->generation * vpc_capacity + packet->class.vpc);
	struct route *route;
	__u32 slot;

	if (!vpc)
		return V_INTERNAL;
	slot = trie_lookup(vpc->routes[packet->key.family & 1], to.hi, to.lo);
	route = slot ? route_at(slot) : NULL;
	if (!route)
		return V_NO_ROUTE;
	for (__u32 i = 0; i < MAX_HOPS && i < route->hops.count; i++) {
		struct hop *hop = hop_at(route->hops.first + i);

		if (!hop || !hop->tunnel || hop->attachment != packet->class.attachment)
			continue;
		packet->hop = route->hops.first + i;
		return set_tunnel(packet, hop) ? 0 : V_NEXT_HOP_UNRESOLVED;
	}
	return V_NO_ROUTE;
}

static __always_inline int aim_frame(void *ctx, const enum hook hook, struct packet *packet)
{
	void *start = packet_start(ctx, hook), *end = packet_end(ctx, hook);
	__be32 *target = start + ARP_TARGET;
	const struct ip *ip = &packet->ip;
	struct ethhdr *eth = start;
	struct addr to = ip->dst;
	struct hop *hop;
	int verdict;

	if ((void *)(eth + 1) > end)
		return V_INTERNAL;
	packet->key.family = ip->family;
	packet->entropy = flow_entropy(ip, (struct ports){ ip->sport, ip->dport }, false);
	if (packet->frame != FRAME_IP) {
		if (packet->frame != FRAME_ARP || (void *)(target + 1) > end)
			return V_NO_ROUTE;
		packet->key.family = IPV4;
		to = (struct addr){ .hi = (__u64)bpf_ntohl(*target) << 32 };
	}
	verdict = aim(packet, to);
	hop = hop_at(packet->hop);
	if (verdict || !hop)
		return verdict ?: V_INTERNAL;
	__builtin_memcpy(eth->h_dest, hop->mac, ETH_ALEN);
	return 0;
}

__noinline int aim_xdp(struct xdp_md *ctx, struct packet *packet)
{
	return packet ? aim_frame(ctx, XDP, packet) : V_INTERNAL;
}

__noinline int aim_tc(struct __sk_buff *ctx, struct packet *packet)
{
	return packet ? aim_frame(ctx, TC, packet) : V_INTERNAL;
}

/* ARP and ND of an MPLS attachment are untagged: MPLS carries IP alone. */
static __always_inline bool leaves_untagged(const struct packet *packet)
{
	return packet->frame == FRAME_ARP ||
	       (packet->frame == FRAME_IP && packet->ip.family == IPV6 && packet->ip.flags & LINK_ONLY);
}

static __always_inline int from_namespace(void *ctx, const enum hook hook, struct packet *packet,
					  struct attachment *out)
{
	__u32 port, ifindex;
	int verdict = 0;

	if (out->kind == TAG_UNTAGGED || (out->kind == TAG_MPLS && leaves_untagged(packet)))
		return leave(hook, V_LOCAL, out->port, out->ifindex, 0);
	if (!out->ifindex)
		return finish(hook, V_NO_ATTACHMENT, 0);
	if (out->kind == TAG_MPLS && packet->frame != FRAME_IP)
		return finish(hook, V_NOT_IP, 0);
	if (out->kind == TAG_VXLAN)
		verdict = hook == XDP ? aim_xdp(ctx, packet) : aim_tc(ctx, packet);
	if (!verdict && put_tag(ctx, hook, packet, out))
		verdict = V_INTERNAL;
	if (verdict)
		return finish(hook, verdict, 0);
	exit_of(packet, out, &port, &ifindex);
	return leave(hook, V_LOCAL, port, ifindex, 0);
}
