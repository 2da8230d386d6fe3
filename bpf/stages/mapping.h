/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * translate: the source of a stateful side becomes an address and port of its pool. A mapping is a record of `flows` with two keys,
 * inside and outside; to enter the outside key is to own the port, toward that peer, whoever asks. docs/packet-path.md, "Mapping".
 */
#pragma once
#include "lib/index.h"
#include "lib/packet.h"
#include "stages/pool.h"

static __always_inline struct mapping *mapping_at(__u32 number)
{
	return (struct mapping *)flow_at(number & FLOW_RECORD);
}

/* One user more, unless it is being taken out, or has as many as it may. */
__noinline int take_use(struct mapping *mapping, __u32 most)
{
	if (!mapping)
		return false;
	if (__sync_fetch_and_add(&mapping->users, 1) < most)
		return true;
	__sync_fetch_and_add(&mapping->users, -1);
	return false;
}

static __always_inline void drop_use(__u32 number)
{
	struct mapping *mapping = mapping_at(number);

	if (number && mapping)
		__sync_fetch_and_add(&mapping->users, -1);
}

struct search {
	__u64 home, size; /* of the pool: number of its addresses */
	__u32 number;	  /* the mapping's record */
	__u32 side;
	__u32 tried; /* addresses */
	__u32 usage; /* of the address whose ports are looked at; 0: none */
	__u32 port;  /* the next to be looked at, counted from `start`; own first */
	__u32 start;
	__u32 found, full;
	__u16 own;
	__u8 has_ports, own_tried;
};

/* The record that counts the mappings of an address, with one more; 0: it has as many as there are ports. */
__noinline __u32 use_address(struct search *search, __u32 port_count)
{
	struct flow *mapping = search ? flow_at(search->number & FLOW_RECORD) : NULL;
	struct packet *packet = packet_here(IN_HAND);
	struct mapping *usage;
	struct flow_key *key;
	struct flow *fresh;
	__u32 what, number, found;

	if (!mapping || !packet)
		return 0;
	what = kind_of_flow(mapping->proto, mapping->family, RECORD_USAGE);
	key = &packet->flow_key; /* its own, which open_flow writes after */
	*key = mapping->keys[1];
	key->sport = 0;
	found = find_key(key, what);
	if (!found) {
		number = take_record(true);
		fresh = flow_at(number);
		if (!number || !fresh) {
			search->full = 1;
			return 0;
		}
		usage = (struct mapping *)fresh;
		fresh->keys[0] = *key;
		fresh->proto = mapping->proto;
		fresh->family = mapping->family;
		fresh->kind = RECORD_USAGE;
		usage->users = 1;
		usage->held_until = 0;
		usage->usage = 0;
		bring_to_life(fresh, 0, 0, false);
		found = enter_key(number, 0);
		if (!found)
			return number;
		give_back(fresh, number, life_of(fresh));
		if (found == NO_ROOM) {
			search->full = 1;
			return 0;
		}
	}
	usage = mapping_at(found);
	return usage && take_use(usage, port_count) ? found & FLOW_RECORD : 0;
}

/* One try: an address, or a port of the one at hand. */
__noinline int try_next(struct search *search)
{
	struct flow *mapping;
	struct side *side;
	__u32 found, k;

	if (!search)
		return 1;
	side = side_at(search->side);
	mapping = flow_at(search->number & FLOW_RECORD);
	if (!side || !mapping)
		return 1;
	if (!search->usage) {
		if (search->tried >= MOST_EACH || search->tried >= search->size)
			return 1;
		pool_address(search->side, search->number, (search->home + search->tried) % search->size);
		search->tried++;
		search->port = 0;
		search->own_tried = 0;
		if (search->has_ports) {
			search->usage = use_address(search, side->port_count);
			return search->full;
		}
		mapping->keys[1].sport = 0;
	} else if (!search->own_tried) {
		search->own_tried = 1;
		if (!pool_holds_port(search->side, search->own))
			return 0;
		mapping->keys[1].sport = search->own;
	} else {
		k = side->port_count ? (search->start + search->port * side->port_stride) % side->port_count : 0;
		mapping->keys[1].sport = pool_port(search->side, k);
		search->port++;
	}
	found = enter_key(search->number, 1);
	search->found = !found;
	search->full = found == NO_ROOM;
	if (!found || search->full)
		return 1;
	if (search->usage && (search->port >= MOST_EACH || search->port >= side->port_count)) {
		drop_use(search->usage);
		search->usage = 0;
	}
	return 0;
}

static long try_one(__u64 turn, struct search *search)
{
	(void)turn;
	return try_next(search) ? 1 : 0;
}

/* Is the translation of a mapping that exists still one that the side would give? */
__noinline int mapping_fits(__u32 number, __u32 side_slot)
{
	struct flow *mapping = flow_at(number & FLOW_RECORD);
	struct side *side = side_at(side_slot);

	if (!mapping || !side || !mapping_is_of_mode((struct mapping *)mapping, side) ||
	    !pool_holds(side, mapping->family, &mapping->keys[1].src))
		return 0;
	return !is_ported(mapping->proto, mapping->family) || pool_holds_port(side_slot, mapping->keys[1].sport);
}

