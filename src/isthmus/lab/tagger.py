"""The tagger of a lab's fabric: loads ``bpf/tagger.bpf.c``, tells it the attachments, and reads what it counted.

Between the hosts' cables and the wires of the gateway's ports it puts tags on and takes them off, and drops what is
not exactly as the objects say. It is the lab's judge of what the packet path puts before packets.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from enum import IntEnum
from types import TracebackType
from typing import Final, Self

from isthmus.datapath.libbpf import BpfObject, attach_tcx, compiled
from isthmus.datapath.netns import inside
from isthmus.lab.plan import LabPlan
from isthmus.lab.wiring import Link
from isthmus.tables.address import BITS, Family, address_bytes
from isthmus.tables.entries import TagKind, Vtep

MOST_LABELS: Final = 4

_U32: Final = struct.Struct("=I")
_CABLE: Final = struct.Struct("=8I4II16s8s8s8s")
_KEY: Final = struct.Struct("=IIQQ")
_BEHIND: Final = struct.Struct("=III16s")
_REMOTE: Final = struct.Struct("=16s8s")
_CABLE_AND_FAMILY_BITS: Final = 64  # before the address, in the key of a longest-prefix match


class Kind(IntEnum):
    """Enum ``kind`` of the program."""

    UNTAGGED = 0
    VLAN = 1
    QINQ = 2
    VXLAN = 3
    MPLS = 4
    OWN_ADDRESS = 5
    HOST_MAC = 6


class Count(IntEnum):
    """Enum ``count`` of the program: what became of a frame. All from UNKNOWN_TAG on are faults of the gateway."""

    TO_GATEWAY = 0
    TO_HOSTS = 1
    TO_KERNEL = 2
    NOT_SENT = 3
    UNKNOWN_TAG = 4
    WRONG_TAG = 5
    WRONG_LABEL = 6
    WRONG_OUTER = 7
    WRONG_REMOTE = 8
    WRONG_MAC = 9
    NOT_IP = 10
    BROKEN = 11


FAULTS: Final = frozenset(count for count in Count if count >= Count.UNKNOWN_TAG)
"""What a right gateway never causes."""


class Tagger:
    """The programs, attached in the fabric of a lab for as long as this is open."""

    def __init__(self, plan: LabPlan) -> None:
        """Load and attach; ``BpfError`` where the kernel refuses. The fabric is furnished."""
        self._stack = ExitStack()
        links = [link for _, link in plan.links() if link.cable]
        try:
            self._object = self._stack.enter_context(BpfObject.open(compiled("tagger")))
            keys = sum(3 + len(link.addresses) for link in links)
            for name, entries in (("cables", len(links)), ("from", len(links)), ("to", keys)):
                self._object.resize(name, max(entries, 1))
            self._object.resize("remotes", max(sum(len(link.tunnels) for link in links), 1))
            self._object.load()
            with inside(plan.fabric):
                self._tell(plan, links)
                self._attach(plan, links)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Detach from everything."""
        self._stack.close()

    def counts(self) -> dict[Count, int]:
        """Frames since the load, by what became of them."""
        found = self._object.map("counts")
        return {each: int.from_bytes(found.lookup(_U32.pack(each)) or b"", "little") for each in Count}

    def _attach(self, plan: LabPlan, links: list[Link]) -> None:
        for program, interfaces in (
            ("from_gateway", [port.wire for port in plan.ports if port.wire]),
            ("from_hosts", [link.cable for link in links]),
        ):
            for interface in interfaces:
                index = socket.if_nametoindex(interface)
                self._stack.enter_context(attach_tcx(self._object.program(program), index))

    def _tell(self, plan: LabPlan, links: list[Link]) -> None:
        """Write the maps. Interface indexes are those of the fabric."""
        wires = {port.name: port for port in plan.ports}
        cables, hosts, to, remotes = (self._object.map(name) for name in ("cables", "from", "to", "remotes"))
        for number, link in enumerate(links):
            port = wires[link.port]
            wire, cable = (socket.if_nametoindex(name) for name in (port.wire, link.cable))
            cables.update(_U32.pack(number), _cable(link, wire, cable, port.wire_mac, plan.vtep))
            hosts.update(_U32.pack(cable), _U32.pack(number))
            for kind, first, second in _keys(link):
                to.update(_KEY.pack(wire, kind, first, second), _U32.pack(number))
            for key, value in _remotes(link, number):
                remotes.update(key, value)


def _cable(link: Link, wire: int, cable: int, wire_mac: str, vtep: Vtep | None) -> bytes:
    """``struct cable``."""
    tag = link.attachment.tag
    push = (*link.push, *([0] * (MOST_LABELS - len(link.push))))
    family, own = (vtep.family, address_bytes(vtep.family, vtep.address)) if vtep else (0, b"")
    numbers = (wire, cable, Kind[tag.kind.name], tag.outer, tag.inner, link.outer_type, link.uniform, len(link.push))
    return _CABLE.pack(*numbers, *push, family, own, *map(_mac, (link.host_mac, link.port_mac, wire_mac)))


def _keys(link: Link) -> Iterator[tuple[Kind, int, int]]:
    """By what the tagger knows that a frame on the wire is of this attachment (``struct key`` but for the wire)."""
    tag = link.attachment.tag
    match tag.kind:
        case TagKind.UNTAGGED:
            yield Kind.UNTAGGED, 0, 0
        case TagKind.VLAN | TagKind.QINQ:
            yield Kind[tag.kind.name], tag.outer, tag.inner
        case TagKind.VXLAN:
            yield Kind.VXLAN, tag.outer, 0
            yield Kind.VXLAN, 0, 0  # this is the wire of the VTEPs
        case TagKind.MPLS:
            first, second, third, fourth = (*link.push, *([0] * (MOST_LABELS - len(link.push))))
            yield Kind.MPLS, first << 32 | second, third << 32 | fourth
            yield Kind.HOST_MAC, int.from_bytes(_mac(link.host_mac), "big"), 0
            for _, address, _ in link.addresses:
                yield Kind.OWN_ADDRESS, address >> 64, address & (1 << 64) - 1


def _remotes(link: Link, number: int) -> Iterator[tuple[bytes, bytes]]:
    """The addresses behind each remote VTEP (``struct behind``), and the VTEP (``struct remote``)."""
    for prefix, _, tunnel in link.tunnels:
        if tunnel:
            length = _CABLE_AND_FAMILY_BITS + prefix.length
            yield (
                _BEHIND.pack(length, number, prefix.family, _raw(prefix.family, prefix.first)),
                _REMOTE.pack(_raw(tunnel.family, tunnel.vtep), tunnel.mac),
            )


def _raw(family: Family, address: int) -> bytes:
    """An address as in a packet, with zeros behind it up to 16 bytes."""
    return address_bytes(family, address).ljust(BITS[6] // 8, b"\0")


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
