// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The packet path of isthmus, for XDP and for TC ingress. docs/packet-path.md says what each stage means;
 * src/isthmus/trace is the same in Python, and the tests hold the two against each other.
 *
 *   parse -> classify -> gateway -> flow -> martian -> path -> source -> rules -> translate -> ttl -> mtu -> next hop -> encapsulate
 *
 * What most packets need is inlined (a call costs as much as a look-up where returns are guarded); what few
 * need stands in global functions, which the verifier proves once.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "lib/context.h"
#include "lib/packet.h"
#include "lib/verdict.h"
#include "stages/frame.h"
#include "stages/classify.h"
#include "stages/tags.h"
#include "stages/path.h"
#include "stages/rules.h"
#include "stages/flow.h"
#include "stages/first_fragment.h"
#include "stages/icmp_error.h"
#include "stages/open.h"
#include "stages/next_hop.h"
#include "stages/rewrite.h"
#include "stages/mss.h"
#include "stages/encapsulate.h"
#include "stages/answer.h"
#include "stages/fragment.h"
#include "stages/namespace.h"
#include "stages/sweep.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* ttl, mtu, next hop, encapsulate: of a packet that may pass. */
static __always_inline int send(void *ctx, const enum hook hook, struct packet *packet, struct attachment *in)
{
	struct ip *ip = &packet->ip;
	struct attachment *out;
	__u32 port, ifindex;
	struct hop *hop;
	__u64 mac;
	bool pieces;

	if (ip->ttl <= 1) {
		struct answer say = { ip->family == IPV4 ? 11 : 3, 0, 0 };

		return answer(ctx, hook, V_TTL, packet, in, &say);
	}
	hop = packet->hop ? hop_at(packet->hop) : share(packet->path.route, packet->seed, &packet->key);
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

		return answer(ctx, hook, V_TOO_BIG, packet, in, &say);
	}
	mac = resolve(hop, out, packet);
	if (!mac)
		return finish(hook, V_NEXT_HOP_UNRESOLVED, packet->peering);
	if (rewrite(ctx, hook, packet, (const __u8 *)&mac, out->mac))
		return finish(hook, V_INTERNAL, packet->peering);
	if (packet->ip.tcp & TCP_SYN && (in->mss || out->mss))
		clamp_mss(ctx, hook, packet, in->mss && (!out->mss || in->mss < out->mss) ? in->mss : out->mss);
	if (out->kind == TAG_VXLAN) {
		packet->entropy = flow_entropy(ip, packet->ports, pieces);
		packet->tunnel.pieces = pieces;
	}
	if (put_tag(ctx, hook, packet, out))
		return finish(hook, V_INTERNAL, packet->peering);
	exit_of(packet, out, &port, &ifindex);
	if (hook == TC && pieces && cut(ctx, packet, out, ifindex))
		return finish(hook, V_INTERNAL, packet->peering);
	return leave(hook, V_FORWARDED, port, ifindex, packet->peering);
}

/* martian, path, source, rules, translate: of a packet to another VPC that follows no flow. 0 or a verdict. */
static __always_inline int forward(struct packet *packet, const struct vpc *vpc)
{
	struct candidate *candidate;
	struct ip *ip = &packet->ip;
	struct side *here;
	int verdict;

	if (is_martian(ip->family, ip->src) || is_martian(ip->family, ip->dst))
		return V_MARTIAN;
	verdict = find_path(vpc, packet->generation, &packet->key, &packet->path);
	stage_done();
	if (verdict && verdict != V_GATEWAY_ADDRESS)
		return verdict;
	candidate = candidate_at(packet->path.at);
	here = candidate ? side_at(candidate->here) : NULL;
	if (!here)
		return V_INTERNAL;
	packet->peering = here->peering + 1;
	if (verdict)
		return verdict;
	if (candidate->kind == PATH_STATEFUL)
		return V_NO_INBOUND;
	if (ip->flags & ICMP_ERROR)
		return judge_error(packet);
	packet->by_rules = here->flags & SIDE_HAS_RULES;
	verdict = judge(packet, candidate, here);
	stage_done();
	if (verdict != NEEDS_FLOW)
		return verdict;
	if (here->nat == NAT_STATEFUL) {
		find_mapping(packet, candidate->here, candidate->vpc);
		verdict = packet->mapping ? 0 : make_mapping(packet, candidate->here);
		if (verdict)
			return verdict;
	}
	verdict = open_flow(packet);
	return verdict == SAME_FLOW ? join_flow(packet) : verdict;
}

/* flow: does it belong to a conversation? FOLLOWED, 0 or a verdict. */
static __always_inline int find_flow(void *ctx, const enum hook hook, struct packet *packet, const struct vpc *vpc)
{
	struct ip *ip = &packet->ip;
	int verdict;

	packet->key.family = ip->family;
	if (ip->flags & ICMP_ERROR) {
		verdict = hook == XDP ? mirror_xdp(ctx, packet) : mirror_tc(ctx, packet);
		return verdict ?: follow_error(packet);
	}
	packet->key.src = ip->src;
	packet->key.dst = ip->dst;
	packet->key.ports = ip->flags & (FRAGMENT | ICMP) ? 0 : (__u32)ip->sport << 16 | ip->dport;
	if (ip->flags & NEEDS_FIRST)
		verdict = follow_first(packet);
	else
		verdict = vpc->flags & VPC_REMEMBERS ? flow(packet) : 0;
	if (!verdict)
		packet->ports = flow_ports(ip); /* also after a flow that is over */
	return verdict;
}

