// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Packets for tests/measure/fib.py, what counts them where they arrive, and look-ups without packets: in the tables of
 * bpf/stages/learned.h and in the kernel's own trie, with the same prefixes.
 */
#include <bpf/bpf_endian.h>

#include "stages/learned.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define FRAME_BYTES    64
#define IPV4_ADDRESSES 26 /* where they begin in a frame: the source, which stays, and the destination */
#define IPV6_ADDRESSES 22

/* A key of the kernel's trie. */
struct lpm {
	__u32 length;
	__u8 address[16];
};

const volatile __u32 count = 1; /* of aims */

/* Written by user space before a run. */
__u64 frame_words[FRAME_BYTES / 8];
__u64 root;    /* a word of `fibs` */
__u32 version; /* of IP */
__u32 steps;
__u32 leaves_by[2]; /* ifindexes that packets leave by in turn */
__u16 sum_without; /* of the IPv4 header, but for the destination */
__u32 chained; /* each look-up waits for what the one before has found */

__u32 next; /* aim */
__u64 arrived;
__u64 sum;  /* of what look-ups found, so that they are made */
__u64 zero; /* stays 0, which the compiler does not know */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} aims SEC(".maps");

#define TRIE(trie, address_bytes)                     \
	struct {                                      \
		__uint(type, BPF_MAP_TYPE_LPM_TRIE);  \
		__uint(map_flags, BPF_F_NO_PREALLOC); \
		__uint(max_entries, 2000000);         \
		__uint(key_size, 4 + address_bytes);  \
		__uint(value_size, sizeof(__u32));    \
	} trie SEC(".maps");

TRIE(trie_4, 4)
TRIE(trie_6, 16)

/* To whom: no packet has more memory of its own than this, so that it is the tables that compete for caches. */
static __always_inline const __u64 *next_aim(void)
{
	__u32 at = next;

	next = at + 1 == count ? 0 : at + 1;
	return bpf_map_lookup_elem(&aims, &at);
}

/* The lower half of an IPv6 address with this upper one. */
static __always_inline __u64 lower_half(__u64 upper)
{
	return version == 4 ? 0 : upper * 0x9e3779b97f4a7c15ull;
}

/* Writes a frame anew, whatever its page held, and sends it. */
SEC("xdp")
int generate(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	const __u64 *aim = next_aim();
	__u64 *words = data;

	if (!aim || data + FRAME_BYTES > end)
		return XDP_ABORTED;
	for (int i = 0; i < FRAME_BYTES / 8; i++)
		words[i] = frame_words[i];
	if (version == 4) {
		__u32 total = sum_without + (__u16)(*aim >> 48) + (__u16)(*aim >> 32);

		total = (total & 0xffff) + (total >> 16);
		total = (total & 0xffff) + (total >> 16);
		*(__u16 *)(data + IPV4_ADDRESSES - 2) = bpf_htons(~total);
		*(__u32 *)(data + IPV4_ADDRESSES + 4) = bpf_htonl(*aim >> 32);
	} else {
		*(__u64 *)(data + IPV6_ADDRESSES + 16) = bpf_cpu_to_be64(*aim);
		*(__u64 *)(data + IPV6_ADDRESSES + 24) = bpf_cpu_to_be64(lower_half(*aim));
	}
	return bpf_redirect(leaves_by[next & 1], 0);
}

SEC("xdp")
int sink(struct xdp_md *ctx)
{
	if (ctx->data_end - ctx->data == FRAME_BYTES)
		arrived++;
	return XDP_DROP;
}

/* One look-up; `carry` is 0 or, if each is to wait for the one before, becomes 0 only when that has ended. */
struct run {
	__u64 carry, sum;
};

static long step_ours(__u64 step, struct run *run)
{
	const __u64 *aim = next_aim();
	struct lead lead;
	__u64 found;

	(void)step;
	if (!aim)
		return 1;
	lead = learned_lead(root, *aim ^ run->carry, lower_half(*aim));
	found = learned_slot(&lead);
	run->sum += found;
	run->carry = chained ? found & zero : 0;
	return 0;
}

static long step_trie(__u64 step, struct run *run)
{
	const __u64 *aim = next_aim();
	__u32 *value;
	struct lpm key;

	(void)step;
	if (!aim)
		return 1;
	*(__u64 *)key.address = bpf_cpu_to_be64(*aim ^ run->carry);
	*(__u64 *)(key.address + 8) = bpf_cpu_to_be64(lower_half(*aim));
	key.length = version == 4 ? 32 : 128;
	value = version == 4 ? bpf_map_lookup_elem(&trie_4, &key) : bpf_map_lookup_elem(&trie_6, &key);
	run->sum += value ? *value : 0;
	run->carry = chained && value ? *value & zero : 0;
	return 0;
}

static long step_none(__u64 step, struct run *run)
{
	const __u64 *aim = next_aim();

	(void)step;
	if (!aim)
		return 1;
	run->sum += *aim;
	return 0;
}

#define LOOK_UPS(which)                                    \
	SEC("xdp") int look_up_##which(struct xdp_md *ctx) \
	{                                                  \
		struct run run = { 0, 0 };                 \
                                                           \
		(void)ctx;                                 \
		bpf_loop(steps, step_##which, &run, 0);    \
		sum += run.sum;                            \
		return XDP_PASS;                           \
	}

LOOK_UPS(ours)
LOOK_UPS(trie)
LOOK_UPS(none)
