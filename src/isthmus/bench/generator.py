"""Sends packets into a gateway and counts what comes out of it: all in the kernel, on one CPU.

``bpf/bench.bpf.c`` writes each frame anew and sends it over a veth (XDP_TX of a live test run); an XDP program at the
far end counts. In between only the subject works, so packets that arrived, by the time until the last one did, is its
speed.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Network
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from isthmus.bench import BenchError
from isthmus.bench.configuration import Conversation, Traffic
from isthmus.bench.subject import Arrival
from isthmus.bench.tags import DATAGRAM_BYTES, checksum
from isthmus.bench.topology import Port, Topology
from isthmus.datapath.libbpf import BpfObject, BpfProgram, attach_xdp, compiled, possible_cpus
from isthmus.datapath.netns import inside

SENT_TTL: Final = 64

_BATCH: Final = 64  # frames made at once: the ring of a veth holds 256
_CLOCK_EVERY: Final = 64  # CLOCK_EVERY: the sink's time of arrival is that of a multiple of it
_DISCARD: Final = 9  # the destination port
_IPV4, _UDP = struct.Struct("!BBHHHBBH4s4s"), struct.Struct("!HHHH")
_UDP_BYTES: Final = DATAGRAM_BYTES - _IPV4.size
_HEADER: Final = _IPV4.pack(0x45, 0, DATAGRAM_BYTES, 0, 0x4000, SENT_TTL, 17, 0, bytes(4), bytes(4))
_DESTINATION: Final = np.dtype(  # struct destination
    [("source", ">u4"), ("address", ">u4"), ("ip", ">u2"), ("udp", ">u2"), ("port", "=u2"), ("pad", "=u2")]
)
_ARRIVALS: Final = struct.Struct("=4Q")  # struct arrivals
_ZERO: Final = struct.pack("=I", 0)
_MOST_HEAD: Final = 84  # MOST_HEAD: bytes
_MOST_FRAME: Final = _MOST_HEAD + DATAGRAM_BYTES
_PATIENCE: Final = 0.05  # seconds without an arrival after which the rest counts as lost


class Burst(NamedTuple):
    """What became of one burst."""

    sent: int
    arrived: int  # with the addresses that the subject had to give them
    damaged: int  # of these, with a bad checksum, TTL, tag or length; 0 unless verified
    other: int  # anything else that reached the sink
    seconds: float  # from the first packet made to the last one arrived
    ended: int  # when that was: nanoseconds of CLOCK_MONOTONIC, good to 64 packets

    @property
    def rate(self) -> float:
        """Packets that arrived, a second; 0 where too few did to tell."""
        return self.arrived / self.seconds if self.seconds else 0.0


class Generator:
    """The programs at both ends of one topology. A context manager that detaches them."""

    def __init__(self, topology: Topology, traffic: Traffic, arrival: Arrival) -> None:
        self.flows = traffic.flows
        self._topology = topology
        self._in_turn = traffic.in_turn
        head = traffic.tag.entering(_mac(topology.input), _mac(topology.source_port), SENT_TTL)
        self._frame = template(head)
        with ExitStack() as stack:
            obj = stack.enter_context(BpfObject.open(compiled("bench")))
            constants = {
                "template": self._frame.ljust(_MOST_FRAME, b"\0")[: _MOST_FRAME // 8 * 8],
                "head_bytes": struct.pack("=I", len(head)),
                "destination_count": struct.pack("=I", len(traffic.conversations)),
                "port_count": struct.pack("=I", traffic.ports),
                "expected_ttl": bytes([arrival.ttl]),
                **_expected_head(arrival),
                **_expected("source", arrival.source),
                **_expected("address", arrival.destination),
            }
            for name, value in constants.items():
                obj.set_rodata(name, value)
            obj.resize("destinations", len(traffic.conversations))
            obj.load()
            packed = destinations(traffic.conversations)
            keys = np.arange(len(packed), dtype="=u4")
            obj.map("destinations").update_batch(keys.tobytes(), packed.tobytes(), len(packed))
            self._arrived = obj.map("arrived")
            self._started = _variable(obj, "started_ns", "Q")
            self._next = [_variable(obj, name, "I") for name in ("next_destination", "next_port")]
            self._generate, self._in_order = obj.program("generate"), obj.program("generate_in_order")
            self._verify, self._sink = obj.program("verify"), obj.program("sink")
            with inside(topology.sink):
                self._link = stack.enter_context(attach_xdp(self._sink, topology.sink_port.ifindex))
            self._undo = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Detach the sink and free the programs."""
        self._undo.close()

    def burst(self, packets: int) -> Burst:
        """Send so many packets, up to a multiple of 64, as fast as this CPU can, and wait for them: each of any
        conversation, at random; or of the next ones, where the traffic is sent in turn."""
        return self._send(self._in_order if self._in_turn else self._generate, packets)

    def in_order(self, packets: int) -> Burst:
        """As ``burst``, but the first conversation first, then the next; after the last comes the first again."""
        for variable in self._next:
            variable[0] = 0
        return self._send(self._in_order, packets)

    def _send(self, program: BpfProgram, packets: int) -> Burst:
        packets = -(-packets // _CLOCK_EVERY) * _CLOCK_EVERY
        context = struct.pack("=6I", 0, len(self._frame), 0, self._topology.source_port.ifindex, 0, 0)  # struct xdp_md
        self._clear()
        with inside(self._topology.source):
            program.run_live(self._frame, context, repeat=packets, batch_size=_BATCH)
        changed, now = time.perf_counter(), self._count()
        while now[0] < packets and time.perf_counter() - changed < _PATIENCE:
            earlier, now = now, self._count()
            if now != earlier:
                changed = time.perf_counter()
        arrived, damaged, other, last = now
        return Burst(packets, arrived, damaged, other, max(last - self._started[0], 0) * 1e-9, last)

    def verify(self, packets: int) -> Burst:
        """As ``burst``, with checksums, TTL, tag and length looked at: for truth, not for speed."""
        self._link.update(self._verify)
        try:
            return self.burst(packets)
        finally:
            self._link.update(self._sink)

    def _clear(self) -> None:
        self._started[0] = 0
        self._arrived.update(_ZERO, bytes(_ARRIVALS.size * possible_cpus()))

    def _count(self) -> tuple[int, int, int, int]:
        """Sums over all CPUs, and the last time on any."""
        cpus = [_ARRIVALS.unpack(value) for value in self._arrived.lookup_percpu(_ZERO)]
        expected, damaged, other, last = zip(*cpus, strict=True)
        return sum(expected), sum(damaged), sum(other), max(last)


def require_delivery(name: str, burst: Burst) -> None:
    """Raise ``BenchError`` unless every packet of a verified burst arrived whole and translated."""
    if burst.arrived != burst.sent or burst.damaged:
        raise BenchError(
            f"{name} delivered {burst.arrived} of {burst.sent} packets as it should, {burst.damaged} of them damaged, "
            f"and {burst.other} others: there is nothing to measure"
        )


def template(head: bytes) -> bytes:
    """A frame with this in front of its packet, whose addresses, source port and checksums are zero."""
    return head + _HEADER + _UDP.pack(0, _DISCARD, _UDP_BYTES, 0) + bytes(_UDP_BYTES - _UDP.size)


def destinations(conversations: Sequence[Conversation]) -> npt.NDArray[np.void]:
    """``struct destination`` of each, with the checksums of the template in it (RFC 768, RFC 1071)."""

    def column(numbers: Iterable[int]) -> npt.NDArray[np.uint64]:
        return np.fromiter(numbers, np.uint64, len(conversations))

    made = np.zeros(len(conversations), _DESTINATION)
    made["source"] = source = column(int(one.source) for one in conversations)
    made["address"] = dialled = column(int(one.dialled) for one in conversations)
    made["port"] = port = column(one.port for one in conversations)
    addresses = (source >> 16) + (source & 0xFFFF) + (dialled >> 16) + (dialled & 0xFFFF)
    made["ip"] = ~_folded(addresses + (checksum(_HEADER) ^ 0xFFFF))
    udp = struct.pack("!HH", 17, _UDP_BYTES) + _UDP.pack(0, _DISCARD, _UDP_BYTES, 0)
    check = ~_folded(addresses + port + (checksum(udp) ^ 0xFFFF)) & 0xFFFF
    made["udp"] = np.where(check, check, 0xFFFF)
    return made


def _folded(total: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """16-bit sums with their carries added, which are fewer than 16 bits."""
    total = (total & 0xFFFF) + (total >> 16)
    return (total & 0xFFFF) + (total >> 16)


def _variable(obj: BpfObject, name: str, form: Literal["I", "Q"]) -> memoryview[int]:
    offset, size = obj.btf.variables(".bss")[name]
    return memoryview(obj.map(".bss").mmap())[offset : offset + size].cast(form)


def _expected(what: str, network: IPv4Network) -> dict[str, bytes]:
    return {f"expected_{what}": network.network_address.packed, f"expected_{what}_mask": network.netmask.packed}


def _expected_head(arrival: Arrival) -> dict[str, bytes]:
    head, known = arrival.tag.leaving(arrival.ttl)
    return {
        "arrival_head_bytes": struct.pack("=I", len(head)),
        "expected_head": head.ljust(_MOST_HEAD, b"\0"),
        "expected_head_mask": known.ljust(_MOST_HEAD, b"\0"),
    }


def _mac(port: Port) -> bytes:
    return bytes.fromhex(port.mac.replace(":", ""))
