/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* parse: what the frame holds. One parser for both families, and for the packet inside an ICMP error. */
#pragma once
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "lib/context.h"
#include "lib/packet.h"

/* Of both families. */
struct icmp {
	__u8 type, code;
	__u16 checksum;
	__be32 word;
};

#define ICMP4_ECHO_REPLY   0
#define ICMP4_ECHO_REQUEST 8
#define ICMP6_ECHO_REQUEST 128
#define ICMP6_ECHO_REPLY   129
#define ICMP6_FIRST_QUERY  128

#define MAX_EXTENSIONS 6
#define MAX_OPTIONS    40     /* bytes */
#define MAX_OFFSET     0x3fff /* beyond any header: 6 extensions of 2,048 bytes, twice for what is quoted */

static __always_inline bool is_extension(__u8 proto)
{
	return proto == IPPROTO_HOPOPTS || proto == IPPROTO_ROUTING || proto == IPPROTO_FRAGMENT ||
	       proto == IPPROTO_AH || proto == IPPROTO_DSTOPTS || proto == IPPROTO_MH || proto == 139 || proto == 140;
}

/* The family's own: ICMPv6 in IPv4, or the reverse, is a protocol like any other. */
static __always_inline bool is_icmp(__u8 proto, __u8 family)
{
	return proto == (family == IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

static __always_inline int parse_transport(void *start, void *end, struct ip *ip, bool quoted)
{
	void *at = start + (ip->l4 & 0x7fff);
	__u32 left = ip->left;
	bool icmp = is_icmp(ip->proto, ip->family);
	__u32 least = ip->proto == IPPROTO_TCP && !quoted ? 20 : 8;

	if (ip->flags & LATER) {
		if (ip->proto == IPPROTO_TCP && ip->offset == 1 && !quoted)
			return V_MALFORMED; /* over the flags that were judged (RFC 3128) */
		if (icmp)
			ip->flags |= ICMP;
		if (ip->proto == IPPROTO_TCP || ip->proto == IPPROTO_UDP || icmp ||
		    (ip->family == IPV6 && is_extension(ip->proto)))
			ip->flags |= NEEDS_FIRST;
		else
			ip->flags |= STARTS;
		return 0;
	}
	if (ip->proto == IPPROTO_TCP) {
		struct tcphdr *tcp = at;

		if (left < least || at + 8 > end)
			return V_MALFORMED;
		ip->sport = bpf_ntohs(tcp->source);
		ip->dport = bpf_ntohs(tcp->dest);
		ip->flags |= PORTS;
		if (left >= 18)
			ip->csum = ip->l4 + 16;
		if (at + 20 <= end)
			ip->tcp = ((__u8 *)tcp)[13];
		if ((ip->tcp & (TCP_SYN | TCP_ACK)) == TCP_SYN)
			ip->flags |= STARTS;
		return !quoted && at + 20 > end ? V_MALFORMED : 0;
	}
	if (ip->proto == IPPROTO_UDP) {
		struct udphdr *udp = at;

		if (left < least || at + 8 > end)
			return V_MALFORMED;
		ip->sport = bpf_ntohs(udp->source);
		ip->dport = bpf_ntohs(udp->dest);
		ip->csum = ip->l4 + 6;
		ip->flags |= STARTS | PORTS;
		return 0;
	}
	if (icmp) {
		struct icmp *message = at;
		__u8 type;

		if (left < least || at + 8 > end)
			return V_MALFORMED;
		type = message->type;
		ip->sport = type;
		ip->dport = message->code;
		ip->echo = bpf_ntohl(message->word) >> 16;
		ip->flags |= ICMP;
		if (ip->family == IPV4) {
			if (type == ICMP4_ECHO_REQUEST)
				ip->flags |= STARTS | ECHO_REQUEST;
			if (type == ICMP4_ECHO_REPLY)
				ip->flags |= ECHO_REPLY;
			if (type == 3 || type == 11 || type == 12)
				ip->flags |= ICMP_ERROR;
			if (type == 4 || type == 5)
				ip->flags |= LINK_ONLY;
			return 0;
		}
		ip->csum = ip->l4 + 2;
		if (type == ICMP6_ECHO_REQUEST)
			ip->flags |= STARTS | ECHO_REQUEST;
		if (type == ICMP6_ECHO_REPLY)
			ip->flags |= ECHO_REPLY;
		if (type < ICMP6_FIRST_QUERY)
			ip->flags |= ICMP_ERROR;
		if (type >= 133 && type <= 137)
			ip->flags |= LINK_ONLY;
		return 0;
	}
	ip->flags |= STARTS;
	if ((ip->proto == IPPROTO_UDPLITE || ip->proto == IPPROTO_DCCP) && left >= 8)
		ip->csum = ip->l4 + 6;
	return 0;
}

/* Does the sender say by which routers it is to go (LSRR, SSRR)? RFC 7126: such packets are dropped. */
static __always_inline bool source_routed(void *start, void *end, const struct ip *ip)
{
	__u8 *options = start + ((ip->l3 + sizeof(struct iphdr)) & 0x7fff);
	__u32 size = ip->l4 - ip->l3 - sizeof(struct iphdr), skip = 0;

	for (__u32 at = 0; at < MAX_OPTIONS; at++) {
		__u8 *option = options + at;

		if (at + 1 >= size)
			return false;
		if ((void *)(option + 2) > end)
			return true; /* on TC it is looked at again once it is readable */
		if (skip) {
			skip--;
			continue;
		}
		if (*option == 0)
			return false;
		if (*option == 131 || *option == 137)
			return true;
		if (*option != 1) {
			if (option[1] < 2)
				return false;
			skip = option[1] - 1;
		}
	}
	return false;
}

/* Global functions are verified once each, whatever is known at their callers. */
__noinline int source_routed_xdp(struct xdp_md *ctx, struct ip *ip)
{
	return ip && source_routed(packet_start(ctx, XDP), packet_end(ctx, XDP), ip);
}

__noinline int source_routed_tc(struct __sk_buff *ctx, struct ip *ip)
{
	return ip && source_routed(packet_start(ctx, TC), packet_end(ctx, TC), ip);
}

static __always_inline int parse_ipv4(void *start, void *end, __u32 room, struct ip *ip, bool quoted)
{
	struct iphdr *header = start + (ip->l3 & 0x7fff);
	__u32 size;

	if ((void *)(header + 1) > end || room < sizeof(*header))
		return V_MALFORMED;
	size = header->ihl * 4;
	ip->length = bpf_ntohs(header->tot_len);
	if (header->version != 4 || size < sizeof(*header) || size > room || ip->length < size)
		return V_MALFORMED;
	if (ip->length > room && !quoted)
		return V_MALFORMED;
	ip->left = (ip->length < room ? ip->length : room) - size;
	ip->src = (struct addr){ .hi = (__u64)bpf_ntohl(header->saddr) << 32 };
	ip->dst = (struct addr){ .hi = (__u64)bpf_ntohl(header->daddr) << 32 };
	ip->proto = header->protocol;
	ip->ttl = header->ttl;
	ip->l4 = ip->l3 + size;
	ip->offset = bpf_ntohs(header->frag_off) & 0x1fff;
	ip->id = bpf_ntohs(header->id);
	if (header->frag_off & bpf_htons(0x3fff))
		ip->flags |= FRAGMENT;
	if (header->frag_off & bpf_htons(0x1fff))
		ip->flags |= LATER;
	if (header->frag_off & bpf_htons(0x4000))
		ip->flags |= DONT_FRAGMENT;
	return 0;
}

static __always_inline int parse_ipv6(void *start, void *end, __u32 room, struct ip *ip, bool quoted)
{
	struct ipv6hdr *header = start + (ip->l3 & 0x7fff);
	__u64 *words = (void *)&header->saddr;

	if ((void *)(header + 1) > end || room < sizeof(*header) || header->version != 6)
		return V_MALFORMED;
	ip->length = sizeof(*header) + bpf_ntohs(header->payload_len);
	if (ip->length > room && !quoted)
		return V_MALFORMED;
	ip->left = (ip->length < room ? ip->length : room) - sizeof(*header);
	ip->src = (struct addr){ .hi = bpf_be64_to_cpu(words[0]), .lo = bpf_be64_to_cpu(words[1]) };
	ip->dst = (struct addr){ .hi = bpf_be64_to_cpu(words[2]), .lo = bpf_be64_to_cpu(words[3]) };
	ip->proto = header->nexthdr;
	ip->ttl = header->hop_limit;
	ip->flags |= DONT_FRAGMENT;
	ip->l4 = ip->l3 + sizeof(*header);
	return 0;
}

/* Step over the extension header at `ip->l4`; 0 or V_MALFORMED. */
static __always_inline int step_extension(void *start, void *end, struct ip *ip)
{
	__u8 *header = start + (ip->l4 & 0x7fff);
	__u32 size = 8;

	if (ip->left < 8 || (void *)header + 8 > end)
		return V_MALFORMED;
	if (ip->proto == IPPROTO_AH)
		size = (header[1] + 2) * 4;
	else if (ip->proto != IPPROTO_FRAGMENT)
		size = (header[1] + 1) * 8;
	else if (header[2] || header[3] & 0xf9) {
		ip->flags |= header[2] || header[3] & 0xf8 ? FRAGMENT | LATER : FRAGMENT;
		ip->offset = header[2] << 5 | header[3] >> 3;
		ip->id = bpf_ntohl(*(__be32 *)(header + 4));
	}
	if (size > ip->left)
		return V_MALFORMED;
	if (ip->proto == IPPROTO_ROUTING && header[3])
		return V_MALFORMED; /* segments left: its sender routes it, past what is exposed (RFC 5095) */
	ip->proto = header[0];
	ip->left -= size;
	ip->l4 += size;
	return 0;
}

__noinline int step_extension_xdp(struct xdp_md *ctx, struct ip *ip)
{
	return ip ? step_extension(packet_start(ctx, XDP), packet_end(ctx, XDP), ip) : V_INTERNAL;
}

__noinline int step_extension_tc(struct __sk_buff *ctx, struct ip *ip)
{
	return ip ? step_extension(packet_start(ctx, TC), packet_end(ctx, TC), ip) : V_INTERNAL;
}

/*
 * The IP packet of `ip->family` at `ip->l3`, of which `room` bytes are there; 0, or the verdict that ends it. A quoted
 * packet may be longer than what is there, and needs 8 bytes of transport.
 */
static __always_inline int parse_ip(void *ctx, const enum hook hook, struct ip *ip, __u32 room, bool quoted)
{
	void *start = packet_start(ctx, hook), *end = packet_end(ctx, hook);
	int verdict;

	ip->flags = 0;
	ip->tcp = 0;
	ip->echo = 0;
	ip->csum = 0;
	ip->sport = 0;
	ip->dport = 0;
	if (ip->family == IPV4) {
		verdict = parse_ipv4(start, end, room, ip, quoted);
		if (verdict)
			return verdict;
		if (ip->l4 - ip->l3 > sizeof(struct iphdr) &&
		    (hook == XDP ? source_routed_xdp(ctx, ip) : source_routed_tc(ctx, ip)))
			return V_MALFORMED;
		return parse_transport(start, end, ip, quoted);
	}
	verdict = parse_ipv6(start, end, room, ip, quoted);
	if (verdict)
		return verdict;
	for (int i = 0; is_extension(ip->proto) && !(ip->flags & LATER); i++) {
		if (i == MAX_EXTENSIONS)
			return V_IPV6_EXT;
		verdict = hook == XDP ? step_extension_xdp(ctx, ip) : step_extension_tc(ctx, ip);
		if (verdict)
			return verdict;
	}
	return parse_transport(start, end, ip, quoted);
}
