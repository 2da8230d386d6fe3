/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The way in of VXLAN (RFC 7348): from the VTEP's interface into the segment. */
#pragma once
#include "lib/checksum.h"
#include "stages/classify.h"
#include "stages/parse.h"

#define VXLAN_PORT  4789
#define VXLAN_FLAGS 0x08 /* I: there is a VNI */
#define ECN_MASK    3
#define ECN_ECT1    1
#define ECN_ECT0    2
#define ECN_CE	    3

/* Of enum bpf_adj_room_flags, since 6.3: <linux/bpf.h> here may be older. */
#define ADJ_ROOM_DECAP_L3_IPV4 (1ull << 7)
#define ADJ_ROOM_DECAP_L3_IPV6 (1ull << 8)

struct vxlan {
	__u8 flags, reserved[3];
	__be32 vni; /* << 8 */
};

/* Is the parsed packet VXLAN for this VTEP? */
static __always_inline bool is_vxlan(const struct ip *ip, const struct attachment *own)
{
	__u32 header = ip->family == IPV4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);

	return ip->proto == IPPROTO_UDP && ip->flags & PORTS && !(ip->flags & FRAGMENT) && ip->dport == VXLAN_PORT &&
	       ip->l4 - ip->l3 == header && own->vtep_version == (ip->family == IPV4 ? 4 : 6) &&
	       addr_equal(ip->dst, own->vtep);
}

static __always_inline __u8 traffic_class(const __u8 *header, bool six)
{
	return six ? header[0] << 4 | header[1] >> 4 : header[1];
}

/* RFC 6040 4.2: congestion that the tunnel met is told inside; 0 or V_MALFORMED. */
static __always_inline int take_ecn(void *start, void *end, __u8 outer)
{
	struct ethhdr *eth = start;
	__u8 *header = start + ETH_LEN, inner, ecn;
	bool six = eth->h_proto == bpf_htons(ETH_P_IPV6);
	struct iphdr *v4 = (void *)header;
	__u16 old;

	if ((!six && eth->h_proto != bpf_htons(ETH_P_IP)) || (void *)(v4 + 1) > end)
		return 0;
	inner = ecn = traffic_class(header, six) & ECN_MASK;
	if (outer == ECN_CE) {
		if (!inner)
			return V_MALFORMED;
		ecn = ECN_CE;
	}
	if (outer == ECN_ECT1 && inner == ECN_ECT0)
		ecn = ECN_ECT1;
	if (ecn == inner)
		return 0;
	if (six) {
		header[1] = (header[1] & ~(ECN_MASK << 4)) | ecn << 4;
		return 0;
	}
	old = *(__u16 *)v4;
	v4->tos = (v4->tos & ~ECN_MASK) | ecn;
	v4->check = csum_updated(v4->check, csum_change16(old, *(__u16 *)v4), false);
	return 0;
}

/* Take off everything up to the inner frame, `size` bytes; nonzero where that is no whole frame. */
static __always_inline int decapsulate(void *ctx, const enum hook hook, __u32 size)
{
	void *start = packet_start(ctx, hook);
	struct ethhdr *eth, inner;
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;

	if (hook == XDP)
		return bpf_xdp_adjust_head(ctx, size);
	eth = start + size;
	if ((void *)(eth + 1) > packet_end(ctx, hook))
		return -1;
	inner = *eth;
	flags |= inner.h_proto == bpf_htons(ETH_P_IPV6) ? ADJ_ROOM_DECAP_L3_IPV6 : ADJ_ROOM_DECAP_L3_IPV4;
	if (bpf_skb_adjust_room(ctx, -(int)size, BPF_ADJ_ROOM_MAC, flags))
		return -1;
	eth = packet_start(ctx, hook);
	if ((void *)(eth + 1) > packet_end(ctx, hook))
		return -1;
	*eth = inner;
	return 0;
}

/* A packet on the VTEP's interface, whose class is packet->class. 0: that of the segment, and the inner frame; or a verdict. */
static __always_inline int identify_vxlan(void *ctx, const enum hook hook, struct packet *packet)
{
	struct classify_key key = class_key(ctx, hook, packet, TAG_VXLAN);
	struct attachment *own = attachment_at(packet->class.attachment);
	void *start = packet_start(ctx, hook), *end = packet_end(ctx, hook);
	const struct ip *ip = &packet->ip;
	__u32 header = ip->family == IPV4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	__u32 size = ETH_LEN + header + sizeof(struct udphdr) + sizeof(struct vxlan);
	struct vxlan *vxlan = start + size - sizeof(*vxlan);
	struct ethhdr *eth = start;
	struct classified *found;
	__u8 outer;

	if (!own)
		return V_INTERNAL;
	if (packet->frame != FRAME_IP || !is_vxlan(ip, own))
		return V_PASSED;
	if (ip->left < sizeof(struct udphdr) + sizeof(*vxlan) || (void *)(vxlan + 1) > end ||
	    !(vxlan->flags & VXLAN_FLAGS))
		return V_MALFORMED;
	key.outer = bpf_ntohl(vxlan->vni) >> 8;
	found = bpf_map_lookup_elem(&classes, &key);
	if (!found)
		return V_UNKNOWN_TAG;
	packet->class = *found;
	packet->tunnel.vtep = ip->src;
	packet->tunnel.version = own->vtep_version;
	packet->tunnel.next_hop = 0;
	packet->tunnel.pieces = 0;
	__builtin_memcpy(packet->tunnel.mac, eth->h_source, ETH_ALEN);
	packet->tunnel.port = own->port;
	outer = traffic_class(start + ETH_LEN, ip->family == IPV6) & ECN_MASK;
	if (decapsulate(ctx, hook, size))
		return V_MALFORMED;
	start = packet_start(ctx, hook);
	end = packet_end(ctx, hook);
	if (start + ETH_LEN > end)
		return V_MALFORMED;
	return take_ecn(start, end, outer);
}
