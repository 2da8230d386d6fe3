/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* classify: port and tag to the attachment and its VPC. Most frames are untagged, and found by their port alone. */
#pragma once
#include "lib/context.h"
#include "lib/packet.h"

/* Who has the untagged frames of a port; NULL: nobody, or it is not in the array. */
static __always_inline struct classified *of_port(void *ctx, const enum hook hook, const struct packet *packet)
{
	__u32 ifindex = packet_ifindex(ctx, hook);
	struct classified *found;

	if (ifindex >= interface_capacity)
		return NULL;
	found = classified_at(packet->generation * interface_capacity + ifindex);
	return found && found->role ? found : NULL;
}

static __always_inline struct classify_key class_key(void *ctx, const enum hook hook, const struct packet *packet,
						     __u32 kind)
{
	return (struct classify_key){ .ifindex = packet_ifindex(ctx, hook),
				      .generation = packet->generation,
				      .kind = kind };
}

/* 0 and packet->class, or what becomes of a frame that is nobody's. */
static __always_inline int take_class(struct packet *packet, struct classify_key *key)
{
	struct classified *found = bpf_map_lookup_elem(&classes, key);

	if (found) {
		packet->class = *found;
		return 0;
	}
	key->kind = TAG_ANY;
	key->outer = 0;
	key->inner = 0;
	return bpf_map_lookup_elem(&classes, key) ? V_PASSED : V_UNKNOWN_TAG;
}

/* Likewise, for untagged ARP and ND: the MPLS attachment whose own address it is about (MPLS carries IP alone). */
static __always_inline bool take_owner(void *ctx, const enum hook hook, struct packet *packet)
{
	struct owner_key key = { .ifindex = packet_ifindex(ctx, hook), .generation = packet->generation };
	void *start = packet_start(ctx, hook), *end = packet_end(ctx, hook);
	const struct ip *ip = &packet->ip;
	struct classified *found;

	if (packet->frame == FRAME_ARP) {
		__be32 *target = start + ARP_TARGET;

		if ((void *)(target + 1) > end)
			return false;
		key.address.hi = (__u64)bpf_ntohl(*target) << 32;
	} else if (packet->frame == FRAME_IP && ip->family == IPV6 && ip->flags & LINK_ONLY) {
		__u64 *target = start + (ip->l4 & 0x7fff) + ND_TARGET;

		key.family = IPV6;
		key.address = ip->dst;
		if (ip->sport == ND_SOLICITATION) {
			if (ip->left < ND_TARGET + sizeof(struct addr) || (void *)(target + 2) > end)
				return false;
			key.address = (struct addr){ bpf_be64_to_cpu(target[0]), bpf_be64_to_cpu(target[1]) };
		}
	} else {
		return false;
	}
	found = bpf_map_lookup_elem(&owners, &key);
	if (found)
		packet->class = *found;
	return found;
}