/* What a mapping of the packet's source has inside: packet->inside. */
static __always_inline __u32 set_inside(struct packet *packet, const struct side *side, __u32 peer)
{
	struct flow_key *inside = &packet->inside;

	inside->src = packet->ip.src;
	inside->sport = packet->ports.src;
	inside->dst = (struct addr){};
	inside->dport = 0;
	inside->vpc = packet->vpc << 16 | peer;
	if (side->flags & SIDE_PER_DESTINATION) {
		inside->dst = packet->dst;
		inside->dport = packet->ports.dst;
	}
	return kind_of_flow(packet->ip.proto, packet->ip.family, RECORD_MAPPING);
}

/* The mapping of the packet's source, if there is one, gets one user more: packet->mapping. */
__noinline int find_mapping(struct packet *packet, __u32 side_slot, __u32 peer)
{
	struct side *side = side_at(side_slot);
	struct mapping *mapping;
	struct flow *record;
	__u32 found;

	if (!packet || !side)
		return V_INTERNAL;
	found = find_key(&packet->inside, set_inside(packet, side, peer));
	record = flow_at(found & FLOW_RECORD);
	mapping = mapping_at(found);
	if (!found || found >> 31 || !record || !mapping || !take_use(mapping, USERS_OVER))
		return 0;
	/* with a use of it, it can't become another's */
	if (phase_of(life_of(record)) == PHASE_LIVE && same_key(&record->keys[0], &packet->inside)) {
		if (mapping_fits(found, side_slot)) {
			packet->mapping = found & FLOW_RECORD;
			return 0;
		}
		end_record(record, life_of(record) >> 48);
	}
	drop_use(found & FLOW_RECORD);
	return 0;
}

static __always_inline void count_exhausted(const struct side *side)
{
	__u32 number = side->number;
	__u64 *refused = bpf_map_lookup_elem(&exhausted, &number);

	if (refused)
		++*refused;
}

/* A mapping that was looked for in vain is made, with one user: packet->mapping. 0 or a verdict. */
__noinline int make_mapping(struct packet *packet, __u32 side_slot)
{
	struct side *side = side_at(side_slot);
	struct search search = {};
	struct mapping *mapping;
	struct flow *record;
	__u32 found;
	__u64 host;

	if (!packet || !side)
		return V_INTERNAL;
	search.number = take_record(true);
	record = flow_at(search.number & FLOW_RECORD);
	mapping = mapping_at(search.number);
	if (!search.number || !record || !mapping)
		return V_FLOW_TABLE_FULL;
	record->proto = packet->ip.proto;
	record->family = packet->ip.family;
	record->kind = RECORD_MAPPING;
	record->keys[0] = packet->inside;
	record->keys[1].dst = packet->inside.dst;
	record->keys[1].dport = packet->inside.dport;
	record->keys[1].vpc = (packet->inside.vpc & 0xffff) * 0x10001; /* that no inside key has */
	mapping->users = 1;
	mapping->held_until = 0;
	mapping->usage = 0;
	mapping->per_destination = (side->flags & SIDE_PER_DESTINATION) != 0;
	bring_to_life(record, 0, 0, false);
	search.side = side_slot;
	search.own = packet->inside.sport;
	search.has_ports = (packet->ip.flags & (PORTS | ECHO_REQUEST)) != 0;
	search.size = side->pool_size[packet->ip.family & 1];
	if (search.size && side->port_count) {
		host = weigh(weigh(weigh(secret, packet->seed), packet->inside.src.hi), packet->inside.src.lo);
		search.home = host % search.size;
		host = weigh(host, (__u64)packet->ip.proto << 16 | search.own);
		host = weigh(weigh(host, packet->inside.dst.hi), packet->inside.dst.lo);
		search.start = weigh(host, packet->inside.dport) % side->port_count;
		bpf_loop(MOST_TRIES, try_one, &search, 0);
	}
	if (!search.found) {
		drop_use(search.usage);
		give_back(record, search.number, life_of(record));
		if (search.full)
			return V_FLOW_TABLE_FULL;
		count_exhausted(side);
		return search.has_ports ? V_NAT_EXHAUSTED : V_NAT_PROTOCOL;
	}
	mapping->usage = search.usage;
	found = enter_key(search.number, 0);
	packet->mapping = search.number;
	if (found) { /* another CPU was faster; or there is no room */
		end_record(record, life_of(record) >> 48);
		drop_use(search.number);
		mapping = mapping_at(found);
		if (found == NO_ROOM || found >> 31 || !mapping || !take_use(mapping, USERS_OVER))
			return V_FLOW_TABLE_FULL;
		packet->mapping = found & FLOW_RECORD;
	}
	return 0;
}
