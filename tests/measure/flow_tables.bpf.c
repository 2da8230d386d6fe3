// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What does it cost to find a flow? Candidates for key -> record, side by side (tests/measure/flow_tables.py).
 *
 * A flow is one record of two cache lines, one for each direction. A reference is its index and, in bit 0, the
 * direction; each direction's key leads to one. Each look-up draws a flow at random, finds it by key, compares the
 * key in the record and reads state from both lines. `draw_*` and `record_*` are what that costs without a table.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "lib/share.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define BUCKET_SLOTS	8
#define PAGE_BUCKETS	64   /* of 64 bytes in a page of 4096 */
#define LOCKS		4096 /* a power of two */
#define LOCK_TRIES	1024
#define ROOMY		4 /* `filled`: a first bucket with fewer entries takes a new one, however empty the second is */
#define TIMER_NS	2000000
#define CLOCK_MONOTONIC 1

struct flow_key {
	union {
		struct {
			__u64 source[2];
			__u64 destination[2];
			__be16 source_port, destination_port;
			__u32 vpc;
			__u8 protocol, family, kind, pad[5];
		};
		__u64 words[6];
	};
};

struct direction {
	struct flow_key key;
	__u64 state[2];
};

struct flow {
	struct direction directions[2];
};

struct bucket {
	__u64 entries[BUCKET_SLOTS]; /* upper half of the hash, reference; 0 is free */
};

struct lock {
	__u32 taken;
	__u32 pad[15];
};

_Static_assert(sizeof(struct flow_key) == 48, "a key is six words");
_Static_assert(sizeof(struct flow) == 128, "a flow is two cache lines");

enum candidate { HASHED, ALLOCATED, LRU, EMPTIER, FILLED, WRITTEN, CANDIDATES };

const volatile __u64 hash_key = 0x9e3779b97f4a7c15ull;
const volatile __u32 bucket_mask; /* buckets of one table, less one */

/* Written by user space before a run. */
__u32 flows;   /* to draw from */
__u32 steps;   /* in this run */
__u32 chained; /* each step waits for what the step before has read */
__u64 seed;
__u64 zero; /* stays 0, which the compiler does not know */

/* Written by the run. */
__u64 sum;
__u64 failures;			     /* look-ups that found nothing, insertions that were refused */
__u64 seconds;			     /* entries found in a second bucket */
__u32 next[CANDIDATES * 16] = { 0 }; /* flows inserted, a cache line each */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow);
} records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, LOCKS);
	__type(key, __u32);
	__type(value, struct lock);
} locks SEC(".maps");

#define KERNEL_TABLE(table, kind, flags)      \
	struct {                              \
		__uint(type, kind);           \
		__uint(map_flags, flags);     \
		__uint(max_entries, 1);       \
		__type(key, struct flow_key); \
		__type(value, __u32);         \
	} table SEC(".maps");

#define BUCKET_TABLE(table)                        \
	struct {                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);  \
		__uint(map_flags, BPF_F_MMAPABLE); \
		__uint(max_entries, PAGE_BUCKETS); \
		__type(key, __u32);                \
		__type(value, struct bucket);      \
	} table SEC(".maps");

KERNEL_TABLE(hashed, BPF_MAP_TYPE_HASH, 0)
KERNEL_TABLE(allocated, BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC)
KERNEL_TABLE(lru, BPF_MAP_TYPE_LRU_HASH, 0)
BUCKET_TABLE(emptier)
BUCKET_TABLE(filled)

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1);
	__type(value, __u32);
} queue SEC(".maps");

struct beat {
	struct bpf_timer timer;
	__u64 count;
	__s64 refusal; /* of the first call that failed */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct beat);
} beats SEC(".maps");

/* What a run keeps between steps. */
struct run {
	__u64 state;
	__u64 sum;
	__u64 failures;
	__u64 seconds;
	__u32 flows;
	__u32 chained;
};

/* The key of one direction of flow `index`: many clients, 16 ports each, of few servers. */
static __always_inline void make_key(struct flow_key *key, __u32 index, __u32 direction)
{
	__u64 client = (__u64)(0x0a000000 | index >> 4) << 32, server = (__u64)(0x0ac80000 | (index * 7 & 0xff)) << 32;
	__u16 port = 0x8000 | (index & 15);

	key->source[0] = direction ? server : client;
	key->source[1] = 0;
	key->destination[0] = direction ? client : server;
	key->destination[1] = 0;
	key->source_port = direction ? 443 : port;
	key->destination_port = direction ? port : 443;
	key->vpc = 1 + direction;
	key->words[5] = 0x000406; /* protocol, family, kind */
}

