/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One source for two hooks: everything that differs between XDP and TC. `hook` is a constant at every
 * call, so what does not apply is gone after inlining.
 */
#pragma once
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

enum hook { XDP, TC };

#define ETH_LEN 14

static __always_inline void *packet_start(void *ctx, const enum hook hook)
{
	if (hook == XDP)
		return (void *)(long)((struct xdp_md *)ctx)->data;
	return (void *)(long)((struct __sk_buff *)ctx)->data;
}

static __always_inline void *packet_end(void *ctx, const enum hook hook)
{
	if (hook == XDP)
		return (void *)(long)((struct xdp_md *)ctx)->data_end;
	return (void *)(long)((struct __sk_buff *)ctx)->data_end;
}

/* Bytes of the whole frame, also of what is not in the first buffer. */
static __always_inline __u32 packet_length(void *ctx, const enum hook hook)
{
	if (hook == XDP)
		return bpf_xdp_get_buff_len(ctx);
	return ((struct __sk_buff *)ctx)->len;
}

static __always_inline __u32 packet_ifindex(void *ctx, const enum hook hook)
{
	if (hook == XDP)
		return ((struct xdp_md *)ctx)->ingress_ifindex;
	return ((struct __sk_buff *)ctx)->ingress_ifindex;
}

/* Bytes of payload in each segment that this packet will become, 0 where it is one already. */
static __always_inline __u32 packet_segment(void *ctx, const enum hook hook)
{
	if (hook == XDP)
		return 0;
	return ((struct __sk_buff *)ctx)->gso_size;
}

/* Has the kernel taken a VLAN tag out of the frame, to carry it beside? */
static __always_inline bool packet_tag_beside(void *ctx, const enum hook hook)
{
	return hook == TC && ((struct __sk_buff *)ctx)->vlan_present;
}

/* Bytes of the frame as far as they are known without a call. */
static __always_inline __u32 packet_known_length(void *ctx, const enum hook hook)
{
	if (hook == XDP)
		return packet_end(ctx, hook) - packet_start(ctx, hook);
	return packet_length(ctx, hook);
}

/* True if the frame goes on behind what was readable; on TC up to `length` bytes of it are readable then. */
static __always_inline bool packet_pull(void *ctx, const enum hook hook, __u32 length)
{
	struct __sk_buff *skb = ctx;

	if (packet_end(ctx, hook) - packet_start(ctx, hook) >= packet_length(ctx, hook))
		return false;
	return hook == XDP || bpf_skb_pull_data(skb, skb->len < length ? skb->len : length) == 0;
}

/*
 * Make room for `bytes` in front of the frame. To the kernel they belong to a longer MAC header: where the IP packet starts and what
 * it is stays as it was, so segments and checksums that are still to be made come out right.
 */
static __always_inline int packet_push(void *ctx, const enum hook hook, __u32 bytes)
{
	return hook == XDP ? bpf_xdp_adjust_head(ctx, -(int)bytes) : bpf_skb_change_head(ctx, bytes, 0);
}

/* Insert `room` bytes behind the Ethernet header after cutting the frame to `length` bytes. */
static __always_inline int packet_reshape(void *ctx, const enum hook hook, __u32 length, __u32 room)
{
	struct __sk_buff *skb = ctx;

	if (hook == XDP) {
		if (bpf_xdp_adjust_tail(ctx, (int)length - (int)packet_length(ctx, hook)))
			return -1;
		return bpf_xdp_adjust_head(ctx, -(int)room);
	}
	if (bpf_skb_change_tail(skb, length, 0) || bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, 0))
		return -1;
	return bpf_skb_pull_data(skb, skb->len);
}

struct sk_buff {
	__u8 ip_summed : 2;
} __attribute__((preserve_access_index));

extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym;

#define CHECKSUM_PARTIAL 3

/* Is the transport checksum still to be filled in when the packet leaves, by hardware or the kernel? */
static __always_inline bool checksum_pending(struct __sk_buff *skb)
{
	struct sk_buff *kernel = bpf_cast_to_kern_ctx(skb);

	return BPF_CORE_READ_BITFIELD(kernel, ip_summed) == CHECKSUM_PARTIAL;
}
