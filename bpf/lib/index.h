/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From keys to records of `flows`. A bucket is a cache line of 8 slots: the upper half of the key's hash, and a reference to the record.
 * A key lies in one of two buckets of the same page, so a look-up costs one page and mostly one line, and then the
 * record's. Slots change by compare-and-swap; a lock for each hash keeps a key from being entered twice. A key is that of a
 * live record only: what is over may still be in the index, and matches nothing.
 */
#pragma once
#include "lib/address.h"
#include "lib/lock.h"
#include "lib/maps.h"
#include "lib/share.h"

#define BUCKET_SLOTS 8
#define FIRST_ALONE \
	4 /* the first bucket is taken while it holds fewer: then 14 % of look-ups go on to the second, not 30 */
#define NO_ROOM 0x7fffffffu /* no reference: beyond FLOW_RECORD */

struct bucket {
	__u64 slots[BUCKET_SLOTS];
};

TABLE(buckets, bucket, 1)

#define DEADLINE 0xffffffffull
#define TCP_BITS (0xffull << 32)
#define PHASE	 (0xffull << 40)
#define VERSION	 (0xffffull << 48)

static __always_inline __u32 phase_of(__u64 life)
{
	return (life & PHASE & ~((__u64)PHASE_BUSY << 40)) >> 40;
}

static __always_inline __u64 life_of(const struct flow *record)
{
	return *(volatile const __u64 *)&record->life;
}

static __always_inline __u64 in_phase(__u64 life, __u32 phase)
{
	return (life & ~PHASE) | (__u64)phase << 40;
}

static __always_inline __u32 now(void)
{
	struct control *control = control_at(0);

	return control ? *(volatile __u32 *)&control->now : 0;
}

/* Does it match packets? A flow only until its time has come. */
static __always_inline bool is_alive(const struct flow *record, __u64 life)
{
	return phase_of(life) == PHASE_LIVE && (record->kind != RECORD_FLOW || (__s32)((__u32)life - now()) > 0);
}

/* Does it have this key? A mapping that is over owns its public port as long as a flow uses it. */
static __always_inline bool is_held(const struct flow *record, __u64 life, __u32 which)
{
	return is_alive(record, life) || (which && record->kind == RECORD_MAPPING && phase_of(life) == PHASE_OVER);
}

static __always_inline __u32 kind_of_flow(__u8 proto, __u8 family, enum record_kind kind)
{
	return proto | family << 8 | kind << 16;
}

static __always_inline __u64 hash_of(const struct flow_key *key, __u32 what)
{
	__u64 a = weigh(weigh(weigh(secret, (__u64)key->vpc << 32 | what), key->src.hi), key->src.lo);
	__u64 b = weigh(weigh(~secret, key->dst.hi), key->dst.lo);

	a = weigh(weigh(a, b), (__u32)key->sport << 16 | key->dport) * 0xc4ceb9fe1a85ec53ull;
	return a ^ a >> 33; /* or ports one after another would fill buckets unevenly */
}

static __always_inline bool same_key(const struct flow_key *a, const struct flow_key *b)
{
	return addr_equal(a->src, b->src) && addr_equal(a->dst, b->dst) && a->sport == b->sport &&
	       a->dport == b->dport && a->vpc == b->vpc;
}

/* Flows and mappings have buckets of their own: what packets look at lies close together. */
static __always_inline struct bucket *first_bucket(__u64 hash, __u32 what)
{
	return bucket_at(((__u32)hash & bucket_mask) + (what >> 16 ? bucket_mask + 1 : 0));
}

static __always_inline struct bucket *second_bucket(__u64 hash, __u32 what)
{
	return first_bucket(hash ^ (1 + (hash >> 40 & 62)), what);
}

/* The reference of the live record in this bucket that has the key, 0 if none has. */
static __always_inline __u32 find_in(const struct bucket *bucket, __u64 hash, const struct flow_key *key, __u32 what)
{
	for (int i = 0; i < BUCKET_SLOTS; i++) {
		__u64 slot = *(volatile const __u64 *)&bucket->slots[i];
		struct flow *record;

		if (slot >> 32 != hash >> 32)
			continue;
		record = flow_at(slot & FLOW_RECORD);
		if (record && is_held(record, life_of(record), slot >> 31 & 1) &&
		    kind_of_flow(record->proto, record->family, record->kind) == what &&
		    same_key(&record->keys[slot >> 31 & 1], key))
			return slot;
	}
	return 0;
}

static __always_inline __u32 find_key(const struct flow_key *key, __u32 what)
{
	__u64 hash = hash_of(key, what);
	struct bucket *bucket = first_bucket(hash, what);
	__u32 found;

	if (!bucket)
		return 0;
	found = find_in(bucket, hash, key, what);
	if (found)
		return found;
	bucket = second_bucket(hash, what);
	return bucket ? find_in(bucket, hash, key, what) : 0;
}

/* Free slots; without a branch each, which the verifier would follow both ways. */
static __always_inline __u64 room_in(const struct bucket *bucket)
{
	__u64 room = 0;

	for (int i = 0; i < BUCKET_SLOTS; i++) {
		__u64 slot = *(volatile const __u64 *)&bucket->slots[i];

		asm volatile("" : "+r"(slot));
		room += ((slot - 1) & ~slot) >> 63;
	}
	return room;
}

