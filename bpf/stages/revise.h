/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flow: after a change of configuration or routes, is a conversation still right? And its ways out, as they are now. */
#pragma once
#include "lib/index.h"
#include "lib/packet.h"
#include "stages/parse.h"
#include "stages/path.h"
#include "stages/pool.h"
#include "stages/rules.h"

enum { REVISED_KEPT, REVISED_OVER, REVISED_DEAD };

/* The hop that packets of a flow in one direction leave by, chosen with their ports where the protocol has some; 0: no way. */
__noinline __u32 way_out(struct packet *packet, __u32 reference, __u32 route_slot)
{
	struct flow *flow = flow_at(reference & FLOW_RECORD);
	struct route *route = route_at(route_slot);
	struct flow_key *key;
	struct vpc *sender;

	if (!packet || !flow || !route_slot || !route || route->local || route->down)
		return 0;
	if (route->hops.count == 1)
		return route->hops.first;
	key = &flow->keys[reference >> 31];
	sender = vpc_at(packet->generation * vpc_capacity + key->vpc);
	if (!sender)
		return 0;
	packet->way.src = key->src;
	packet->way.dst = key->dst;
	packet->way.family = flow->family;
	packet->way.ports = 0;
	if (flow->proto == IPPROTO_TCP || flow->proto == IPPROTO_UDP)
		packet->way.ports = (__u32)key->sport << 16 | key->dport;
	return share_hops(route->hops.first, route->hops.count, sender->seed, &packet->way);
}

static __always_inline void set_timeouts(struct flow *flow, const struct side *side)
{
	__u32 timeout = side->timeouts[is_icmp(flow->proto, flow->family) ? TIMEOUT_ICMP : TIMEOUT_UDP];

	flow->timeouts[0] = flow->proto == IPPROTO_TCP ? side->timeouts[TIMEOUT_TCP_TRANSITORY] : timeout;
	flow->timeouts[1] = flow->proto == IPPROTO_TCP ? side->timeouts[TIMEOUT_TCP_ESTABLISHED] : timeout;
}

struct offer_of {
	__u32 first, vpc;
	__u32 found; /* slot of the candidate */
};

static long is_offer_of(__u64 index, struct offer_of *wanted)
{
	struct candidate *candidate = candidate_at(wanted->first + index);

	if (!candidate)
		return 1;
	if (candidate->kind <= PATH_STATIC && candidate->vpc == wanted->vpc) {
		wanted->found = wanted->first + index;
		return 1;
	}
	return candidate->flags & CANDIDATE_LAST;
}

/* Do the rules of the initiator's side match what opened the flow, in whatever way? */
__noinline int still_allowed(struct packet *packet, __u32 number, __u32 side_slot)
{
	struct flow *flow = flow_at(number & FLOW_RECORD);
	struct side *side = side_at(side_slot);
	struct subject *subject;
	int verdict;

	if (!packet || !flow || !side)
		return 0;
	if (!(side->flags & SIDE_HAS_RULES))
		return 1;
	subject = &packet->subject;
	subject->src = flow->keys[0].src;
	subject->dst = flow->keys[0].dst;
	subject->family = flow->family;
	subject->proto = flow->proto;
	subject->sport = flow->keys[0].sport;
	subject->dport = flow->keys[0].dport;
	subject->flags = 0;
	if (is_icmp(flow->proto, flow->family)) {
		subject->sport = flow->family == IPV4 ? ICMP4_ECHO_REQUEST : ICMP6_ECHO_REQUEST;
		subject->dport = flow->code;
		subject->flags = ICMP;
	}
	verdict = judge_rules(side, subject);
	return verdict == 0 || verdict == NEEDS_FLOW;
}

