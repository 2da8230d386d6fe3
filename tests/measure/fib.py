"""What full tables of learned routes cost in the packet path: to fill, to change, in memory, and for each packet.

``python -m tests.measure.fib [--scale S] [--family F] [--packets N] [--rounds R]``, as root, on a machine that does
nothing else. Live frames go over veths through the gateway, to addresses inside random prefixes of the full table, and
are counted where they arrive; in turn to VPCs that have learned ten routes, and all. Three shapes: each packet asks one
table; packets come in by two ports, in turn, and ask a table each; each packet asks two, as both are offered what it is
for. The time of a packet is that of the whole way, generator and veths included, or of the gateway's program alone,
by the kernel's own count. Look-ups without packets: in our tables and in the kernel's LPM trie, with the same prefixes.
"""

from __future__ import annotations

import argparse
import os
import random
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Final, NamedTuple

import numpy as np

from isthmus.bench.internet import ROUTES, hosts, prefixes
from isthmus.bench.machine import pinned, quietest_cpu
from isthmus.datapath import Bindings, PacketPath, PortBinding
from isthmus.datapath.learned import LearnedTable
from isthmus.datapath.libbpf import BpfObject, abi, attach_xdp
from isthmus.tables.address import BITS, FAMILIES, Family, address_bytes, parse_address
from isthmus.tables.entries import NextHop, Origin, Tables
from tests.bpf.network import HOST_MAC, MTU, key, peering, port_mac, tables, vpc
from tests.differential.place import SMALL, XDP, ports
from tests.measure.flow_tables import compile_object

SOURCE: Final = Path(__file__).with_suffix(".bpf.c")
ROUTERS: Final = {family: parse_address(text)[1] for family, text in ((4, "192.0.2.1"), (6, "2001:db8::1"))}
GROUPS: Final = 400
"""Different metrics in a table, a record for each of them and each prefix length."""
AT_ONCE: Final = 1 << 15
BATCH: Final = 64  # frames made at once: the ring of a veth holds 256
LOOK_UPS: Final = 1 << 20
TRIES: Final = 3

FULL: Final = ("full-a", "full-b")
FEW: Final = ("few-a", "few-b")
PEERS: Final = {"p1": FEW[:1], "p2": FULL[:1], "p3": FULL[1:], "p4": FEW, "p5": FULL, "p7": FEW[1:]}
"""By the port that packets enter on: who is asked for the way."""
WAY_OUT: Final = "6"
SHAPES: Final = {
    "each asks one": (("p1",), ("p2",)),
    "two in turn": (("p1", "p7"), ("p2", "p3")),
    "each asks two": (("p4",), ("p5",)),
}
"""The ports that packets come in by, in turn: with ten routes, and with all."""

SENDERS: Final = {port: vpc(f"from-{port}", port, "10.1.1.0/24", "fd01::/64") for port in PEERS}
ISPS: Final = {name: vpc(name, f"to-{name}", "0.0.0.0/0", "::/0") for name in FEW + FULL}


class Cost(NamedTuple):
    """Nanoseconds of one packet; the program's are 0 unless counted (``counting_time``)."""

    whole: float
    program: float


def learns() -> Tables:
    """Each sender has its peers, which have no routes of their own."""
    made = tables(
        [*SENDERS.values(), *ISPS.values()],
        [peering(SENDERS[port], ISPS[name]) for port, names in PEERS.items() for name in names],
    )
    vpcs = {name: one._replace(routes={4: (), 6: ()}) if name in ISPS else one for name, one in made.vpcs.items()}
    return Tables(vpcs, made.sides)


def bindings(ifindex: dict[str, int]) -> Bindings:
    """Whoever is asked, packets leave by the same port."""
    places = dict.fromkeys([f"to-{name}" for name in ISPS], "p" + WAY_OUT) | {port: port for port in PEERS}
    return Bindings({name: PortBinding(ifindex[port], port_mac("p1"), MTU) for name, port in places.items()})


def fill(table: LearnedTable, name: str, family: Family, keys: list[int]) -> list[int]:
    """Give all of them next hops; the groups."""
    hop = NextHop(key(ISPS[name]), ROUTERS[family], Origin("BGP"))
    groups = [table.group(metric, (hop,)) for metric in range(GROUPS)]
    for start in range(0, len(keys), AT_ONCE):
        some = keys[start : start + AT_ONCE]
        table.update(family, some, [groups[one % GROUPS] for one in some])
    return groups


