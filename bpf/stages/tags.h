/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * parse and classify of frames with a tag: VLAN, QinQ, MPLS (RFC 3032), VXLAN (RFC 7348). Port and tag say whose they are; then the
 * tag is taken off, and the rest is parsed as if it had come so. Nothing is taken off what is nobody's.
 */
#pragma once
#include "lib/checksum.h"
#include "stages/classify.h"
#include "stages/frame.h"
#include "stages/vxlan.h"

#define TAG_BYTES     4 /* of a VLAN tag, and of an MPLS label */
#define VLAN_ID	      0xfff
#define LABEL_BOTTOM  0x100
#define LABEL_NOBODYS ~0u
#define READABLE      128 /* more than all tags and what is looked at behind them */

/* TC: `count` tags, one of them perhaps beside the frame. */
static __always_inline int pop_vlans(struct __sk_buff *skb, __u32 count)
{
	if (bpf_skb_vlan_pop(skb))
		return -1;
	return count > 1 ? bpf_skb_vlan_pop(skb) : 0;
}

/* XDP: take `bytes` out behind the MAC addresses. */
static __always_inline int cut_out(struct xdp_md *ctx, __u32 bytes)
{
	__u8 macs[2 * ETH_ALEN];
	void *start = packet_start(ctx, XDP);

	if (start + sizeof(macs) > packet_end(ctx, XDP))
		return -1;
	__builtin_memcpy(macs, start, sizeof(macs));
	if (bpf_xdp_adjust_head(ctx, bytes))
		return -1;
	start = packet_start(ctx, XDP);
	if (start + sizeof(macs) > packet_end(ctx, XDP))
		return -1;
	__builtin_memcpy(start, macs, sizeof(macs));
	return 0;
}

static __always_inline int identify_vlan(void *ctx, const enum hook hook, struct packet *packet)
{
	struct classify_key key = class_key(ctx, hook, packet, TAG_VLAN);
	void *start = packet_start(ctx, hook), *end = packet_end(ctx, hook);
	bool beside = packet_tag_beside(ctx, hook);
	__be16 *type = start + 2 * ETH_ALEN; /* and behind it what it announces */
	int verdict, failed;

	if (beside) {
		key.outer = ((struct __sk_buff *)ctx)->vlan_tci & VLAN_ID;
	} else {
		if ((void *)(type + 3) > end)
			return V_MALFORMED;
		key.outer = bpf_ntohs(type[1]) & VLAN_ID;
		type += 2;
	}
	if ((void *)(type + 1) > end)
		return V_MALFORMED;
	if (*type == bpf_htons(ETH_P_8021AD))
		key.outer = 0; /* no kind of tag, and so nobody's: as VLAN 0 */
	if (*type == bpf_htons(ETH_P_8021Q)) {
		if ((void *)(type + 3) > end)
			return V_MALFORMED;
		key.kind = TAG_QINQ;
		key.inner = bpf_ntohs(type[1]) & VLAN_ID;
	}
	failed = key.kind == TAG_QINQ;
	verdict = take_class(packet, &key);
	if (verdict)
		return verdict;
	failed = hook == XDP ? cut_out(ctx, TAG_BYTES << failed) : pop_vlans(ctx, 1 + failed);
	return failed ? V_INTERNAL : 0;
}

/*
 * TC: `size` bytes of labels, in place of which stands an IP packet then. The kernel takes off only what it knows: so two tags are put
 * before the labels, for it to see a frame with tags, and the labels become tags too.
 */
static __always_inline int pop_labels(struct __sk_buff *skb, __u32 size, __be16 type)
{
	__be16 tags[] = { bpf_htons(ETH_P_8021Q), 0, bpf_htons(ETH_P_8021Q), 0, type };
	__u32 at = ETH_LEN + TAG_BYTES - sizeof(type);

	if (bpf_skb_vlan_push(skb, tags[0], 0) || bpf_skb_vlan_push(skb, tags[0], 0))
		return -1;
	if (size == TAG_BYTES ? bpf_skb_store_bytes(skb, at, tags + 2, 6, BPF_F_RECOMPUTE_CSUM)
			      : bpf_skb_store_bytes(skb, at, tags, 10, BPF_F_RECOMPUTE_CSUM))
		return -1;
	for (int i = 0; i < 4; i++)
		if (i < 2 + (int)size / TAG_BYTES && bpf_skb_vlan_pop(skb))
			return -1;
	return 0;
}

