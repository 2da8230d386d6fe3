/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* encapsulate: the tag of the attachment that a frame leaves by, put in front of it when all else is done. */
#pragma once
#include "lib/checksum.h"
#include "lib/context.h"
#include "lib/share.h"
#include "stages/parse.h"
#include "stages/vxlan.h"

#define MOST_TAG      (sizeof(__u32) * MAX_LABELS)
#define VXLAN4_BYTES  (ETH_LEN + sizeof(struct iphdr) + sizeof(struct udphdr) + sizeof(struct vxlan))
#define VXLAN6_BYTES  (ETH_LEN + sizeof(struct ipv6hdr) + sizeof(struct udphdr) + sizeof(struct vxlan))
#define ENTROPY_FIRST 49152 /* RFC 6335: dynamic ports */
#define ENTROPY_MASK  0x3fff
#define TUNNEL_TTL    64
#define PIPE_TTL      255    /* RFC 3443 */
#define WHOLE_FRAME   0x4000 /* IPv4: don't fragment */

/* Bytes that a frame of this attachment has in front of its IP packet beside the Ethernet header. */
static __always_inline __u32 tag_bytes(const struct attachment *out)
{
	switch (out->kind) {
	case TAG_VLAN:
		return 4;
	case TAG_QINQ:
		return 8;
	case TAG_MPLS:
		return sizeof(__u32) * out->label_count;
	case TAG_VXLAN:
		return out->vtep_version == 4 ? VXLAN4_BYTES : VXLAN6_BYTES;
	}
	return 0;
}

/* Room for `bytes` behind the MAC addresses; nonzero if there is none. */
static __always_inline int make_room(void *ctx, const enum hook hook, __u32 bytes)
{
	struct macs {
		__u32 words[3];
	} *from, *to;
	void *end;

	if (packet_push(ctx, hook, bytes))
		return -1;
	to = packet_start(ctx, hook);
	from = (void *)to + (bytes & 0x1f);
	end = packet_end(ctx, hook);
	if ((void *)(to + 1) > end || (void *)(from + 1) > end)
		return -1;
	*to = (struct macs){ { from->words[0], from->words[1], from->words[2] } };
	return 0;
}

static __always_inline int push_vlan(void *ctx, const enum hook hook, const struct attachment *out)
{
	bool two = out->kind == TAG_QINQ;
	__be16 *tag;

	if (make_room(ctx, hook, tag_bytes(out)))
		return -1;
	tag = packet_start(ctx, hook) + 2 * ETH_ALEN;
	if ((void *)(tag + 2) > packet_end(ctx, hook) || (two && (void *)(tag + 4) > packet_end(ctx, hook)))
		return -1;
	tag[0] = two ? bpf_htons(out->outer_type) : bpf_htons(ETH_P_8021Q);
	tag[1] = bpf_htons(out->outer);
	if (two) {
		tag[2] = bpf_htons(ETH_P_8021Q);
		tag[3] = bpf_htons(out->inner);
	}
	return 0;
}

static __always_inline int push_labels(void *ctx, const enum hook hook, const struct attachment *out)
{
	void *start = packet_start(ctx, hook);
	struct ethhdr *eth = start;
	__u8 *header = start + ETH_LEN;
	__u32 both;
	bool six;

	if (start + ETH_LEN + sizeof(struct iphdr) > packet_end(ctx, hook))
		return -1;
	six = eth->h_proto == bpf_htons(ETH_P_IPV6);
	both = out->flags & ATTACHMENT_UNIFORM ? six ? header[7] : header[8] : PIPE_TTL;
	both |= traffic_class(header, six) >> 5 << 9;
	if (make_room(ctx, hook, tag_bytes(out)))
		return -1;
	eth = start = packet_start(ctx, hook);
	if ((void *)(eth + 1) > packet_end(ctx, hook))
		return -1;
	eth->h_proto = bpf_htons(ETH_P_MPLS_UC);
	for (__u32 i = 0; i < MAX_LABELS && i < out->label_count; i++) {
		__be32 *label = start + ETH_LEN + i * sizeof(*label);

		if ((void *)(label + 1) > packet_end(ctx, hook))
			return -1;
		*label = bpf_htonl(out->labels[i] | both);
	}
	return 0;
}