def frame(family: Family) -> bytes:
    """UDP from a sender's host; where it goes is written by the generator."""
    own = address_bytes(family, parse_address("10.1.1.1" if family == 4 else "fd01::1")[1])
    head = (
        struct.pack("!BBHHHBBH", 0x45, 0, 50, 0, 0x4000, 64, 17, 0)
        if family == 4
        else struct.pack("!IHBB", 6 << 28, 10, 17, 64)
    )
    kind, size = (b"\x08\x00", 30) if family == 4 else (b"\x86\xdd", 10)
    whole = port_mac("p1") + HOST_MAC + kind + head + own + bytes(len(own)) + struct.pack("!4H", 9, 53, size, 0)
    return whole.ljust(64, b"\0")


class Traffic:
    """The generator, what counts, and the look-ups without packets. Context managers of the caller's end them."""

    def __init__(self, path: PacketPath, ifindex: dict[str, int], packets: int, stack: ExitStack) -> None:
        self._gateway, self._ifindex, self._packets = path._object.program("gateway_xdp"), ifindex, packets
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        self._obj = stack.enter_context(BpfObject.open(compile_object(SOURCE, Path(folder))))
        self._obj.set_rodata("count", struct.pack("=I", packets))
        self._obj.resize("aims", packets)
        self._obj.reuse_map("chunks", path._object.map("chunks").fd)
        self._obj.load()
        self._places = self._obj.btf.variables(".bss")
        self._memory = memoryview(self._obj.map(".bss").mmap())
        self._aims = np.frombuffer(self._obj.map("aims").mmap(), np.uint64, packets)
        stack.enter_context(attach_xdp(self._obj.program("sink"), ifindex["n" + WAY_OUT]))

    def aim(self, family: Family, to: list[int]) -> None:
        """From now on packets and look-ups are for these left-aligned addresses, in order; of IPv6 the first halves."""
        self._family = family
        self._aims[:] = [one >> 64 for one in to]
        self._set("version", family)
        self._set("frame_words", int.from_bytes(frame(family), "little"))
        self._set("sum_without", int(sum(struct.unpack("!10H", frame(4)[14:34])) % 0xFFFF))

    def send(self, senders: tuple[str, ...]) -> Cost:
        """All packets once, by these ports in turn. Once more if many are lost: the ring of a veth is full whenever the
        kernel leaves the receiver to a thread."""
        first, second = (self._ifindex["n" + port[1:]] for port in (senders[0], senders[-1]))
        self._set("leaves_by", second << 32 | first)
        context = struct.pack("=6I", 0, 64, 0, self._ifindex["n1"], 0, 0)
        arrived: list[int] = []
        while not arrived or arrived[-1] < 0.98 * self._packets:
            assert len(arrived) < TRIES, f"{arrived} of {self._packets} packets arrived"
            self._set("next", 0)
            self._set("arrived", 0)
            before = self._ran()
            took = self._obj.program("generate").run_live(frame(self._family), context, self._packets, BATCH)
            ran = self._ran() - before
            arrived.append(self._get("arrived"))
        return Cost(took, ran / arrived[-1])

    def look_up(self, which: str, root: int, *, waiting: bool) -> float:
        """Nanoseconds of a look-up without a packet: "ours", "trie", or "none", which only reads the address."""
        for name, value in {"next": 0, "root": root, "steps": LOOK_UPS, "chained": waiting}.items():
            self._set(name, value)
        return self._obj.program(f"look_up_{which}").test_run(bytes(64), out_size=0).duration_ns / LOOK_UPS

    def fill_trie(self, family: Family, keys: list[int]) -> int:
        """The same prefixes in the kernel's trie; its bytes by the kernel's own account."""
        trie = self._obj.map(f"trie_{family}")
        packed = [
            struct.pack("=I", length := one.bit_length() - 1)
            + ((one ^ 1 << length) << BITS[family] - length).to_bytes(BITS[family] // 8, "big")
            for one in keys
        ]
        trie.update_batch(b"".join(packed), np.arange(1, len(keys) + 1, dtype=np.uint32).tobytes(), len(keys))
        return int(_told(trie.fd, "memlock"))

    def _ran(self) -> int:
        return _told(self._gateway.fd, "run_time_ns")

    def _set(self, name: str, value: int) -> None:
        offset, size = self._places[name]
        self._memory[offset : offset + size] = value.to_bytes(size, "little")

    def _get(self, name: str) -> int:
        offset, size = self._places[name]
        return int.from_bytes(self._memory[offset : offset + size], "little")


def _told(fd: int, what: str) -> int:
    """A number of what the kernel says of a map or a program."""
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what + ":"))


