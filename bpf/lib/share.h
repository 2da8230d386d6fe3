/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Rendezvous hashing, the same as src/isthmus/tables/share.py. */
#pragma once
#include <linux/types.h>

static __always_inline __u64 weigh(__u64 value, __u64 word)
{
	value = (value ^ word) * 0xff51afd7ed558ccdull;
	return value ^ value >> 32;
}
