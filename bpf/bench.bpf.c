// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The bench around the program under test (src/isthmus/bench):
 *
 *	source            gateway under test          sink
 *	generate --XDP_TX--> in ... out ------veth------> sink | verify
 *
 * One object is loaded for each gateway, so what differs between them is constants.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define DATAGRAM_BYTES 50 /* 64 with an Ethernet header */
#define MOST_HEAD      84 /* Ethernet, IPv6, UDP, VXLAN, Ethernet */
#define MOST_FRAME     (MOST_HEAD + DATAGRAM_BYTES)
#define CLOCK_EVERY    64 /* looking at the clock costs as much as a packet */

/* What is behind the head: the Ethernet header, and whatever tag there is. */
struct datagram {
	struct iphdr ip;
	struct udphdr udp;
	__u8 payload[DATAGRAM_BYTES - sizeof(struct iphdr) - sizeof(struct udphdr)];
} __attribute__((packed, aligned(2)));

_Static_assert(sizeof(struct datagram) == DATAGRAM_BYTES, "a packet of the bench is of one size");

/* What differs between packets but for the source port, which counts up from this one; user space has done the sums. */
struct destination {
	__be32 source;
	__be32 address;
	__sum16 ip_check;
	__sum16 udp_check; /* with the first source port */
	__u16 first_port;
	__u16 pad;
};

/* What arrived on one CPU. */
struct arrivals {
	__u64 expected; /* source and destination are the translated ones */
	__u64 damaged;	/* verify only: of these, a checksum, the TTL, the tag or the length is wrong */
	__u64 other;
	__u64 last_ns; /* when the last one came; taken at every CLOCK_EVERY-th */
};

const volatile __u64 template[MOST_FRAME / 8]; /* a frame, its addresses, source port and checksums aside */
const volatile __u32 head_bytes, arrival_head_bytes;
const volatile __u16 expected_head[MOST_HEAD / 2], expected_head_mask[MOST_HEAD / 2];
const volatile __u32 destination_count;
const volatile __u32 port_count = 1; /* source ports used toward each destination */
const volatile __be32 expected_source, expected_source_mask;
const volatile __be32 expected_address, expected_address_mask;
const volatile __u8 expected_ttl;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4096); /* resized to what is sent */
	__type(key, __u32);
	__type(value, struct destination);
} destinations SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} way_out SEC(".maps");

/* Routes to what is behind way_out, for a gateway that is nothing but the kernel's trie; IPv6 is only filled. */
#define TRIE(name, address_bytes)                                \
	struct {                                                 \
		__uint(type, BPF_MAP_TYPE_LPM_TRIE);             \
		__uint(max_entries, 1);                          \
		__uint(map_flags, BPF_F_NO_PREALLOC);            \
		__uint(key_size, sizeof(__u32) + address_bytes); \
		__uint(value_size, sizeof(__u32));               \
	} name SEC(".maps")

TRIE(trie_ipv4, 4);
TRIE(trie_ipv6, 16);

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct arrivals);
} arrived SEC(".maps");

/* One CPU generates at a time. */
__u32 random_state = 2463534242;
__u64 started_ns; /* when the first frame of a burst was made: user space clears it, and what follows */
__u32 next_destination, next_port;

/* Marsaglia's xorshift: what is drawn next is not what the CPU has prefetched. */
static __always_inline __u32 draw(void)
{
	__u32 x = random_state;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	random_state = x;
	return x;
}

/* RFC 1624, equation 3; UDP has no 0 (RFC 768). */
static __always_inline __sum16 with_port(__sum16 check, __be16 old, __be16 new)
{
	__u32 total = (__u16)~check + (__u16)~old + new;

	total = (total & 0xffff) + (total >> 16);
	total = (total & 0xffff) + (total >> 16);
	return total == 0xffff ? 0xffff : ~total;
}

/*
 * Writes a frame anew, whatever the program under test made of its page, and sends it out of the interface that it pretends to come
 * from. The last bytes of the payload, fewer than 8, stay: nobody changes them.
 */
static __always_inline int send(struct xdp_md *ctx, __u32 index, __u16 port)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	const struct destination *to = bpf_map_lookup_elem(&destinations, &index);
	__u32 head = head_bytes, bytes = head + DATAGRAM_BYTES;
	struct datagram *packet = data + head;
	__u64 *words = data;

	if (!to || data + bytes > end)
		return XDP_ABORTED;