static __always_inline __u64 next_random(__u64 state)
{
	state ^= state << 13;
	state ^= state >> 7;
	return state ^ state << 17;
}

/* The index of a flow at random, and the key of one of its directions; returns the reference. */
static __always_inline __u32 draw(struct run *run, struct flow_key *key)
{
	__u32 index, direction;

	run->state = next_random(run->state);
	index = (run->state >> 32) * run->flows >> 32;
	direction = run->state & 1;
	make_key(key, index, direction);
	return index << 1 | direction;
}

static __always_inline void consume(struct run *run, __u64 value)
{
	if (run->chained)
		run->state ^= value;
	run->sum += value;
}

static __always_inline __u64 fold(const struct flow_key *key)
{
	return key->words[0] ^ key->words[1] ^ key->words[2] ^ key->words[3] ^ key->words[4] ^ key->words[5];
}

static __always_inline bool same(const struct flow_key *one, const struct flow_key *other)
{
	return !((one->words[0] ^ other->words[0]) | (one->words[1] ^ other->words[1]) |
		 (one->words[2] ^ other->words[2]) | (one->words[3] ^ other->words[3]) |
		 (one->words[4] ^ other->words[4]) | (one->words[5] ^ other->words[5]));
}

/* The flow that a reference means, if it has this key. */
static __always_inline struct flow *recall(__u32 reference, const struct flow_key *key)
{
	__u32 index = reference >> 1;
	struct flow *flow = bpf_map_lookup_elem(&records, &index);

	return flow && same(&flow->directions[reference & 1].key, key) ? flow : NULL;
}

static __always_inline struct flow *find_in_kernel(void *table, const struct flow_key *key)
{
	__u32 *reference = bpf_map_lookup_elem(table, key);

	return reference ? recall(*reference, key) : NULL;
}

struct place {
	__u32 tag, first, second;
};

static __always_inline struct place place_of(const struct flow_key *key)
{
	__u64 hash = hash_key;
	struct place place;

	for (int i = 0; i < 6; i++)
		hash = weigh(hash, key->words[i]);
	place.tag = hash >> 32;
	place.first = hash & bucket_mask;
	place.second = place.first ^ (1 + (hash >> 26 & (PAGE_BUCKETS - 2))); /* in the same page */
	return place;
}

static __always_inline struct flow *find_in_bucket(void *table, __u32 index, __u32 tag, const struct flow_key *key)
{
	struct bucket *bucket = bpf_map_lookup_elem(table, &index);

	if (!bucket)
		return NULL;
	for (int i = 0; i < BUCKET_SLOTS; i++) {
		__u64 entry = bucket->entries[i];

		if (entry >> 32 == tag) {
			struct flow *flow = recall(entry, key);

			if (flow)
				return flow;
		}
	}
	return NULL;
}

static __always_inline struct flow *find_in_buckets(void *table, const struct flow_key *key, struct run *run)
{
	struct place place = place_of(key);
	struct flow *flow = find_in_bucket(table, place.first, place.tag, key);

	if (!flow) {
		run->seconds++;
		flow = find_in_bucket(table, place.second, place.tag, key);
	}
	return flow;
}

/* As find_in_bucket, with no branch that depends on where the entry is. The sum of matching entries is right unless
 * two tags are alike, which the key then tells. */
static __always_inline struct flow *pick_in_bucket(void *table, __u32 index, __u32 tag, const struct flow_key *key)
{
	struct bucket *bucket = bpf_map_lookup_elem(table, &index);
	__u64 found = 0;

	if (!bucket)
		return NULL;
	for (int i = 0; i < BUCKET_SLOTS; i++) {
		__u64 entry = bucket->entries[i], differs = entry >> 32 ^ tag;

		found |= entry & (__u64)((__s64)(differs - 1) >> 63);
	}
	return found ? recall(found, key) : NULL;
}

static __always_inline struct flow *pick_in_buckets(void *table, const struct flow_key *key, struct run *run)
{
	struct place place = place_of(key);
	struct flow *flow = pick_in_bucket(table, place.first, place.tag, key);

	if (!flow) {
		run->seconds++;
		flow = pick_in_bucket(table, place.second, place.tag, key);
	}
	if (!flow)
		flow = find_in_bucket(table, place.first, place.tag, key);
	if (!flow)
		flow = find_in_bucket(table, place.second, place.tag, key);
	return flow;
}

