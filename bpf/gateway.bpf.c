// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The packet path of isthmus, for XDP and for TC ingress. docs/packet-path.md says what each stage means;
 * src/isthmus/trace is the same in Python, and the tests hold the two against each other.
 *
 *   parse -> classify -> gateway -> martian -> path -> source -> rules -> translate -> ttl -> mtu -> next hop -> encapsulate
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "lib/context.h"
#include "lib/maps.h"
#include "lib/verdict.h"
#include "stages/parse.h"
#include "stages/path.h"
#include "stages/rules.h"
#include "stages/rewrite.h"
#include "stages/answer.h"
#include "stages/fragment.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum ethernet { FRAME_OTHER, FRAME_IP, FRAME_ARP, FRAME_TAGGED };

/* A packet on its way through the stages. */
struct packet {
	struct ip ip;
	struct key key;
	struct path path;
	struct addr src, dst; /* after translation */
	__u32 generation, vpc;
	__u32 peering; /* number + 1 */
};

/* The IP packet at `ip->l3`, of family `ip->family`. */
static __always_inline int parse_at(void *ctx, const enum hook hook, struct ip *ip, __u32 room, bool quoted)
{
	ip->flags = 0;
	ip->csum = 0;
	ip->sport = 0;
	ip->dport = 0;
	return hook == XDP ? parse_ip_xdp(ctx, ip, room, quoted) : parse_ip_tc(ctx, ip, room, quoted);
}

/* The packet inside an ICMP error, and its addresses after translation; kept here to spare the stack. */
struct quote {
	struct ip ip;
	struct addr src, dst;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct quote);
	__uint(max_entries, 1);
} quotes SEC(".maps");

static __always_inline struct quote *quote_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&quotes, &zero);
}

static __always_inline int parse(void *ctx, const enum hook hook, struct packet *packet, enum ethernet *frame)
{
	void *start = packet_start(ctx, hook), *end = packet_end(ctx, hook);
	__u32 length = packet_length(ctx, hook);
	struct ethhdr *eth = start;

	packet->ip.l3 = ETH_LEN;
	if ((void *)(eth + 1) > end)
		return V_MALFORMED;
	*frame = FRAME_IP;
	switch (eth->h_proto) {
	case bpf_htons(ETH_P_IP):
		packet->ip.family = IPV4;
		break;
	case bpf_htons(ETH_P_IPV6):
		packet->ip.family = IPV6;
		break;
	case bpf_htons(ETH_P_ARP):
		*frame = FRAME_ARP;
		return 0;
	case bpf_htons(ETH_P_8021Q):
	case bpf_htons(ETH_P_8021AD):
		*frame = FRAME_TAGGED;
		return 0;
	default:
		*frame = FRAME_OTHER;
		return 0;
	}
	return parse_at(ctx, hook, &packet->ip, length - ETH_LEN, false);
}

static __always_inline struct classified *classify(void *ctx, const enum hook hook, enum ethernet frame, __u32 generation)
{
	struct classify_key key = { .ifindex = packet_ifindex(ctx, hook), .generation = generation };
	__u32 vlan = packet_vlan(ctx, hook);
	struct classified *found;

	if (frame == FRAME_TAGGED || vlan) {
		key.kind = TAG_VLAN;
		key.outer = vlan & 0xfff;
	}
	found = bpf_map_lookup_elem(&classes, &key);
	if (found)
		return found;
	key.kind = TAG_ANY;
	key.outer = 0;
	return bpf_map_lookup_elem(&classes, &key);
}

static __always_inline bool is_own(const struct vpc *vpc, __u32 family, const struct addr *address)
{
	return find_range(&vpc->own[family & 1], address) != NULL;
}

/* The packet inside an ICMP error, as the key of its path: mirrored. */
static __always_inline int mirror(void *ctx, const enum hook hook, struct packet *packet)
{
	struct quote *quote = quote_here();
	struct ip *ip = &packet->ip, *inner;
	__u32 at = ip->l4 + 8 - ip->l3;

	if (!quote)
		return V_INTERNAL;
	inner = &quote->ip;
	inner->l3 = ip->l4 + 8;
	inner->family = ip->family;
	if (at > ip->length || parse_at(ctx, hook, inner, ip->length - at, true))
		return V_ICMP_MALFORMED;
	if (inner->flags & ICMP_ERROR || !addr_equal(inner->src, ip->dst) || is_martian(ip->family, inner->src) ||
	    is_martian(ip->family, inner->dst))
		return V_ICMP_MALFORMED;
	packet->key.src = inner->dst;
	packet->key.dst = inner->src;
	packet->key.ports = inner->flags & (FRAGMENT | ICMP) ? 0 : (__u32)inner->dport << 16 | inner->sport;
	return 0;
}

