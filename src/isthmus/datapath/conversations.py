"""The flows in the kernel: how large their tables are, who keeps their clock, and reading and ending them.

Records are 128 bytes in one memory-mapped array (``FLOW`` and ``MAPPING`` in ``tables.layout``), written by packets and
taken out by the sweep. User space reads them as they are, and ends a flow by asking for it.
"""

from __future__ import annotations

import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from isthmus.datapath.libbpf import BpfObject
from isthmus.tables.address import Family
from isthmus.tables.flows import TICK_SHIFT, TcpState
from isthmus.tables.layout import PHASES, RECORD_KINDS, RECORDS

MOST_VPCS: Final = 1 << 16
"""The inside key of a mapping holds two VPCs in 32 bits."""
QUARANTINE_TICKS: Final = 2
"""Records that were taken out rest so long, while packets may hold them."""
SIZED_BY_FLOWS: Final = ("flows", "fragments")
"""Capacities that set the sizes of several maps."""

_PLACES: Final = 8  # slots of a bucket, fragments of a set
_SLICE: Final = 1 << 16  # records swept in one call
_PASSES: Final = 8
_ASK: Final = struct.Struct("=4I")
_CLOCK, _SWEEP, _END, _END_ALL = range(4)
_U32: Final = struct.Struct("=I")
_SIZE: Final = RECORDS["flow"].size
_NOW: Final = slice(8, 12)  # of the control record


class Ends(NamedTuple):
    """Addresses (left-aligned) and ports of packets in one direction, as they enter; an ICMP echo has its identifier
    as the port of who asks."""

    src: int
    dst: int
    sport: int
    dport: int


class Conversation(NamedTuple):
    """One live flow. ``sent``: what the initiator sends; ``answered``: what the responder sends, so its destination is
    the initiator as the responder sees it. ``expires_s``: seconds until it is over if nothing is sent any more.
    ``slot`` and ``version`` identify it."""

    slot: int
    version: int
    peering: str | None
    initiator: str
    responder: str
    family: Family
    proto: int
    sent: Ends
    answered: Ends
    tcp: TcpState
    expires_s: float
    mapped: bool


class PoolUse(NamedTuple):
    """How many private ports have a mapping to a public address (left-aligned), toward one VPC, by one protocol."""

    responder: str
    family: Family
    proto: int
    address: int
    used: int


class Records(NamedTuple):
    """Records in use by kind; ``capacity``: of flows, and of mappings and addresses together."""

    flows: int
    mappings: int
    addresses: int
    capacity: int