/* RFC 3443 uniform: the label's TTL goes on in the IP packet. */
static __always_inline void take_ttl(void *start, void *end, bool six, __u8 ttl)
{
	struct ipv6hdr *v6 = start + ETH_LEN;
	struct iphdr *v4 = start + ETH_LEN;
	__u16 old;

	if (!six && (void *)(v4 + 1) <= end) {
		old = *(__u16 *)&v4->ttl;
		v4->ttl = ttl;
		v4->check = csum_updated(v4->check, csum_change16(old, *(__u16 *)&v4->ttl), false);
	} else if (six && (void *)(v6 + 1) <= end) {
		v6->hop_limit = ttl;
	}
}

static __always_inline int identify_mpls(void *ctx, const enum hook hook, struct packet *packet)
{
	struct classify_key key = class_key(ctx, hook, packet, TAG_MPLS);
	void *start = packet_start(ctx, hook), *end = packet_end(ctx, hook);
	__be32 *label = start + ETH_LEN;
	__u32 entry, size = TAG_BYTES;
	struct attachment *in;
	struct ethhdr *eth;
	__be16 type;
	int verdict;
	bool six;

	if ((void *)(label + 1) > end)
		return V_MALFORMED;
	entry = bpf_ntohl(*label++);
	if ((entry >> 12 == 0 || entry >> 12 == 2) && !(entry & LABEL_BOTTOM)) { /* explicit null */
		if ((void *)(label + 1) > end)
			return V_MALFORMED;
		entry = bpf_ntohl(*label++);
		size += TAG_BYTES;
	}
	key.outer = entry & LABEL_BOTTOM ? entry >> 12 : LABEL_NOBODYS;
	verdict = take_class(packet, &key);
	if (verdict)
		return verdict;
	if ((void *)label + 1 > end)
		return V_MALFORMED;
	six = *(__u8 *)label >> 4 == 6;
	if (!six && *(__u8 *)label >> 4 != 4)
		return V_MALFORMED;
	in = attachment_at(packet->class.attachment);
	type = six ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	if (!in || (hook == XDP ? cut_out(ctx, size) : pop_labels(ctx, size, type)))
		return V_INTERNAL;
	eth = start = packet_start(ctx, hook);
	end = packet_end(ctx, hook);
	if ((void *)(eth + 1) > end)
		return V_INTERNAL;
	eth->h_proto = type;
	if (in->flags & ATTACHMENT_UNIFORM)
		take_ttl(start, end, six, entry);
	return 0;
}

/* Whose frame it is that the port alone does not tell. 0: packet->class, and the frame is parsed, without a tag; or a verdict. */
static __always_inline int identify(void *ctx, const enum hook hook, struct packet *packet)
{
	struct classify_key key = class_key(ctx, hook, packet, TAG_UNTAGGED);
	struct classified *found;
	struct ethhdr *eth;
	int verdict;

	if (hook == TC && packet_end(ctx, hook) - packet_start(ctx, hook) < READABLE)
		packet_pull(ctx, hook, READABLE);
	eth = packet_start(ctx, hook);
	if ((void *)(eth + 1) > packet_end(ctx, hook))
		return V_MALFORMED;
	if (packet->frame == FRAME_TAGGED) {
		verdict = packet_tag_beside(ctx, hook) || is_vlan(eth->h_proto) ? identify_vlan(ctx, hook, packet)
										: identify_mpls(ctx, hook, packet);
		return verdict ?: parse(ctx, hook, packet);
	}
	found = of_port(ctx, hook, packet) ?: bpf_map_lookup_elem(&classes, &key);
	if (!found)
		return take_owner(ctx, hook, packet) ? 0 : take_class(packet, &key);
	packet->class = *found;
	if (found->role != ROLE_VTEP)
		return 0;
	verdict = identify_vxlan(ctx, hook, packet);
	return verdict ?: parse(ctx, hook, packet);
}

__noinline int identify_xdp(struct xdp_md *ctx, struct packet *packet)
{
	return packet ? identify(ctx, XDP, packet) : V_INTERNAL;
}

__noinline int identify_tc(struct __sk_buff *ctx, struct packet *packet)
{
	return packet ? identify(ctx, TC, packet) : V_INTERNAL;
}
