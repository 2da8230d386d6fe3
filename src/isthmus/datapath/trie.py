"""Path-compressed tries of stride 8, built bottom-up from disjoint ranges.

A value is a number from 1 to 2**31-1; 0 says that there is none. Equal nodes are one node, because the store gives
equal bytes the same slot: what did not change between two builds is not written again.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Sequence
from typing import NamedTuple

from isthmus.tables.address import MASK128, Family, step
from isthmus.tables.entries import Route
from isthmus.tables.layout import TRIE_NODE

Span = tuple[int, int, int]
"""first, last (both included, left-aligned), value."""

_MASK64 = (1 << 64) - 1
_HEAD = struct.Struct("<4Q4I")


class _Node(NamedTuple):
    """A node before it is stored: the prefix down to ``depth`` bytes, what lies outside of it, 256 children."""

    base: int
    depth: int
    miss: int | None
    children: list[int | _Node]


def build(family: Family, spans: Sequence[Span], store: Callable[[bytes], int]) -> int:
    """The root of a trie over sorted, disjoint spans: a value, or TRIE_NODE | slot. ``store`` takes a node's bytes."""
    below = step(family) - 1
    return _store(_region([(first, last | below, value) for first, last, value in spans], 0, 0), store)


def _region(spans: Sequence[Span], base: int, depth: int) -> int | _Node:
    """What the addresses under base/depth (bytes) map to; all spans lie inside."""
    if not spans:
        return 0
    first, last, value = spans[0][0], spans[-1][1], spans[0][2]
    if len(spans) == 1 and first == base and last == base | (MASK128 >> (8 * depth)):
        return value
    shared = max(depth, min((128 - (first ^ last).bit_length()) // 8, 15))
    inner = first & ~(MASK128 >> (8 * shared))
    return _collapsed(_Node(inner, shared, 0 if shared > depth else None, _children(spans, inner, shared)))


def _children(spans: Sequence[Span], base: int, depth: int) -> list[int | _Node]:
    shift = 128 - 8 * (depth + 1)
    size = 1 << shift
    children: list[int | _Node] = [0] * 256
    partial: dict[int, list[Span]] = {}
    for first, last, value in spans:
        low, high = (first >> shift) & 255, (last >> shift) & 255
        for child in range(low, high + 1):
            start = base + child * size
            clipped = max(first, start), min(last, start + size - 1)
            if clipped == (start, start + size - 1):
                children[child] = value
            else:
                partial.setdefault(child, []).append((*clipped, value))
    for child, inside in partial.items():
        children[child] = _region(inside, base + child * size, depth + 1)
    return children


def _collapsed(node: _Node) -> int | _Node:
    """A node whose children but one are the same is that one child, if the child can say the same of what it misses."""
    nodes = [child for child in node.children if isinstance(child, _Node)]
    values = {child for child in node.children if not isinstance(child, _Node)}
    if len(nodes) > 1 or len(values) > 1:
        return node
    (value,) = values
    if node.miss not in (None, value):
        return node
    if not nodes:
        return value
    return nodes[0]._replace(miss=value) if nodes[0].miss in (None, value) else node


def _store(node: int | _Node, store: Callable[[bytes], int]) -> int:
    if isinstance(node, int):
        return node
    children = array("I", [_store(child, store) for child in node.children])
    mask = MASK128 ^ (MASK128 >> (8 * node.depth))
    low = int(node.depth >= 8)
    shift = 56 - 8 * (node.depth - 8 * low)
    head = _HEAD.pack(node.base >> 64, node.base & _MASK64, mask >> 64, mask & _MASK64, shift, low, node.miss or 0, 0)
    return TRIE_NODE | store(head + children.tobytes())


def longest_match(routes: Sequence[Route], value: Callable[[Route], int]) -> list[Span]:
    """Nested routes, sorted by (first, length), as disjoint spans: the longest prefix owns its addresses."""
    if not routes:
        return []
    unit = step(routes[0].prefix.family)
    spans: list[Span] = []
    around: list[tuple[int, int]] = []  # (last, value) of the routes that hold `at`
    at = 0

    def close(until: int) -> None:
        """End the routes that end before ``until``, innermost first."""
        nonlocal at
        while around and around[-1][0] < until:
            last, inner = around.pop()
            if at <= last:
                spans.append((at, last, inner))
                at = last + unit

    for route in routes:
        first = route.prefix.first
        close(first)
        if around and at < first:
            spans.append((at, first - unit, around[-1][1]))
        at = first
        around.append((route.prefix.last, value(route)))
    close(1 << 128)
    return spans