def size_flows(loaded: BpfObject, flows: int, fragments: int, sides: int) -> None:
    """Make room for so many conversations, and as many mappings, before the load; buckets are half full with them."""
    buckets = _power_of_two(max(flows * 4 // _PLACES, 64))
    sets = _power_of_two(max(fragments // _PLACES, 1))
    sizes = {
        "flows": 2 * flows + 1,
        "freed": flows,
        "freed_mappings": flows,
        "buckets": 2 * buckets,
        "fragment_sets": sets,
        "exhausted": sides,
    }
    for name, entries in sizes.items():
        loaded.resize(name, entries)
    for name, value in (("flow_capacity", flows), ("bucket_mask", buckets - 1), ("fragment_mask", sets - 1)):
        loaded.set_rodata(name, _U32.pack(value))


class Conversations:
    """The flows of a loaded packet path."""

    def __init__(self, loaded: BpfObject, vpc: Callable[[int], object], peering: Callable[[int], object]) -> None:
        self._memory = loaded.map("flows").mmap()
        self._control = loaded.map("controls").mmap()
        self._allocation = loaded.map("allocations").mmap()
        self._capacity = loaded.map("flows").max_entries // 2
        self._asked = loaded.program("flows_ask")
        self._vpc, self._peering = vpc, peering
        self._kernel_clock = False

    def start_clock(self) -> None:
        """Have the kernel keep the time of flows, and sweep, for as long as the object is loaded."""
        self.set_now(time.monotonic_ns() >> TICK_SHIFT)
        self._ask(_CLOCK)
        self._kernel_clock = True

    def set_now(self, tick: int) -> None:
        """Tell the time, where the kernel does not."""
        self._control[_NOW] = _U32.pack(tick)

    @property
    def now(self) -> int:
        """The tick that packets see."""
        return int(_U32.unpack(self._control[_NOW])[0])

    def sweep(self) -> int:
        """Take out what is over, and what nothing needs then: how many records that were.

        Everything is judged by the configuration now. Other CPUs go on meanwhile, so this ends after the few passes
        that a flow, its mapping and the use of its address need, also where there is always something."""
        took = 0
        for _ in range(_PASSES):
            found = self._ask_of_all(_SWEEP)
            took += found
            if not found:
                break
        return took

    def forget(self) -> None:
        """End every flow, and free all mappings but the TCP ports in their hold-down; their records may be had again
        when this returns."""
        self._ask_of_all(_END_ALL)
        self.sweep()
        if self._kernel_clock:
            time.sleep((QUARANTINE_TICKS + 1) * (1 << TICK_SHIFT) / 1e9)
            self.sweep()

    def end(self, conversation: Conversation) -> bool:
        """End a flow: its next packet is judged as if there had been none. False if it had ended before."""
        return bool(self._ask(_END, conversation.slot, conversation.version))

    def __iter__(self) -> Iterator[Conversation]:
        """All that are live, in no order. Packets go on meanwhile: one that changes under the hand is left out."""
        now = self.now
        for slot, record in self._live(RECORD_KINDS["FLOW"]):
            yield self._conversation(slot, record, now)

    def pool_use(self) -> list[PoolUse]:
        """Public addresses in use, sorted."""
        used: Counter[tuple[str, Family, int, int]] = Counter()
        for _, record in self._live(RECORD_KINDS["MAPPING"]):
            key = _MAPPING_OUTSIDE.of(record)
            used[str(self._vpc(key.vpc & 0xFFFF)), _family(record), record[_PROTO], key.ends.src] += 1
        return [PoolUse(*key, count) for key, count in sorted(used.items())]

    def records(self) -> Records:
        """How full the table is: what is live or not swept yet."""
        kinds: Counter[int] = Counter()
        for slot in (*self._taken(mappings=False), *self._taken(mappings=True)):
            at = slot * _SIZE
            if self._memory[at + 5] & ~PHASES["BUSY"] != PHASES["FREE"]:
                kinds[self._memory[at + 118]] += 1
        return Records(kinds[0], kinds[1], kinds[2], self._capacity)

    def _taken(self, *, mappings: bool) -> range:
        """The records that were ever taken."""
        at = RECORDS["allocation"].size * mappings
        count = min(int(_U32.unpack(self._allocation[at : at + 4])[0]), self._capacity)
        first = 1 + self._capacity * mappings
        return range(first, first + count)

    def _ask_of_all(self, what: int) -> int:
        count = len(self._taken(mappings=False)) + len(self._taken(mappings=True))
        return sum(self._ask(what, first, _SLICE) for first in range(0, count, _SLICE))

    def _ask(self, what: int, first: int = 0, count: int = 0) -> int:
        return int(_ASK.unpack(self._asked.run_syscall(_ASK.pack(what, first, count, 0)))[3])

    def _live(self, kind: int) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Number and members of every live record of a kind."""
        for slot in self._taken(mappings=kind != RECORD_KINDS["FLOW"]):
            at = slot * _SIZE
            raw = self._memory[at : at + _SIZE]
            if raw[5] & ~PHASES["BUSY"] != PHASES["LIVE"] or raw[118] != kind:
                continue
            if self._memory[at + 6 : at + 8] == raw[6:8] and self._memory[at + 5] & ~PHASES["BUSY"] == PHASES["LIVE"]:
                yield slot, RECORDS["flow"].unpack(raw)

    def _conversation(self, slot: int, record: tuple[int, ...], now: int) -> Conversation:
        life = record[0]
        sent, answered = _SENT.of(record), _ANSWERED.of(record)
        name = self._peering(record[2])
        return Conversation(
            slot,
            life >> 48,
            None if name is None else str(name),
            str(self._vpc(sent.vpc)),
            str(self._vpc(answered.vpc)),
            _family(record),
            record[_PROTO],
            sent.ends,
            answered.ends,
            TcpState(life >> 32 & 0xFF),
            max(0, (life & 0xFFFFFFFF) - now) * (1 << TICK_SHIFT) / 1e9,
            record[_MAPPING] != 0,
        )


class _Key(NamedTuple):
    ends: Ends
    vpc: int


class _KeyAt(NamedTuple):
    """A flow_key among the members of a record."""

    at: int

    def of(self, record: tuple[int, ...]) -> _Key:
        src_hi, src_lo, dst_hi, dst_lo, sport, dport, vpc = record[self.at : self.at + 7]
        return _Key(Ends(src_hi << 64 | src_lo, dst_hi << 64 | dst_lo, sport, dport), vpc)


_SENT, _ANSWERED = _KeyAt(3), _KeyAt(10)
_MAPPING_OUTSIDE: Final = _ANSWERED
_MAPPING, _PROTO, _FAMILY = 21, 22, 23  # places of members in an unpacked record


def _family(record: tuple[int, ...]) -> Family:
    return 6 if record[_FAMILY] else 4


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()
