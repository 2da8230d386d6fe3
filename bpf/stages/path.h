/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * path: which peering carries the packet, in two steps. (1) The exposures of the sending VPC give the candidates. (2) Each
 * candidate's translated destination is looked up in the routes of the VPC that offers it. Longest prefix,
 * lowest metric, then rendezvous hash.
 */
#pragma once
#include "lib/address.h"
#include "lib/packet.h"
#include "lib/share.h"
#include "stages/learned.h"

#define TRIE_DEPTH     17
#define MAX_CANDIDATES 65536

/* The value of the longest prefix that holds the address, 0 if there is none. */
static __always_inline __u32 trie_lookup(__u32 at, __u64 hi, __u64 lo)
{
	for (int depth = 0; depth < TRIE_DEPTH; depth++) {
		struct node *node;

		if (!(at & TRIE_NODE))
			return at;
		node = node_at(at & ~TRIE_NODE);
		if (!node)
			return 0;
		if (((hi ^ node->prefix.hi) & node->mask.hi) | ((lo ^ node->prefix.lo) & node->mask.lo))
			return node->miss;
		at = node->child[((node->low ? lo : hi) >> (node->shift & 63)) & 255];
	}
	return 0;
}

/* A look-up of the route to an address: a VPC's own, and how far its learned ones have come. */
struct lookup {
	__u32 own;
	struct lead lead;
};

static __always_inline struct lookup begin_lookup(__u32 routes, __u32 fib_slot, __u64 hi, __u64 lo)
{
	struct fib *fib = fib_at(fib_slot);
	__u64 learned = fib ? *(volatile __u64 *)fib : 0;

	return (struct lookup){ trie_lookup(routes, hi, lo), learned_lead(learned, hi, lo) };
}

/*
 * The slot of the route, 0 if there is none: one of the VPC's own (`routes`, a trie), or a learned one (`fib`, by number of the VPC
 * and family) with a longer prefix. Whether it is down the caller asks.
 */
static __always_inline __u32 end_lookup(struct lookup lookup)
{
	return longer(learned_slot(&lookup.lead), lookup.own);
}

/* The same by the VPC's number * 2 + family, where it is not for every packet; one call, as the stack is short there. */
__noinline __u32 find_route_of(struct packet *packet, __u32 which, __u64 hi, __u64 lo)
{
	struct vpc *vpc;

	if (!packet)
		return 0;
	vpc = vpc_at(packet->generation * vpc_capacity + which / 2);
	return vpc ? end_lookup(begin_lookup(vpc->routes[which & 1], which, hi, lo)) : 0;
}

/* The translated destination is looked up in the routes of the VPC that offers it. */
static __always_inline struct lookup begin_candidate(__u32 at, __u32 generation, __u32 family, __u64 hi, __u64 lo)
{
	struct candidate *candidate = candidate_at(at);
	struct lookup none = {};
	struct vpc *owner;
	struct addr to;

	if (!candidate || candidate->kind == PATH_STATEFUL)
		return none;
	owner = vpc_at(generation * vpc_capacity + candidate->vpc);
	if (!owner)
		return none;
	to = addr_sum((struct addr){ hi, lo }, candidate->delta);
	return begin_lookup(owner->routes[family & 1], candidate->vpc * 2 + (family & 1), to.hi, to.lo);
}

/* The route of a candidate, 0 where there is none, or it needs none. Verified once, on its own, as is the next. */
__noinline __u32 candidate_route(__u32 at, __u32 generation, __u32 family, __u64 hi, __u64 lo)
{
	return end_lookup(begin_candidate(at, generation, family, hi, lo));
}

/* Of two candidates, one after the other, the second in the upper half: side by side, so that they wait for memory together. */
__noinline __u64 two_routes(__u32 at, __u32 generation, __u32 family, __u64 hi, __u64 lo)
{
	struct lookup first = begin_candidate(at, generation, family, hi, lo);
	struct lookup second = begin_candidate(at + 1, generation, family, hi, lo);

	if (first.lead.entry & second.lead.entry & FIB_MORE)
		look_through(&first.lead, &second.lead);
	return end_lookup(first) | (__u64)end_lookup(second) << 32;
}

static __always_inline __u64 weigh_key(__u64 seed, const struct key *key)
{
	__u64 value = weigh(weigh(seed, key->src.hi), key->src.lo);

	return weigh(weigh(value, key->dst.hi), key->dst.lo);
}

