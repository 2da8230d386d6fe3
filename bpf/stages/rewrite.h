/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* translate, ttl, encapsulate: the only place where a packet that passes is written. */
#pragma once
#include "lib/checksum.h"
#include "lib/context.h"
#include "stages/parse.h"

#ifndef BPF_F_IPV6
#define BPF_F_IPV6 (1ULL << 7)
#endif

static __always_inline __u64 addr_change(struct addr old, struct addr new)
{
	return csum_change64(bpf_cpu_to_be64(old.hi), bpf_cpu_to_be64(new.hi)) +
	       csum_change64(bpf_cpu_to_be64(old.lo), bpf_cpu_to_be64(new.lo));
}

/* Write addresses into an IP header and mend the header checksum; what that checksum's change adds is returned. */
static __always_inline __u64 write_addresses(void *start, void *end, const struct ip *ip, struct addr src,
					     struct addr dst, __u64 changes)
{
	void *header = start + (ip->l3 & 0x7fff);
	struct iphdr *v4 = header;
	__u64 *words;
	__u16 old;

	if (ip->family == IPV4) {
		if ((void *)(v4 + 1) > end)
			return 0;
		v4->saddr = bpf_htonl(src.hi >> 32);
		v4->daddr = bpf_htonl(dst.hi >> 32);
		old = v4->check;
		v4->check = csum_updated(old, changes, false);
		return csum_change16(old, v4->check);
	}
	if (header + sizeof(struct ipv6hdr) > end)
		return 0;
	words = header + 8;
	words[0] = bpf_cpu_to_be64(src.hi);
	words[1] = bpf_cpu_to_be64(src.lo);
	words[2] = bpf_cpu_to_be64(dst.hi);
	words[3] = bpf_cpu_to_be64(dst.lo);
	return 0;
}

/* Mend a transport checksum in place; what its change adds to a sum over it is returned. */
static __always_inline __u64 mend_transport(void *start, void *end, const struct ip *ip, __u64 changes)
{
	__u16 *csum = start + (ip->csum & 0x7fff), old;
	bool udp = ip->proto == IPPROTO_UDP;

	if (!ip->csum || (void *)(csum + 1) > end)
		return 0;
	old = *csum;
	if (udp && !old)
		return 0;
	*csum = csum_updated(old, changes, udp);
	return csum_change16(old, *csum);
}

/* The same where the kernel may have left the sum to hardware (CHECKSUM_PARTIAL), which only it knows. */
static __always_inline int mend_offloaded(void *ctx, const struct ip *ip, __u64 changes)
{
	__u64 flags = BPF_F_PSEUDO_HDR | (ip->proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0);
	__u64 six = ip->family == IPV6 ? BPF_F_IPV6 : 0;

	if (!ip->csum)
		return 0;
	if (!bpf_l4_csum_replace(ctx, ip->csum, 0, csum_half(changes), flags | six))
		return 0;
	return six ? bpf_l4_csum_replace(ctx, ip->csum, 0, csum_half(changes), flags) : -1;
}

/*
 * An ICMP error: addresses and checksums of the packet inside, then the ICMP checksum over all that changed. Nothing of it is
 * ever left to hardware, so it is the same on both hooks.
 */
static __always_inline void rewrite_error(void *start, void *end, const struct packet *packet, __u64 outer_changes)
{
	const struct ip *ip = &packet->ip, *inner = &packet->inner;
	__u64 changes = addr_change(inner->src, packet->inner_src) + addr_change(inner->dst, packet->inner_dst);
	bool moved = !addr_equal(inner->src, packet->inner_src) || !addr_equal(inner->dst, packet->inner_dst);
	__u16 *csum = start + ((ip->l4 + 2) & 0x7fff);
	__u64 all = 0;

	if (moved) {
		all = changes + write_addresses(start, end, inner, packet->inner_src, packet->inner_dst, changes);
		all += mend_transport(start, end, inner, changes);
	}
	if (ip->family == IPV6)
		all += outer_changes;
	if (all && (void *)(csum + 1) <= end)
		*csum = csum_updated(*csum, all, false);
}

__noinline int rewrite_error_xdp(struct xdp_md *ctx, struct packet *packet, __u64 outer_changes)
{
	if (packet)
		rewrite_error(packet_start(ctx, XDP), packet_end(ctx, XDP), packet, outer_changes);
	return 0;
}

__noinline int rewrite_error_tc(struct __sk_buff *ctx, struct packet *packet, __u64 outer_changes)
{
	if (packet)
		rewrite_error(packet_start(ctx, TC), packet_end(ctx, TC), packet, outer_changes);
	return 0;
}

/* The transport checksum, or all that is inside an ICMP error, before the addresses are written. */
static __always_inline int rewrite_inside(void *ctx, const enum hook hook, struct packet *packet, __u64 changes)
{
	const struct ip *ip = &packet->ip;

	if (ip->flags & ICMP_ERROR)
		return hook == XDP ? rewrite_error_xdp(ctx, packet, changes) : rewrite_error_tc(ctx, packet, changes);
	if (!changes)
		return 0;
	if (hook == TC)
		return mend_offloaded(ctx, ip, changes);
	mend_transport(packet_start(ctx, hook), packet_end(ctx, hook), ip, changes);
	return 0;
}

/* Addresses, TTL, checksums and MACs of a packet that passes; nonzero if that failed. */
static __always_inline int rewrite(void *ctx, const enum hook hook, struct packet *packet, const __u8 *to_mac,
				   const __u8 *from_mac)
{
	const struct ip *ip = &packet->ip;
	bool changed = !addr_equal(ip->src, packet->src) || !addr_equal(ip->dst, packet->dst);
	__u64 changes = changed ? addr_change(ip->src, packet->src) + addr_change(ip->dst, packet->dst) : 0;
	void *start, *end;
	struct ethhdr *eth;

	if (rewrite_inside(ctx, hook, packet, changes))
		return -1;
	start = packet_start(ctx, hook);
	end = packet_end(ctx, hook);
	eth = start;
	if (start + ETH_LEN + sizeof(struct iphdr) > end)
		return -1;
	__builtin_memcpy(eth->h_dest, to_mac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, from_mac, ETH_ALEN);
	if (ip->family == IPV4) {
		struct iphdr *v4 = start + ETH_LEN;
		__u16 old = *(__u16 *)&v4->ttl;

		v4->ttl--;
		changes += csum_change16(old, *(__u16 *)&v4->ttl);
	} else {
		struct ipv6hdr *v6 = start + ETH_LEN;

		if ((void *)(v6 + 1) > end)
			return -1;
		v6->hop_limit--;
	}
	write_addresses(start, end, ip, packet->src, packet->dst, changes);
	return 0;
}
