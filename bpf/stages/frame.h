/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* parse: the frame around the packet. */
#pragma once
#include "stages/parse.h"

static __always_inline bool is_vlan(__be16 type)
{
	return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD);
}

static __always_inline int parse_frame(void *ctx, const enum hook hook, struct packet *packet, __u32 length)
{
	void *start = packet_start(ctx, hook), *end = packet_end(ctx, hook);
	struct ethhdr *eth = start;

	packet->ip.l3 = ETH_LEN;
	packet->ip.flags = 0;
	packet->frame = FRAME_OTHER;
	if ((void *)(eth + 1) > end)
		return V_MALFORMED;
	if (packet_tag_beside(ctx, hook)) {
		packet->frame = FRAME_TAGGED;
		return 0;
	}
	if (eth->h_proto != bpf_htons(ETH_P_IP) && eth->h_proto != bpf_htons(ETH_P_IPV6)) {
		if (eth->h_proto == bpf_htons(ETH_P_ARP))
			packet->frame = FRAME_ARP;
		if (is_vlan(eth->h_proto) || eth->h_proto == bpf_htons(ETH_P_MPLS_UC))
			packet->frame = FRAME_TAGGED;
		return 0;
	}
	packet->frame = FRAME_IP;
	packet->ip.family = eth->h_proto == bpf_htons(ETH_P_IP) ? IPV4 : IPV6;
	return parse_ip(ctx, hook, &packet->ip, length - ETH_LEN, false);
}

/* The frame as far as it is readable at once; again where that is not enough, and more is there. 0 or a verdict. */
static __always_inline int parse(void *ctx, const enum hook hook, struct packet *packet)
{
	int verdict = parse_frame(ctx, hook, packet, packet_known_length(ctx, hook));

	stage_done();
	if ((verdict || packet->ip.flags & ICMP_ERROR) && packet_pull(ctx, hook, MAX_OFFSET)) {
		verdict = parse_frame(ctx, hook, packet, packet_length(ctx, hook));
		stage_done();
	}
	return verdict;
}
