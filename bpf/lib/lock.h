/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Locks by hash, one held at a time, never over a packet's end. Programs run with softirqs off, so who holds one is on another CPU
 * and goes on; should its virtual CPU sleep, waiting ends after a while. bpf_spin_lock would not let us look anything up.
 */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

#define LOCKS	   1024 /* a power of two */
#define PATIENCE   (1 << 20)
#define LINE_BYTES 64

struct lock {
	__u32 held;
	__u8 pad[LINE_BYTES - 4];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct lock);
	__uint(max_entries, LOCKS);
} locks SEC(".maps");

static __always_inline struct lock *lock_for(__u64 hash)
{
	__u32 which = hash & (LOCKS - 1);

	return bpf_map_lookup_elem(&locks, &which);
}

struct waiting {
	struct lock *lock;
	bool held;
};

static long try_lock(__u64 turn, struct waiting *waiting)
{
	(void)turn;
	waiting->held = __sync_val_compare_and_swap(&waiting->lock->held, 0, 1) == 0;
	return waiting->held;
}

static __always_inline bool acquire(struct lock *lock)
{
	struct waiting waiting = { lock, false };

	if (__sync_val_compare_and_swap(&lock->held, 0, 1) == 0)
		return true;
	bpf_loop(PATIENCE, try_lock, &waiting, 0);
	return waiting.held;
}

static __always_inline void release(struct lock *lock)
{
	__sync_lock_test_and_set(&lock->held, 0);
}
