/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow: what the first fragment of a packet found, for those behind it, which have no ports. A set of 8 places by hash, of which a VPC
 * has 4 at most: who sends many does not take the places of others. docs/packet-path.md, "Fragments".
 */
#pragma once
#include "lib/index.h"
#include "lib/packet.h"
#include "stages/flow.h"

#define PLACES	 8
#define OWN_MOST 4

struct fragment_set {
	struct fragment places[PLACES];
};

TABLE(fragment_sets, fragment_set, 1)

/* RFC 791 3.2 tells packets apart by protocol too; RFC 8200 4.5 does not, and later fragments show that of the next header. */
static __always_inline __u8 fragment_proto(const struct ip *ip)
{
	return ip->family == IPV4 ? ip->proto : 0;
}

static __always_inline __u64 fragment_hash(const struct packet *packet)
{
	const struct ip *ip = &packet->ip;
	__u64 hash = weigh(weigh(weigh(secret, ip->src.hi), ip->src.lo), (__u64)packet->vpc << 32 | ip->id);

	return weigh(weigh(weigh(hash, ip->dst.hi), ip->dst.lo), fragment_proto(ip) << 1 | ip->family);
}

static __always_inline bool is_fragment_of(const struct fragment *fragment, const struct packet *packet)
{
	const struct ip *ip = &packet->ip;

	return fragment->id == ip->id && fragment->vpc == packet->vpc && fragment->proto == fragment_proto(ip) &&
	       fragment->family == ip->family && addr_equal(fragment->src, ip->src) &&
	       addr_equal(fragment->dst, ip->dst);
}

static __always_inline bool is_live(const struct fragment *place, __u32 time)
{
	return (__s32)(place->expires - time) > 0;
}

/* Its number, PLACES if there is none. */
static __always_inline __u32 place_of(const struct fragment_set *set, const struct packet *packet, __u32 time)
{
	for (__u32 i = 0; i < PLACES; i++)
		if (is_live(&set->places[i], time) && is_fragment_of(&set->places[i], packet))
			return i;
	return PLACES;
}

/* Where to note a first fragment: its own old place, a free one, or the oldest of this VPC's. Loops apart, for the verifier. */
static __always_inline __u32 place_for(const struct fragment_set *set, const struct packet *packet, __u32 time)
{
	__u32 mine = 0, oldest = PLACES, expires = 0, found = place_of(set, packet, time);

	if (found < PLACES)
		return found;
	for (int i = 0; i < PLACES; i++)
		mine += is_live(&set->places[i], time) && set->places[i].vpc == packet->vpc;
	for (__u32 i = 0; i < PLACES && mine < OWN_MOST; i++)
		if (!is_live(&set->places[i], time))
			return i;
	for (__u32 i = 0; i < PLACES; i++) {
		const struct fragment *place = &set->places[i];

		if (!is_live(place, time) || place->vpc != packet->vpc ||
		    (oldest < PLACES && (__s32)(place->expires - expires) >= 0))
			continue;
		oldest = i;
		expires = place->expires;
	}
	return oldest;
}

/* Of the first fragment that passes. What finds no place is not noted. */
__noinline int note_first(struct packet *packet)
{
	struct fragment_set *set;
	struct fragment *place;
	struct lock *lock;
	struct flow *flow;
	__u32 at, time = now();
	__u64 hash;

	if (!packet)
		return 0;
	hash = fragment_hash(packet);
	set = fragment_set_at((hash >> 32) & fragment_mask);
	lock = lock_for((hash >> 32) & fragment_mask); /* one for all of a set */
	flow = flow_at(packet->flow & FLOW_RECORD);
	if (!set || !lock || !flow || !acquire(lock))
		return 0;
	at = place_for(set, packet, time);
	if (at < PLACES) {
		place = &set->places[at];
		place->src = packet->ip.src;
		place->dst = packet->ip.dst;
		place->vpc = packet->vpc;
		place->id = packet->ip.id;
		place->proto = fragment_proto(&packet->ip);
		place->family = packet->ip.family;
		place->flow = packet->flow;
		place->version = life_of(flow) >> 48;
		place->generation = packet->revision;
		place->expires = time + FRAGMENT_LIFE;
	}
	release(lock);
	return 0;
}

/* The flow stage of a later fragment that lacks its ports: FOLLOWED, 0 or a verdict. */
__noinline int follow_first(struct packet *packet)
{
	__u32 at, reference = 0, generation = 0, time = now();
	__u16 version = 0;
	struct fragment_set *set;
	struct lock *lock;
	struct flow *flow;
	__u64 hash, life;
	int verdict;

	if (!packet)
		return 0;
	hash = fragment_hash(packet);
	set = fragment_set_at((hash >> 32) & fragment_mask);
	lock = lock_for((hash >> 32) & fragment_mask); /* one for all of a set */
	if (!set || !lock || !acquire(lock))
		return 0;
	at = place_of(set, packet, time);
	if (at < PLACES) {
		reference = set->places[at].flow;
		version = set->places[at].version;
		generation = set->places[at].generation;
	}
	release(lock);
	if (at == PLACES)
		return 0;
	if (!reference) {
		packet->allowed = generation == packet->revision;
		return 0;
	}
	flow = flow_at(reference & FLOW_RECORD);
	if (!flow)
		return V_INTERNAL;
	life = life_of(flow);
	if (!is_alive(flow, life) || life >> 48 != version)
		return V_FRAGMENT_NO_STATE;
	verdict = take_from_flow(packet, reference, false, false);
	if (verdict != FOLLOWED)
		return verdict ?: V_FRAGMENT_NO_STATE;
	if (life_of(flow) >> 48 != version)
		return V_FRAGMENT_NO_STATE;
	packet->ports = (struct ports){};
	refresh(flow, life, &packet->ip, reference >> 31);
	return FOLLOWED;
}
