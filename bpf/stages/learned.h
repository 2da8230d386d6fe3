/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Learned routes, up to full Internet tables. A table is a root that takes up to 24 bits of the address at once (24, for IPv4, is
 * DIR-24-8: Gupta, Lin, McKeown 1998), and below it nodes that take four each, or, where few routes are left, a bunch: these routes,
 * to be looked through. A node is one line of the cache, a bunch half a line to four. User space changes entries in place, by one
 * write each: a node or bunch is filled before an entry leads to it, and is another's only when no packet can hold it.
 */
#pragma once
#include "lib/address.h"
#include "lib/maps.h"

#define DEEPEST_NODE	31			    /* below a root of four bits */
#define FIB_KIND(entry) ((entry) >> FIB_KIND_SHIFT) /* FIB_NODE, or more: a bunch */
#define FIB_NODE	(FIB_MORE >> FIB_KIND_SHIFT)
#define FIB_NUMBER	((1u << FIB_KIND_SHIFT) - 1)

/* Pairs of routes in a bunch of so many units: a third of its entries, which processors would divide slowly. */
#define PAIRS(units)   ((units) * UNIT_ENTRIES * 43 / 128)
#define MAY_END(pairs) (((pairs) * PAIR_ENTRIES + PAIR_ENTRIES - 1) % UNIT_ENTRIES < PAIR_ENTRIES) /* of some bunch */

_Static_assert(PAIRS(BUNCH_UNITS) == BUNCH_UNITS * UNIT_ENTRIES / PAIR_ENTRIES,
	       "43 / 128 is a third, up to the largest bunch");

/* The chunk that a unit is in, whose number is below CHUNK_UNITS there. */
static __always_inline __u32 *chunk_of(__u32 number)
{
	__u32 of_chunk = number / CHUNK_UNITS, first = 0;
	void *chunk = bpf_map_lookup_elem(&chunks, &of_chunk);

	return chunk ? bpf_map_lookup_elem(chunk, &first) : NULL;
}

static __always_inline __u32 entry_at(__u32 number, __u32 place)
{
	__u32 *entries = chunk_of(number);

	return entries ? *(volatile __u32 *)&entries[(number * UNIT_ENTRIES + place) % CHUNK_ENTRIES] : 0;
}

/* Where, behind all prefixes, the slot of the route stands that is known by this bit, in 16-bit words. */
#define BIT_PLACE(bit) (2 * ((bit) % 32) + (bit) / 32)

/* The upper six bits of the product with this number differ for each bit of a word (Leiserson, Prokop, Randall 1998). */
#define BIT_NUMBERS 0x03f79d71b4cb0a89ull
#define EIGHT(a, b, c, d, e, f, g, h) \
	BIT_PLACE(a), BIT_PLACE(b), BIT_PLACE(c), BIT_PLACE(d), BIT_PLACE(e), BIT_PLACE(f), BIT_PLACE(g), BIT_PLACE(h)

static const __u8 bit_places[64] = {
	EIGHT(0, 1, 48, 2, 57, 49, 28, 3),     EIGHT(61, 58, 50, 42, 38, 29, 17, 4),
	EIGHT(62, 55, 59, 36, 53, 51, 43, 22), EIGHT(45, 39, 33, 30, 24, 18, 12, 5),
	EIGHT(63, 47, 56, 27, 60, 41, 37, 16), EIGHT(54, 35, 52, 21, 44, 32, 23, 11),
	EIGHT(46, 26, 40, 15, 34, 20, 31, 10), EIGHT(25, 14, 19, 9, 13, 8, 7, 6),
};

/* How far a look-up has come: to a bunch, or to the end. */
struct lead {
	__u32 entry;
	__u32 rest;	 /* 32 bits of the address */
	__u32 otherwise; /* the default route */
};