/* gateway, then what becomes of it: what is for the gateway itself, and what may never cross. */
static __always_inline int enter(void *ctx, const enum hook hook, struct packet *packet, struct attachment *in)
{
	struct vpc *vpc = vpc_at(packet->generation * vpc_capacity + packet->vpc);
	void *start = packet_start(ctx, hook), *end = packet_end(ctx, hook);
	struct ethhdr *eth = start;
	struct ip *ip = &packet->ip;
	bool local6, link_only;
	struct span *own;
	int verdict;

	if (!vpc || (void *)(eth + 1) > end)
		return finish(hook, V_INTERNAL, 0);
	packet->seed = vpc->seed;
	own = &vpc->own[ip->family & 1];
	local6 = ip->family == IPV6 && is_link_local6(ip->dst);
	link_only = ip->flags & LINK_ONLY;
	if (eth->h_dest[0] & 1 && !link_only && !is_martian(ip->family, ip->dst))
		return finish(hook, V_NOT_OUR_MAC, 0);
	if (find_range(own, &ip->src))
		return finish(hook, V_GATEWAY_SPOOF, 0);
	if (local6 || find_range(own, &ip->dst) || (link_only && ip->family == IPV6 && ip->dst.hi >> 56 == 0xff))
		return leave(hook, V_LOCAL, in->namespace_port, in->namespace_ifindex, 0);
	if (link_only)
		return finish(hook, V_MARTIAN, 0);
	verdict = find_flow(ctx, hook, packet, vpc);
	stage_done();
	if (!verdict)
		verdict = forward(packet, vpc);
	if (verdict && verdict != FOLLOWED)
		return finish(hook, verdict, packet->peering);
	if ((ip->flags & (FRAGMENT | LATER | ICMP_ERROR)) == FRAGMENT && ip->flags & (PORTS | ICMP) &&
	    (packet->flow || packet->by_rules))
		note_first(packet);
	stage_done();
	return send(ctx, hook, packet, in);
}

static __always_inline int gateway(void *ctx, const enum hook hook)
{
	struct control *control = control_at(0);
	struct packet *packet = packet_here(IN_HAND);
	struct classified *class;
	struct attachment *in;
	struct ethhdr *eth;
	int verdict;

	if (!control || !packet)
		return finish(hook, V_INTERNAL, 0);
	set_world(packet, control);
	packet->peering = 0;
	packet->flow = 0;
	packet->hop = 0;
	packet->mapping = 0;
	packet->state = 0;
	verdict = parse(ctx, hook, packet);
	if (verdict)
		return finish(hook, verdict, 0);
	class = packet->frame == FRAME_TAGGED ? NULL : of_port(ctx, hook, packet);
	if (!class || class->role == ROLE_VTEP) {
		verdict = hook == XDP ? identify_xdp(ctx, packet) : identify_tc(ctx, packet);
		stage_done();
		if (verdict)
			return finish(hook, verdict, 0);
		class = &packet->class;
	}
	in = attachment_at(class->attachment);
	eth = packet_start(ctx, hook);
	if (!in || (void *)(eth + 1) > packet_end(ctx, hook))
		return finish(hook, V_INTERNAL, 0);
	if (class->role == ROLE_NAMESPACE) {
		packet->class = *class;
		return from_namespace(ctx, hook, packet, in);
	}
	if (packet->frame == FRAME_ARP)
		return leave(hook, V_LOCAL, in->namespace_port, in->namespace_ifindex, 0);
	if (packet->frame != FRAME_IP)
		return finish(hook, V_NOT_IP, 0);
	if (!(eth->h_dest[0] & 1) && __builtin_memcmp(eth->h_dest, in->mac, ETH_ALEN))
		return finish(hook, V_NOT_OUR_MAC, 0);
	packet->vpc = class->vpc;
	return enter(ctx, hook, packet, in);
}

/* What user space asks of the flows: struct ask, by BPF_PROG_TEST_RUN. */
enum { ASK_CLOCK, ASK_SWEEP, ASK_END, ASK_END_ALL };

struct ask {
	__u32 what, first, count, answer;
};

SEC("syscall")
int flows_ask(struct ask *ask)
{
	struct flow *flow;
	struct clock *clock;
	__u32 zero = 0;

	switch (ask->what) {
	case ASK_CLOCK: /* from now on the kernel keeps the clock, and sweeps */
		clock = bpf_map_lookup_elem(&clocks, &zero);
		if (!clock || bpf_timer_init(&clock->timer, &clocks, 1 /* CLOCK_MONOTONIC */) ||
		    bpf_timer_set_callback(&clock->timer, tick))
			return 1;
		ask->answer = bpf_timer_start(&clock->timer, 0, 0);
		return 0;
	case ASK_SWEEP: /* of the records ever taken, from `first` on */
		ask->answer = sweep_part(ask->first, ask->count, STAND_IN_OF_USER);
		return 0;
	case ASK_END: /* the flow in record `first`, if its version is `count` */
		flow = flow_at(ask->first & FLOW_RECORD);
		ask->answer = flow && phase_of(life_of(flow)) == PHASE_LIVE && life_of(flow) >> 48 == ask->count;
		if (flow)
			end_record(flow, ask->count);
		return 0;
	case ASK_END_ALL: /* likewise */
		ask->answer = end_part(ask->first, ask->count);
		return 0;
	}
	return 1;
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
