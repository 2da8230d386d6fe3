"""Mappings of stateful NAT: which public address and port a private one has toward a peer.

Paired pooling (a host keeps one address while that has ports), port preservation where the port is free, and a search
whose order depends on a secret and on who asks, so that it ends soon and nobody else can foresee it (RFC 6056).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice

from isthmus.tables.address import step
from isthmus.tables.entries import Pool
from isthmus.tables.flows import HOLD_DOWN_S, MOST_EACH, MOST_POOL, MOST_TRIES, port_stride, ticks
from isthmus.tables.share import address_words, stable_id, weight
from isthmus.tables.verdicts import Verdict
from isthmus.trace.flows.pools import count, holds, nth
from isthmus.trace.flows.records import Mapping, PrivateKey, PublicKey
from isthmus.trace.flows.room import Room
from isthmus.trace.packet import ICMP_PROTO, TCP, UDP


@dataclass(slots=True)
class Mappings:
    """All mappings, and those that are not over by each of their keys.

    ``usage`` counts the mappings of an address, a PublicKey with port 0, and takes a record for each.
    """

    room: Room
    secret: int
    private: dict[PrivateKey, Mapping] = field(default_factory=dict)
    public: dict[PublicKey, Mapping] = field(default_factory=dict)
    usage: Counter[PublicKey] = field(default_factory=Counter)
    _records: list[Mapping] = field(default_factory=list)

    def ask(self, private: PrivateKey, pool: Pool) -> Mapping | Verdict:
        """The mapping that there is, if the pool still allows it, or a new one; why there is none."""
        found = self.private.get(private)
        if found is not None:
            if allows(pool, found.public):
                return found
            self._end(found)
        if not self.room.take():
            return Verdict.FLOW_TABLE_FULL
        public = self._search(private, pool)
        if public is None or not self._count(public):
            self.room.give_back()
            if public is not None:
                return Verdict.FLOW_TABLE_FULL
            return Verdict.NAT_EXHAUSTED if has_ports(private) else Verdict.NAT_PROTOCOL
        made = self.private[private] = self.public[public] = Mapping(private, public)
        self._records.append(made)
        return made

    def give_back(self, mapping: Mapping, now: int) -> None:
        """One flow less; the port of a TCP mapping without flows is held for a while (RFC 6888 REQ-8)."""
        mapping.flows -= 1
        if not mapping.flows and mapping.public.proto == TCP:
            mapping.deadline = now + ticks(HOLD_DOWN_S)

    def sweep(self, now: int, vpcs: Collection[str]) -> None:
        """Mappings that no flow needs go, and the counts of addresses that have none. What was of a VPC that is gone
        is nobody's, and its port is held all the same, but toward a peer that is gone."""
        for mapping in self._records:
            held = now < mapping.deadline and mapping.private.peer in vpcs
            gone = mapping.private.vpc not in vpcs
            if not mapping.over and (gone or not (mapping.flows or held)):
                self._end(mapping)
            if mapping.over and not mapping.flows and not held:
                mapping.freed = True
                del self.public[mapping.public]
                if has_ports(mapping.public):
                    self.usage[_address(mapping.public)] -= 1
        self._records, before = [one for one in self._records if not one.freed], self._records
        unused = [address for address, used in self.usage.items() if not used]
        for address in unused:
            del self.usage[address]
        self.room.give_back(len(before) - len(self._records) + len(unused))

    def _end(self, mapping: Mapping) -> None:
        """Nobody gets it any more; the port is its own as long as a flow uses it."""
        mapping.over = True
        del self.private[mapping.private]

    def _count(self, public: PublicKey) -> bool:
        """One mapping more of an address; False: it had none, and there is no record to count them."""
        address = _address(public)
        if has_ports(public):
            if address not in self.usage and not self.room.take():
                return False
            self.usage[address] += 1
        return True

    def _search(self, private: PrivateKey, pool: Pool) -> PublicKey | None:
        for public in islice(self._tries(private, pool), MOST_TRIES):
            if public is not None and public not in self.public:
                return public
        return None

    def _tries(self, private: PrivateKey, pool: Pool) -> Iterator[PublicKey | None]:
        """What is looked at, in order; None: a look that could not have found anything."""
        addresses, unit = pool.addresses.get(private.family, ()), step(private.family)
        known, size = min(count(addresses, unit), MOST_POOL), count(pool.ports)
        remote, remote_port = private.remote or (0, 0)
        host = weight(self.secret, stable_id(private.vpc), *address_words(private.address))
        start = weight(host, private.proto << 16 | private.port, *address_words(remote), remote_port)
        stride = port_stride(size)
        for i in range(min(known, MOST_EACH)):
            address = nth(addresses, (host + i) % known, unit)
            bare = PublicKey(private.peer, private.family, private.proto, address, 0, private.remote)
            if not has_ports(private):
                yield bare
                continue
            yield None
            if self.usage[bare] >= size:
                continue
            yield bare._replace(port=private.port) if holds(pool.ports, private.port) else None
            for j in range(min(size, MOST_EACH)):
                yield bare._replace(port=nth(pool.ports, (start + j * stride) % size))


def has_ports(key: PrivateKey | PublicKey) -> bool:
    """True for TCP, UDP and the family's own ICMP, whose identifiers are translated like ports."""
    return key.proto in (TCP, UDP, ICMP_PROTO[key.family])


def allows(pool: Pool, public: PublicKey) -> bool:
    """True if the pool has the address and, where there are ports, the port."""
    if (public.remote is not None) != pool.per_destination:
        return False  # made when ports were given otherwise: a port would have two owners
    if not holds(pool.addresses.get(public.family, ()), public.address):
        return False
    return holds(pool.ports, public.port) or not has_ports(public)


def _address(public: PublicKey) -> PublicKey:
    return public._replace(port=0)
