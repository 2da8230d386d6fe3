/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* translate: a TCP SYN asks for no larger segments than the links that it crosses take (RFC 9293 3.7.1). */
#pragma once
#include "lib/checksum.h"
#include "lib/context.h"
#include "stages/parse.h"

#define TCP_OPTIONS_MOST 40
#define TCP_OPTION_MSS	 2

/* Where the MSS stands, counted from the TCP header; 0: there is none. */
static __always_inline __u32 find_mss(void *start, void *end, const struct ip *ip)
{
	__u8 *tcp = start + (ip->l4 & 0x7fff);
	__u32 size, skip = 0;

	if ((void *)(tcp + sizeof(struct tcphdr)) > end)
		return 0;
	size = (tcp[12] >> 4) * 4;
	if (size > ip->left)
		size = ip->left;
	for (__u32 at = sizeof(struct tcphdr); at < sizeof(struct tcphdr) + TCP_OPTIONS_MOST; at++) {
		__u8 *option = tcp + at;

		if (at + 1 >= size || (void *)(option + 4) > end)
			return 0;
		if (skip) {
			skip--;
			continue;
		}
		if (*option == 0)
			return 0;
		if (*option == TCP_OPTION_MSS)
			return option[1] == 4 && at + 4 <= size ? at + 2 : 0;
		if (*option != 1) {
			if (option[1] < 2)
				return 0;
			skip = option[1] - 1;
		}
	}
	return 0;
}

static __always_inline int clamp(void *ctx, const enum hook hook, const struct ip *ip, __u32 mss)
{
	void *start = packet_start(ctx, hook), *end = packet_end(ctx, hook);
	__u32 at = find_mss(start, end, ip);
	__u8 *field = start + ((ip->l4 + at) & 0x7fff);
	__u16 old, new = mss;
	__u64 changes;

	if (!at || (void *)(field + 2) > end)
		return 0;
	old = field[0] << 8 | field[1];
	if (old <= new)
		return 0;
	changes = csum_change16(bpf_htons(old), bpf_htons(new));
	if (at & 1)
		changes = csum_change16(__builtin_bswap16(bpf_htons(old)),
					__builtin_bswap16(bpf_htons(new))); /* in two words */
	field[0] = new >> 8;
	field[1] = new;
	if (hook == TC)
		return bpf_l4_csum_replace(ctx, ip->csum, 0, csum_half(changes), 0);
	if (ip->csum) {
		__u16 *csum = start + (ip->csum & 0x7fff);

		if ((void *)(csum + 1) <= end)
			*csum = csum_updated(*csum, changes, false);
	}
	return 0;
}

__noinline int clamp_xdp(struct xdp_md *ctx, struct packet *packet, __u32 mss)
{
	return packet ? clamp(ctx, XDP, &packet->ip, mss) : 0;
}

__noinline int clamp_tc(struct __sk_buff *ctx, struct packet *packet, __u32 mss)
{
	return packet ? clamp(ctx, TC, &packet->ip, mss) : 0;
}

static __always_inline void clamp_mss(void *ctx, const enum hook hook, struct packet *packet, __u32 mss)
{
	if (hook == XDP)
		clamp_xdp(ctx, packet, mss);
	else
		clamp_tc(ctx, packet, mss);
}
