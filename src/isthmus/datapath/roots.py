"""The root tables, which exist twice: VPCs by number, and whose packet it is by port and tag."""

from __future__ import annotations

from isthmus.datapath.bindings import Bindings
from isthmus.datapath.libbpf import BpfObject
from isthmus.datapath.pack import Numbers, Packed
from isthmus.tables.entries import Attachment, Tables, TagKind
from isthmus.tables.layout import FLAGS, RECORDS, ROLES

_MASK64 = (1 << 64) - 1
_STRIDE = -(-RECORDS["classified"].size // 8) * 8


class Roots:
    """Writes the roots of the generation that no packet reads yet, and clears those of the last."""

    def __init__(self, loaded: BpfObject, vpcs: int, interfaces: int) -> None:
        self._vpcs = loaded.map("vpcs").mmap()
        self._interfaces = loaded.map("interfaces").mmap()
        self._classes = loaded.map("classes")
        self._owners = loaded.map("owners")
        self._vpc_capacity, self._interface_capacity = vpcs, interfaces
        self._keys: list[set[bytes]] = [set(), set()]
        self._owned: list[set[bytes]] = [set(), set()]

    def write(self, generation: int, tables: Tables, bindings: Bindings, numbers: Numbers, packed: Packed) -> None:
        """All roots of a generation, and nothing that an attempt before may have left of it."""
        self.clear(generation)
        self._write_vpcs(generation, packed)
        self._write_classes(generation, tables, bindings, numbers, packed)

    def clear(self, generation: int) -> None:
        """Take back who claims what; no packet may read this generation any more."""
        for key in self._keys[generation]:
            self._classes.delete(key)
        self._keys[generation] = set()
        for key in self._owned[generation]:
            self._owners.delete(key)
        self._owned[generation] = set()
        size = self._interface_capacity * _STRIDE
        self._interfaces[generation * size : (generation + 1) * size] = bytes(size)

    def vpc(self, generation: int, number: int) -> bytes:
        """The root record of a VPC."""
        size = RECORDS["vpc"].size
        at = (generation * self._vpc_capacity + number) * size
        return self._vpcs[at : at + size]

    def _write_vpcs(self, generation: int, packed: Packed) -> None:
        size = RECORDS["vpc"].size
        base = generation * self._vpc_capacity
        self._vpcs[base * size : (base + self._vpc_capacity) * size] = bytes(size * self._vpc_capacity)
        for number, record in packed.vpcs.items():
            at = (base + number) * size
            self._vpcs[at : at + size] = record

    def _write_classes(
        self, generation: int, tables: Tables, bindings: Bindings, numbers: Numbers, packed: Packed
    ) -> None:
        for name, vpc in tables.vpcs.items():
            for attachment in vpc.attachments:
                key, slot = attachment.key, packed.attachments[attachment.key]
                leave = numbers.exits[key]
                if leave.ifindex:
                    self._claim(generation, leave.ifindex, key.tag, numbers.vpcs[name], slot, ROLES["WIRE"])
                    if key.tag.kind is TagKind.MPLS:
                        self._own(generation, leave.ifindex, attachment, numbers.vpcs[name], slot)
                if leave.namespace_ifindex:
                    self._claim(
                        generation, leave.namespace_ifindex, (0, 0, 0), numbers.vpcs[name], slot, ROLES["NAMESPACE"]
                    )
        if packed.vtep and numbers.vtep:
            self._claim(generation, numbers.vtep.ifindex, (0, 0, 0), 0, packed.vtep, ROLES["VTEP"])
        for interface, policy in tables.ports.items():
            port = bindings.ports.get(interface)
            if port and policy.unclaimed == "pass":
                self._claim(generation, port.ifindex, (FLAGS["TAG_ANY"], 0, 0), 0, 0, ROLES["UNCLAIMED"])

    def _own(self, generation: int, ifindex: int, attachment: Attachment, vpc: int, slot: int) -> None:
        """The addresses that untagged ARP and ND of an MPLS attachment are about; of two equal ones the first."""
        value = RECORDS["classified"].pack(vpc, slot, ROLES["WIRE"])
        for family, address, _ in attachment.addresses:
            key = RECORDS["owner_key"].pack(address >> 64, address & _MASK64, ifindex, generation, int(family == 6))
            if key not in self._owned[generation]:
                self._owners.update(key, value)
                self._owned[generation].add(key)

    def _claim(
        self, generation: int, ifindex: int, tag: tuple[TagKind | int, int, int], vpc: int, attachment: int, role: int
    ) -> None:
        value = RECORDS["classified"].pack(vpc, attachment, role)
        if not any(tag) and ifindex < self._interface_capacity:
            at = (generation * self._interface_capacity + ifindex) * _STRIDE
            self._interfaces[at : at + len(value)] = value
            return
        key = RECORDS["classify_key"].pack(ifindex, generation, *tag)
        self._classes.update(key, value)
        self._keys[generation].add(key)
