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

/* Where the transport checksum is; ICMP over IPv4 has one that covers no addresses. */
static __always_inline __u16 checksum_at(const struct ip *ip)
{
	return ip->family == IPV4 && ip->proto == IPPROTO_ICMP && !(ip->flags & LATER) ? ip->l4 + 2 : ip->csum;
}

/* Mend a transport checksum in place; what its change adds to a sum over it is returned. */
static __always_inline __u64 mend_transport(void *start, void *end, const struct ip *ip, __u64 address_changes,
					    __u64 port_changes)
{
	__u16 *csum = start + (checksum_at(ip) & 0x7fff), old;
	__u64 changes = port_changes + (ip->csum ? address_changes : 0);
	bool udp = ip->proto == IPPROTO_UDP;

	if (!changes || !checksum_at(ip) || (void *)(csum + 1) > end)
		return 0;
	old = *csum;
	if (udp && !old)
		return 0;
	*csum = csum_updated(old, changes, udp);
	return csum_change16(old, *csum);
}

/* The same where the kernel may have left the sum to hardware (CHECKSUM_PARTIAL), which only it knows. */
static __always_inline int mend_offloaded(void *ctx, const struct ip *ip, __u64 address_changes, __u64 port_changes)
{
	__u64 udp = ip->proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0, flags = BPF_F_PSEUDO_HDR | udp;
	__u64 six = ip->family == IPV6 ? BPF_F_IPV6 : 0;

	if (port_changes && checksum_at(ip) &&
	    bpf_l4_csum_replace(ctx, checksum_at(ip), 0, csum_half(port_changes), udp))
		return -1;
	if (!ip->csum || !address_changes)
		return 0;
	if (!bpf_l4_csum_replace(ctx, ip->csum, 0, csum_half(address_changes), flags | six))
		return 0;
	return six ? bpf_l4_csum_replace(ctx, ip->csum, 0, csum_half(address_changes), flags) : -1;
}

/* What other ports, or another echo identifier, add to the sum of changes. */
static __always_inline __u64 port_change(const struct ip *ip, struct ports new)
{
	if (ip->flags & PORTS)
		return (ip->sport == new.src ? 0 : csum_change16(bpf_htons(ip->sport), bpf_htons(new.src))) +
		       (ip->dport == new.dst ? 0 : csum_change16(bpf_htons(ip->dport), bpf_htons(new.dst)));
	if (ip->flags & (ECHO_REQUEST | ECHO_REPLY) && ip->echo != (new.src | new.dst))
		return csum_change16(bpf_htons(ip->echo), bpf_htons(new.src | new.dst));
	return 0;
}

/* Does anything change? Its sum of changes may be 0: from 0xffff to 0. */
static __always_inline bool has_other_ports(const struct ip *ip, struct ports new)
{
	if (ip->flags & PORTS)
		return ip->sport != new.src || ip->dport != new.dst;
	return ip->flags & (ECHO_REQUEST | ECHO_REPLY) && ip->echo != (new.src | new.dst);
}

static __always_inline void write_ports(void *start, void *end, const struct ip *ip, struct ports new)
{
	__be16 *words = start + (ip->l4 & 0x7fff);

	if ((void *)(words + 4) > end)
		return;
	if (ip->flags & PORTS) {
		words[0] = bpf_htons(new.src);
		words[1] = bpf_htons(new.dst);
	} else if (ip->flags & (ECHO_REQUEST | ECHO_REPLY)) {
		words[2] = bpf_htons(new.src | new.dst);
	}
}

/*
 * An ICMP error: addresses, ports and checksums of the packet inside, then the ICMP checksum over all that changed. Nothing of it is
 * ever left to hardware, so it is the same on both hooks.
 */
static __always_inline void rewrite_error(void *start, void *end, const struct packet *packet, __u64 outer_changes)
{
	const struct ip *ip = &packet->ip, *inner = &packet->inner;
	__u64 changes = addr_change(inner->src, packet->inner_src) + addr_change(inner->dst, packet->inner_dst);
	bool moved = !addr_equal(inner->src, packet->inner_src) || !addr_equal(inner->dst, packet->inner_dst);
	__u64 port_changes = port_change(inner, packet->inner_ports);
	__u16 *csum = start + ((ip->l4 + 2) & 0x7fff);
	__u64 all = 0;

	if (moved)
		all = changes + write_addresses(start, end, inner, packet->inner_src, packet->inner_dst, changes);
	write_ports(start, end, inner, packet->inner_ports);
	all += port_changes;
	if (moved || port_changes)
		all += mend_transport(start, end, inner, moved ? changes : 0, port_changes);
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

/* The transport checksum, or all that is inside an ICMP error, before addresses and ports are written. */
static __always_inline int rewrite_inside(void *ctx, const enum hook hook, struct packet *packet, __u64 changes,
					  __u64 port_changes)
{
	const struct ip *ip = &packet->ip;

	if (ip->flags & ICMP_ERROR)
		return hook == XDP ? rewrite_error_xdp(ctx, packet, changes) : rewrite_error_tc(ctx, packet, changes);
	if (!changes && !port_changes)
		return 0;
	if (hook == TC)
		return mend_offloaded(ctx, ip, changes, port_changes);
	mend_transport(packet_start(ctx, hook), packet_end(ctx, hook), ip, changes, port_changes);
	return 0;
}

/* Addresses, TTL, checksums and MACs of a packet that passes; nonzero if that failed. */
static __always_inline int rewrite(void *ctx, const enum hook hook, struct packet *packet, const __u8 *to_mac,
				   const __u8 *from_mac)
{
	const struct ip *ip = &packet->ip;
	bool changed = !addr_equal(ip->src, packet->src) || !addr_equal(ip->dst, packet->dst);
	__u64 changes = changed ? addr_change(ip->src, packet->src) + addr_change(ip->dst, packet->dst) : 0;
	bool other_ports = !(ip->flags & ICMP_ERROR) && has_other_ports(ip, packet->ports);
	__u64 port_changes = other_ports ? port_change(ip, packet->ports) : 0;
	void *start, *end;
	struct ethhdr *eth;

	if (rewrite_inside(ctx, hook, packet, changes, port_changes))
		return -1;
	start = packet_start(ctx, hook);
	end = packet_end(ctx, hook);
	eth = start;
	if (start + ETH_LEN + sizeof(struct iphdr) > end)
		return -1;
	if (other_ports)
		write_ports(start, end, ip, packet->ports);
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
