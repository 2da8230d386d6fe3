"""Waiting for packets: the moment after which none can hold what was read before."""

from __future__ import annotations

import os
import struct

from isthmus.datapath.libbpf import BpfMap

_ARRAY, _ARRAY_OF_MAPS = 2, 12  # enum bpf_map_type
_U32 = struct.Struct("<I")


class Barrier:
    """An update of a map of maps from user space returns only after the programs that run have ended (kernel,
    ``maybe_wait_bpf_programs``)."""

    def __init__(self) -> None:
        self._inner = BpfMap.create(_ARRAY, "isthmus_inner", 4, 4, 1)
        self._outer = BpfMap.create(_ARRAY_OF_MAPS, "isthmus_outer", 4, 4, 1, inner=self._inner)

    def wait(self) -> None:
        """Return when every packet that was being judged at this call has ended."""
        self._outer.update(_U32.pack(0), _U32.pack(self._inner.fd))

    def close(self) -> None:
        """Give the maps back."""
        os.close(self._outer.fd)
        os.close(self._inner.fd)
