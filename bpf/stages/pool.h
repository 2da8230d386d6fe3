/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The addresses and ports of a stateful side: is one among them, and which is the k-th. */
#pragma once
#include "lib/address.h"
#include "lib/maps.h"
#include "stages/parse.h"
#include "stages/rules.h"

/* Are its conversations told apart by ports, or echo identifiers? */
static __always_inline bool is_ported(__u8 proto, __u8 family)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || is_icmp(proto, family);
}

/* Was it made for one destination where the side does so, and for all where it does not? */
static __always_inline bool mapping_is_of_mode(const struct mapping *mapping, const struct side *side)
{
	return !mapping->per_destination == !(side->flags & SIDE_PER_DESTINATION);
}

__noinline int pool_holds_port(__u32 side_slot, __u16 port)
{
	struct side *side = side_at(side_slot);
	__u32 first, count;

	if (!side)
		return 0;
	first = side->ports.first;
	count = side->ports.count;
	for (int i = 0; i < RANGE_STEPS && count; i++) {
		__u32 half = count / 2;
		struct port_range *range = port_range_at(first + half);

		if (!range)
			return 0;
		if (port < range->first) {
			count = half;
		} else if (port <= range->last) {
			return 1;
		} else {
			first += half + 1;
			count -= half + 1;
		}
	}
	return 0;
}

static __always_inline bool pool_holds(const struct side *side, __u32 family, const struct addr *address)
{
	return holds(&side->pool[family & 1], address);
}

/* Of the k-th port; k is below the number of ports. */
__noinline __u32 pool_port(__u32 side_slot, __u32 k)
{
	struct side *side = side_at(side_slot);
	struct port_range *range;
	__u32 first, count;

	if (!side)
		return 0;
	first = side->ports.first;
	count = side->ports.count;
	for (int i = 0; i < RANGE_STEPS && count; i++) {
		__u32 half = count / 2;

		range = port_range_at(first + half);
		if (!range)
			return 0;
		if (k < range->before) {
			count = half;
		} else {
			first += half + 1;
			count -= half + 1;
		}
	}
	range = port_range_at(first - 1);
	return range ? range->first + (k - range->before) : 0;
}

/* The k-th address of a family becomes the public one of a mapping; k is below the number of addresses. */
__noinline int pool_address(__u32 side_slot, __u32 mapping, __u64 k)
{
	struct flow *record = flow_at(mapping & FLOW_RECORD);
	struct side *side = side_at(side_slot);
	__u32 first, count, family;
	struct range *range;

	if (!side || !record)
		return 0;
	family = record->family & 1;
	first = side->pool[family].first;
	count = side->pool[family].count;
	for (int i = 0; i < RANGE_STEPS && count; i++) {
		__u32 half = count / 2;

		range = range_at(first + half);
		if (!range)
			return 0;
		if (k < range->delta.lo) {
			count = half;
		} else {
			first += half + 1;
			count -= half + 1;
		}
	}
	range = range_at(first - 1);
	if (!range)
		return 0;
	k -= range->delta.lo;
	record->keys[1].src =
		addr_sum(range->first, family == IPV4 ? (struct addr){ .hi = k << 32 } : (struct addr){ .lo = k });
	return 0;
}
