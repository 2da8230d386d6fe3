"""Ring buffers: records from BPF programs, in the order in which they were written."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable
from ctypes import string_at
from types import TracebackType
from typing import Self

from isthmus.datapath.libbpf import abi
from isthmus.datapath.libbpf.map import BpfMap


class RingBuffer:
    """Reads a BPF ring buffer map: ``callback`` is called with the bytes of each record. A context manager."""

    def __init__(self, ring: BpfMap, callback: Callable[[bytes], None]) -> None:
        self._error: BaseException | None = None

        def sample(_context: int | None, data: int, size: int) -> int:
            try:
                callback(string_at(data, size))
            except BaseException as error:  # noqa: BLE001 - none may cross C; poll raises it
                self._error = error
                return -errno.ECANCELED
            return 0

        self._sample = abi.SampleCallback(sample)  # kept: C calls it
        self._handle: int | None = abi.library().ring_buffer__new(ring.fd, self._sample, None, None)
        if not self._handle:
            raise abi.failure(f"read ring buffer {ring.name}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def fd(self) -> int:
        """Readable when records wait: for select, epoll or asyncio, followed by ``poll(0)``."""
        return int(abi.library().ring_buffer__epoll_fd(self._handle))

    def poll(self, timeout_ms: int) -> int:
        """Wait up to ``timeout_ms`` (-1: for ever) and hand over what is there; how many records that was.

        An exception of the callback comes out here, and its record counts as read."""
        count = int(abi.library().ring_buffer__poll(self._handle, timeout_ms))
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if count < 0 and ctypes.get_errno() != errno.EINTR:
            raise abi.failure("poll the ring buffer")
        return max(count, 0)

    def close(self) -> None:
        """Stop reading; records stay in the map."""
        if self._handle is not None:
            abi.library().ring_buffer__free(self._handle)
            self._handle = None