#pragma unroll
	for (__u32 i = 0; i < MOST_FRAME / 8; i++)
		if (8 * (i + 1) <= bytes)
			words[i] = template[i];
	packet->ip.saddr = to->source;
	packet->ip.daddr = to->address;
	packet->ip.check = to->ip_check;
	packet->udp.source = bpf_htons(to->first_port + port);
	packet->udp.check = to->udp_check;
	if (port_count > 1)
		packet->udp.check = with_port(to->udp_check, bpf_htons(to->first_port), packet->udp.source);
	if (!started_ns)
		started_ns = bpf_ktime_get_ns();
	return XDP_TX;
}

/* Any of the conversations: the whole part of what was drawn is the destination, the rest is the port. */
SEC("xdp")
int generate(struct xdp_md *ctx)
{
	__u64 drawn = (__u64)draw() * destination_count;

	return send(ctx, drawn >> 32, (drawn & 0xffffffff) * port_count >> 32);
}

/* All conversations in order, from the first: all destinations with their first port, then with the next. */
SEC("xdp")
int generate_in_order(struct xdp_md *ctx)
{
	__u32 index = next_destination, port = next_port;

	if (++next_destination == destination_count) {
		next_destination = 0;
		if (++next_port == port_count)
			next_port = 0;
	}
	return send(ctx, index, port);
}

/* The ceiling: a gateway that looks at nothing. */
SEC("xdp")
int redirect(struct xdp_md *ctx)
{
	(void)ctx;
	return bpf_redirect_map(&way_out, 0, 0);
}

/* The look-up alone, untagged: nothing is checked, nothing changed. */
SEC("xdp")
int redirect_by_trie(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	struct {
		__u32 length;
		__be32 address;
	} key = { .length = 32 };
	__u32 *out;

	if ((void *)(ip + 1) > end)
		return XDP_ABORTED;
	key.address = ip->daddr;
	out = bpf_map_lookup_elem(&trie_ipv4, &key);
	return out ? bpf_redirect_map(&way_out, *out, 0) : XDP_DROP;
}

static __always_inline int is_expected(const struct datagram *packet)
{
	return (packet->ip.saddr & expected_source_mask) == expected_source &&
	       (packet->ip.daddr & expected_address_mask) == expected_address;
}

/* Counts what the gateway let through, and ends it. */
SEC("xdp")
int sink(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 zero = 0, head = arrival_head_bytes;
	struct arrivals *here = bpf_map_lookup_elem(&arrived, &zero);

	if (!here)
		return XDP_ABORTED;
	if (data + head + DATAGRAM_BYTES > end || !is_expected(data + head))
		here->other++;
	else if (++here->expected % CLOCK_EVERY == 0)
		here->last_ns = bpf_ktime_get_ns();
	return XDP_DROP;
}

static __always_inline __u32 sum(const __u16 *words, int count, __u32 total)
{
	for (int i = 0; i < count; i++)
		total += words[i];
	return total;
}

static __always_inline __u16 folded(__u32 total)
{
	total = (total & 0xffff) + (total >> 16);
	return (total & 0xffff) + (total >> 16);
}

static __always_inline int is_sound(const struct datagram *packet)
{
	const int udp_bytes = DATAGRAM_BYTES - sizeof(struct iphdr);
	const __u16 *ip = (const __u16 *)packet;
	__u32 pseudo = bpf_htons(IPPROTO_UDP) + bpf_htons(udp_bytes);

	pseudo = sum(ip + 6, 4, pseudo); /* both addresses */
	return packet->ip.ttl == expected_ttl && folded(sum(ip, sizeof(struct iphdr) / 2, 0)) == 0xffff &&
	       folded(sum(ip + 10, udp_bytes / 2, pseudo)) == 0xffff;
}

static __always_inline int has_head(const __u16 *words, __u32 bytes)
{
	__u16 wrong = 0;

#pragma unroll
	for (__u32 i = 0; i < MOST_HEAD / 2; i++)
		if (2 * i < bytes)
			wrong |= (words[i] ^ expected_head[i]) & expected_head_mask[i];
	return !wrong;
}

/* As sink, and sees whether each packet arrived whole: slower, so never while time is taken. */
SEC("xdp")
int verify(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 zero = 0, head = arrival_head_bytes, bytes = head + DATAGRAM_BYTES;
	struct arrivals *here = bpf_map_lookup_elem(&arrived, &zero);

	if (!here)
		return XDP_ABORTED;
	if (data + bytes > end || !is_expected(data + head)) {
		here->other++;
	} else {
		if (++here->expected % CLOCK_EVERY == 0)
			here->last_ns = bpf_ktime_get_ns();
		if (end - data != bytes || !has_head(data, head) || !is_sound(data + head))
			here->damaged++;
	}
	return XDP_DROP;
}

/* Does nothing: a veth takes redirected frames only where its peer has a program, or GRO. */
SEC("xdp")
int pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}
