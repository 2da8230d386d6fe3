/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flow: packets of a live conversation follow it, and nothing else is asked. docs/packet-path.md. */
#pragma once
#include "lib/index.h"
#include "lib/packet.h"
#include "stages/parse.h"
#include "stages/revise.h"

#define FOLLOWED 100 /* no verdict yet: translated, the way out is known */

/* Both ports as a flow's key has them. */
static __always_inline struct ports flow_ports(const struct ip *ip)
{
	if (ip->flags & PORTS)
		return (struct ports){ ip->sport, ip->dport };
	return (struct ports){ ip->flags & ECHO_REQUEST ? ip->echo : 0, ip->flags & ECHO_REPLY ? ip->echo : 0 };
}

/* Is there enough to know of which flow it is? */
static __always_inline bool has_flow_key(const struct ip *ip)
{
	return !(ip->flags & NEEDS_FIRST) && (!(ip->flags & ICMP) || ip->flags & (ECHO_REQUEST | ECHO_REPLY));
}

/*
 * Only who asked first asks again: with identifier 0, requests of both look like answers to the other's.
 * `mirrored`: the packet inside an error, which its receiver sent.
 */
static __always_inline bool is_of(const struct ip *ip, __u32 reference, bool mirrored)
{
	bool back = (reference >> 31) ^ mirrored;

	return !(ip->flags & (ECHO_REQUEST | ECHO_REPLY)) || !(ip->flags & ECHO_REQUEST) == back;
}

/* The key that a packet is found by; of an ICMP error the mirror of the packet inside. */
static __always_inline void set_flow_key(struct packet *packet, const struct ip *ip, bool mirrored)
{
	struct ports ports = flow_ports(ip);
	struct flow_key *key = &packet->flow_key;

	key->src = mirrored ? ip->dst : ip->src;
	key->dst = mirrored ? ip->src : ip->dst;
	key->sport = mirrored ? ports.dst : ports.src;
	key->dport = mirrored ? ports.src : ports.dst;
	key->vpc = packet->vpc;
	packet->what = kind_of_flow(ip->proto, ip->family, RECORD_FLOW);
}

/* RFC 6146 3.5.2.2, RFC 7857 2: TCP bits after this packet; below zero: it would start something, from where nothing may. */
static __always_inline int tcp_after(__u8 bits, __u8 flags, bool back)
{
	const __u8 closed = TCP_STATE_FIN_OUT | TCP_STATE_FIN_BACK;

	if (flags & TCP_RST)
		return bits | TCP_STATE_RESET;
	if (flags & TCP_SYN && !back && !(flags & TCP_ACK))
		return bits & TCP_STATE_RESET || (bits & closed) == closed ? 0 : bits;
	if (flags & TCP_SYN && back) {
		if (!(flags & TCP_ACK) && bits & (TCP_STATE_ESTABLISHED | closed | TCP_STATE_RESET))
			return -1;
		return bits | TCP_STATE_ANSWERED;
	}
	bits &= ~TCP_STATE_RESET;
	if (!back && flags & TCP_ACK && bits & TCP_STATE_ANSWERED)
		bits |= TCP_STATE_ESTABLISHED;
	if (flags & TCP_FIN)
		bits |= back ? TCP_STATE_FIN_BACK : TCP_STATE_FIN_OUT;
	return bits;
}

static __always_inline bool is_long_lived(__u8 bits)
{
	const __u8 closed = TCP_STATE_FIN_OUT | TCP_STATE_FIN_BACK;

	return bits & TCP_STATE_ESTABLISHED && !(bits & TCP_STATE_RESET) && (bits & closed) != closed;
}