static __always_inline struct lead learned_lead(__u64 fib, __u64 hi, __u64 lo)
{
	__u32 root = (__u32)fib, bits = root >> FIB_BITS_SHIFT, entry = 0;

	if (root) {
		__u64 top = hi >> (64 - bits);

		entry = entry_at((root & ((1u << FIB_BITS_SHIFT) - 1)) + top / UNIT_ENTRIES, top % UNIT_ENTRIES);
		hi = hi << bits | lo >> (64 - bits);
		lo <<= bits;
		for (int i = 0; i < DEEPEST_NODE && FIB_KIND(entry) == FIB_NODE; i++) {
			entry = entry_at(entry & FIB_NUMBER, hi >> 60);
			hi = hi << 4 | lo >> 60;
			lo <<= 4;
		}
	}
	return (struct lead){ entry, hi >> 32, fib >> 32 };
}

/* A bunch that is looked through. */
struct bunch {
	__u32 *entries; /* of its chunk; NULL: there is none */
	__u32 first;	/* unit in there */
	__u32 pairs;
	__u64 twice; /* the address, in each half */
	__u64 none;  /* by route: it does not fit, or is behind the last */
};

static __always_inline struct bunch bunch_of(const struct lead *lead)
{
	__u32 number = lead->entry & FIB_NUMBER, first = number % CHUNK_UNITS;
	__u32 pairs = PAIRS(FIB_KIND(lead->entry) - FIB_NODE);
	__u64 twice = (lead->rest >> 1 & 0x7ffffffe) * 0x100000001ull;

	if (first > CHUNK_UNITS - BUNCH_UNITS) /* none begins later in a chunk */
		return (struct bunch){};
	return (struct bunch){ chunk_of(number), first, pairs, twice, (__u32)(~0u << pairs) };
}

/* Two routes at once: in each half of a word, bit 31 of `differ` stays if the address differs from the prefix before it ends. */
static __always_inline void look_at(struct bunch *bunch, __u32 pair)
{
	__u64 prefixes = ((volatile __u64 *)&bunch->entries[bunch->first * UNIT_ENTRIES])[pair];
	__u64 differ = (prefixes ^ bunch->twice) - (prefixes ^ (prefixes - 0x100000001ull));

	bunch->none |= (differ & 0x8000000080000000ull) >> (31 - pair);
}

/* The slot of the first route that fits; the prefix of the last fits all. */
static __always_inline __u32 slot_in(const struct bunch *bunch)
{
	__u64 fits = ~bunch->none & (bunch->none + 1);
	__u32 place = 2 * (bunch->first * UNIT_ENTRIES + 2 * bunch->pairs) + bit_places[fits * BIT_NUMBERS >> 58];
	__u32 slot = ((volatile __u16 *)bunch->entries)[place % (2 * CHUNK_ENTRIES)];

	return slot ? slot + route_capacity - 1 : 0;
}

/*
 * Look through the bunch that a look-up has come to; or through those of two, side by side. All routes are looked at, without a
 * branch on which it is: nobody guesses that, and cache misses overlap.
 */
static __always_inline void look_through(struct lead *one, struct lead *other)
{
	struct bunch a = bunch_of(one), b = other ? bunch_of(other) : a;
	__u32 pairs = a.pairs > b.pairs ? a.pairs : b.pairs;

	one->entry = 0;
	if (other)
		other->entry = 0;
	if (!a.entries || !b.entries) /* never, but the verifier can't know */
		return;
#pragma clang loop unroll(full)
	for (__u32 i = 0; i < PAIRS(BUNCH_UNITS); i++) {
		if (MAY_END(i) && i >= pairs)
			break;
		look_at(&a, i);
		if (other)
			look_at(&b, i);
	}
	one->entry = slot_in(&a);
	if (other)
		other->entry = slot_in(&b);
}

/* The slot of the learned route with the longest prefix that holds the address, 0 if there is none. */
static __always_inline __u32 learned_slot(struct lead *lead)
{
	if (lead->entry & FIB_MORE)
		look_through(lead, NULL);
	return lead->entry ?: lead->otherwise;
}

/* A learned route, if its prefix is longer than that of a VPC's own (0: there is none), else the own one. */
static __always_inline __u32 longer(__u32 learned_slot, __u32 own)
{
	struct route *mine, *learned;

	if (!own || !learned_slot)
		return learned_slot ?: own;
	mine = route_at(own);
	learned = route_at(learned_slot);
	return mine && learned && learned->length > mine->length ? learned_slot : own;
}