/* The gateway speaks for a router that it does not show: with its own address in the VPC that the error goes to. */
static __always_inline int own_source(struct packet *packet)
{
	struct vpc *vpc = vpc_at(packet->generation * vpc_capacity + packet->vpc);
	struct attachment *out;
	struct hop *hop;

	if (!vpc)
		return V_INTERNAL;
	hop = hop_at(share_hop(packet->path.route, vpc->seed, &packet->key));
	out = hop ? attachment_at(hop->attachment) : NULL;
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

/* source and rules for an ICMP error: would the packet inside have been let through to where the error comes from? */
__noinline int judge_error(struct packet *packet)
{
	struct candidate *candidate;
	struct quote *quote = quote_here();
	struct side *here, *there;
	struct ip *ip, *inner;
	struct range *range;
	int verdict;

	if (!packet || !quote)
		return V_INTERNAL;
	ip = &packet->ip;
	inner = &quote->ip;
	candidate = candidate_at(packet->path.at);
	if (!candidate)
		return V_INTERNAL;
	here = side_at(candidate->here);
	there = side_at(candidate->there);
	if (!here || !there)
		return V_INTERNAL;
	if (here->nat == NAT_STATEFUL)
		return V_NO_INBOUND;
	range = find_range(&here->ranges[ip->family & 1], &inner->dst);
	if (!range)
		return V_SOURCE_NOT_EXPOSED;
	packet->dst = addr_sum(inner->src, candidate->delta);
	quote->src = packet->dst;
	quote->dst = addr_sum(inner->dst, range->delta);
	if (there->flags & SIDE_HAS_RULES) {
		struct subject subject = { quote->src, quote->dst, ip->family, inner->sport,
					   inner->dport, inner->proto, inner->flags, 0 };

		verdict = judge_rules(there->rules.first, there->rules.count, &subject);
		if (verdict)
			return verdict;
	}
	range = find_range(&here->ranges[ip->family & 1], &ip->src);
	packet->src = range ? addr_sum(ip->src, range->delta) : ip->src;
	if (!range && here->nat != NAT_PLAIN) {
		verdict = own_source(packet);
		if (verdict)
			return verdict;
	} else if (is_martian(ip->family, packet->src)) {
		return V_MARTIAN;
	}
	return is_martian(ip->family, packet->dst) || is_martian(ip->family, quote->dst) ? V_MARTIAN : 0;
}

/* source, rules and translate for any other packet. */
__noinline int judge(struct packet *packet)
{
	struct candidate *candidate;
	struct range *range;
	struct side *here;
	struct ip *ip;
	int verdict;

	if (!packet)
		return V_INTERNAL;
	ip = &packet->ip;
	candidate = candidate_at(packet->path.at);
	if (!candidate)
		return V_INTERNAL;
	here = side_at(candidate->here);
	if (!here)
		return V_INTERNAL;
	range = find_range(&here->ranges[ip->family & 1], &ip->src);
	if (!range)
		return V_SOURCE_NOT_EXPOSED;
	if (here->flags & SIDE_HAS_RULES) {
		struct subject subject = { ip->src,   ip->dst,   ip->family, ip->sport,
					   ip->dport, ip->proto, ip->flags,  0 };

		verdict = judge_rules(here->rules.first, here->rules.count, &subject);
		if (verdict)
			return verdict;
	} else if (here->flags & SIDE_OPENS && ip->flags & STARTS) {
		return V_NOT_CARRIED;
	}
	if (here->nat == NAT_STATEFUL)
		return V_NOT_CARRIED;
	packet->src = addr_sum(ip->src, range->delta);
	packet->dst = addr_sum(ip->dst, candidate->delta);
	if (is_martian(ip->family, packet->src) || is_martian(ip->family, packet->dst))
		return V_MARTIAN;
	return 0;
}

/* The MAC of the next hop; without one it is asked for. */
static __always_inline struct neighbour *resolve(const struct hop *hop, const struct attachment *out, const struct packet *packet)
{
	struct neighbour_key key = { hop->onlink ? packet->dst : hop->gateway, out->link, packet->ip.family };
	struct neighbour *found = bpf_map_lookup_elem(&neighbours, &key);

	if (!found)
		bpf_ringbuf_output(&wanted, &key, sizeof(key), 0);
	return found;
}

/* The bytes that the largest packet on the wire will have. */
static __always_inline __u32 wire_length(void *ctx, const enum hook hook, const struct ip *ip)
{
	__u32 segment = packet_segment(ctx, hook), headers;
	void *start = packet_start(ctx, hook), *end = packet_end(ctx, hook);
	struct tcphdr *tcp;

	if (!segment)
		return ip->length;
	headers = ip->l4 - ip->l3;
	tcp = start + (ip->l4 & 0x7fff);
	if (ip->proto == IPPROTO_TCP && (void *)(tcp + 1) <= end)
		return headers + tcp->doff * 4 + segment;
	return headers + 8 + segment;
}

/* ttl, mtu, next hop, encapsulate. */
static __always_inline int send(void *ctx, const enum hook hook, struct packet *packet, const struct attachment *in,
				__u64 seed)
{
	struct ip *ip = &packet->ip;
	struct attachment *out;
	struct neighbour *neighbour;
	struct hop *hop;
	bool pieces;

	if (ip->ttl <= 1) {
		struct answer say = { ip->family == IPV4 ? 11 : 3, 0, 0 };

		return answer(ctx, hook, V_TTL, packet->peering, ip, in, &say);
	}
	hop = hop_at(share_hop(packet->path.route, seed, &packet->key));
	if (!hop)
		return finish(hook, V_INTERNAL, packet->peering);
	out = attachment_at(hop->attachment);
	if (!out)
		return finish(hook, V_INTERNAL, packet->peering);
	if (!out->ifindex)
		return finish(hook, V_NO_ATTACHMENT, packet->peering);
	pieces = wire_length(ctx, hook, ip) > out->mtu;
	if (pieces && !can_cut(ctx, hook, ip, out->mtu)) {
		struct answer say = { ip->family == IPV4 ? 3 : 2, ip->family == IPV4 ? 4 : 0, out->mtu };

		return answer(ctx, hook, V_TOO_BIG, packet->peering, ip, in, &say);
	}
	neighbour = resolve(hop, out, packet);
	if (!neighbour)
		return finish(hook, V_NEXT_HOP_UNRESOLVED, packet->peering);
	if (ip->flags & ICMP_ERROR) {
		__u64 changes = addr_change(ip->src, packet->src) + addr_change(ip->dst, packet->dst);
		bool moved = !addr_equal(ip->src, packet->src) || !addr_equal(ip->dst, packet->dst);

		struct quote *quote = quote_here();

		if (quote)
			rewrite_error(packet_start(ctx, hook), packet_end(ctx, hook), ip, &quote->ip, quote->src,
				      quote->dst, moved ? changes : 0);
	}
	if (rewrite(ctx, hook, ip, packet->src, packet->dst, neighbour->mac, out->mac))
		return finish(hook, V_INTERNAL, packet->peering);
	if (hook == TC && pieces && cut(ctx, ip, out->mtu, out->ifindex))
		return finish(hook, V_INTERNAL, packet->peering);
	return leave(hook, V_FORWARDED, out->port, out->ifindex, packet->peering);
}

/* path, source, rules, translate; then on. */
static __always_inline int forward(void *ctx, const enum hook hook, struct packet *packet, const struct vpc *vpc,
				   const struct attachment *in)
{
	struct candidate *candidate;
	struct side *here;
	int verdict;

	verdict = find_path(packet->generation * vpc_capacity + packet->vpc, packet->generation, &packet->key, &packet->path);
	if (verdict && verdict != V_GATEWAY_ADDRESS)
		return finish(hook, verdict, 0);
	candidate = candidate_at(packet->path.at);
	if (!candidate)
		return finish(hook, V_INTERNAL, 0);
	here = side_at(candidate->here);
	if (!here)
		return finish(hook, V_INTERNAL, 0);
	packet->peering = here->peering + 1;
	if (!verdict && candidate->kind == PATH_STATEFUL)
		verdict = V_NO_INBOUND;
	if (!verdict)
		verdict = packet->ip.flags & ICMP_ERROR ? judge_error(packet) : judge(packet);
	if (verdict)
		return finish(hook, verdict, packet->peering);
	return send(ctx, hook, packet, in, vpc->seed);
}

/* What is for the gateway itself, and what may never cross; then on. */
static __always_inline int enter(void *ctx, const enum hook hook, struct packet *packet, const struct classified *class,
				 const struct attachment *in)
{
	struct vpc *vpc = vpc_at(packet->generation * vpc_capacity + class->vpc);
	void *start = packet_start(ctx, hook), *end = packet_end(ctx, hook);
	struct ethhdr *eth = start;
	struct ip *ip = &packet->ip;
	bool local6, discovery;
	int verdict;

	if (!vpc || (void *)(eth + 1) > end)
		return finish(hook, V_INTERNAL, 0);
	local6 = ip->family == IPV6 && is_link_local6(ip->dst);
	discovery = ip->flags & DISCOVERY;
	if (eth->h_dest[0] & 1 && !discovery && !is_martian(ip->family, ip->dst))
		return finish(hook, V_NOT_OUR_MAC, 0);
	if (is_own(vpc, ip->family, &ip->src))
		return finish(hook, V_GATEWAY_SPOOF, 0);
	if (local6 || is_own(vpc, ip->family, &ip->dst) || (discovery && ip->dst.hi >> 56 == 0xff))
		return leave(hook, V_LOCAL, in->namespace_port, in->namespace_ifindex, 0);
	if (discovery || is_martian(ip->family, ip->src) || is_martian(ip->family, ip->dst))
		return finish(hook, V_MARTIAN, 0);
	packet->vpc = class->vpc;
	packet->key.family = ip->family;
	if (ip->flags & ICMP_ERROR) {
		verdict = mirror(ctx, hook, packet);
		if (verdict)
			return finish(hook, verdict, 0);
	} else {
		packet->key.src = ip->src;
		packet->key.dst = ip->dst;
		packet->key.ports = ip->flags & (FRAGMENT | ICMP) ? 0 : (__u32)ip->sport << 16 | ip->dport;
	}
	return forward(ctx, hook, packet, vpc, in);
}

static __always_inline int gateway(void *ctx, const enum hook hook)
{
	struct classified *class;
	struct attachment *in;
	struct packet packet;
	struct control *control = control_at(0);
	enum ethernet frame;
	struct ethhdr *eth;
	int verdict;

	if (!control)
		return finish(hook, V_INTERNAL, 0);
	packet.generation = control->generation & 1;
	verdict = parse(ctx, hook, &packet, &frame);
	if ((verdict || packet.ip.flags & ICMP_ERROR) && packet_pull(ctx, hook, MAX_OFFSET))
		verdict = parse(ctx, hook, &packet, &frame);
	if (verdict)
		return finish(hook, verdict, 0);
	class = classify(ctx, hook, frame, packet.generation);
	if (!class)
		return finish(hook, V_UNKNOWN_TAG, 0);
	if (class->role == ROLE_UNCLAIMED)
		return finish(hook, V_PASSED, 0);
	in = attachment_at(class->attachment);
	eth = packet_start(ctx, hook);
	if (!in || (void *)(eth + 1) > packet_end(ctx, hook))
		return finish(hook, V_INTERNAL, 0);
	if (class->role == ROLE_NAMESPACE)
		return leave(hook, V_LOCAL, in->port, in->ifindex, 0);
	if (frame == FRAME_ARP)
		return leave(hook, V_LOCAL, in->namespace_port, in->namespace_ifindex, 0);
	if (frame != FRAME_IP)
		return finish(hook, V_NOT_IP, 0);
	if (!(eth->h_dest[0] & 1) && __builtin_memcmp(eth->h_dest, in->mac, ETH_ALEN))
		return finish(hook, V_NOT_OUR_MAC, 0);
	return enter(ctx, hook, &packet, class, in);
}

SEC("xdp.frags")
int gateway_xdp(struct xdp_md *ctx)
{
	return gateway(ctx, XDP);
}

SEC("tc")
int gateway_tc(struct __sk_buff *skb)
{
	return gateway(skb, TC);
}
