/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How packets end. Every packet passes `finish` exactly once; nothing else may drop, pass or send. */
#pragma once
#include "lib/context.h"
#include "lib/maps.h"

static __always_inline void count(__u32 verdict)
{
	__u64 *counter = bpf_map_lookup_elem(&counters, &verdict);

	if (counter)
		++*counter;
}

static __always_inline void record_end(__u32 verdict, __u32 ifindex, __u32 peering, __u32 answered)
{
	if (!recording)
		return;
	struct trace_record *trace = trace_record_at(0);

	if (trace)
		*trace = (struct trace_record){ verdict, ifindex, peering, answered };
}

/* A packet that ends here: passed to the host, or dropped. */
static __always_inline int finish(const enum hook hook, __u32 verdict, __u32 peering)
{
	count(verdict);
	record_end(verdict, 0, peering, 0);
	if (verdict == V_PASSED)
		return hook == XDP ? (int)XDP_PASS : TC_ACT_OK;
	return hook == XDP ? (int)XDP_DROP : TC_ACT_SHOT;
}

/* A packet that leaves on a port: forwarded, or handed to the gateway's own kernel and back. */
static __always_inline int leave(const enum hook hook, __u32 verdict, __u32 port, __u32 ifindex, __u32 peering)
{
	int action;

	if (!ifindex)
		return finish(hook, V_NO_ATTACHMENT, peering);
	if (hook == XDP) {
		action = bpf_redirect_map(&ports, port, XDP_DROP);
		if (action != XDP_REDIRECT)
			return finish(hook, V_PORT_DOWN, peering);
	} else {
		action = bpf_redirect(ifindex, 0);
	}
	count(verdict);
	record_end(verdict, ifindex, peering, 0);
	return action;
}

/*
 * A dropped packet whose place in the buffer the gateway's ICMP answer has taken: back where it came from. By redirection and
 * not by XDP_TX, which a veth holds back until its peer wakes up for another reason, unless that has an XDP program.
 */
static __always_inline int answered(const enum hook hook, __u32 verdict, __u32 port, __u32 ifindex, __u32 peering)
{
	count(verdict);
	record_end(verdict, ifindex, peering, 1);
	return hook == XDP ? (int)bpf_redirect_map(&ports, port, XDP_DROP) : (int)bpf_redirect(ifindex, 0);
}
