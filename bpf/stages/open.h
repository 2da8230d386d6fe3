/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* translate: a packet that starts a conversation opens its flow. docs/packet-path.md, "Opening a flow". */
#pragma once
#include "lib/index.h"
#include "lib/packet.h"
#include "stages/flow.h"
#include "stages/mapping.h"
#include "stages/revise.h"

#define SAME_FLOW 102 /* no verdict: another CPU has just opened it, from here or from the other end */

/* The reference for this packet to a flow that has one of its keys: 0 if it is another conversation. Echoes have one who asks. */
static __always_inline __u32 as_same(const struct packet *packet, __u32 reference)
{
	struct flow *other = flow_at(reference & FLOW_RECORD);

	if (other && same_key(&other->keys[0], &packet->flow_key))
		return reference & FLOW_RECORD;
	if (other && !(packet->ip.flags & ICMP) && same_key(&other->keys[1], &packet->flow_key))
		return (reference & FLOW_RECORD) | FLOW_BACK;
	return 0;
}

/* What `judge` has found, and on a stateful side a mapping: packet->src and dst are translated, or mapped. 0 or a verdict. */
__noinline int open_flow(struct packet *packet)
{
	struct candidate *candidate;
	struct flow *flow;
	struct mapping *mapping;
	struct vpc *sender;
	struct side *here;
	__u32 number, found, slot;
	__u64 life;
	__u8 family;

	if (!packet)
		return V_INTERNAL;
	family = packet->ip.family & 1;
	candidate = candidate_at(packet->path.at);
	if (!candidate)
		return V_INTERNAL;
	here = side_at(candidate->here);
	sender = vpc_at(packet->generation * vpc_capacity + packet->vpc);
	if (!here || !sender)
		return V_INTERNAL;
	if (packet->mapping) {
		mapping = mapping_at(packet->mapping);
		if (!mapping)
			return V_INTERNAL;
		packet->src = mapping->keys[1].src;
		packet->ports.src = mapping->keys[1].sport;
	}
	set_flow_key(packet, &packet->ip, false);
	number = take_record(false);
	flow = flow_at(number);
	if (!number || !flow) {
		drop_use(packet->mapping);
		return V_FLOW_TABLE_FULL;
	}
	flow->keys[0] = packet->flow_key;
	flow->keys[1].src = packet->dst;
	flow->keys[1].dst = packet->src;
	flow->keys[1].sport = packet->ports.dst;
	flow->keys[1].dport = packet->ports.src;
	flow->keys[1].vpc = candidate->vpc;
	flow->proto = packet->ip.proto;
	flow->family = family;
	flow->kind = RECORD_FLOW;
	flow->code = packet->ip.flags & ICMP ? packet->ip.dport : 0;
	flow->mapping = packet->mapping;
	flow->peering = here->peering;
	flow->sides[0] = candidate->here;
	flow->sides[1] = candidate->there;
	flow->hops[0] = way_out(packet, number, packet->path.route);
	slot = find_route_of(packet, packet->vpc * 2 + family, packet->ip.src.hi, packet->ip.src.lo);
	flow->hops[1] = way_out(packet, number | FLOW_BACK, slot);
	flow->epoch = packet->epoch;
	set_timeouts(flow, here);
	packet->hop = flow->hops[0];
	packet->flow = number;
	life = bring_to_life(flow, now() + flow->timeouts[packet->reopens && is_long_lived(packet->tcp)],
			     packet->reopens ? packet->tcp : 0, true);
	found = enter_key(number, 1);
	if (!found) {
		found = enter_key(number, 0);
		if (found)
			end_record(flow, life >> 48);
		let_go(flow);
		if (!found)
			return 0;
	} else if (give_back(flow, number, life)) {
		drop_use(packet->mapping);
	} else {
		let_go(flow); /* it was ended meanwhile: the sweep does the rest */
	}
	if (found == NO_ROOM)
		return V_FLOW_TABLE_FULL;
	packet->flow = as_same(packet, found);
	return packet->flow ? SAME_FLOW : V_FLOW_CONFLICT;
}
