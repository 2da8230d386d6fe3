"""What full tables of learned routes cost in the packet path: to fill, to change, in memory, and for each packet.

``python -m tests.measure.fib [--scale S] [--packets N]``, as root, on a machine that does nothing else. Packets go one
by one through the whole XDP program (BPF_PROG_TEST_RUN) to addresses inside random prefixes of the full table, in turn
to a VPC that has learned ten routes and to one that has learned all; none opens a flow, so each asks one table. Times
of packets are what the kernel says, in nanoseconds; what a test run itself costs is in both.
"""

from __future__ import annotations

import argparse
import random
import struct
import time
from statistics import median, quantiles
from typing import Final

from isthmus.bench.internet import ROUTES, hosts, prefixes
from isthmus.datapath import PacketPath
from isthmus.datapath.learned import LearnedTable
from isthmus.tables.address import FAMILIES, Family, address_bytes, parse_address
from isthmus.tables.entries import NextHop, Origin, Tables
from isthmus.tables.verdicts import Verdict
from tests.bpf.network import HOST_MAC, bindings, key, peering, port_mac, tables, vpc
from tests.differential.place import XDP, bench

SENDERS: Final = [vpc("s1", "p1", "10.1.1.0/24", "fd01::/64"), vpc("s2", "p3", "10.1.1.0/24", "fd01::/64")]
ISPS: Final = [vpc("few", "p2", "0.0.0.0/0", "::/0"), vpc("full", "p4", "0.0.0.0/0", "::/0")]
ROUTERS: Final = {family: parse_address(text)[1] for family, text in ((4, "192.0.2.1"), (6, "2001:db8::1"))}
GROUPS: Final = 400
"""Different metrics in a table, a record for each of them and each prefix length."""
AT_ONCE: Final = 1 << 15


def learns() -> Tables:
    """Each sender is a peer of one provider, which has no routes of its own."""
    made = tables([*SENDERS, *ISPS], [peering(*pair) for pair in zip(SENDERS, ISPS, strict=True)])
    vpcs = {
        name: one._replace(routes={4: (), 6: ()}) if one.name in ("few", "full") else one
        for name, one in made.vpcs.items()
    }
    return Tables(vpcs, made.sides)


def fill(table: LearnedTable, name: int, family: Family, keys: list[int]) -> list[int]:
    """Give all of them next hops; the groups."""
    hop = NextHop(key(ISPS[name]), ROUTERS[family], Origin("BGP"))
    groups = [table.group(metric, (hop,)) for metric in range(GROUPS)]
    for start in range(0, len(keys), AT_ONCE):
        some = keys[start : start + AT_ONCE]
        table.update(family, some, [groups[one % GROUPS] for one in some])
    return groups


def frame(port: str, family: Family, to: int) -> bytes:
    """UDP to an address, from the sender's host."""
    own = address_bytes(family, parse_address("10.1.1.1" if family == 4 else "fd01::1")[1])
    head = (
        struct.pack("!BBHHHBBH", 0x45, 0, 36, 0, 0x4000, 64, 17, 0)
        if family == 4
        else struct.pack("!IHBB", 6 << 28, 16, 17, 64)
    )
    kind = b"\x08\x00" if family == 4 else b"\x86\xdd"
    return (
        port_mac(port)
        + HOST_MAC
        + kind
        + head
        + own
        + address_bytes(family, to)
        + struct.pack("!4H", 9, 53, 16, 0)
        + bytes(8)
    )


def packets(path: PacketPath, ifindex: dict[str, int], family: Family, keys: list[int], count: int) -> list[list[int]]:
    """Nanoseconds of packets to the provider with few routes, and to the one with all."""
    rng, program = random.Random(7), path._object.program("gateway_xdp")
    before = path.counters()[Verdict.FORWARDED]
    found: list[list[int]] = [[], []]
    for _ in range(count):
        (to,) = hosts(family, [rng.choice(keys)], rng)
        for place in rng.sample((0, 1), 2):  # neither always finds what the other has left in the caches
            port = SENDERS[place].attachments[0].interface
            data = frame(port, family, to)
            context = struct.pack("<6I", 0, len(data), 0, ifindex[port], 0, 0)
            found[place].append(program.test_run(data, ctx=context, out_size=0).duration_ns)
    forwarded = path.counters()[Verdict.FORWARDED] - before
    assert forwarded > 0.98 * 2 * count, f"{forwarded} of {2 * count} packets were forwarded"  # the rest: martians
    return found


def told(times: list[list[int]]) -> str:
    """Medians, and how they compare."""
    least, most = (median(one) for one in times)
    return f"{least:.0f} ns with ten routes, {most:.0f} ns with all ({most / least:.2f}x)"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the Internet")
    parser.add_argument("--packets", type=int, default=20_000)
    options = parser.parse_args()
    with bench(hooks=XDP) as place:
        path = place.path
        path.apply(learns(), bindings(place.ifindex, [*SENDERS, *ISPS]))
        few, full = path.learned("few"), path.learned("full")
        for family in FAMILIES:
            for one in ISPS:
                path.set_neighbor(key(one), family, ROUTERS[family], HOST_MAC)
            keys = prefixes(family, int(ROUTES[family] * options.scale), random.Random(1))
            fill(few, 0, family, [8 | number for number in range(8)] + [16, 17])  # all /3, and two /4
            before, began = full.memory(), time.monotonic()
            groups = fill(full, 1, family, keys)
            filled, memory = time.monotonic() - began, full.memory() - before
            single = []
            for number in range(1000):
                began = time.monotonic()
                full.update(family, [keys[number]], [0 if number % 2 else groups[number % GROUPS]])
                single.append(1e6 * (time.monotonic() - began))
            full.update(family, keys[:1000], [groups[one % GROUPS] for one in keys[:1000]])
            spread = packets(path, place.ifindex, family, keys, options.packets)
            same = packets(path, place.ifindex, family, keys[:1], options.packets)
            print(
                f"IPv{family}: {len(keys):,} routes in {filled:.2f} s, {memory / 2**20:.0f} MB;"
                f" a single update {median(single):.0f} us, 99 % below {quantiles(single, n=100)[98]:.0f} us;"
                f" a packet to random addresses {told(spread)}, to one prefix {told(same)}",
                flush=True,
            )
        began = time.monotonic()
        full.clear()
        print(f"cleared in {1000 * (time.monotonic() - began):.0f} ms")


if __name__ == "__main__":
    main()