static __always_inline int settle(struct run *run, struct flow *flow)
{
	if (!flow) {
		run->failures++;
		return 0;
	}
	consume(run, flow->directions[0].state[0] | flow->directions[1].state[0]);
	return 0;
}

static long draw_only_step(__u32 step, struct run *run)
{
	struct flow_key key;
	__u32 reference = draw(run, &key);

	(void)step;
	barrier_var(reference);
	consume(run, (fold(&key) ^ reference) & zero);
	return 0;
}

static long record_step(__u32 step, struct run *run)
{
	struct flow_key key;
	__u32 reference = draw(run, &key);

	(void)step;
	return settle(run, recall(reference, &key));
}

static long requeue_step(__u32 step, struct run *run)
{
	__u32 value = 0;

	(void)step;
	if (bpf_map_pop_elem(&queue, &value) || bpf_map_push_elem(&queue, &value, 0))
		run->failures++;
	return 0;
}

static long enqueue_step(__u32 step, struct run *run)
{
	if (bpf_map_push_elem(&queue, &step, 0))
		run->failures++;
	return 0;
}

static long empty_step(__u32 step, struct run *run)
{
	run->sum += step & zero;
	return 0;
}

/* Make the keys of both directions, and no more. */
static long make_step(__u32 step, struct run *run)
{
	struct flow_key there, back;

	make_key(&there, step, 0);
	make_key(&back, step, 1);
	run->sum += (fold(&there) ^ fold(&back)) & zero;
	return 0;
}

#define LOOK_UP(table, found)                                        \
	static long find_##table##_step(__u32 step, struct run *run) \
	{                                                            \
		struct flow_key key;                                 \
                                                                     \
		(void)step;                                          \
		draw(run, &key);                                     \
		return settle(run, found);                           \
	}

LOOK_UP(hashed, find_in_kernel(&hashed, &key))
LOOK_UP(allocated, find_in_kernel(&allocated, &key))
LOOK_UP(lru, find_in_kernel(&lru, &key))
LOOK_UP(emptier, find_in_buckets(&emptier, &key, run))
LOOK_UP(filled, find_in_buckets(&filled, &key, run))
LOOK_UP(picked, pick_in_buckets(&filled, &key, run))

static long try_lock(__u32 step, __u32 *stripe)
{
	struct lock *lock = bpf_map_lookup_elem(&locks, stripe);

	(void)step;
	if (lock && __sync_val_compare_and_swap(&lock->taken, 0, 1) == 0) {
		*stripe |= LOCKS; /* taken */
		return 1;
	}
	return 0;
}

static __always_inline struct lock *take_lock(__u32 stripe)
{
	struct lock *lock = bpf_map_lookup_elem(&locks, &stripe);

	if (!lock || __sync_val_compare_and_swap(&lock->taken, 0, 1) == 0)
		return lock;
	bpf_loop(LOCK_TRIES, try_lock, &stripe, 0);
	return stripe & LOCKS ? lock : NULL;
}

/* Look through a bucket: whether the key is in it; how many entries; a free slot. */
static __always_inline bool survey(struct bucket *bucket, __u32 tag, const struct flow_key *key, __u32 *used,
				   __u32 *slot)
{
	*used = 0;
	*slot = 0;
	for (int i = 0; i < BUCKET_SLOTS; i++) {
		__u64 entry = bucket->entries[i];

		if (!entry) {
			*slot = i;
			continue;
		}
		(*used)++;
		if (entry >> 32 == tag && recall(entry, key))
			return true;
	}
	return false;
}

static __always_inline bool put_locked(void *table, const struct place *place, const struct flow_key *key,
				       __u32 reference, __u32 roomy)
{
	struct bucket *first = bpf_map_lookup_elem(table, &place->first);
	struct bucket *second = bpf_map_lookup_elem(table, &place->second);
	__u32 first_used, first_slot, second_used, second_slot;
	__u64 entry = (__u64)place->tag << 32 | reference;

	if (!first || !second || survey(first, place->tag, key, &first_used, &first_slot) ||
	    survey(second, place->tag, key, &second_used, &second_slot))
		return false;
	if (first_used < roomy || first_used <= second_used)
		return first_used < BUCKET_SLOTS &&
		       __sync_val_compare_and_swap(&first->entries[first_slot & (BUCKET_SLOTS - 1)], 0, entry) == 0;
	return __sync_val_compare_and_swap(&second->entries[second_slot & (BUCKET_SLOTS - 1)], 0, entry) == 0;
}

