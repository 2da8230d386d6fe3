/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The sweep takes records out and gives them to others; packets only end them. A kernel timer goes over a part of the table every few
 * milliseconds, and keeps the clock; user space sweeps after a change, or does both. Each works with a stand-in of its own.
 */
#pragma once
#include "lib/index.h"
#include "lib/packet.h"
#include "stages/mapping.h"
#include "stages/revise.h"

#define SWEEP_NS     4000000ull
#define SWEEP_PARTS  512 /* of the table, one each time: about two seconds for all */
#define MOST_SWEPT   (1 << 20)
#define MOST_AT_ONCE 8192

/* The i-th of the records ever taken: flows, then mappings. */
struct sweep {
	struct packet *stand_in;
	__u32 first, now, generation, epoch, took;
	__u32 flows; /* ever taken */
};

static __always_inline __u32 ever_taken(bool mappings)
{
	struct allocation *allocation = allocation_at(mappings);
	__u32 taken = allocation ? *(volatile __u32 *)&allocation->taken : 0;

	return taken < flow_capacity ? taken : flow_capacity;
}

static __always_inline __u32 record_of(const struct sweep *sweep, __u32 i)
{
	i += sweep->first;
	return 1 + (i < sweep->flows ? i : flow_capacity + i - sweep->flows);
}

/* Its time has come, or it is no longer right. */
static __always_inline bool is_over(const struct sweep *sweep, struct flow *flow, __u32 number, __u64 life)
{
	if ((__s32)(sweep->now - (__u32)life) >= 0)
		return true;
	if ((__s32)(flow->epoch - sweep->epoch) >= 0)
		return false;
	return revise(sweep->stand_in, number) == REVISED_OVER;
}

/* Is a VPC gone that the number stands for? Then nothing may be left of it: the number becomes another's. */
static __always_inline bool is_gone(const struct sweep *sweep, __u32 vpc)
{
	struct vpc *found = vpc_at(sweep->generation * vpc_capacity + vpc);

	return !found || !found->seed;
}

/* Is its port held for a while? Not toward a peer that is gone. */
static __always_inline bool is_held_down(const struct sweep *sweep, const struct mapping *mapping)
{
	return mapping->held_until && (__s32)(sweep->now - mapping->held_until) < 0 &&
	       !is_gone(sweep, mapping->keys[0].vpc & 0xffff);
}

/* From now on nobody gets it: its VPC is gone, or nobody uses it and its port need not be held. */
static __always_inline bool is_unused(const struct sweep *sweep, struct mapping *mapping)
{
	if (mapping->kind == RECORD_MAPPING && is_gone(sweep, mapping->keys[0].vpc >> 16))
		return true;
	return !is_held_down(sweep, mapping) && __sync_val_compare_and_swap(&mapping->users, 0, USERS_OVER) == 0;
}

static __always_inline void take_out(struct flow *record, __u32 number)
{
	struct mapping *mapping;

	leave_key(number, 0);
	if (record->kind != RECORD_USAGE)
		leave_key(number, 1);
	if (record->kind == RECORD_MAPPING)
		drop_use(((struct mapping *)record)->usage);
	mapping = record->kind == RECORD_FLOW && record->mapping ? mapping_at(record->mapping) : NULL;
	if (!mapping)
		return;
	if (record->proto == IPPROTO_TCP)
		mapping->held_until = now() + HOLD_DOWN; /* before it can be seen to have no users */
	__sync_fetch_and_add(&mapping->users, -1);
}

/* Of several that sweep at once, one gets a record from one phase to the next. `life` is what it then has. */
static __always_inline bool claim(struct flow *record, __u64 *life, __u64 next)
{
	bool mine = __sync_val_compare_and_swap(&record->life, *life, next) == *life;

	if (mine)
		*life = next;
	return mine;
}

/* Nothing finds it any more. Packets on other CPUs may hold it still, and are long gone a tick later. */
static __always_inline bool may_be_had(const struct sweep *sweep, __u64 life)
{
	return (__s32)(sweep->now - (__u32)life) >= (__s32)quarantine;
}

