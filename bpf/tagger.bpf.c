// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The far end of a lab's tagged attachments: it tags what hosts send, and takes off what the gateway put on.
 *
 *   hosts' eth0 --- host0 from_hosts  >  from_gateway wire0 --- port0 of the gateway
 *
 * From docs/packet-path.md "Tags", written apart from the packet path: it shares no line with lib/ or stages/, so that
 * one mistake can't hide in both. What the gateway sends must be right to the bit; all else is dropped and counted.
 * Speed is no aim.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define ETHER	      14
#define VXLAN_PORT    4789
#define FIRST_SPORT   49152
#define MOST_LABELS   4
#define DECAP_TO_IPV4 (1ULL << 7) /* BPF_F_ADJ_ROOM_DECAP_L3_IPV4, of Linux 6.3 */

enum kind { UNTAGGED, VLAN, QINQ, VXLAN, MPLS, OWN_ADDRESS, HOST_MAC };

enum count {
	TO_GATEWAY,
	TO_HOSTS,
	TO_KERNEL,    /* of the underlay: ARP and ND of the VTEPs */
	NOT_SENT,     /* from hosts: has no place in the tunnel */
	UNKNOWN_TAG,  /* from the gateway, from here on */
	WRONG_TAG,    /* priority bits, or an EtherType that is not the attachment's */
	WRONG_LABEL,  /* traffic class, TTL, bottom of stack */
	WRONG_OUTER,  /* a field, a length or the checksum of the outer headers of VXLAN */
	WRONG_REMOTE, /* not the tunnel of the inner destination */
	WRONG_MAC,
	NOT_IP,
	BROKEN, /* the kernel refused to change the frame */
	COUNTS,
};

/* An attachment, from its hosts to a wire. Addresses and MACs in network order. */
struct cable {
	__u32 wire, hosts; /* ifindexes */
	__u32 kind, outer, inner, outer_type;
	__u32 uniform, labels, push[MOST_LABELS];
	__u32 family;  /* of the VTEPs */
	__u8 vtep[16]; /* the gateway's */
	__u8 host_mac[8], port_mac[8], wire_mac[8];
};

/* What tells the frames of one attachment from the others of its wire. */
struct key {
	__u32 wire, kind;
	__u64 a, b; /* numbers of the tag; an address; a MAC */
};

/* Addresses behind one remote VTEP. */
struct behind {
	__u32 length, cable, family;
	__u8 address[16];
};

struct remote {
	__u8 vtep[16], mac[8];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cable);
} cables SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32); /* ifindex toward hosts */
	__type(value, __u32);
} from SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct key);
	__type(value, __u32);
} to SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct behind);
	__type(value, struct remote);
} remotes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

/* The packet behind the tag: addresses as in the packet, IPv4 in the first four bytes. */
struct packet {
	__u8 src[16], dst[16];
	__u8 family, tos, ttl;
	bool discovery; /* ARP, ICMPv6 133-137 */
};

static __always_inline void count(__u32 what)
{
	__u64 *counted = bpf_map_lookup_elem(&counts, &what);

	if (counted)
		__sync_fetch_and_add(counted, 1);
}

static __always_inline int drop(enum count why)
{
	count(why);
	return TC_ACT_SHOT;
}

static __always_inline int hand_over(enum count what, __u32 ifindex)
{
	count(what);
	return bpf_redirect(ifindex, 0);
}

static __always_inline __u16 u16_at(const __u8 *at)
{
	return at[0] << 8 | at[1];
}

static __always_inline __u32 u32_at(const __u8 *at)
{
	return (__u32)u16_at(at) << 16 | u16_at(at + 2);
}

static __always_inline __u64 u64_at(const __u8 *at)
{
	return (__u64)u32_at(at) << 32 | u32_at(at + 4);
}

static __always_inline void put16(__u8 *at, __u16 value)
{
	at[0] = value >> 8;
	at[1] = value;
}

static __always_inline void put32(__u8 *at, __u32 value)
{
	put16(at, value >> 16);
	put16(at + 2, value);
}

static __always_inline bool same(const __u8 *one, const __u8 *other, __u32 length)
{
	return !__builtin_memcmp(one, other, length);
}

