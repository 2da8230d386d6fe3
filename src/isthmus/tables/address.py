"""Addresses and prefixes of both families as one kind of number.

An address is an unsigned 128-bit integer, *left-aligned*: IPv6 as it stands, IPv4 in the top 32 bits
with zeros below. So prefix lengths, masks, ranges and additions mean the same in both families, and
one piece of code serves both, here and in the packet path (``struct addr {hi, lo}``).
"""

from __future__ import annotations

import socket
from typing import Literal, NamedTuple

Family = Literal[4, 6]
FAMILIES: tuple[Family, Family] = (4, 6)
BITS: dict[Family, int] = {4: 32, 6: 128}
MASK128 = (1 << 128) - 1


def parse_address(text: str) -> tuple[Family, int]:
    """``"10.0.0.1"`` or ``"2001:db8::1"`` to (family, left-aligned 128-bit integer); ValueError if neither."""
    try:
        if ":" in text:
            return 6, int.from_bytes(socket.inet_pton(socket.AF_INET6, text), "big")
        return 4, int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big") << 96
    except (OSError, ValueError) as error:
        raise ValueError(f"not an IP address: {text!r}") from error


def address_bytes(family: Family, value: int) -> bytes:
    """The address as it stands in a packet: 4 or 16 bytes, network order."""
    raw = value.to_bytes(16, "big")
    return raw[:4] if family == 4 else raw


def address_from_bytes(raw: bytes) -> tuple[Family, int]:
    """4 or 16 bytes in network order to (family, left-aligned integer)."""
    if len(raw) == 4:
        return 4, int.from_bytes(raw, "big") << 96
    return 6, int.from_bytes(raw, "big")


def format_address(family: Family, value: int) -> str:
    """The canonical text of an address (RFC 5952 for IPv6)."""
    return socket.inet_ntop(socket.AF_INET if family == 4 else socket.AF_INET6, address_bytes(family, value))


class Prefix(NamedTuple):
    """A CIDR: family, first address (left-aligned), length in bits of its own family."""

    family: Family
    first: int
    length: int

    @property
    def last(self) -> int:
        """The last address; for IPv4 only the top 32 bits are set, as in every IPv4 address."""
        return self.first + ((self.size - 1) << (128 - BITS[self.family]))

    @property
    def size(self) -> int:
        """How many addresses it holds."""
        return 1 << (BITS[self.family] - self.length)

    @property
    def mask(self) -> int:
        """The netmask as a left-aligned 128-bit integer."""
        return MASK128 ^ ((1 << (128 - self.length)) - 1)

    def __contains__(self, address: object) -> bool:
        return isinstance(address, int) and self.first <= address <= self.last

    def overlaps(self, other: Prefix) -> bool:
        """True if an address of one is in the other."""
        return self.family == other.family and self.first <= other.last and other.first <= self.last

    def covers(self, other: Prefix) -> bool:
        """True if every address of the other is in this one."""
        return self.family == other.family and self.first <= other.first and other.last <= self.last

    def __str__(self) -> str:
        return f"{format_address(self.family, self.first)}/{self.length}"

    @classmethod
    def parse(cls, text: str) -> Prefix:
        """``"10.0.0.0/8"`` (a bare address is its host prefix); ValueError if malformed or with host bits set."""
        head, slash, tail = text.partition("/")
        family, value = parse_address(head)
        bits = BITS[family]
        if slash and not (tail.isascii() and tail.isdigit() and (tail == "0" or tail[0] != "0") and len(tail) <= 3):
            raise ValueError(f"not a prefix length: {tail!r}")
        length = int(tail) if slash else bits
        if length > bits:
            raise ValueError(f"prefix length {length} is more than {bits}")
        prefix = cls(family, value, length)
        if value & ~prefix.mask & MASK128:
            raise ValueError(f"host bits set in {text}")
        return prefix


def step(family: Family) -> int:
    """The distance between two neighbouring addresses of a family in left-aligned numbers."""
    return 1 << (128 - BITS[family])


def range_prefixes(family: Family, first: int, last: int) -> list[Prefix]:
    """The fewest prefixes that hold exactly the addresses first..last (both included), in order."""
    unit = 128 - BITS[family]
    low, high = first >> unit, last >> unit
    found: list[Prefix] = []
    while low <= high:
        span = (low & -low).bit_length() - 1 if low else BITS[family]
        span = min(span, (high - low + 1).bit_length() - 1)
        found.append(Prefix(family, low << unit, BITS[family] - span))
        low += 1 << span
    return found
