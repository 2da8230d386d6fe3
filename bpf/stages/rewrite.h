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

/* Inside an ICMP error: addresses and checksums of the quoted packet, then the ICMP checksum over all that changed. */
static __always_inline void rewrite_error(void *start, void *end, const struct ip *ip, const struct ip *inner,
					  struct addr inner_src, struct addr inner_dst, __u64 outer_changes)
{
	__u64 changes = addr_change(inner->src, inner_src) + addr_change(inner->dst, inner_dst), all = changes;
	bool inner_changed = !addr_equal(inner->src, inner_src) || !addr_equal(inner->dst, inner_dst);
	__u16 *csum = start + ((ip->l4 + 2) & 0x7fff);

	if (inner_changed) {
		all += write_addresses(start, end, inner, inner_src, inner_dst, changes);
		all += mend_transport(start, end, inner, changes);
	}
	if (ip->family == IPV6)
		all += outer_changes;
	if ((!inner_changed && !(ip->family == IPV6 && outer_changes)) || (void *)(csum + 1) > end)
		return;
	*csum = csum_updated(*csum, all, false);
}

/* Addresses, TTL, checksums and MACs of a packet that passes; 0, or V_INTERNAL. */
static __always_inline int rewrite(void *ctx, const enum hook hook, const struct ip *ip, struct addr src,
				   struct addr dst, const __u8 *to_mac, const __u8 *from_mac)
{
	bool changed = !addr_equal(ip->src, src) || !addr_equal(ip->dst, dst);
	__u64 changes = changed ? addr_change(ip->src, src) + addr_change(ip->dst, dst) : 0;
	struct ethhdr *eth;
	void *start, *end;
	struct iphdr *v4;

	if (hook == TC && changed && !(ip->flags & ICMP_ERROR) && mend_offloaded(ctx, ip, changes))
		return V_INTERNAL;
	start = packet_start(ctx, hook);
	end = packet_end(ctx, hook);
	eth = start;
	if (start + ETH_LEN + sizeof(struct iphdr) > end)
		return V_INTERNAL;
	__builtin_memcpy(eth->h_dest, to_mac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, from_mac, ETH_ALEN);
	if (hook == XDP && changed && !(ip->flags & ICMP_ERROR))
		mend_transport(start, end, ip, changes);
	v4 = start + ETH_LEN;
	if (ip->family == IPV4) {
		__u16 old = *(__u16 *)&v4->ttl;

		v4->ttl--;
		write_addresses(start, end, ip, src, dst, changes + csum_change16(old, *(__u16 *)&v4->ttl));
	} else {
		struct ipv6hdr *v6 = start + ETH_LEN;

		if ((void *)(v6 + 1) > end)
			return V_INTERNAL;
		v6->hop_limit--;
		if (changed)
			write_addresses(start, end, ip, src, dst, 0);
	}
	return 0;
}