/* The packet of this EtherType `at` bytes into the frame; false if it is neither IP nor ARP. */
static __always_inline bool read_packet(struct __sk_buff *skb, __u32 at, __u16 type, struct packet *packet)
{
	__u8 header[40];

	__builtin_memset(packet, 0, sizeof(*packet));
	if (type == ETH_P_ARP) {
		if (bpf_skb_load_bytes(skb, at, header, 28))
			return false;
		__builtin_memcpy(packet->src, header + 14, 4);
		__builtin_memcpy(packet->dst, header + 24, 4);
		packet->family = 4;
		packet->discovery = true;
		return true;
	}
	if (type == ETH_P_IP) {
		if (bpf_skb_load_bytes(skb, at, header, 20))
			return false;
		__builtin_memcpy(packet->src, header + 12, 4);
		__builtin_memcpy(packet->dst, header + 16, 4);
		packet->family = 4;
		packet->tos = header[1];
		packet->ttl = header[8];
		return true;
	}
	if (type != ETH_P_IPV6 || bpf_skb_load_bytes(skb, at, header, 40))
		return false;
	__builtin_memcpy(packet->src, header + 8, 16);
	__builtin_memcpy(packet->dst, header + 24, 16);
	packet->family = 6;
	packet->tos = u16_at(header) >> 4;
	packet->ttl = header[7];
	if (header[6] == 58 && !bpf_skb_load_bytes(skb, at + 40, header, 1))
		packet->discovery = header[0] >= 133 && header[0] <= 137;
	return true;
}

/*
 * Take the label out that stands behind Ethernet; `type` says what is behind it. The kernel takes no room out of frames
 * that are not IP, but it takes VLAN tags out of any: so the label becomes one, behind another.
 */
static __always_inline int pop_label(struct __sk_buff *skb, __u16 type)
{
	__u8 tag[6] = { ETH_P_8021Q >> 8, ETH_P_8021Q & 0xff, 0, 0, type >> 8, type & 0xff };

	if (bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), 1) || bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), 1) ||
	    bpf_skb_store_bytes(skb, ETHER + 2, tag, sizeof(tag), 0))
		return -1;
	return bpf_skb_vlan_pop(skb) || bpf_skb_vlan_pop(skb) || bpf_skb_vlan_pop(skb);
}

/* Take the outer headers and the inner Ethernet header out, and write that one over the outer one. */
static __always_inline int decapsulate(struct __sk_buff *skb, __s32 headers, const __u8 *inner, bool to_ipv4)
{
	if (bpf_skb_adjust_room(skb, -headers, BPF_ADJ_ROOM_MAC, to_ipv4 ? DECAP_TO_IPV4 : 0))
		return -1;
	return bpf_skb_store_bytes(skb, 0, inner, ETHER, 0);
}

static __always_inline struct remote *remote_of(__u32 cable, __u32 family, const __u8 *address)
{
	struct behind behind = { 64 + 128, cable, family, {} };

	__builtin_memcpy(behind.address, address, 16);
	return bpf_map_lookup_elem(&remotes, &behind);
}

static __always_inline __u16 ip_checksum(const __u8 *header)
{
	__u32 sum = 0;

	for (int word = 0; word < 20; word += 2)
		sum += u16_at(header + word);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~((sum & 0xffff) + (sum >> 16));
}

static __always_inline int push_label(struct __sk_buff *skb, const struct cable *cable)
{
	struct packet packet;
	__u8 header[ETHER + 4];
	__u16 type;

	if (bpf_skb_load_bytes(skb, 0, header, ETHER))
		return drop(BROKEN);
	type = u16_at(header + 12);
	if (!read_packet(skb, ETHER, type, &packet))
		return drop(NOT_SENT);
	if (!packet.discovery) {
		if (bpf_skb_change_head(skb, 4, 0))
			return drop(BROKEN);
		put16(header + 12, ETH_P_MPLS_UC);
		put32(header + 14, cable->outer << 12 | (__u32)(packet.tos >> 5) << 9 | 1 << 8 |
					   (cable->uniform ? packet.ttl : 255));
		if (bpf_skb_store_bytes(skb, 0, header, sizeof(header), 0))
			return drop(BROKEN);
	}
	return hand_over(TO_GATEWAY, cable->wire);
}

