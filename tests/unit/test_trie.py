"""Tries say what the ranges they were built from say, for every address at an edge, in both families."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from isthmus.datapath import trie
from isthmus.tables.address import BITS, FAMILIES, Family, Prefix, step
from isthmus.tables.entries import Origin, Route
from isthmus.tables.layout import TRIE_NODE

NODE = struct.Struct("<4Q4I256I")


class Nodes:
    """A store in a list; equal nodes share a slot, as in the real one."""

    def __init__(self) -> None:
        self.nodes: list[bytes] = [b""]

    def put(self, node: bytes) -> int:
        if node not in self.nodes:
            self.nodes.append(node)
        return self.nodes.index(node)

    def lookup(self, at: int, address: int) -> int:
        """As bpf/stages/path.h does it."""
        for _ in range(17):
            if not at & TRIE_NODE:
                return at
            hi, lo, mask_hi, mask_lo, shift, low, miss, _pad, *children = NODE.unpack(self.nodes[at & ~TRIE_NODE])
            if (address ^ (hi << 64 | lo)) & (mask_hi << 64 | mask_lo):
                return int(miss)
            at = children[(address >> (shift + (0 if low else 64))) & 255]
        raise AssertionError("deeper than any address")


@st.composite
def spans(draw: st.DrawFn) -> tuple[Family, list[trie.Span]]:
    """Sorted disjoint ranges with values, in few places and of any size."""
    family = draw(st.sampled_from(FAMILIES))
    bits = BITS[family]
    edges = draw(
        st.lists(
            st.one_of(
                st.integers(0, (1 << bits) - 1),
                st.integers(0, 1023).map(lambda n: n << (bits - 10)),
                st.integers(0, 300),
                st.just((1 << bits) - 1),
            ),
            max_size=12,
            unique=True,
        )
    )
    edges.sort()
    values = draw(st.lists(st.integers(0, 3), min_size=len(edges), max_size=len(edges)))
    unit = step(family)
    found = [(a * unit, (b - 1) * unit, v) for a, b, v in zip(edges, edges[1:], values, strict=False) if v]
    return family, found


@given(spans())
def test_trie_says_what_its_ranges_say(given_spans: tuple[Family, list[trie.Span]]) -> None:
    family, found = given_spans
    nodes = Nodes()
    root = trie.build(family, found, nodes.put)
    unit = step(family)
    top = ((1 << BITS[family]) - 1) * unit
    probes = {0, top} | {a for first, last, _ in found for a in (first - unit, first, last, last + unit)}
    for address in probes:
        if 0 <= address <= top:
            expected = next((v for first, last, v in found if first <= address <= last), 0)
            assert nodes.lookup(root, address) == expected


def test_one_prefix_is_one_node() -> None:
    """Path compression: a lone /24, or a lone /64, costs one node and not one a byte."""
    for text in ("10.1.1.0/24", "2001:db8:1:2::/64", "192.0.2.7/32"):
        prefix, nodes = Prefix.parse(text), Nodes()
        trie.build(prefix.family, [(prefix.first, prefix.last, 5)], nodes.put)
        assert len(nodes.nodes) == 2


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 32)), max_size=8, unique=True))
def test_longest_match_owns_its_addresses(parts: list[tuple[int, int]]) -> None:
    """Nested routes as ranges, against a scan over all prefixes."""
    prefixes = {Prefix(4, value << 120 & (((1 << n) - 1) << (128 - n)), n) for value, n in parts}
    routes = [Route(p, 0, False, (), Origin("x")) for p in sorted(prefixes, key=lambda p: (p.first, p.length))]
    numbers = {route.prefix: number for number, route in enumerate(routes, 1)}
    flat = trie.longest_match(routes, lambda route: numbers[route.prefix])
    assert flat == sorted(flat)
    for address in (n << 120 for n in range(256)):
        inside = [p for p in prefixes if address in p]
        best = numbers[max(inside, key=lambda p: p.length)] if inside else 0
        assert next((v for first, last, v in flat if first <= address <= last), 0) == best
