/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Incremental checksums, RFC 1624 equation 3: HC' = ~(~HC + sum(~m + m')). Sums are of words as they lie in memory. */
#pragma once
#include <linux/types.h>
#include <stdbool.h>

static __always_inline __u32 csum_half(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (sum & 0xffffffff) + (sum >> 32);
}

static __always_inline __u16 csum_fold(__u64 sum)
{
	__u32 half = csum_half(sum);

	half = (half & 0xffff) + (half >> 16);
	half = (half & 0xffff) + (half >> 16);
	return half;
}

/* What changing a word of 16 or 32 bits adds to the sum of changes. */
static __always_inline __u64 csum_change32(__u32 old, __u32 new)
{
	return (__u64)(__u32)~old + new;
}

static __always_inline __u64 csum_change16(__u16 old, __u16 new)
{
	return (__u64)(__u16)~old + new;
}

static __always_inline __u64 csum_change64(__u64 old, __u64 new)
{
	return csum_change32(old, new) + csum_change32(old >> 32, new >> 32);
}

/* The checksum after `changes`; UDP writes a computed 0 as 0xffff (RFC 768). */
static __always_inline __u16 csum_updated(__u16 csum, __u64 changes, bool udp)
{
	__u16 updated = ~csum_fold((__u16)~csum + (__u64)csum_half(changes));

	return udp && !updated ? 0xffff : updated;
}