/* Outer Ethernet, IP, UDP and VXLAN, from this remote VTEP to the gateway's; their length. `size` is the inner frame's. */
static __always_inline __u32 outer_headers(__u8 *outer, const struct cable *cable, const struct remote *remote,
					   __u32 size, __u8 tos, __u16 sport)
{
	__u32 ip = cable->family == 4 ? 20 : 40;
	__u8 *udp;

	__builtin_memcpy(outer, cable->port_mac, 6);
	__builtin_memcpy(outer + 6, cable->wire_mac, 6);
	if (cable->family == 4) {
		put16(outer + 12, ETH_P_IP);
		outer[14] = 0x45;
		outer[15] = tos;
		put16(outer + 16, 20 + 16 + size);
		put16(outer + 20, 0x4000); /* DF */
		outer[22] = 64;
		outer[23] = 17;
		__builtin_memcpy(outer + 26, remote->vtep, 4);
		__builtin_memcpy(outer + 30, cable->vtep, 4);
		put16(outer + 24, ip_checksum(outer + 14));
		udp = outer + ETHER + 20;
	} else {
		put16(outer + 12, ETH_P_IPV6);
		put16(outer + 14, 0x6000 | tos << 4);
		put16(outer + 18, 16 + size);
		outer[20] = 17;
		outer[21] = 64;
		__builtin_memcpy(outer + 22, remote->vtep, 16);
		__builtin_memcpy(outer + 38, cable->vtep, 16);
		udp = outer + ETHER + 40;
	}
	put16(udp, sport);
	put16(udp + 2, VXLAN_PORT);
	put16(udp + 4, 16 + size);
	udp[8] = 0x08; /* I: the VNI is valid */
	put32(udp + 12, cable->outer << 8);
	return ETHER + ip + 16;
}

static __always_inline int into_tunnel(struct __sk_buff *skb, const struct cable *cable, __u32 number)
{
	__u16 sport = FIRST_SPORT | (bpf_get_hash_recalc(skb) & 0x3fff);
	__u8 outer[ETHER + 40 + 16] = {}, macs[12];
	__u32 size = skb->len, length;
	struct remote *remote;
	struct packet packet;
	__u8 type[2];

	if (bpf_skb_load_bytes(skb, 12, type, 2) || !read_packet(skb, ETHER, u16_at(type), &packet))
		return drop(NOT_SENT);
	remote = remote_of(number, packet.family, packet.src);
	if (!remote)
		return drop(NOT_SENT);
	__builtin_memcpy(macs, cable->port_mac, 6);
	__builtin_memcpy(macs + 6, remote->mac, 6);
	if (bpf_skb_store_bytes(skb, 0, macs, 12, 0))
		return drop(BROKEN);
	length = outer_headers(outer, cable, remote, size, packet.tos, sport);
	if (length == ETHER + 20 + 16) {
		if (bpf_skb_change_head(skb, ETHER + 20 + 16, 0) ||
		    bpf_skb_store_bytes(skb, 0, outer, ETHER + 20 + 16, 0))
			return drop(BROKEN);
	} else if (bpf_skb_change_head(skb, sizeof(outer), 0) || bpf_skb_store_bytes(skb, 0, outer, sizeof(outer), 0)) {
		return drop(BROKEN);
	}
	return hand_over(TO_GATEWAY, cable->wire);
}

SEC("tc")
int from_hosts(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex, *number = bpf_map_lookup_elem(&from, &ifindex);
	struct cable *cable = number ? bpf_map_lookup_elem(&cables, number) : NULL;

	if (!cable || skb->vlan_present)
		return drop(NOT_SENT);
	switch (cable->kind) {
	case QINQ:
		if (bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), cable->inner) ||
		    bpf_skb_vlan_push(skb, bpf_htons(cable->outer_type), cable->outer))
			return drop(BROKEN);
		break;
	case VLAN:
		if (bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), cable->outer))
			return drop(BROKEN);
		break;
	case MPLS:
		return push_label(skb, cable);
	case VXLAN:
		return into_tunnel(skb, cable, *number);
	}
	return hand_over(TO_GATEWAY, cable->wire);
}

static __always_inline struct cable *cable_of(__u32 wire, enum kind kind, __u64 a, __u64 b, __u32 *number)
{
	struct key key = { wire, kind, a, b };
	__u32 *found = bpf_map_lookup_elem(&to, &key);

	if (!found)
		return NULL;
	*number = *found;
	return bpf_map_lookup_elem(&cables, found);
}

/* To the hosts, as a plain frame that it is by now. */
static __always_inline int deliver(struct __sk_buff *skb, const struct cable *cable)
{
	__u8 macs[12];

	if (bpf_skb_load_bytes(skb, 0, macs, 12))
		return drop(BROKEN);
	if ((!(macs[0] & 1) && !same(macs, cable->host_mac, 6)) || !same(macs + 6, cable->port_mac, 6))
		return drop(WRONG_MAC);
	return hand_over(TO_HOSTS, cable->hosts);
}