/* Flow entropy for the outer source port (RFC 7348 5), of the inner packet as it stands. */
static __always_inline __u16 entropy_port(void *start, void *end, bool six, __u64 entropy)
{
	struct iphdr *v4 = start + ETH_LEN;
	__be64 *words = start + ETH_LEN + 8;
	__u64 hash;

	if (!six)
		hash = weigh(
			weigh(weigh(weigh(0, (__u64)bpf_ntohl(v4->saddr) << 32), 0), (__u64)bpf_ntohl(v4->daddr) << 32),
			0);
	else if ((void *)(words + 4) > end)
		return ENTROPY_FIRST;
	else
		hash = weigh(weigh(weigh(weigh(0, bpf_be64_to_cpu(words[0])), bpf_be64_to_cpu(words[1])),
				   bpf_be64_to_cpu(words[2])),
			     bpf_be64_to_cpu(words[3]));
	return ENTROPY_FIRST + (weigh(hash, entropy) >> 32 & ENTROPY_MASK);
}

/* Lengths of the outer headers, which stand behind the Ethernet header, for `length` bytes in the tunnel. */
static __always_inline int set_outer_length(void *start, void *end, bool six, __u32 length)
{
	struct ipv6hdr *v6 = start + ETH_LEN;
	struct iphdr *v4 = start + ETH_LEN;
	struct udphdr *udp = six ? (void *)(v6 + 1) : (void *)(v4 + 1);

	if ((void *)(udp + 1) > end)
		return -1;
	length += sizeof(*udp) + sizeof(struct vxlan);
	udp->len = bpf_htons(length);
	if (six) {
		v6->payload_len = udp->len;
	} else {
		__be16 total = bpf_htons(length + sizeof(*v4));

		v4->check = csum_updated(v4->check, csum_change16(v4->tot_len, total), false);
		v4->tot_len = total;
	}
	return 0;
}

/* TC: the kernel has to know of the tunnel to segment and to sum what it carries, where that may be needed. */
static __always_inline int open_tunnel(struct __sk_buff *skb, bool plain, bool six, __u32 bytes)
{
	__u64 flags = six ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;

	if (plain)
		return bpf_skb_change_head(skb, bytes, 0);
	flags |= BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_ENCAP_L2(ETH_LEN) | BPF_F_ADJ_ROOM_ENCAP_L2_ETH;
	if (!bpf_skb_adjust_room(skb, bytes, BPF_ADJ_ROOM_MAC, flags | BPF_F_ADJ_ROOM_FIXED_GSO))
		return 0;
	/* It came through another's tunnel and has kept the marks: they are right again. */
	return bpf_skb_adjust_room(skb, bytes, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO);
}

static __always_inline void write_outer_addresses(void *start, bool six, struct addr from, struct addr to, __u8 tos)
{
	struct ipv6hdr *v6 = start + ETH_LEN;
	struct iphdr *v4 = start + ETH_LEN;
	__be64 *words = (void *)&v6->saddr;

	if (six) {
		*(__be32 *)v6 = bpf_htonl(6u << 28 | tos << 20);
		v6->nexthdr = IPPROTO_UDP;
		v6->hop_limit = TUNNEL_TTL;
		words[0] = bpf_cpu_to_be64(from.hi);
		words[1] = bpf_cpu_to_be64(from.lo);
		words[2] = bpf_cpu_to_be64(to.hi);
		words[3] = bpf_cpu_to_be64(to.lo);
		return;
	}
	*v4 = (struct iphdr){ .version = 4,
			      .ihl = 5,
			      .tos = tos,
			      .frag_off = bpf_htons(WHOLE_FRAME),
			      .ttl = TUNNEL_TTL,
			      .protocol = IPPROTO_UDP,
			      .saddr = bpf_htonl(from.hi >> 32),
			      .daddr = bpf_htonl(to.hi >> 32) };
	v4->check = ~csum_fold(bpf_csum_diff(0, 0, (__be32 *)v4, sizeof(*v4), 0));
}

