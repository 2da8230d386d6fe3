/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the gateway says itself: Time Exceeded and Too Big (RFC 792, 1191, 4443), back to where the packet came from. */
#pragma once
#include "lib/checksum.h"
#include "lib/verdict.h"
#include "stages/encapsulate.h"
#include "stages/parse.h"

#define QUOTE4	     548  /* 576 bytes in all: RFC 1812 4.3.2.3 */
#define QUOTE6	     1232 /* the least IPv6 MTU in all: RFC 4443 2.4 */
#define ANSWER_TTL   64
#define ANSWER_BURST 32

struct answer {
	__u8 type, code;
	__u32 word; /* the second of the ICMP header, in host order: 0 or an MTU */
};

/* GCRA: at most icmp_rate answers a second for this link on this CPU, in bursts of ANSWER_BURST. */
static __always_inline bool answer_allowed(__u32 link)
{
	__u64 interval, now, *next;

	if (!icmp_rate)
		return true;
	next = bpf_map_lookup_elem(&answer_times, &link);
	if (!next)
		return false;
	now = bpf_ktime_get_ns();
	interval = 1000000000ull / icmp_rate;
	if (*next > now + ANSWER_BURST * interval)
		return false;
	*next = (*next > now ? *next : now) + interval;
	return true;
}

/* Sum of the bytes from an ICMP header to the end of the packet; at most QUOTE6 follow the header. */
static __always_inline __u64 sum_quote(void *at, void *end)
{
	__u64 sum = 0;
	__u8 *tail;
	int i;

	for (i = 0; i < (QUOTE6 + 8) / 4; i++) {
		__u32 *word = at + i * 4;

		if ((void *)(word + 1) > end)
			break;
		sum += *word;
	}
	tail = at + i * 4;
	if ((void *)(tail + 1) <= end)
		sum += tail[0];
	if ((void *)(tail + 2) <= end)
		sum += (__u32)tail[1] << 8;
	if ((void *)(tail + 3) <= end)
		sum += tail[2];
	return sum;
}

static __always_inline int write_answer4(void *start, void *end, const struct answer *answer, __be32 src, __be32 dst)
{
	struct iphdr *ip = start + ETH_LEN;
	struct icmp *icmp = (void *)(ip + 1);
	__u32 length;
	__u64 sum;

	if ((void *)(icmp + 1) > end)
		return -1;
	length = end - (void *)ip;
	*ip = (struct iphdr){ .version = 4,
			      .ihl = 5,
			      .tos = 0xc0,
			      .tot_len = bpf_htons(length),
			      .frag_off = bpf_htons(0x4000),
			      .ttl = ANSWER_TTL,
			      .protocol = IPPROTO_ICMP,
			      .saddr = src,
			      .daddr = dst };
	sum = bpf_csum_diff(0, 0, (__be32 *)ip, sizeof(*ip), 0);
	ip->check = ~csum_fold(sum);
	icmp->type = answer->type;
	icmp->code = answer->code;
	icmp->checksum = 0;
	icmp->word = bpf_htonl(answer->word);
	icmp->checksum = ~csum_fold(sum_quote(icmp, end));
	return 0;
}

static __always_inline int write_answer6(void *start, void *end, const struct answer *answer, struct addr src,
					 const struct in6_addr *dst)
{
	struct ipv6hdr *ip = start + ETH_LEN;
	struct icmp *icmp = (void *)(ip + 1);
	__u64 *words = (void *)&ip->saddr;
	__u32 length;
	__u64 sum;

	if ((void *)(icmp + 1) > end)
		return -1;
	length = end - (void *)icmp;
	*(__be32 *)ip = bpf_htonl(6u << 28);
	ip->payload_len = bpf_htons(length);
	ip->nexthdr = IPPROTO_ICMPV6;
	ip->hop_limit = ANSWER_TTL;
	words[0] = bpf_cpu_to_be64(src.hi);
	words[1] = bpf_cpu_to_be64(src.lo);
	ip->daddr = *dst;
	icmp->type = answer->type;
	icmp->code = answer->code;
	icmp->checksum = 0;
	icmp->word = bpf_htonl(answer->word);
	sum = bpf_csum_diff(0, 0, (__be32 *)&ip->saddr, 2 * sizeof(struct in6_addr), 0);
	sum += bpf_htonl(length) + (__u64)bpf_htonl(IPPROTO_ICMPV6);
	icmp->checksum = ~csum_fold(sum + sum_quote(icmp, end));
	return 0;
}

