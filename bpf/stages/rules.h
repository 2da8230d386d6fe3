/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* source and rules: what may enter the gateway from this side. */
#pragma once
#include "lib/address.h"
#include "lib/maps.h"
#include "stages/parse.h"

#define RANGE_STEPS 24
#define MAX_RULES 65536

/* What a rule is asked about: private source, destination as dialled, and the protocol. */
struct subject {
	struct addr src, dst;
	__u32 family;
	__u16 sport, dport;
	__u8 proto, flags;
	__u16 pad;
};

/* The slot + 1 of the range that holds the address, 0 if there is none: binary search. Verified once, on its own. */
__noinline __u32 range_find(__u32 first, __u32 count, __u64 hi, __u64 lo)
{
	for (int i = 0; i < RANGE_STEPS && count; i++) {
		__u32 half = count / 2, middle = first + half;
		struct range *range = range_at(middle);

		if (!range)
			return 0;
		if (hi < range->first.hi || (hi == range->first.hi && lo < range->first.lo)) {
			count = half;
		} else if (hi < range->last.hi || (hi == range->last.hi && lo <= range->last.lo)) {
			return middle + 1;
		} else {
			first = middle + 1;
			count -= half + 1;
		}
	}
	return 0;
}

static __always_inline struct range *find_range(const struct span *span, const struct addr *address)
{
	__u32 found = range_find(span->first, span->count, address->hi, address->lo);

	return found ? range_at(found - 1) : NULL;
}

struct judging {
	const struct subject *subject;
	__u32 first;
	int verdict;
};

static long judge_rule(__u64 index, struct judging *judging)
{
	const struct subject *s = judging->subject;
	struct rule *rule = rule_at(judging->first + index);
	__u32 proto;

	if (!rule) {
		judging->verdict = V_INTERNAL;
		return 1;
	}
	proto = rule->proto == RULE_PROTO_ICMP && s->family == IPV6 ? IPPROTO_ICMPV6 : rule->proto;
	if (proto != RULE_PROTO_ANY && proto != s->proto)
		return 0;
	if (!(rule->flags & RULE_ANY_SRC) && !find_range(&rule->src[s->family & 1], &s->src))
		return 0;
	if (!(rule->flags & RULE_ANY_DST) && !find_range(&rule->dst[s->family & 1], &s->dst))
		return 0;
	if (rule->flags & RULE_NEEDS_PORTS) {
		if (s->flags & LATER) {
			judging->verdict = V_FRAGMENT_NO_STATE;
			return 1;
		}
		if (s->sport < rule->sport_first || s->sport > rule->sport_last || s->dport < rule->dport_first ||
		    s->dport > rule->dport_last)
			return 0;
	}
	judging->verdict = rule->flags & RULE_STATELESS ? V_FORWARDED : V_NOT_CARRIED;
	return 1;
}

/* The first rule that matches decides; without one: not allowed. Verified once, on its own. */
__noinline int judge_rules(__u32 first, __u32 count, const struct subject *subject)
{
	struct judging judging = { subject, first, V_NOT_ALLOWED };

	if (!subject)
		return V_INTERNAL;
	bpf_loop(count, judge_rule, &judging, 0);
	return judging.verdict;
}