/* The kernel has taken the outermost tag out of the frame. */
static __always_inline int untag(struct __sk_buff *skb, __u16 type)
{
	__u16 outer = skb->vlan_tci, outer_type = bpf_ntohs(skb->vlan_proto), inner;
	bool two = type == ETH_P_8021Q || type == ETH_P_8021AD;
	struct cable *cable;
	__u32 number;
	__u8 tag[4];

	if (two) {
		if (bpf_skb_load_bytes(skb, ETHER, tag, 4))
			return drop(NOT_IP);
		inner = u16_at(tag);
		if (type != ETH_P_8021Q || inner >> 12 || outer >> 12)
			return drop(WRONG_TAG);
		cable = cable_of(skb->ifindex, QINQ, outer, inner, &number);
	} else {
		if (outer >> 12)
			return drop(WRONG_TAG);
		cable = cable_of(skb->ifindex, VLAN, outer, 0, &number);
	}
	if (!cable)
		return drop(UNKNOWN_TAG);
	if (outer_type != (two ? cable->outer_type : ETH_P_8021Q))
		return drop(WRONG_TAG);
	if (bpf_skb_vlan_pop(skb) || (two && bpf_skb_vlan_pop(skb)))
		return drop(BROKEN);
	return deliver(skb, cable);
}

static __always_inline int pop_labels(struct __sk_buff *skb)
{
	__u8 raw[4], version;
	__u32 stack[MOST_LABELS] = {}, labels = 0, entry = 0, number;
	struct packet packet;
	struct cable *cable;
	__u8 type[2];

	for (int each = 0; each < MOST_LABELS; each++) {
		if (bpf_skb_load_bytes(skb, ETHER + 4 * each, raw, 4))
			return drop(WRONG_LABEL);
		entry = u32_at(raw);
		stack[each] = entry >> 12;
		labels++;
		if (entry & 1 << 8)
			break;
	}
	if (!(entry & 1 << 8))
		return drop(UNKNOWN_TAG);
	cable = cable_of(skb->ifindex, MPLS, (__u64)stack[0] << 32 | stack[1], (__u64)stack[2] << 32 | stack[3],
			 &number);
	if (!cable)
		return drop(UNKNOWN_TAG);
	if (bpf_skb_load_bytes(skb, ETHER + 4 * labels, &version, 1))
		return drop(NOT_IP);
	put16(type, version >> 4 == 4 ? ETH_P_IP : ETH_P_IPV6);
	if (version >> 4 != 4 && version >> 4 != 6)
		return drop(NOT_IP);
	if (!read_packet(skb, ETHER + 4 * labels, u16_at(type), &packet) || packet.discovery)
		return drop(NOT_IP);
	for (__u32 each = 0; each < MOST_LABELS && each < labels; each++) {
		if (bpf_skb_load_bytes(skb, ETHER + 4 * each, raw, 4))
			return drop(WRONG_LABEL);
		entry = u32_at(raw);
		if ((entry >> 9 & 7) != packet.tos >> 5 || (entry & 0xff) != (cable->uniform ? packet.ttl : 255))
			return drop(WRONG_LABEL);
	}
	for (__u32 left = labels; left && left <= MOST_LABELS; left--)
		if (pop_label(skb, left > 1 ? ETH_P_MPLS_UC : u16_at(type)))
			return drop(BROKEN);
	return deliver(skb, cable);
}

/* Outer headers of VXLAN, behind Ethernet. */
struct outer {
	__u8 src[16], dst[16], tos;
	__u32 length; /* of all of them, Ethernet too */
	bool vxlan, right;
};

static __always_inline void read_outer(struct __sk_buff *skb, __u16 type, struct outer *outer)
{
	__u32 ip = type == ETH_P_IP ? 20 : 40, rest = skb->len - ETHER;
	__u8 header[40], udp[16];

	__builtin_memset(outer, 0, sizeof(*outer));
	outer->length = ETHER + ip + 16;
	if (type == ETH_P_IP) {
		if (bpf_skb_load_bytes(skb, ETHER, header, 20) || header[9] != 17)
			return;
		__builtin_memcpy(outer->src, header + 12, 4);
		__builtin_memcpy(outer->dst, header + 16, 4);
		outer->tos = header[1];
		outer->right = header[0] == 0x45 && u16_at(header + 2) == rest && u32_at(header + 4) == 0x4000 &&
			       header[8] == 64 && !ip_checksum(header);
	} else {
		if (bpf_skb_load_bytes(skb, ETHER, header, 40) || header[6] != 17)
			return;
		__builtin_memcpy(outer->src, header + 8, 16);
		__builtin_memcpy(outer->dst, header + 24, 16);
		outer->tos = u16_at(header) >> 4;
		outer->right = (u32_at(header) & 0xf00fffff) == 0x60000000 && u16_at(header + 4) == rest - 40 &&
			       header[7] == 64;
	}
	if (bpf_skb_load_bytes(skb, ETHER + ip, udp, 16) || u16_at(udp + 2) != VXLAN_PORT)
		return;
	outer->vxlan = true;
	outer->right = outer->right && u16_at(udp) >= FIRST_SPORT && u16_at(udp + 4) == rest - ip && !u16_at(udp + 6) &&
		       u32_at(udp + 8) == 0x08000000 && !udp[15];
}