/* Is the flow's translation the one that the side would give now? */
static __always_inline bool same_source(const struct flow *flow, const struct side *here, __u32 side_slot, __u32 family)
{
	struct range *range = find_range(&here->ranges[family], &flow->keys[0].src);
	struct mapping *mapping;

	if (!range)
		return false;
	if (here->nat != NAT_STATEFUL)
		return !flow->mapping && addr_equal(addr_sum(flow->keys[0].src, range->delta), flow->keys[1].dst);
	mapping = (struct mapping *)flow_at(flow->mapping);
	if (!flow->mapping || !mapping || !mapping_is_of_mode(mapping, here) ||
	    !pool_holds(here, family, &flow->keys[1].dst))
		return false;
	return !is_ported(flow->proto, family) || pool_holds_port(side_slot, flow->keys[1].dport);
}

static __always_inline void write_revised(struct flow *flow, const struct packet *packet,
					  const struct candidate *candidate, const struct side *here, __u16 version)
{
	const __u64 busy = (__u64)PHASE_BUSY << 40;
	__u64 life = life_of(flow);

	if (phase_of(life) != PHASE_LIVE || life & busy || life >> 48 != version ||
	    __sync_val_compare_and_swap(&flow->life, life, life | busy) != life)
		return;
	if ((__s32)(flow->epoch - packet->epoch) < 0) {
		flow->hops[0] = packet->revised[0];
		flow->hops[1] = packet->revised[1];
		flow->sides[0] = candidate->here;
		flow->sides[1] = candidate->there;
		flow->peering = here->peering;
		set_timeouts(flow, here);
		*(volatile __u32 *)&flow->epoch = packet->epoch;
	}
	let_go(flow);
}

/* REVISED_KEPT, and the ways out are in packet->revised; REVISED_OVER; or REVISED_DEAD: no way, and another may do. */
__noinline int revise(struct packet *packet, __u32 reference)
{
	struct flow *flow = flow_at(reference & FLOW_RECORD);
	struct offer_of wanted = {};
	struct candidate *candidate;
	struct vpc *sender, *owner;
	struct route *route;
	struct side *here;
	__u32 family, slot;
	struct addr to;
	__u16 version;

	if (!packet || !flow)
		return REVISED_OVER;
	version = life_of(flow) >> 48;
	family = flow->family & 1;
	sender = vpc_at(packet->generation * vpc_capacity + flow->keys[0].vpc);
	owner = vpc_at(packet->generation * vpc_capacity + flow->keys[1].vpc);
	if (!sender || !owner || !sender->seed || !owner->seed)
		return REVISED_OVER;
	wanted.vpc = flow->keys[1].vpc;
	wanted.first = trie_lookup(sender->exposures[family], flow->keys[0].dst.hi, flow->keys[0].dst.lo);
	if (wanted.first)
		bpf_loop(MAX_CANDIDATES, is_offer_of, &wanted, 0);
	candidate = candidate_at(wanted.found);
	if (!wanted.found || !candidate)
		return flow->mapping ? REVISED_OVER : REVISED_DEAD;
	to = addr_sum(flow->keys[0].dst, candidate->delta);
	slot = find_route_of(packet, flow->keys[1].vpc * 2 + family, to.hi, to.lo);
	route = route_at(slot);
	if (!slot || !route || route->down)
		return flow->mapping ? REVISED_OVER : REVISED_DEAD;
	here = side_at(candidate->here);
	if (!here || route->local || !addr_equal(to, flow->keys[1].src) ||
	    !same_source(flow, here, candidate->here, family) ||
	    !still_allowed(packet, reference & FLOW_RECORD, candidate->here))
		return REVISED_OVER;
	packet->revised[0] = way_out(packet, reference & FLOW_RECORD, slot);
	slot = find_route_of(packet, flow->keys[0].vpc * 2 + family, flow->keys[0].src.hi, flow->keys[0].src.lo);
	packet->revised[1] = way_out(packet, reference | FLOW_BACK, slot);
	packet->revised_sides[0] = candidate->here;
	packet->revised_sides[1] = candidate->there;
	write_revised(flow, packet, candidate, here, version);
	return REVISED_KEPT;
}
