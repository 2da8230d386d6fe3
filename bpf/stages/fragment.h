/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * mtu: an IPv4 packet without DF that is too big leaves in pieces (RFC 791 3.2), on TC, which can send more than one packet.
 * The payload is put aside; the packet is then cut, filled and cloned out, piece after piece.
 */
#pragma once
#include "lib/checksum.h"
#include "lib/context.h"
#include "stages/encapsulate.h"
#include "stages/parse.h"

#define MAX_PIECES 64
#define ASIDE	   0x10000 /* more than an IPv4 packet holds; twice, so that offset and size may be bounded apart */

struct payload {
	__u8 bytes[2 * ASIDE];
};

/* One slot a CPU; set at load. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct payload);
	__uint(max_entries, 1);
} payloads SEC(".maps");

/* Say to the verifier what the compiler knows already: 1 to 65,535. */
static __always_inline bool sized(__u32 *size)
{
	asm volatile("" : "+r"(*size));
	return *size > 0 && *size <= 0xffff;
}

struct pieces {
	struct __sk_buff *skb;
	struct payload *payload;
	__u32 header, size, done, room, ifindex;
	__u32 l3, tunnel;   /* where the packet starts in the frame; bytes of VXLAN around it */
	__u16 offset, rest; /* of the packet itself: fragment offset; flags but for MF and offset */
	__u8 more, failed, six;
};

/* Options without the copied flag become NOPs in later pieces, as Linux does; header checksum mended. */
static __always_inline __u64 clear_options(__u8 *options, void *end, __u32 size)
{
	__u32 skip = 0;
	bool clear = false;
	__u64 changes = 0;

	for (__u32 at = 0; at < 40; at++) {
		__u8 *option = options + at;
		__u16 old, new;

		if (at >= size || (void *)(option + 2) > end)
			break;
		if (!skip) {
			if (*option == 0)
				break;
			clear = !(*option & 0x80);
			skip = *option == 1 ? 1 : option[1];
			if (skip == 0 || skip > size - at)
				break;
		}
		skip--;
		if (!clear || *option == 1)
			continue;
		old = at & 1 ? (__u16)*option << 8 : *option;
		*option = 1;
		new = at & 1 ? 1 << 8 : 1;
		changes += csum_change16(old, new);
	}
	return changes;
}

static long send_piece(__u64 index, struct pieces *p)
{
	__u32 left = p->size - p->done, size = left <= p->room ? left : p->room & ~7u;
	bool last = size == left;
	__u16 offset = p->offset + p->done / 8, fragment;
	void *start, *end;
	struct iphdr *ip;
	__u64 changes = 0;

	p->failed = 1;
	if (bpf_skb_change_tail(p->skb, p->l3 + p->header + size, 0))
		return 1;
	if (!sized(&size) ||
	    bpf_skb_store_bytes(p->skb, p->l3 + p->header, p->payload->bytes + (p->done & 0xffff), size, 0))
		return 1;
	if (bpf_skb_pull_data(p->skb, p->l3 + p->header))
		return 1;
	start = packet_start(p->skb, TC);
	end = packet_end(p->skb, TC);
	ip = start + (p->l3 & 0xff);
	if ((void *)(ip + 1) > end)
		return 1;
	if (p->tunnel && set_outer_length(start, end, p->six, ETH_LEN + p->header + size))
		return 1;
	fragment = bpf_htons(p->rest | offset | (!last || p->more ? 0x2000 : 0));
	changes += csum_change16(ip->tot_len, bpf_htons(p->header + size)) + csum_change16(ip->frag_off, fragment);
	ip->tot_len = bpf_htons(p->header + size);
	ip->frag_off = fragment;
	if (index == 1)
		changes += clear_options((void *)(ip + 1), end, p->header - sizeof(*ip));
	ip->check = csum_updated(ip->check, changes, false);
	p->failed = 0;
	p->done += size;
	if (last)
		return 1;
	p->failed = bpf_clone_redirect(p->skb, p->ifindex, 0) < 0;
	return p->failed;
}

/* All pieces but the last are on their way, the last is in the buffer; nonzero where it can't be cut. */
static __noinline int cut(struct __sk_buff *skb, const struct packet *packet, const struct attachment *out,
			  __u32 ifindex)
{
	const struct ip *ip = &packet->ip;
	__u32 slot = bpf_get_smp_processor_id(), header = ip->l4 - ip->l3, size = ip->length - header;
	struct pieces p = { .skb = skb, .header = header, .size = size, .ifindex = ifindex };
	void *start = packet_start(skb, TC), *end = packet_end(skb, TC);
	struct iphdr *v4;

	p.l3 = ip->l3 + tag_bytes(out);
	p.tunnel = out->kind == TAG_VXLAN;
	p.six = out->vtep_version == 6;
	v4 = start + (p.l3 & 0xff);

	p.payload = bpf_map_lookup_elem(&payloads, &slot);
	if (!p.payload || (void *)(v4 + 1) > end)
		return -1;
	p.offset = ip->offset;
	p.rest = bpf_ntohs(v4->frag_off) & 0xc000;
	p.more = (v4->frag_off & bpf_htons(0x2000)) != 0;
	p.room = out->mtu - header;
	if (!sized(&size) || bpf_skb_load_bytes(skb, p.l3 + header, p.payload->bytes, size))
		return -1;
	bpf_loop(MAX_PIECES, send_piece, &p, 0);
	return p.failed || p.done < size;
}

/* May it leave in pieces? Else it is too big. */
static __always_inline bool can_cut(void *ctx, const enum hook hook, const struct ip *ip, __u32 mtu)
{
	__u32 header = ip->l4 - ip->l3, size = ip->length - header, room = mtu - header, whole;

	if (hook == XDP || ip->family != IPV4 || ip->flags & DONT_FRAGMENT || packet_segment(ctx, hook) ||
	    mtu < header + 8)
		return false;
	whole = (size - room + (room & ~7u) - 1) / (room & ~7u); /* pieces before the last */
	return whole < MAX_PIECES && ip->offset + whole * (room / 8) < 0x2000 && !checksum_pending(ctx);
}