static __always_inline int out_of_tunnel(struct __sk_buff *skb, const struct outer *outer, __u16 type)
{
	__u8 vni[4], frame[ETHER], macs[12];
	struct remote *remote;
	struct packet packet;
	struct cable *cable;
	__u32 number;

	if (!outer->right)
		return drop(WRONG_OUTER);
	if (bpf_skb_load_bytes(skb, outer->length - 4, vni, 4) || bpf_skb_load_bytes(skb, outer->length, frame, ETHER))
		return drop(WRONG_OUTER);
	cable = cable_of(skb->ifindex, VXLAN, u32_at(vni) >> 8, 0, &number);
	if (!cable)
		return drop(UNKNOWN_TAG);
	if (!read_packet(skb, outer->length + ETHER, u16_at(frame + 12), &packet))
		return drop(NOT_IP);
	if (cable->family != (type == ETH_P_IP ? 4 : 6) || !same(outer->src, cable->vtep, 16) ||
	    (u16_at(frame + 12) != ETH_P_ARP && outer->tos != packet.tos))
		return drop(WRONG_OUTER);
	remote = remote_of(number, packet.family, packet.dst);
	if (!remote || !same(outer->dst, remote->vtep, 16))
		return drop(WRONG_REMOTE);
	if (bpf_skb_load_bytes(skb, 0, macs, 12))
		return drop(BROKEN);
	if (!same(macs, cable->wire_mac, 6) || !same(macs + 6, cable->port_mac, 6) || !same(frame, remote->mac, 6))
		return drop(WRONG_MAC);
	__builtin_memcpy(frame, cable->host_mac, 6);
	if (decapsulate(skb, outer->length, frame, type == ETH_P_IPV6 && packet.family == 4))
		return drop(BROKEN);
	return deliver(skb, cable);
}

/* A frame without a tag: the untagged attachment's, or of an MPLS attachment what carries no label. */
static __always_inline struct cable *unlabelled(struct __sk_buff *skb, const struct packet *packet, const __u8 *frame)
{
	struct cable *cable;
	__u32 number;

	cable = cable_of(skb->ifindex, UNTAGGED, 0, 0, &number);
	if (cable)
		return cable;
	if (packet->discovery)
		return cable_of(skb->ifindex, OWN_ADDRESS, u64_at(packet->src), u64_at(packet->src + 8), &number);
	cable = cable_of(skb->ifindex, HOST_MAC, u64_at(frame) >> 16, 0, &number);
	return cable && !cable->labels ? cable : NULL;
}

SEC("tc")
int from_gateway(struct __sk_buff *skb)
{
	struct packet packet;
	struct cable *cable;
	struct outer outer;
	__u8 frame[ETHER];
	bool underlay;
	__u32 number;
	__u16 type;

	if (bpf_skb_load_bytes(skb, 0, frame, ETHER))
		return drop(BROKEN);
	type = u16_at(frame + 12);
	if (skb->vlan_present)
		return untag(skb, type);
	if (type == ETH_P_MPLS_UC)
		return pop_labels(skb);
	underlay = cable_of(skb->ifindex, VXLAN, 0, 0, &number); /* VNI 0 stands for the wire of the VTEPs */
	if (underlay && (type == ETH_P_IP || type == ETH_P_IPV6)) {
		read_outer(skb, type, &outer);
		if (outer.vxlan)
			return out_of_tunnel(skb, &outer, type);
	}
	if (!read_packet(skb, ETHER, type, &packet))
		return drop(NOT_IP);
	cable = unlabelled(skb, &packet, frame);
	if (cable)
		return deliver(skb, cable);
	if (underlay) {
		count(TO_KERNEL);
		return TC_ACT_OK;
	}
	return drop(UNKNOWN_TAG);
}