static __always_inline long sweep_record(__u64 index, struct sweep *sweep)
{
	const __u64 busy = (__u64)PHASE_BUSY << 40;
	__u32 number = record_of(sweep, index);
	struct flow *record = flow_at(number);
	__u64 life;

	if (!record)
		return 0;
	life = life_of(record);
	if (life & busy)
		return 0;
	if (phase_of(life) == PHASE_LIVE) {
		if (record->kind == RECORD_FLOW ? !is_over(sweep, record, number, life)
						: !is_unused(sweep, (struct mapping *)record))
			return 0;
		if (record->kind != RECORD_FLOW)
			life = life_of(record); /* it can't be another's: nobody else may take it out */
		if (!claim(record, &life, in_phase(life, PHASE_OVER)))
			return 0; /* a packet has refreshed it */
	}
	if (record->kind != RECORD_FLOW && phase_of(life) == PHASE_OVER &&
	    (((struct mapping *)record)->users & ~USERS_OVER || is_held_down(sweep, (struct mapping *)record)))
		return 0; /* it owns its port still */
	if (phase_of(life) == PHASE_OVER && !(life & busy) && claim(record, &life, life | busy)) {
		take_out(record, number);
		claim(record, &life, (in_phase(life, PHASE_GONE) & ~DEADLINE) | now());
		sweep->took++;
	} else if (phase_of(life) == PHASE_GONE && may_be_had(sweep, life) &&
		   claim(record, &life, in_phase(life, PHASE_FREE))) {
		free_record(number);
		sweep->took++;
	}
	return 0;
}

static long sweep_one(__u64 index, struct sweep *sweep)
{
	return sweep_record(index, sweep);
}

/* How many of `count` records, from the `first` of those ever taken on, were taken out or given back. */
static __always_inline __u32 sweep_part(__u32 first, __u32 count, __u32 stand_in)
{
	struct control *control = control_at(0);
	struct sweep sweep = { .stand_in = packet_here(stand_in), .first = first, .flows = ever_taken(false) };

	if (!control || !sweep.stand_in)
		return 0;
	sweep.now = *(volatile __u32 *)&control->now;
	set_world(sweep.stand_in, control);
	sweep.generation = sweep.stand_in->generation;
	sweep.epoch = sweep.stand_in->epoch;
	bpf_loop(count < MOST_SWEPT ? count : MOST_SWEPT, sweep_one, &sweep, 0);
	return sweep.took;
}

static long end_one(__u64 index, struct sweep *sweep)
{
	struct flow *flow = flow_at(record_of(sweep, index));

	if (!flow || flow->kind != RECORD_FLOW || phase_of(life_of(flow)) != PHASE_LIVE)
		return 0;
	end_record(flow, life_of(flow) >> 48);
	sweep->took++;
	return 0;
}

/* How many flows of `count` records from `first` on were ended. */
static __always_inline __u32 end_part(__u32 first, __u32 count)
{
	struct sweep sweep = { .first = first, .flows = ever_taken(false) };

	bpf_loop(count < MOST_SWEPT ? count : MOST_SWEPT, end_one, &sweep, 0);
	return sweep.took;
}

struct clock {
	struct bpf_timer timer;
	__u32 next; /* record to sweep */
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct clock);
	__uint(max_entries, 1);
} clocks SEC(".maps");

static int tick(void *map, __u32 *key, struct clock *clock)
{
	struct control *control = control_at(0);
	__u32 used = ever_taken(false) + ever_taken(true), count = used / SWEEP_PARTS + 1;

	if (count > MOST_AT_ONCE)
		count = MOST_AT_ONCE;

	(void)map;
	(void)key;
	if (control)
		*(volatile __u32 *)&control->now = bpf_ktime_get_ns() >> TICK_SHIFT;
	if (clock->next >= used)
		clock->next = 0;
	sweep_part(clock->next, count, STAND_IN_OF_TIMER);
	clock->next += count;
	bpf_timer_start(&clock->timer, SWEEP_NS, 0);
	return 0;
}
