/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Learned routes, up to full Internet tables. A table is a root that takes one to three bytes of the address at once (three, for
 * IPv4, is DIR-24-8: Gupta, Lin, McKeown 1998), and below it blocks that take one each, or, where few routes are left, a bunch:
 * these routes, to be looked through. User space changes entries in place, by one write each: a block or bunch is filled before an
 * entry leads to it, and is another's only when no packet can hold it.
 */
#pragma once
#include "lib/address.h"
#include "lib/maps.h"

#define DEEPEST_BLOCK 16

_Static_assert(sizeof(struct block) == BLOCK_ENTRIES * sizeof(__u32), "bunches fill a block");

static __always_inline struct block *block_at(__u32 number)
{
	__u32 of_chunk = number / CHUNK_BLOCKS, in_chunk = number % CHUNK_BLOCKS;
	void *chunk = bpf_map_lookup_elem(&chunks, &of_chunk);

	return chunk ? bpf_map_lookup_elem(chunk, &in_chunk) : NULL;
}

static __always_inline __u32 entry_at(__u32 number, __u32 byte)
{
	struct block *block = block_at(number);

	return block ? *(volatile __u32 *)&block->entries[byte & (BLOCK_ENTRIES - 1)] : 0;
}

/* Of the first prefix that fits. All are looked at, without a branch: which one it is nobody guesses, and cache misses overlap. */
static __always_inline __u32 bunch_entry(__u32 number, __u32 address)
{
	struct block *block = block_at(number / BLOCK_BUNCHES);
	__u32 found = BUNCH_ROUTES;
	struct bunch *bunch;

	if (!block)
		return 0;
	bunch = &block->bunches[number % BLOCK_BUNCHES];
#pragma clang loop unroll(full)
	for (int i = BUNCH_ROUTES - 1; i >= 0; i--) {
		__u64 differs = (address ^ bunch->prefixes[i]) >> (bunch->shifts[i] & 31);

		found += (__u32)((__s64)(differs - 1) >> 63) & (i - found);
		barrier(); /* or all are read first, into a stack that is short */
	}
	return found <= BUNCH_ROUTES ? *(volatile __u32 *)&bunch->values[found] : 0;
}

/* The slot of the learned route with the longest prefix that holds the address, 0 if there is none. */
static __always_inline __u32 learned_route(__u64 fib, __u64 hi, __u64 lo)
{
	__u32 root = (__u32)fib, bytes = (root >> FIB_BYTES_SHIFT) + 1, entry = 0;

	if (root) {
		__u64 top = hi >> (64 - 8 * bytes);

		entry = entry_at((root & ((1u << FIB_BYTES_SHIFT) - 1)) + (top >> 8), top);
		hi = hi << (8 * bytes) | lo >> (64 - 8 * bytes);
		lo <<= 8 * bytes;
		for (int i = 1; i < DEEPEST_BLOCK && (entry & (FIB_BLOCK | FIB_BUNCH)) == FIB_BLOCK; i++) {
			entry = entry_at(entry & ~FIB_BLOCK, hi >> 56);
			hi = hi << 8 | lo >> 56;
			lo <<= 8;
		}
		if (entry & FIB_BLOCK)
			entry = bunch_entry(entry & (FIB_BUNCH - 1), hi >> 32);
	}
	return entry ?: fib >> 32;
}

/* A learned route, if its prefix is longer than that of a VPC's own (0: there is none), else the own one. */
static __always_inline __u32 longer(__u64 fib, __u64 hi, __u64 lo, __u32 own)
{
	__u32 slot = learned_route(fib, hi, lo);
	struct route *mine, *learned;

	if (!own || !slot)
		return slot ?: own;
	mine = route_at(own);
	learned = route_at(slot);
	return mine && learned && learned->length > mine->length ? slot : own;
}

/* The same for every packet: verified once. */
__noinline __u32 longer_route(__u64 fib, __u64 hi, __u64 lo, __u32 own)
{
	return longer(fib, hi, lo, own);
}
