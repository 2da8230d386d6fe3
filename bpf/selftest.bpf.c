// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What tests/bpf/test_libbpf.py loads: one of everything that the binding offers, and no networking of ours. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct inner {
	__u16 port;
	__u8 pad[6];
};

struct record {
	__u8 kind;
	__u32 count; /* at 4: the compiler leaves a gap */
	union {
		__u64 whole;
		__u32 half[2];
	};
	struct inner inner;
};

const volatile __u32 verdict = XDP_DROP;
const volatile __u64 mark;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, struct record);
} records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} cells SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} counted SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

static __always_inline void count(__u32 index)
{
	__u32 *cell = bpf_map_lookup_elem(&counted, &index);

	if (cell)
		(*cell)++;
}

/* Writes `mark` over the first eight bytes, and answers `verdict`. */
SEC("xdp")
int stamp(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	count(0);
	if (data + 8 > end)
		return XDP_ABORTED;
	*(__u64 *)data = mark;
	return verdict;
}

/* Sends the first eight bytes of the packet to the ring buffer. */
SEC("xdp")
int report(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 first;

	if (data + 8 > end)
		return XDP_ABORTED;
	first = *(__u64 *)data;
	return bpf_ringbuf_output(&events, &first, sizeof(first), 0) ? XDP_DROP : XDP_PASS;
}

/* Answers what cell 7 holds: user space writes it through mapped memory. */
SEC("xdp")
int read_cell(struct xdp_md *ctx)
{
	__u32 index = 7;
	__u64 *cell = bpf_map_lookup_elem(&cells, &index);

	(void)ctx;
	return cell ? (int)*cell : XDP_ABORTED;
}

/* The verifier must refuse this: a packet is read with no look at its end. */
SEC("xdp")
int careless(struct xdp_md *ctx)
{
	return *(__u8 *)(long)ctx->data;
}

SEC("tc")
int pass_marked(struct __sk_buff *skb)
{
	count(1);
	skb->mark = (__u32)mark;
	return TC_ACT_UNSPEC;
}

SEC("raw_tp/xdp_devmap_xmit")
int devmap_sent(void *ctx)
{
	(void)ctx;
	count(1);
	return 0;
}