static __always_inline bool put_in(struct bucket *bucket, __u64 slot)
{
	for (int i = 0; i < BUCKET_SLOTS; i++)
		if (!*(volatile __u64 *)&bucket->slots[i] && !__sync_val_compare_and_swap(&bucket->slots[i], 0, slot))
			return true;
	return false;
}

/* Enter one key of a record. 0; or the reference of the live record that has it already; or NO_ROOM. */
__noinline __u32 enter_key(__u32 number, __u32 which)
{
	struct flow *record = flow_at(number & FLOW_RECORD);
	struct bucket *first, *second;
	struct flow_key *key;
	struct lock *lock;
	__u32 what, found;
	__u64 hash, slot;

	if (!record)
		return NO_ROOM;
	which &= 1;
	key = &record->keys[which];
	what = kind_of_flow(record->proto, record->family, record->kind);
	hash = hash_of(key, what);
	slot = hash >> 32 << 32 | which << 31 | (number & FLOW_RECORD);
	first = first_bucket(hash, what);
	second = second_bucket(hash, what);
	lock = lock_for(hash);
	if (!first || !second || !lock || !acquire(lock))
		return NO_ROOM;
	found = find_in(first, hash, key, what);
	if (!found)
		found = find_in(second, hash, key, what);
	if (!found) {
		bool other = room_in(first) <= BUCKET_SLOTS - FIRST_ALONE && room_in(second) > room_in(first);

		if (!put_in(other ? second : first, slot) && !put_in(other ? first : second, slot))
			found = NO_ROOM;
	}
	release(lock);
	return found;
}

static __always_inline void take_from(struct bucket *bucket, __u64 slot)
{
	for (int i = 0; i < BUCKET_SLOTS; i++)
		if (*(volatile __u64 *)&bucket->slots[i] == slot)
			__sync_val_compare_and_swap(&bucket->slots[i], slot, 0);
}

/* Take one key of a record out, if it is in. */
__noinline int leave_key(__u32 number, __u32 which)
{
	struct flow *record = flow_at(number & FLOW_RECORD);
	struct bucket *first, *second;
	__u64 hash, slot;
	__u32 what;

	if (!record)
		return 0;
	which &= 1;
	what = kind_of_flow(record->proto, record->family, record->kind);
	hash = hash_of(&record->keys[which], what);
	slot = hash >> 32 << 32 | which << 31 | (number & FLOW_RECORD);
	first = first_bucket(hash, what);
	second = second_bucket(hash, what);
	if (first)
		take_from(first, slot);
	if (second)
		take_from(second, slot);
	return 0;
}

/* Records of flows come first, then those of mappings, as many. */
static __always_inline bool is_of_mapping(__u32 number)
{
	return number > flow_capacity;
}

/* A record for a new flow, or mapping, nobody else's; 0: there is none. */
static __always_inline __u32 take_record(bool mapping)
{
	struct allocation *allocation = allocation_at(mapping);
	__u32 number, taken;

	if (!(mapping ? bpf_map_pop_elem(&freed_mappings, &number) : bpf_map_pop_elem(&freed, &number)))
		return number;
	if (!allocation || *(volatile __u32 *)&allocation->taken >= flow_capacity)
		return 0;
	taken = __sync_fetch_and_add(&allocation->taken, 1);
	if (taken >= flow_capacity)
		return 0;
	return 1 + taken + (mapping ? flow_capacity : 0);
}

static __always_inline void free_record(__u32 number)
{
	if (is_of_mapping(number))
		bpf_map_push_elem(&freed_mappings, &number, 0);
	else
		bpf_map_push_elem(&freed, &number, 0);
}

/* One that never was in the index, as it was brought to life. False: a sweep has found it over already, and does the rest. */
static __always_inline bool give_back(struct flow *record, __u32 number, __u64 life)
{
	if (__sync_val_compare_and_swap(&record->life, life, in_phase(life, PHASE_FREE)) != life)
		return false;
	free_record(number);
	return true;
}

/* From now on it is found by its keys, once they are entered. Its version is another than before. BUSY keeps the sweep away. */
static __always_inline __u64 bring_to_life(struct flow *record, __u32 deadline, __u8 tcp, bool busy)
{
	__u64 version = (life_of(record) & VERSION) + (1ull << 48);
	__u64 life = version | (__u64)(busy ? PHASE_LIVE | PHASE_BUSY : PHASE_LIVE) << 40 | (__u64)tcp << 32 | deadline;

	__sync_lock_test_and_set(&record->life, life); /* after all that was written */
	return life;
}

static __always_inline void let_go(struct flow *record)
{
	__sync_fetch_and_and(&record->life, ~((__u64)PHASE_BUSY << 40));
}

/* From now on it matches nothing; the sweep takes it out. Others may be refreshing it; who has it BUSY keeps that. */
static __always_inline void end_record(struct flow *record, __u16 version)
{
	for (int i = 0; i < 8; i++) {
		__u64 life = life_of(record);

		if (phase_of(life) != PHASE_LIVE || life >> 48 != version ||
		    __sync_val_compare_and_swap(&record->life, life,
						in_phase(life, PHASE_OVER | (life >> 40 & PHASE_BUSY))) == life)
			return;
	}
}
