"""What the packet path and its twin agree on about flows: the clock, TCP bits, how far ports are looked for."""

from __future__ import annotations

from enum import IntFlag
from math import gcd
from typing import Final

TICK_SHIFT: Final = 27
"""A tick is 2**27 ns, 0.134 s: fine enough for the shortest timeout, and 32 bits of them last 18 years."""
HOLD_DOWN_S: Final = 120
"""A TCP mapping without flows keeps its port so long (RFC 6888 REQ-8)."""
FRAGMENT_S: Final = 5
"""What a first fragment found is known to later ones so long."""
MOST_TRIES: Final = 1536
"""Addresses and ports looked at for one new mapping."""
MOST_EACH: Final = 1024
"""Addresses looked at in all, and ports of one address."""
MOST_POOL: Final = 1 << 62
"""Addresses of a pool that are counted."""


class TcpState(IntFlag):
    """What was seen of a TCP conversation since its opening SYN; docs/packet-path.md, "flow"."""

    ANSWERED = 1
    ESTABLISHED = 2
    FIN_OUT = 4
    FIN_BACK = 8
    RESET = 16


def port_stride(size: int) -> int:
    """How far apart ports are that are looked at one after the other: about the golden section of all, without a
    common divisor, so that each comes once, and ports in use side by side stand in nobody's way."""
    stride = max(1, size * 618 // 1000)
    while gcd(stride, size) != 1:
        stride += 1
    return stride


def ticks(seconds: float) -> int:
    """A timeout in ticks: rounded up, plus the one that has begun, so that no timeout is shorter than it says."""
    return -(-round(seconds * 1_000_000_000) // (1 << TICK_SHIFT)) + 1


def tick_of(nanoseconds: int) -> int:
    """The tick of a moment of the monotonic clock."""
    return nanoseconds >> TICK_SHIFT
