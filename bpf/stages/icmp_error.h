/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ICMP errors are judged by the packet inside them, mirrored: docs/packet-path.md. Off the fast path: global functions. */
#pragma once
#include "lib/packet.h"
#include "stages/flow.h"
#include "stages/parse.h"
#include "stages/path.h"
#include "stages/rules.h"

static __always_inline int mirror(void *ctx, const enum hook hook, struct packet *packet)
{
	struct ip *ip = &packet->ip, *inner = &packet->inner;
	__u32 at = ip->l4 + 8 - ip->l3;

	inner->l3 = ip->l4 + 8;
	inner->family = ip->family;
	if (at > ip->length || parse_ip(ctx, hook, inner, ip->length - at, true))
		return V_ICMP_MALFORMED;
	if (inner->flags & ICMP_ERROR || !addr_equal(inner->src, ip->dst) || is_martian(ip->family, inner->src) ||
	    is_martian(ip->family, inner->dst))
		return V_ICMP_MALFORMED;
	packet->key.src = inner->dst;
	packet->key.dst = inner->src;
	packet->key.ports = inner->flags & (FRAGMENT | ICMP) ? 0 : (__u32)inner->dport << 16 | inner->sport;
	packet->inner_ports = flow_ports(inner);
	return 0;
}

/* The packet inside, as the key of the path; 0 or V_ICMP_MALFORMED. */
__noinline int mirror_xdp(struct xdp_md *ctx, struct packet *packet)
{
	return packet ? mirror(ctx, XDP, packet) : V_INTERNAL;
}

__noinline int mirror_tc(struct __sk_buff *ctx, struct packet *packet)
{
	return packet ? mirror(ctx, TC, packet) : V_INTERNAL;
}

/* The gateway speaks for a router that it does not show: with its own address in the VPC that the error goes to. */
static __always_inline int own_source(struct packet *packet)
{
	struct hop *hop = packet->hop ? hop_at(packet->hop) : share(packet->path.route, packet->seed, &packet->key);
	struct attachment *out = hop ? attachment_at(hop->attachment) : NULL;

	if (!out)
		return V_INTERNAL;
	if (packet->ip.family == IPV6) {
		packet->src = out->icmp_source[IPV6];
		return out->flags & ATTACHMENT_ICMP6 ? 0 : V_SOURCE_NOT_EXPOSED;
	}
	packet->src = out->icmp_source[IPV4];
	if (!(out->flags & ATTACHMENT_ICMP4))
		packet->src.hi = (__u64)DUMMY_SOURCE << 32;
	return 0;
}

/* The outer source, in the eyes of the VPC that is told: translated, kept, or the gateway's own address. */
static __always_inline int translate_teller(struct packet *packet, const struct side *here)
{
	__u32 family = packet->ip.family & 1;
	struct range *range = NULL;

	if (here->nat != NAT_STATEFUL)
		range = find_range(&here->ranges[family], &packet->ip.src);
	packet->src = range ? addr_sum(packet->ip.src, range->delta) : packet->ip.src;
	if (!range && here->nat != NAT_PLAIN)
		return own_source(packet);
	return is_martian(family, packet->src) ? V_MARTIAN : 0;
}

/* flow: an error about a packet of a conversation. FOLLOWED, 0 or a verdict. */
__noinline int follow_error(struct packet *packet)
{
	struct flow *flow;
	struct side *here;
	__u32 reference, back;
	int verdict;

	if (!packet || !has_flow_key(&packet->inner))
		return 0;
	set_flow_key(packet, &packet->inner, true);
	reference = find_key(&packet->flow_key, packet->what);
	flow = flow_at(reference & FLOW_RECORD);
	if (!reference || !flow || !is_of(&packet->inner, reference, true))
		return 0;
	verdict = take_from_flow(packet, reference, false, true);
	if (verdict != FOLLOWED)
		return verdict;
	back = reference >> 31;
	packet->inner_src = packet->dst;
	packet->inner_dst = packet->src;
	packet->inner_ports = (struct ports){ packet->ports.dst, packet->ports.src };
	here = side_at(packet->side);
	if (!here)
		return V_INTERNAL;
	if (here->nat != NAT_STATEFUL || !addr_equal(packet->ip.src, flow->keys[back & 1].src)) {
		verdict = translate_teller(packet, here);
		if (verdict)
			return verdict;
	}
	return FOLLOWED;
}

/* source, rules and translate: would the packet inside have been let through to where the error comes from? */
__noinline int judge_error(struct packet *packet)
{
	struct candidate *candidate;
	struct side *here, *there;
	struct ip *ip, *inner;
	struct range *range;
	__u32 family;
	int verdict;

	if (!packet)
		return V_INTERNAL;
	ip = &packet->ip;
	inner = &packet->inner;
	family = ip->family & 1;
	candidate = candidate_at(packet->path.at);
	if (!candidate)
		return V_INTERNAL;
	here = side_at(candidate->here);
	there = side_at(candidate->there);
	if (!here || !there)
		return V_INTERNAL;
	if (here->nat == NAT_STATEFUL)
		return V_NO_INBOUND;
	range = find_range(&here->ranges[family], &inner->dst);
	if (!range)
		return V_SOURCE_NOT_EXPOSED;
	packet->dst = addr_sum(inner->src, candidate->delta);
	packet->inner_src = packet->dst;
	packet->inner_dst = addr_sum(inner->dst, range->delta);
	if (there->flags & SIDE_HAS_RULES) {
		packet->subject = (struct subject){ packet->inner_src, packet->inner_dst, family,	inner->sport,
						    inner->dport,      inner->flags,	  inner->proto, 0 };
		verdict = judge_rules(there, &packet->subject);
		if (verdict)
			return verdict == NEEDS_FLOW ? V_NO_FLOW : verdict;
	}
	verdict = translate_teller(packet, here);
	if (verdict)
		return verdict;
	return is_martian(family, packet->dst) || is_martian(family, packet->inner_dst) ? V_MARTIAN : 0;
}