/* Is this candidate, which has this route, better than the best so far? */
static __always_inline void consider(struct path *best, const struct key *key, __u64 seed, struct candidate *candidate,
				     __u32 at, __u32 slot)
{
	__u32 length = candidate->length, metric = candidate->metric;
	__u64 weight;

	if (candidate->kind != PATH_STATEFUL) {
		struct route *route;

		if (!slot)
			return;
		route = route_at(slot);
		if (!route || route->down)
			return;
		if (candidate->kind == PATH_PLAIN && route->length > length)
			length = route->length;
		metric += route->metric;
		if (metric < route->metric)
			metric = ~0u;
	}
	if (best->found) {
		struct candidate *other;

		if (length < best->length || (length == best->length && metric > best->metric))
			return;
		if (length == best->length && metric == best->metric) {
			if (!best->weighed) {
				other = candidate_at(best->at);
				best->weight = other ? weigh(weigh_key(seed, key), other->id) : 0;
			}
			best->weighed = 1;
			weight = weigh(weigh_key(seed, key), candidate->id);
			if (weight <= best->weight)
				return;
			*best = (struct path){ at, slot, length, metric, weight, 1, 1 };
			return;
		}
	}
	*best = (struct path){ at, slot, length, metric, 0, 1, 0 };
}

struct candidates {
	struct path *best;
	const struct key *key;
	__u64 seed;
	__u32 generation, first;
	__u64 two; /* routes of the first two */
};

static long consider_next(__u64 index, struct candidates *all)
{
	__u32 at = all->first + index, slot;
	struct candidate *candidate = candidate_at(at);
	const struct key *key = all->key;

	if (!candidate)
		return 1;
	if (index < 2)
		slot = all->two >> 32 * (index & 1);
	else
		slot = candidate_route(at, all->generation, key->family, key->dst.hi, key->dst.lo);
	consider(all->best, key, all->seed, candidate, at, slot);
	return candidate->flags & CANDIDATE_LAST;
}

/* 0 and the path, or the verdict. */
static __always_inline int find_path(const struct vpc *vpc, __u32 generation, const struct key *key, struct path *best)
{
	struct candidate *first;
	struct route *route;
	__u32 at, slot;

	at = trie_lookup(vpc->exposures[key->family & 1], key->dst.hi, key->dst.lo);
	if (!at)
		return V_NO_PEERING;
	first = candidate_at(at);
	if (!first)
		return V_INTERNAL;
	if (first->kind == PATH_HOLE)
		return V_NAT_HOLE;
	if (first->kind == PATH_SAME_VPC)
		return V_SAME_VPC;
	best->found = 0;
	best->route = 0;
	if (first->flags & CANDIDATE_LAST) {
		slot = candidate_route(at, generation, key->family, key->dst.hi, key->dst.lo);
		consider(best, key, vpc->seed, first, at, slot);
	} else {
		__u64 two = two_routes(at, generation, key->family, key->dst.hi, key->dst.lo);
		struct candidates all = { best, key, vpc->seed, generation, at, two };

		bpf_loop(MAX_CANDIDATES, consider_next, &all, 0);
	}
	if (!best->found)
		return V_NO_ROUTE;
	if (!best->route)
		return 0;
	route = route_at(best->route);
	if (!route)
		return V_INTERNAL;
	return route->local ? V_GATEWAY_ADDRESS : 0;
}

/* Of several next hops: the slot of the one for this conversation; one that is down only if all are. Verified once, on its own. */
__noinline __u32 share_hops(__u32 first, __u32 count, __u64 seed, const struct key *key)
{
	__u64 best = 0, prefix;
	__u32 chosen = first, chosen_down = 2;

	if (!key)
		return first;
	prefix = weigh(weigh_key(seed, key), key->ports);
	for (__u32 i = 0; i < MAX_HOPS && i < count; i++) {
		struct hop *hop = hop_at(first + i);
		__u64 weight;

		if (!hop)
			break;
		weight = weigh(prefix, hop->id);
		if (hop->down < chosen_down || (hop->down == chosen_down && weight > best)) {
			chosen_down = hop->down;
			best = weight;
			chosen = first + i;
		}
	}
	return chosen;
}

/* The next hop of a route for this conversation. */
static __always_inline struct hop *share(__u32 route_slot, __u64 seed, const struct key *key)
{
	struct route *route = route_at(route_slot);

	if (!route)
		return NULL;
	if (route->hops.count == 1)
		return hop_at(route->hops.first);
	return hop_at(share_hops(route->hops.first, route->hops.count, seed, key));
}
