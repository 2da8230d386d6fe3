/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* source and rules: what may enter the gateway from this side. */
#pragma once
#include "lib/address.h"
#include "lib/maps.h"
#include "lib/packet.h"
#include "stages/parse.h"

#define RANGE_STEPS 24
#define FIRST_RULES 8	/* judged without a call each */
#define NEEDS_FLOW  101 /* no verdict: it passes if it follows a flow, or opens one */

/* The range that holds the address: binary search. */
static __always_inline struct range *find_range(const struct span *span, const struct addr *address)
{
	__u32 first = span->first, count = span->count;
	__u64 hi = address->hi, lo = address->lo;

	for (int i = 0; i < RANGE_STEPS && count; i++) {
		__u32 half = count / 2, middle = first + half;
		struct range *range = range_at(middle);

		if (!range)
			return NULL;
		if (hi < range->first.hi || (hi == range->first.hi && lo < range->first.lo)) {
			count = half;
		} else if (hi < range->last.hi || (hi == range->last.hi && lo <= range->last.lo)) {
			return range;
		} else {
			first = middle + 1;
			count -= half + 1;
		}
	}
	return NULL;
}

/* The same, verified once, on its own. */
__noinline __u32 range_holds(__u32 first, __u32 count, __u64 hi, __u64 lo)
{
	struct span span = { first, count };
	struct addr address = { hi, lo };

	return find_range(&span, &address) != NULL;
}

static __always_inline bool holds(const struct span *span, const struct addr *address)
{
	return range_holds(span->first, span->count, address->hi, address->lo);
}

struct judging {
	const struct subject *subject;
	__u32 first;
	int verdict;
};

static __always_inline long judge_rule(__u64 index, struct judging *judging)
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
	if (!(rule->flags & RULE_ANY_SRC) && !holds(&rule->src[s->family & 1], &s->src))
		return 0;
	if (!(rule->flags & RULE_ANY_DST) && !holds(&rule->dst[s->family & 1], &s->dst))
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
	judging->verdict = rule->flags & RULE_STATELESS ? V_FORWARDED : NEEDS_FLOW;
	return 1;
}

static long judge_later_rule(__u64 index, struct judging *judging)
{
	return judge_rule(FIRST_RULES + index, judging);
}

static __always_inline __u32 rule_class(const struct subject *subject)
{
	if (subject->proto == IPPROTO_TCP)
		return CLASS_TCP;
	if (subject->proto == IPPROTO_UDP)
		return CLASS_UDP;
	return subject->flags & ICMP ? CLASS_ICMP : CLASS_OTHER;
}

/* Which of a side's many rules can match at all: those of the last cut that starts at or before the subject. */
static __always_inline struct span rules_for(const struct side *side, const struct subject *subject)
{
	struct rule_index *index;
	struct addr at = {};
	struct span found = {};
	__u32 first, count;

	if (!side->index || subject->flags & LATER)
		return side->rules;
	index = rule_index_at(side->index + (subject->family & 1) * CLASS_COUNT + rule_class(subject));
	if (!index)
		return found;
	switch (index->dimension) {
	case BY_SPORT:
		at.lo = subject->sport;
		break;
	case BY_DPORT:
		at.lo = subject->dport;
		break;
	case BY_SRC:
		at = subject->src;
		break;
	default:
		at = subject->dst;
	}
	first = index->cuts.first;
	count = index->cuts.count;
	for (int i = 0; i < RANGE_STEPS && count; i++) {
		__u32 half = count / 2;
		struct cut *cut = cut_at(first + half);

		if (!cut)
			break;
		if (at.hi < cut->first.hi || (at.hi == cut->first.hi && at.lo < cut->first.lo)) {
			count = half;
		} else {
			found = cut->rules;
			first += half + 1;
			count -= half + 1;
		}
	}
	return found;
}

/* The first rule that matches decides; without one: not allowed. */
static __always_inline int judge_rules(const struct side *side, const struct subject *subject)
{
	struct span span = rules_for(side, subject), *rules = &span;
	struct judging judging = { subject, rules->first, V_NOT_ALLOWED };
	__u32 count = rules->count;

	for (__u32 i = 0; i < FIRST_RULES && i < count; i++)
		if (judge_rule(i, &judging))
			return judging.verdict;
	if (count > FIRST_RULES)
		bpf_loop(count - FIRST_RULES, judge_later_rule, &judging, 0);
	return judging.verdict;
}

/* source, rules and translate of a packet that is no ICMP error. NEEDS_FLOW: it may open one. */
static __always_inline int judge(struct packet *packet, const struct candidate *candidate, const struct side *here)
{
	struct ip *ip = &packet->ip;
	struct range *range = find_range(&here->ranges[ip->family & 1], &ip->src);
	int verdict = 0;

	if (!range)
		return V_SOURCE_NOT_EXPOSED;
	if (here->flags & SIDE_HAS_RULES && !packet->allowed) {
		packet->subject =
			(struct subject){ ip->src, ip->dst, ip->family, ip->sport, ip->dport, ip->flags, ip->proto, 0 };
		verdict = judge_rules(here, &packet->subject);
		if (verdict && verdict != NEEDS_FLOW)
			return verdict;
	} else if (here->flags & SIDE_OPENS && (ip->flags & STARTS || packet->reopens)) {
		verdict = NEEDS_FLOW;
	}
	if (here->nat == NAT_STATEFUL)
		verdict = NEEDS_FLOW;
	if (verdict && !(ip->flags & STARTS) && !packet->reopens)
		return ip->flags & NEEDS_FIRST ? V_FRAGMENT_NO_STATE : V_NO_FLOW;
	packet->dst = addr_sum(ip->dst, candidate->delta);
	if (is_martian(ip->family, packet->dst))
		return V_MARTIAN;
	if (here->nat != NAT_STATEFUL) {
		packet->src = addr_sum(ip->src, range->delta);
		if (is_martian(ip->family, packet->src))
			return V_MARTIAN;
	}
	return verdict;
}