/* Note a packet in a flow's life: 0, or V_NO_FLOW. Most packets change nothing, and write nothing. */
static __always_inline int refresh(struct flow *flow, __u64 life, const struct ip *ip, bool back)
{
	__u16 version = life >> 48;

	for (int i = 0; i < 4; i++) {
		int bits = (life & TCP_BITS) >> 32;
		__u64 next, found;

		if (!is_alive(flow, life))
			return 0;
		if (ip->proto == IPPROTO_TCP && !(ip->flags & LATER)) {
			bits = tcp_after(bits, ip->tcp, back);
			if (bits < 0)
				return V_NO_FLOW;
		}
		next = (life & ~(TCP_BITS | DEADLINE)) | (__u64)bits << 32 |
		       (__u32)(now() + flow->timeouts[is_long_lived(bits)]);
		if (next == life)
			return 0;
		found = __sync_val_compare_and_swap(&flow->life, life, next);
		if (found == life || found >> 48 != version)
			return 0;
		life = found;
	}
	return 0;
}

/*
 * What the flow says of packets in one direction: addresses, ports, way out. FOLLOWED; 0: it is over, go on without it; or a
 * verdict. Judged again where configuration or routes are newer than the flow, or another CPU is just at it.
 */
static __always_inline int take_from_flow(struct packet *packet, __u32 reference, bool initiates, bool by_key)
{
	struct flow *flow = flow_at(reference & FLOW_RECORD);
	const __u64 busy = (__u64)PHASE_BUSY << 40;
	__u32 back = reference >> 31, hop;
	struct flow_key *to;
	__u64 life, after;
	bool older;

	if (!flow)
		return 0;
	life = life_of(flow);
	older = (__s32)(*(volatile __u32 *)&flow->epoch - packet->epoch) < 0; /* before what it vouches for */
	to = &flow->keys[back ^ 1];
	packet->src = to->dst;
	packet->dst = to->src;
	packet->ports.src = to->dport;
	packet->ports.dst = to->sport;
	hop = *(volatile __u32 *)&flow->hops[back];
	packet->side = *(volatile __u32 *)&flow->sides[back];
	if (by_key && !same_key(&flow->keys[back], &packet->flow_key))
		return 0; /* it has become another's since it was found */
	after = life_of(flow);
	if (older || (life | after) & busy) {
		int verdict = revise(packet, reference);

		if (verdict != REVISED_KEPT && !older)
			return 0;
		if (verdict == REVISED_DEAD && (back || !initiates))
			return V_NO_ROUTE;
		if (verdict != REVISED_KEPT) {
			packet->reopens = verdict == REVISED_DEAD;
			packet->tcp = life >> 32;
			end_record(flow, life >> 48);
			return 0;
		}
		hop = packet->revised[back & 1];
		packet->side = packet->revised_sides[back & 1];
		after = life_of(flow);
	}
	if (!is_alive(flow, life) || phase_of(after) != PHASE_LIVE || (life ^ after) & VERSION)
		return 0; /* it has ended, and may be another's now */
	packet->peering = flow->peering + 1;
	if (!hop)
		return V_NO_ROUTE;
	packet->hop = hop;
	packet->flow = reference;
	return FOLLOWED;
}

static __always_inline int follow(struct packet *packet, __u32 reference)
{
	struct flow *flow = flow_at(reference & FLOW_RECORD);
	__u64 life;
	int verdict;

	if (!flow)
		return 0;
	life = life_of(flow);
	verdict = take_from_flow(packet, reference, true, true);
	if (verdict != FOLLOWED)
		return verdict;
	return refresh(flow, life, &packet->ip, reference >> 31) ?: FOLLOWED;
}

/* The flow stage of a packet that is no ICMP error, and has its ports. */
static __always_inline int flow(struct packet *packet)
{
	__u32 reference;

	if (!has_flow_key(&packet->ip))
		return 0;
	set_flow_key(packet, &packet->ip, false);
	reference = find_key(&packet->flow_key, packet->what);
	return reference && is_of(&packet->ip, reference, false) ? follow(packet, reference) : 0;
}

/* Another CPU has just opened the same conversation: packet->flow. 0 or a verdict. */
__noinline int join_flow(struct packet *packet)
{
	int verdict = packet ? follow(packet, packet->flow) : V_INTERNAL;

	return verdict == FOLLOWED ? 0 : verdict ?: V_FLOW_CONFLICT;
}
