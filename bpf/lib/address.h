/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Left-aligned 128-bit addresses: IPv4 in the top 32 bits of `hi`. See src/isthmus/tables/address.py. */
#pragma once
#include <stdbool.h>
#include <bpf/bpf_endian.h>

#include "generated/tables.h"

enum family { IPV4, IPV6 };

#define DUMMY_SOURCE 0xc0000008 /* 192.0.0.8, of a gateway without an IPv4 address: RFC 7600 */

static __always_inline struct addr addr_sum(struct addr a, struct addr b)
{
	struct addr sum = { .hi = a.hi + b.hi, .lo = a.lo + b.lo };

	sum.hi += sum.lo < a.lo;
	return sum;
}

static __always_inline bool addr_equal(struct addr a, struct addr b)
{
	return a.hi == b.hi && a.lo == b.lo;
}

/* fe80::/10 */
static __always_inline bool is_link_local6(struct addr a)
{
	return a.hi >> 54 == 0x3fa;
}

/* Addresses that never cross the gateway; docs/packet-path.md, "martian". */
static __always_inline bool is_martian(enum family family, struct addr a)
{
	__u32 top = a.hi >> 56;

	if (family == IPV4)
		return top == 0 || top == 127 || top >= 224 || a.hi >> 48 == 0xa9fe;
	if (a.hi == 0) /* ::, ::1, ::ffff:0:0/96 */
		return a.lo <= 1 || a.lo >> 32 == 0xffff;
	return top == 0xff || is_link_local6(a);
}
