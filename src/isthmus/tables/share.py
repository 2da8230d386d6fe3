"""Rendezvous hashing: which of several equal paths a conversation takes.

Highest random weight (Thaler and Ravishankar, 1998): adding or removing one path moves only its share.
The packet path computes the same weights in C (``bpf/lib/share.h``).
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b

from isthmus.tables.entries import NextHop

MULTIPLIER = 0xFF51AFD7ED558CCD  # of MurmurHash3's 64-bit finalizer
MASK64 = (1 << 64) - 1


@cache
def stable_id(name: str) -> int:
    """64 bits that depend on the name alone, so that every node and every start agrees."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")


def next_hop_id(hop: NextHop) -> int:
    """The stable id of a next hop: port, tag, and the gateway or the remote VTEP."""
    tag = hop.attachment.tag
    address = hop.tunnel.vtep if hop.tunnel else hop.gateway
    end = "-" if address is None else f"{address:032x}"
    return stable_id(f"{hop.attachment.interface}|{int(tag.kind)}.{tag.outer}.{tag.inner}|{end}")


def weight(seed: int, *words: int) -> int:
    """The 64-bit weight of one path for one conversation; the path with the highest is taken."""
    value = seed
    for word in words:
        value = ((value ^ word) * MULTIPLIER) & MASK64
        value ^= value >> 32
    return value


def address_words(address: int) -> tuple[int, int]:
    """A left-aligned address as the two 64-bit words that go into a weight."""
    return address >> 64, address & MASK64
