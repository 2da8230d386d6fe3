/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* classify: port and tag to the attachment and its VPC. */
#pragma once
#include "lib/context.h"
#include "lib/packet.h"

/* NULL: nobody's. */
static __always_inline struct classified *classify(void *ctx, const enum hook hook, const struct packet *packet)
{
	struct classify_key key = { .ifindex = packet_ifindex(ctx, hook), .generation = packet->generation };
	__u32 vlan = packet_vlan(ctx, hook);
	struct classified *found;

	if (packet->frame == FRAME_TAGGED || vlan) {
		key.kind = TAG_VLAN;
		key.outer = vlan & 0xfff;
	} else if (key.ifindex < interface_capacity) {
		found = classified_at(packet->generation * interface_capacity + key.ifindex);
		if (found && found->role)
			return found;
	}
	found = bpf_map_lookup_elem(&classes, &key);
	if (found)
		return found;
	key.kind = TAG_ANY;
	key.outer = 0;
	return bpf_map_lookup_elem(&classes, &key);
}