@contextmanager
def counting_time() -> Iterator[None]:
    """The kernel counts how long programs run, which costs each of them some ns."""
    fd = abi.library().bpf_enable_stats(0)
    if fd < 0:
        raise abi.failure("have the kernel count how long programs run")
    try:
        yield
    finally:
        os.close(fd)


def packets(traffic: Traffic, rounds: int) -> Iterator[str]:
    """What packets cost in each shape, few and full in turn: medians, and how they compare."""
    for shape, ways in SHAPES.items():
        taken: list[list[Cost]] = [[], []]
        programs: list[list[Cost]] = [[], []]
        for _ in range(rounds):
            for place, senders in enumerate(ways):
                taken[place].append(traffic.send(senders))
                with counting_time():
                    programs[place].append(traffic.send(senders))
        few, full = (median(one.whole for one in of) for of in taken)
        few_p, full_p = (median(one.program for one in of) for of in programs)
        yield (
            f"  {shape}: {few:.0f} ns with ten routes, {full:.0f} ns with all ({full / few:.2f}x);"
            f" the program alone {few_p:.0f} ns, {full_p:.0f} ns ({full_p / few_p:.2f}x)"
        )


def look_ups(traffic: Traffic, root: int, rounds: int) -> Iterator[str]:
    """Ours and the kernel's trie in turn, less what reading the address costs."""
    for waiting in (True, False):
        taken: dict[str, list[float]] = {"ours": [], "trie": [], "none": []}
        for _ in range(rounds):
            for which, found in taken.items():
                found.append(traffic.look_up(which, root, waiting=waiting))
        none = median(taken.pop("none"))
        ours, trie = (median(one) - none for one in taken.values())
        how = "each waits for the one before" if waiting else "overlapped"
        yield f"  look-ups, {how}: {ours:.0f} ns, the kernel's LPM trie {trie:.0f} ns"


def single_updates(table: LearnedTable, family: Family, keys: list[int], groups: list[int]) -> str:
    """Withdrawn and told again, one by one."""
    single = []
    for number, one in enumerate(keys[:1000]):
        for group in (0, groups[number % GROUPS]):
            began = time.perf_counter()
            table.update(family, [one], [group])
            single.append(1e6 * (time.perf_counter() - began))
    return f"a single update {median(single):.0f} us, 99 % below {quantiles(single, n=100)[98]:.0f} us"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the Internet")
    parser.add_argument("--family", type=int, choices=FAMILIES, action="append", help="only this one")
    parser.add_argument("--packets", type=int, default=1 << 20, help="in one round: so many addresses")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with ExitStack() as stack:
        ifindex = stack.enter_context(ports())
        path = stack.enter_context(PacketPath.load(capacity=SMALL, hooks=XDP))
        for port in PEERS:
            path.attach(ifindex[port], "xdp")
        path.apply(learns(), bindings(ifindex))
        traffic = Traffic(path, ifindex, options.packets, stack)
        stack.enter_context(pinned(quietest_cpu()))
        for family in options.family or FAMILIES:
            measure(path, traffic, family, options)
        began = time.perf_counter()
        path.learned(FULL[0]).clear()
        print(f"cleared in {1000 * (time.perf_counter() - began):.0f} ms")


def measure(path: PacketPath, traffic: Traffic, family: Family, options: argparse.Namespace) -> None:
    """One family: fill all tables, then send."""
    rng = random.Random(7)
    keys = prefixes(family, int(ROUTES[family] * options.scale), random.Random(1))
    for name, one in ISPS.items():
        path.set_neighbor(key(one), family, ROUTERS[family], HOST_MAC)
        if name in FEW:
            fill(path.learned(name), name, family, [8 | number for number in range(8)] + [16, 17])  # all /3, two /4
    fill(path.learned(FULL[1]), FULL[1], family, keys)
    table = path.learned(FULL[0])
    before, began = table.memory(), time.perf_counter()
    groups = fill(table, FULL[0], family, keys)
    filled, memory = time.perf_counter() - began, table.memory() - before
    trie = traffic.fill_trie(family, keys)
    print(
        f"IPv{family}: {len(keys):,} routes in {filled:.2f} s, {memory / 2**20:.0f} MB (trie: {trie / 2**20:.0f} MB);"
        f" {single_updates(table, family, keys, groups)}",
        flush=True,
    )
    traffic.aim(family, hosts(family, rng.choices(keys, k=options.packets), rng))
    root = int(path._learned._fibs[2 * path._vpc_names.number(FULL[0]) + (family == 6)])
    for line in (*look_ups(traffic, root, options.rounds), *packets(traffic, options.rounds)):
        print(line, flush=True)


if __name__ == "__main__":
    main()
