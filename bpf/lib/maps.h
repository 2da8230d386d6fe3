/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The tables. Entries are never changed under a packet: new ones are written beside the old, and the
 * generation in `control` flips. Only neighbours, ports, learned routes, what is down, and counters change in place.
 */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "generated/tables.h"

#define ASKED_SLOTS 4096 /* a power of two */

#define TABLE(table, record, entries)                                 \
	struct {                                                      \
		__uint(type, BPF_MAP_TYPE_ARRAY);                     \
		__uint(map_flags, BPF_F_MMAPABLE);                    \
		__type(key, __u32);                                   \
		__type(value, struct record);                         \
		__uint(max_entries, entries);                         \
	} table SEC(".maps");                                         \
	static __always_inline struct record *record##_at(__u32 slot) \
	{                                                             \
		return bpf_map_lookup_elem(&table, &slot);            \
	}

/* Sizes are set at load. */
TABLE(controls, control, 1)
TABLE(vpcs, vpc, 2)
TABLE(nodes, node, 1)
TABLE(candidates, candidate, 1)
TABLE(sides, side, 1)
TABLE(ranges, range, 1)
TABLE(rules, rule, 1)
TABLE(rule_indexes, rule_index, 1)
TABLE(cuts, cut, 1)
TABLE(routes, route, 1)
TABLE(hops, hop, 1)
/* The roots of what VPCs have learned; stages/learned.h. Changed in place, as are their blocks. */
TABLE(fibs, fib, 2)
TABLE(attachments, attachment, 1)
TABLE(traces, trace_record, 1)
TABLE(port_ranges, port_range, 1)
/* Conversations, then as many mappings and uses of addresses; found by `buckets` (lib/index.h). Slot 0 is never one. */
TABLE(flows, flow, 1)
TABLE(allocations, allocation, 2)
/* Untagged frames, by generation and ifindex: what most frames are. `classes` holds all others. */
TABLE(interfaces, classified, 2)
/* MAC addresses of routers that are next hops; slot 0 is never one. `neighbours` holds those of hosts on a link. */
TABLE(adjacencies, neighbour, 1)
/* Ports by their slot in `ports`, for what leaves through a tunnel. */
TABLE(exits, exit, 1)

#define CHUNK_ENTRIES (CHUNK_UNITS * UNIT_ENTRIES)

/* Memory of learned tables, a chunk at a time, so that it follows the routes. */
struct chunk {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, CHUNK_ENTRIES * sizeof(__u32));
	__uint(max_entries, 1);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__type(key, __u32);
	__uint(max_entries, 1);
	__array(values, struct chunk);
} chunks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct classify_key);
	__type(value, struct classified);
	__uint(max_entries, 1);
} classes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct owner_key);
	__type(value, struct classified);
	__uint(max_entries, 1);
} owners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC); /* a freed entry is not another's while a packet reads it */
	__type(key, struct neighbour_key);
	__type(value, struct neighbour);
	__uint(max_entries, 1);
} neighbours SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, VERDICT_COUNT);
} counters SEC(".maps");

/* Next hops that packets wanted and nobody knew the MAC of: struct neighbour_key. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
} wanted SEC(".maps");

/* When a next hop may be asked for again, in ns, by a hash of its key. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, ASKED_SLOTS);
} asked SEC(".maps");

/* Records of flows that are to be had again, oldest first. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__type(value, __u32);
	__uint(max_entries, 1);
} freed SEC(".maps"), freed_mappings SEC(".maps");

/* Packets that found a side's pool exhausted, by its number. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} exhausted SEC(".maps");

/* When the next ICMP answer may leave, in ns; by attachment (its link number) and CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} answer_times SEC(".maps");

/* Set at load. */
const volatile __u32 route_capacity = 1;     /* slots of the configuration in `routes`; above: learned ones */
const volatile __u32 vpc_capacity = 1;	     /* slots of one generation in `vpcs` */
const volatile __u32 interface_capacity = 1; /* and in `interfaces` */
const volatile __u32 flow_capacity;	     /* conversations; and mappings */
const volatile __u32 bucket_mask;	     /* buckets of flows, a power of two, minus one; then as many of mappings */
const volatile __u32 fragment_mask;	     /* sets of fragments, likewise */
const volatile __u32 quarantine;	     /* ticks until a record that was taken out may be had */
const volatile __u64 secret;		     /* of hashes: so that nobody can choose what collides */
const volatile __u32 icmp_rate = 100;	     /* answers a second for each attachment and CPU; 0: all */
const volatile __u8 recording = 0;	     /* write every packet's end to `traces` */
