"""Very many prefixes at once, as columns.

A full table has a million prefixes. As numbers of Python each costs what its columns cost for a hundred, so they travel
as arrays from the UPDATEs that hold them to the tables that packets read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Halves = npt.NDArray[np.uint64]
Index = npt.NDArray[Any]
"""Positions, or a mask."""

_MASK64: Final = (1 << 64) - 1
_PIECE: Final = 1 << 12


def _masks(first: int) -> Halves:
    """By prefix length: the bits of one of its two words that count, of which the first is bit ``first``."""
    kept = [min(max(length - first, 0), 64) for length in range(129)]
    return np.array([_MASK64 >> 64 - bits << 64 - bits if bits else 0 for bits in kept], np.uint64)


_MASKS: Final = _masks(0), _masks(64)


class Prefixes:
    """Prefixes of one family: the left-aligned address in ``hi`` and ``lo`` (64 bits each), and ``length``.

    Bits beyond the length are 0. Iterating gives keys (``tables.learned``)."""

    __slots__ = ("hi", "length", "lo")

    def __init__(self, hi: Halves, lo: Halves, length: npt.NDArray[np.uint8]) -> None:
        self.hi, self.lo, self.length = hi, lo, length

    @classmethod
    def cut(cls, hi: Halves, lo: Halves, length: npt.NDArray[np.uint8]) -> Prefixes:
        """Without the bits beyond the length."""
        return cls(hi & _MASKS[0][length], lo & _MASKS[1][length], length)

    @classmethod
    def of(cls, keys: Iterable[int]) -> Prefixes:
        """From keys."""
        numbers = list(keys)
        lengths = [key.bit_length() - 1 for key in numbers]
        aligned = [(key ^ 1 << size) << 128 - size for key, size in zip(numbers, lengths, strict=True)]
        return cls(
            np.array([each >> 64 for each in aligned], np.uint64),
            np.array([each & _MASK64 for each in aligned], np.uint64),
            np.array(lengths, np.uint8),
        )

    @classmethod
    def joined(cls, parts: Sequence[Prefixes]) -> Prefixes:
        """One after the other."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.of(())
        return cls(*(np.concatenate([getattr(one, name) for one in parts]) for name in ("hi", "lo", "length")))

    def __len__(self) -> int:
        return len(self.length)

    def __getitem__(self, index: Index | slice) -> Prefixes:
        return Prefixes(self.hi[index], self.lo[index], self.length[index])

    def __iter__(self) -> Iterator[int]:
        for start in range(0, len(self), _PIECE):
            some = slice(start, start + _PIECE)
            columns = self.hi[some].tolist(), self.lo[some].tolist(), self.length[some].tolist()
            for hi, lo, length in zip(*columns, strict=True):
                yield (1 << 128 | hi << 64 | lo) >> 128 - length


def halves(key: int) -> tuple[int, int, int]:
    """The two words and the length of one key."""
    length = key.bit_length() - 1
    aligned = (key ^ 1 << length) << 128 - length
    return aligned >> 64, aligned & _MASK64, length