static __always_inline int enter_tunnel(void *ctx, const enum hook hook, const struct packet *packet,
					const struct attachment *out)
{
	__u32 length = packet_length(ctx, hook), bytes = tag_bytes(out);
	void *start = packet_start(ctx, hook), *end = packet_end(ctx, hook);
	bool six = out->vtep_version == 6, ip = packet->frame == FRAME_IP;
	const struct tunnel *tunnel = &packet->tunnel;
	struct exit *exit = exit_at(tunnel->port);
	__u16 port = ENTROPY_FIRST;
	struct ethhdr *eth, inner;
	struct vxlan *vxlan;
	struct udphdr *udp;
	__u8 tos = 0;

	if (!exit || tunnel->version != out->vtep_version || start + ETH_LEN + sizeof(struct iphdr) > end)
		return -1;
	inner = *(struct ethhdr *)start;
	if (ip) {
		bool inner_six = inner.h_proto == bpf_htons(ETH_P_IPV6);

		tos = traffic_class(start + ETH_LEN, inner_six);
		port = entropy_port(start, end, inner_six, packet->entropy);
	}
	if (hook == XDP ? packet_push(ctx, hook, bytes) : open_tunnel(ctx, !ip || tunnel->pieces, six, bytes))
		return -1;
	start = packet_start(ctx, hook);
	end = packet_end(ctx, hook);
	if (start + VXLAN4_BYTES + ETH_LEN > end || (six && start + VXLAN6_BYTES + ETH_LEN > end))
		return -1;
	eth = start;
	__builtin_memcpy(eth->h_dest, tunnel->mac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, exit->mac, ETH_ALEN);
	eth->h_proto = six ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	write_outer_addresses(start, six, out->vtep, tunnel->vtep, tos);
	udp = start + (six ? VXLAN6_BYTES : VXLAN4_BYTES) - sizeof(*vxlan) - sizeof(*udp);
	vxlan = (void *)(udp + 1);
	*udp = (struct udphdr){ .source = bpf_htons(port), .dest = bpf_htons(VXLAN_PORT) };
	*vxlan = (struct vxlan){ .flags = VXLAN_FLAGS, .vni = bpf_htonl(out->outer << 8) };
	*(struct ethhdr *)(vxlan + 1) = inner;
	return set_outer_length(start, end, six, length);
}

/* The tag; through a tunnel it leads to packet->tunnel, with packet->entropy. Nonzero if it could not be put on. */
static __always_inline int encapsulate(void *ctx, const enum hook hook, const struct packet *packet,
				       const struct attachment *out)
{
	if (out->kind == TAG_MPLS)
		return push_labels(ctx, hook, out);
	if (out->kind == TAG_VXLAN)
		return enter_tunnel(ctx, hook, packet, out);
	return push_vlan(ctx, hook, out);
}

__noinline int encapsulate_xdp(struct xdp_md *ctx, struct packet *packet, struct attachment *out)
{
	return packet && out ? encapsulate(ctx, XDP, packet, out) : -1;
}

__noinline int encapsulate_tc(struct __sk_buff *ctx, struct packet *packet, struct attachment *out)
{
	return packet && out ? encapsulate(ctx, TC, packet, out) : -1;
}

/* Of most frames nothing: they are untagged, or of MPLS without labels to push. */
static __always_inline int put_tag(void *ctx, const enum hook hook, struct packet *packet, struct attachment *out)
{
	if (!tag_bytes(out))
		return 0;
	return hook == XDP ? encapsulate_xdp(ctx, packet, out) : encapsulate_tc(ctx, packet, out);
}

/* Where a frame leaves by this attachment: its port, or that on the way to the VTEP. */
static __always_inline void exit_of(const struct packet *packet, const struct attachment *out, __u32 *port,
				    __u32 *ifindex)
{
	struct exit *exit;

	*port = out->port;
	*ifindex = out->ifindex;
	if (out->kind != TAG_VXLAN)
		return;
	*port = packet->tunnel.port;
	exit = exit_at(*port);
	*ifindex = exit ? exit->ifindex : 0;
}
