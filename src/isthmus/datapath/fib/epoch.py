"""The epoch: a number that moves when flows are to be judged again, because routes have changed."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import Final

from isthmus.datapath.store import Memory

LEAST_S: Final = 0.05
"""Seconds from one move to the next: every move has all flows judged again."""

_WORLD: Final = struct.Struct("=II")  # generation and epoch, at the start of the control record
_MASK32: Final = (1 << 32) - 1


class Epoch:
    """Generation and epoch as packets read them: at once."""

    def __init__(self, control: Memory, clock: Callable[[], float] = time.monotonic, least_s: float = LEAST_S) -> None:
        self._control, self._clock, self._least_s = control, clock, least_s
        self._moved = -least_s
        self._due = False

    def flip(self, generation: int) -> None:
        """Make another configuration the one that counts; the epoch moves too."""
        _, epoch = self._read()
        self._write(generation, epoch + 1)

    def move(self) -> None:
        """Have flows judged again: now, or as soon as ``settle`` is called when it is time."""
        self._due = True
        self.settle()

    def settle(self) -> float | None:
        """Make up for a move that came too soon after another: seconds until it is time for it, None: there is none."""
        if not self._due:
            return None
        early = self._moved + self._least_s - self._clock()
        if early > 0:
            return early
        generation, epoch = self._read()
        self._write(generation, epoch + 1)
        return None

    def _read(self) -> tuple[int, int]:
        generation, epoch = _WORLD.unpack(self._control[: _WORLD.size])
        return generation, epoch

    def _write(self, generation: int, epoch: int) -> None:
        self._control[: _WORLD.size] = _WORLD.pack(generation, epoch & _MASK32)
        self._moved, self._due = self._clock(), False
