"""The packet path of one network namespace: loaded, attached, given tables, asked for counters.

All calls are made inside the namespace that holds the ports, because the kernel resolves interface indices there.
The programs live as long as the ``PacketPath``: links are file descriptors.
"""

from __future__ import annotations

import errno
import secrets
import socket
import struct
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Literal, NamedTuple, Self

import numpy as np

from isthmus.datapath.adjacencies import Adjacencies
from isthmus.datapath.barrier import Barrier
from isthmus.datapath.bindings import Bindings, Hook, PortBinding
from isthmus.datapath.conversations import (
    MOST_VPCS,
    QUARANTINE_TICKS,
    SIZED_BY_FLOWS,
    Conversations,
    size_flows,
)
from isthmus.datapath.dump import Ids, Reader
from isthmus.datapath.fib.blocks import Blocks
from isthmus.datapath.fib.epoch import LEAST_S, Epoch
from isthmus.datapath.fib.groups import HOPS, ROUTES, Groups, Marks
from isthmus.datapath.learned import LearnedRoutes, LearnedTable
from isthmus.datapath.libbpf import (
    BpfError,
    BpfLink,
    BpfObject,
    RingBuffer,
    attach_tcx,
    attach_xdp,
    compiled,
    possible_cpus,
    struct_layout,
    struct_size,
)
from isthmus.datapath.neighbours import Neighbours, known
from isthmus.datapath.numbers import Names
from isthmus.datapath.offloads import leave_tags_in_frames
from isthmus.datapath.pack import Exit, NextHopKey, Numbers, Packer, remembering
from isthmus.datapath.roots import Roots
from isthmus.datapath.store import Table
from isthmus.tables.address import Family
from isthmus.tables.entries import AttachmentKey, NextHop, SideKey, Tables
from isthmus.tables.layout import LINK_UNDERLAY, RECORDS
from isthmus.tables.learned import Down
from isthmus.tables.verdicts import Verdict