static __always_inline bool put(void *table, const struct flow_key *key, __u32 reference, __u32 roomy)
{
	struct place place = place_of(key);
	struct lock *lock = take_lock(place.first / PAGE_BUCKETS & (LOCKS - 1));
	bool done;

	if (!lock)
		return false;
	done = put_locked(table, &place, key, reference, roomy);
	__sync_lock_test_and_set(&lock->taken, 0);
	return done;
}

/* The next flow of a table, its record written; the reference of its first direction, or -1. */
static __always_inline __s64 write_flow(enum candidate candidate, struct flow_key *there, struct flow_key *back)
{
	__u32 index = __sync_fetch_and_add(&next[candidate * 16], 1);
	struct flow *flow = bpf_map_lookup_elem(&records, &index);

	if (!flow)
		return -1;
	make_key(there, index, 0);
	make_key(back, index, 1);
	flow->directions[0].key = *there;
	flow->directions[0].state[0] = flow->directions[0].state[1] = 0;
	flow->directions[1].key = *back;
	flow->directions[1].state[0] = flow->directions[1].state[1] = 0;
	return index << 1;
}

static long write_step(__u32 step, struct run *run)
{
	struct flow_key there, back;

	(void)step;
	if (write_flow(WRITTEN, &there, &back) < 0)
		run->failures++;
	return 0;
}

static __always_inline bool put_in_kernel(void *table, const struct flow_key *key, __u32 reference)
{
	return bpf_map_update_elem(table, key, &reference, BPF_NOEXIST) == 0;
}

#define INSERT(table, candidate, put_call)                               \
	static long put_##table##_step(__u32 step, struct run *run)      \
	{                                                                \
		struct flow_key there, back;                             \
		__s64 reference = write_flow(candidate, &there, &back);  \
                                                                         \
		(void)step;                                              \
		for (int i = 0; i < 2; i++) {                            \
			const struct flow_key *key = i ? &back : &there; \
                                                                         \
			if (reference < 0 || !put_call)                  \
				run->failures++;                         \
		}                                                        \
		return 0;                                                \
	}

INSERT(hashed, HASHED, put_in_kernel(&hashed, key, reference | i))
INSERT(allocated, ALLOCATED, put_in_kernel(&allocated, key, reference | i))
INSERT(lru, LRU, put_in_kernel(&lru, key, reference | i))
INSERT(emptier, EMPTIER, put(&emptier, key, reference | i, 0))
INSERT(filled, FILLED, put(&filled, key, reference | i, ROOMY))

#define PROGRAM(name)                                                                   \
	SEC("xdp") int name(struct xdp_md *ctx)                                         \
	{                                                                               \
		struct run run = { .state = seed, .flows = flows, .chained = chained }; \
                                                                                        \
		(void)ctx;                                                              \
		bpf_loop(steps, name##_step, &run, 0);                                  \
		sum += run.sum;                                                         \
		seed = run.state;                                                       \
		failures += run.failures;                                               \
		seconds += run.seconds;                                                 \
		return XDP_PASS;                                                        \
	}

PROGRAM(empty)
PROGRAM(draw_only)
PROGRAM(record)
PROGRAM(find_hashed)
PROGRAM(find_allocated)
PROGRAM(find_lru)
PROGRAM(find_emptier)
PROGRAM(find_filled)
PROGRAM(find_picked)
PROGRAM(make)
PROGRAM(write)
PROGRAM(put_hashed)
PROGRAM(put_allocated)
PROGRAM(put_lru)
PROGRAM(put_emptier)
PROGRAM(put_filled)
PROGRAM(enqueue)
PROGRAM(requeue)

static int beat(void *map, __u32 *key, struct beat *value)
{
	(void)map;
	(void)key;
	value->count++;
	bpf_timer_start(&value->timer, TIMER_NS, 0);
	return 0;
}

SEC("syscall") int start_timer(void *ctx)
{
	__u32 slot = 0;
	struct beat *value = bpf_map_lookup_elem(&beats, &slot);
	long refusal;

	(void)ctx;
	if (!value)
		return 1;
	refusal = bpf_timer_init(&value->timer, &beats, CLOCK_MONOTONIC);
	if (!refusal)
		refusal = bpf_timer_set_callback(&value->timer, beat);
	if (!refusal)
		refusal = bpf_timer_start(&value->timer, TIMER_NS, 0);
	value->refusal = refusal;
	return refusal != 0;
}