/*
 * The quoted packet's checksum is still to be filled in: the kernel or the hardware will write it into the quote, so the
 * ICMP checksum must be that of the packet as it will be then. Offsets are those of the finished answer.
 */
__noinline int foresee_checksum(struct __sk_buff *ctx, __u32 transport, __u32 field, __u32 icmp)
{
	void *start = packet_start(ctx, TC), *end = packet_end(ctx, TC);
	__u16 *pending = start + (field & 0x7fff), *csum = start + (icmp & 0x7fff) + 2, filled;

	if ((void *)(pending + 1) > end || (void *)(csum + 1) > end)
		return 0;
	filled = ~csum_fold(sum_quote(start + (transport & 0x7fff), end));
	*csum = csum_updated(*csum, csum_change16(*pending, filled ?: 0xffff), false);
	return 0;
}

/* Turn the packet into the answer to it and send it back; or drop it unanswered where no answer is due. */
static __always_inline int answer(void *ctx, const enum hook hook, __u32 verdict, struct packet *packet,
				  struct attachment *attachment, const struct answer *say)
{
	const struct ip *ip = &packet->ip;
	__u32 peering = packet->peering;
	__u32 quote = ip->length, most = ip->family == IPV4 ? QUOTE4 : QUOTE6;
	__u32 room = ip->family == IPV4 ? 28 : 48;
	__u8 sender[ETH_ALEN], gateway[ETH_ALEN];
	struct in6_addr dst6 = {};
	struct addr src;
	struct ethhdr *eth;
	void *start, *end;
	int failed;

	src = attachment->icmp_source[ip->family & 1];
	if (ip->family == IPV4) {
		if (!(attachment->flags & ATTACHMENT_ICMP4))
			src.hi = (__u64)DUMMY_SOURCE << 32;
	} else if (!(attachment->flags & ATTACHMENT_ICMP6)) {
		return finish(hook, verdict, peering);
	}
	start = packet_start(ctx, hook);
	end = packet_end(ctx, hook);
	eth = start;
	if ((ip->flags & (ICMP_ERROR | LATER)) || start + ETH_LEN + 20 > end || eth->h_source[0] & 1 ||
	    !answer_allowed(attachment->link))
		return finish(hook, verdict, peering);
	__builtin_memcpy(sender, eth->h_source, ETH_ALEN);
	__builtin_memcpy(gateway, attachment->mac, ETH_ALEN);
	if (ip->family == IPV6) {
		__u64 *words = (void *)&dst6;

		words[0] = bpf_cpu_to_be64(ip->src.hi);
		words[1] = bpf_cpu_to_be64(ip->src.lo);
	}
	if (quote > most)
		quote = most;
	if (packet_reshape(ctx, hook, ETH_LEN + quote, room))
		return finish(hook, verdict, peering);
	start = packet_start(ctx, hook);
	end = packet_end(ctx, hook);
	eth = start;
	if (start + ETH_LEN > end)
		return finish(hook, verdict, peering);
	__builtin_memcpy(eth->h_dest, sender, ETH_ALEN);
	__builtin_memcpy(eth->h_source, gateway, ETH_ALEN);
	eth->h_proto = ip->family == IPV4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	if (ip->family == IPV4)
		failed = write_answer4(start, end, say, bpf_htonl(src.hi >> 32), bpf_htonl(ip->src.hi >> 32));
	else
		failed = write_answer6(start, end, say, src, &dst6);
	if (failed)
		return finish(hook, verdict, peering);
	if (hook == TC && ip->csum && checksum_pending(ctx))
		foresee_checksum(ctx, room + ip->l4, room + ip->csum, room + ETH_LEN - sizeof(struct icmp));
	packet->entropy = (__u64)(ip->family == IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6) << 32;
	if (put_tag(ctx, hook, packet, attachment))
		return finish(hook, verdict, peering);
	return answered(hook, verdict, attachment->port, attachment->ifindex, peering);
}