_U32 = struct.Struct("<I")
_EXIT_STRIDE = -(-RECORDS["exit"].size // 8) * 8
_MASK32 = 0xFFFFFFFF

Clock = Literal["kernel", "manual"]

TABLES = {
    "nodes": "node",
    "candidates": "candidate",
    "sides": "side",
    "ranges": "range",
    "rules": "rule",
    "rule_indexes": "rule_index",
    "cuts": "cut",
    "routes": "route",
    "hops": "hop",
    "attachments": "attachment",
    "port_ranges": "port_range",
}
"""Tables in the store, and the record each holds."""

HOOKS: Mapping[str, frozenset[Hook]] = {
    "gateway_xdp": frozenset({"xdp", "generic"}),
    "gateway_tc": frozenset({"tc"}),
}
"""Programs, and the hooks that each is for."""

TWICE = ("vpcs", "interfaces", "classes", "owners")
"""Root tables: once for each generation."""

ABOVE = {"routes": ROUTES, "hops": HOPS}
"""Records of learned routes stand above those of the configuration, in the same table."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Entries of each table; memory is taken at load. The defaults hold 10,000 peerings in about 100 MB, and 4 million
    conversations, each with a mapping of its own, in 1.3 GB: 320 bytes a flow. ``fragments``: packets that are in
    pieces on their way at once. ``chunks``: of 256 KB each, that learned routes may take when they need them."""

    vpcs: int = 4096
    nodes: int = 65536
    candidates: int = 524288
    sides: int = 65536
    ranges: int = 131072
    rules: int = 131072
    rule_indexes: int = 65536
    cuts: int = 131072
    routes: int = 131072
    hops: int = 65536
    attachments: int = 8192
    classes: int = 16384
    owners: int = 16384
    interfaces: int = 16384
    adjacencies: int = 65536
    neighbours: int = 262144
    ports: int = 4096
    port_ranges: int = 65536
    flows: int = 1 << 22
    fragments: int = 65536
    chunks: int = 16384


class Outcome(NamedTuple):
    """What became of one packet under ``run``: ``frame`` as it left, on ``ifindex`` (0: nowhere)."""

    verdict: Verdict
    frame: bytes
    ifindex: int
    peering: str | None
    answered: bool


class Wanted(NamedTuple):
    """A next hop that packets wanted and whose MAC address nobody knew."""

    attachment: AttachmentKey
    family: Family
    address: int


class WantedTunnel(NamedTuple):
    """A remote VTEP (left-aligned address) that packets wanted and that no way is known to."""

    family: Family
    vtep: int


class PacketPath:
    """The BPF programs and their tables. ``apply`` puts new tables beside the old ones and flips one word."""

    def __init__(self, loaded: BpfObject, capacity: Capacity, clock: Clock) -> None:
        self._object = loaded
        self._capacity = capacity
        self._links: dict[int, BpfLink] = {}
        self._roots = Roots(loaded, capacity.vpcs, capacity.interfaces)
        self._control = loaded.map("controls").mmap()
        self._traces = loaded.map("traces").mmap()
        self._generation = 0
        self._store = {name: self._table(name) for name in TABLES}
        self._vpc_names = Names("VPCs", capacity.vpcs)
        self._peering_names = Names("peerings", 1 << 31)
        self._links_of = Names("attachments", capacity.attachments)
        self._adjacencies = Adjacencies(loaded, capacity.adjacencies)
        self._exits = loaded.map("exits").mmap()
        self._ports = Names("ports", capacity.ports - 1)
        self._neighbours = Neighbours(loaded.map("neighbours"), capacity.neighbours // 4)
        self._side_numbers = Names("sides", capacity.sides)
        self._numbers = Numbers({}, {}, {}, {}, {}, set(), {})
        self._conversations = Conversations(loaded, self._vpc_names.name, self._peering_names.name)
        self._wanted: list[bytes] = []
        self._ring = RingBuffer(loaded.map("wanted"), self._wanted.append)
        self._barrier = Barrier()
        self._packer: Packer | None = None
        self._epoch = Epoch(self._control, least_s=LEAST_S if clock == "kernel" else 0)
        self._marks = Marks(self._store["routes"], self._store["hops"])
        groups = Groups(self._store["routes"], self._store["hops"], self._marks, self._learned_hop)
        fibs = np.frombuffer(loaded.map("fibs").mmap(), np.uint64)
        blocks = Blocks(loaded.map("chunks"), self._barrier.wait)
        self._learned = LearnedRoutes(blocks, groups, fibs, self._barrier.wait, self._epoch.move, self._leave)

    @classmethod
    def load(
        cls,
        *,
        capacity: Capacity | None = None,
        record: bool = False,
        icmp_rate: int = 100,
        clock: Clock = "kernel",
        secret: int | None = None,
        hooks: Collection[Hook] = ("xdp", "generic", "tc"),
    ) -> PacketPath:
        """Load the programs. ``record``: note the end of every packet, for ``run``. ``icmp_rate``: answers a second for
        each attachment and CPU, 0 for all. ``clock``: who tells flows the time and sweeps, the kernel or the caller
        (``set_now``, ``sweep``). ``secret``: of hashes, 64 bits, random where none is given. ``hooks``: those that may
        be used; the kernel takes most of a second to verify the program of another.
        Raises ``BpfError``, also where the C layouts differ from ours."""
        room = capacity or Capacity()
        if room.vpcs > MOST_VPCS:
            raise ValueError(f"keys of mappings have room for {MOST_VPCS} VPCs, not {room.vpcs}")
        loaded = BpfObject.open(compiled("gateway"))
        try:
            _check_layouts(loaded)
            for program, served in HOOKS.items():
                if served.isdisjoint(hooks):
                    loaded.leave_out(program)
            loaded.set_rodata("vpc_capacity", _U32.pack(room.vpcs))
            loaded.set_rodata("route_capacity", _U32.pack(room.routes))
            loaded.set_rodata("icmp_rate", _U32.pack(icmp_rate))
            loaded.set_rodata("recording", bytes([record]))
            loaded.set_rodata("interface_capacity", _U32.pack(room.interfaces))
            for item in fields(room):
                if item.name not in SIZED_BY_FLOWS:
                    entries = getattr(room, item.name)
                    loaded.resize(item.name, 2 * entries if item.name in TWICE else entries + ABOVE.get(item.name, 0))
            loaded.resize("fibs", 2 * room.vpcs)
            size_flows(loaded, room.flows, room.fragments, room.sides)
            loaded.set_rodata("quarantine", _U32.pack(QUARANTINE_TICKS if clock == "kernel" else 0))
            loaded.set_rodata("secret", (secrets.randbits(64) if secret is None else secret).to_bytes(8, sys.byteorder))
            loaded.resize("payloads", possible_cpus())
            loaded.resize("answer_times", room.attachments)
            loaded.resize("exits", room.ports)
            loaded.load()
            made = cls(loaded, room, clock)
            if clock == "kernel":
                made._conversations.start_clock()
            return made
        except BaseException:
            loaded.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Detach from every port and free the tables."""
        for link in self._links.values():
            link.close()
        self._links.clear()
        self._ring.close()
        self._learned.close()
        self._barrier.close()
        self._object.close()

    def attach(self, ifindex: int, hook: Hook) -> None:
        """Judge what enters on a port: natively in the driver, by generic XDP, or at TC ingress.

        Raises ``BpfError``, also where an XDP program could not see the VLAN tags of frames."""
        self.detach(ifindex)
        if hook == "tc":
            self._links[ifindex] = attach_tcx(self._object.program("gateway_tc"), ifindex)
        else:
            mode: Literal["native", "generic"] = "native" if hook == "xdp" else "generic"
            try:
                leave_tags_in_frames(socket.if_indextoname(ifindex))
            except OSError as error:
                raise BpfError(error.errno, f"attach by XDP: {error.strerror}; use the hook tc") from error
            self._links[ifindex] = attach_xdp(self._object.program("gateway_xdp"), ifindex, mode)

    def detach(self, ifindex: int) -> None:
        """Leave a port alone again."""
        link = self._links.pop(ifindex, None)
        if link is not None:
            link.close()

    def apply(self, tables: Tables, bindings: Bindings, *, judge_flows: bool = True) -> None:
        """Make these the tables. Packets see the old ones or the new, never a mixture; after an error the old ones.

        Flows that they do not permit are over when this returns. Without ``judge_flows`` a flow is judged by its next
        packet, or the next sweep."""
        for table in self._store.values():
            table.begin()
        fresh = self._generation + 1 & _MASK32
        try:
            numbers = self._number(tables, bindings)
            packer = Packer(self._store, numbers)
            packed = packer.pack(tables)
            self._mark(packer)
            self._roots.write(fresh & 1, tables, bindings, numbers, packed)
            self._barrier.wait()  # also orders what was written before the flip on machines that may not
        except BaseException:
            for table in self._store.values():
                table.roll_back()
            self._keep(self._numbers, vpcs=False)  # flows may know a number that nothing has any more
            raise
        for table in self._store.values():
            table.commit()
        self._epoch.flip(fresh)
        self._generation, self._numbers, self._packer = fresh, numbers, packer
        self._learned.keep(numbers.vpcs.values())
        if self._learned.groups.rewrite(self._learned.groups.repack(self._learned_hop)):
            self._epoch.flip(fresh)  # flows judged since the last flip knew the hops as they were
        self._barrier.wait()
        self._roots.clear(1 - (fresh & 1))
        for table in self._store.values():
            table.release()
        if judge_flows:
            self._conversations.sweep()
        self._keep(numbers, vpcs=judge_flows)

    def _keep(self, numbers: Numbers, *, vpcs: bool = True) -> None:
        """Free the numbers of names that nothing has any more, and forget the neighbours of links that are gone.

        Those of VPCs only when no flow can be left that knows the number."""
        for key, link in self._links_of.items():
            if key not in numbers.exits:
                self._neighbours.forget(link)
        if vpcs:
            self._vpc_names.keep(numbers.vpcs)
            self._peering_names.keep(numbers.peerings)
        for side, number in self._side_numbers.items():
            if side not in numbers.sides:  # what is counted is not for whoever gets the number next
                self._object.map("exhausted").update(_U32.pack(number), bytes(8 * possible_cpus()))
        self._side_numbers.keep(numbers.sides)
        self._links_of.keep(numbers.exits)
        self._adjacencies.keep(numbers.adjacencies, numbers.exits)
        ports = {index for leave in numbers.exits.values() for index in (leave.ifindex, leave.namespace_ifindex)}
        ports |= numbers.ports.keys()
        for ifindex, slot in self._ports.items():
            if ifindex not in ports:
                self._adjacencies.forget_port(slot + 1)
                self._object.map("ports").delete(_U32.pack(slot + 1))
        self._ports.keep(ports)

    def set_neighbor(self, key: AttachmentKey, family: Family, address: int, mac: bytes | None) -> bool:
        """The MAC address of a next hop (left-aligned address) on an attachment, or None: not known any more.

        False where it could not be noted: the attachment is not in the tables, or has its share of the table already.
        A router that is a next hop has a place of its own and is always noted."""
        if key not in self._links_of:
            return False
        entry = known(mac)
        self._adjacencies.set_router(NextHopKey(key, family, address), entry)
        return self._neighbours.put(self._links_of.number(key), family, address, entry if mac is not None else None)

    def set_tunnel(self, family: Family, vtep: int, ifindex: int | None, mac: bytes | None) -> bool:
        """The kernel's way to a remote VTEP (left-aligned address): the port, and the MAC of the next hop there.
        None for either: not known any more.

        False where it could not be noted: no route of the tables leads to the VTEP, or the port is none of the
        ``Bindings``."""
        if ifindex is None or mac is None:
            return self._adjacencies.set_tunnel(family, vtep, bytes(6), 0)
        slot = self._numbers.ports.get(ifindex)
        return slot is not None and self._adjacencies.set_tunnel(family, vtep, mac, slot)

    def learned(self, vpc: str) -> LearnedTable:
        """What a VPC has learned: a table that changes in place. KeyError: the tables have no such VPC."""
        return self._learned.table(self._numbers.vpcs[vpc])

    def set_down(self, down: Collection[Down]) -> None:
        """All that is down: attachments whose port has no link, and BGP neighbours that are lost.

        No packet takes a route whose next hops are all down; flows that did are judged again."""
        self._marks.down = frozenset(down)
        if self._packer:
            self._mark(self._packer, always=True)
        self._learned.groups.mark()
        self._epoch.move()

    def settle(self) -> float | None:
        """Have flows judged again, where that was put off: seconds until it is time to call this, None: never."""
        return self._epoch.settle()

    def _leave(self) -> None:
        """Return when no packet is on a way that no table leads to; flows are judged before they go on."""
        self._epoch.flip(self._generation)
        self._barrier.wait()

    def _mark(self, packer: Packer, *, always: bool = False) -> None:
        if always or self._marks.down:
            routes, firsts = np.array([*packer.led.items()], np.int64).reshape(-1, 2).T
            self._marks.mark(packer.ways.values(), routes, firsts)

    def _learned_hop(self, family: Family, hop: NextHop) -> bytes | None:
        if self._packer is None:
            return None
        return self._packer.hop(family, hop, lambda key: self._adjacencies.learn(key, self._links_of, self._neighbours))

    def counters(self) -> dict[Verdict, int]:
        """Packets by verdict since the load, all CPUs together."""
        found = self._object.map("counters")
        return {
            verdict: sum(int.from_bytes(each, "little") for each in found.lookup_percpu(_U32.pack(verdict)))
            for verdict in Verdict
        }

    @property
    def event_fd(self) -> int:
        """Readable when ``poll`` has something."""
        return self._ring.fd

    def poll(self, timeout_ms: int = 0) -> list[Wanted | WantedTunnel]:
        """Next hops to resolve, each once: on an attachment, or to the VTEP at the end of a tunnel."""
        self._ring.poll(timeout_ms)
        raw, self._wanted[:] = dict.fromkeys(self._wanted), []
        found: list[Wanted | WantedTunnel] = []
        for entry in raw:
            high, low, link, six = RECORDS["neighbour_key"].unpack(entry)
            family: Family = 6 if six else 4
            key = self._links_of.name(link)
            if link == LINK_UNDERLAY:
                found.append(WantedTunnel(family, high << 64 | low))
            elif isinstance(key, AttachmentKey):
                found.append(Wanted(key, family, high << 64 | low))
        return found

    def run(self, frame: bytes, ifindex: int, hook: Hook) -> Outcome:
        """Judge one frame as if it had entered on ``ifindex``, by BPF_PROG_TEST_RUN; needs ``record`` at load."""
        if hook == "tc":
            result = self._object.program("gateway_tc").test_run(frame, ctx=_skb_context(ifindex))
        else:
            result = self._object.program("gateway_xdp").test_run(frame, ctx=_xdp_context(ifindex, len(frame)))
        verdict, out, peering, answered = RECORDS["trace_record"].unpack(self._traces[:16])
        name = self._peering_names.name(peering - 1) if peering else None
        return Outcome(Verdict(verdict), result.data_out, out, None if name is None else str(name), bool(answered))

    def written(self) -> int:
        """Records that the last ``apply`` wrote."""
        return sum(table.written for table in self._store.values())

    def dump(self) -> dict[str, object]:
        """The tables that packets see now, in canonical form: equal tables give equal dumps. By VPC name."""
        ids = Ids(self._vpc_names.name, self._peering_names.name, self._links_of.name, self._side_numbers.name)
        reader = Reader(self._store, ids)
        return {
            str(name): reader.vpc(self._roots.vpc(self._generation & 1, number))
            | {"learned": self._learned.dump(number, reader.route)}
            for name, number in self._vpc_names.items()
            if name in self._numbers.vpcs
        }

    @property
    def conversations(self) -> Conversations:
        """The flows, and what is known of them."""
        return self._conversations

    def exhausted(self) -> dict[SideKey, int]:
        """Packets since the load that found the pool of a side exhausted; sides without such are left out."""
        table = self._object.map("exhausted")
        found: dict[SideKey, int] = {}
        for key, number in self._side_numbers.items():
            count = sum(int.from_bytes(each, "little") for each in table.lookup_percpu(_U32.pack(number)))
            if count and isinstance(key, SideKey):
                found[key] = count
        return found

    def _table(self, name: str) -> Table:
        return Table(name, RECORDS[TABLES[name]], getattr(self._capacity, name), self._object.map(name).mmap())

    def _number(self, tables: Tables, bindings: Bindings) -> Numbers:
        exits = {
            attachment.key: self._exit(attachment.key, bindings)
            for vpc in tables.vpcs.values()
            for attachment in vpc.attachments
        }
        return Numbers(
            {name: self._vpc_names.number(name) for name in tables.vpcs},
            {key.peering: self._peering_names.number(key.peering) for key in tables.sides},
            exits,
            self._adjacencies.number(tables, self._links_of, self._neighbours),
            {key: self._side_numbers.number(key) for key in tables.sides},
            remembering(tables) | (set(self._numbers.remembering) & tables.vpcs.keys()),
            {port.ifindex: self._port(port) for port in bindings.ports.values()},
            self._vtep(tables, bindings),
        )

    def _vtep(self, tables: Tables, bindings: Bindings) -> Exit | None:
        port = bindings.ports.get(tables.vtep.interface) if tables.vtep else None
        return Exit(0, port.ifindex, self._port(port), port.mac, port.mtu) if port else None

    def _exit(self, key: AttachmentKey, bindings: Bindings) -> Exit:
        port, namespace = bindings.ports.get(key.interface), bindings.namespaces.get(key)
        return Exit(
            self._links_of.number(key),
            port.ifindex if port else 0,
            self._port(port) if port else 0,
            port.mac if port else bytes(6),
            port.mtu if port else 0,
            namespace.ifindex if namespace else 0,
            self._port(namespace) if namespace else 0,
        )

    def _port(self, port: PortBinding) -> int:
        slot = self._ports.number(port.ifindex) + 1  # slot 0 stays empty: it is where "no port" points
        self._object.map("ports").update(_U32.pack(slot), _U32.pack(port.ifindex))
        record = RECORDS["exit"].pack(port.ifindex, *port.mac, 0)
        self._exits[_EXIT_STRIDE * slot : _EXIT_STRIDE * slot + len(record)] = record
        return slot


def _check_layouts(loaded: BpfObject) -> None:
    for record in RECORDS.values():
        theirs, size = struct_layout(loaded, record.name), struct_size(loaded, record.name)
        if theirs != record.layout or size != record.size:
            raise BpfError(
                errno.EINVAL, f"struct {record.name} in the BPF object is not that of isthmus.tables: run scripts/setup"
            )


def _xdp_context(ifindex: int, length: int) -> bytes:
    """struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex."""
    return struct.pack("<6I", 0, length, 0, ifindex, 0, 0)


def _skb_context(ifindex: int) -> bytes:
    """struct __sk_buff as far as ifindex: it is the device that the packet is taken to have entered on."""
    head = [0] * 11
    head[9], head[10] = ifindex, ifindex
    return struct.pack("<11I", *head) + bytes(192 - 44)
