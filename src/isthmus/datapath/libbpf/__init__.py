"""Load BPF objects, reach their maps, run and attach their programs: libbpf 1.1 or newer, through ctypes.

``BpfObject`` is opened, given its constants, loaded, and closed; what it hands out (``BpfMap``, ``BpfProgram``) lives
no longer than it does. Nothing here knows what the programs do. Keys and values are ``bytes`` in the layout of the C
structs, which ``struct_layout`` reads from the object itself. Every refusal is a ``BpfError``.
"""

from isthmus.datapath.libbpf.abi import BpfError, version
from isthmus.datapath.libbpf.link import BpfLink, attach_raw_tracepoint, attach_tcx, attach_xdp
from isthmus.datapath.libbpf.map import BpfMap, possible_cpus
from isthmus.datapath.libbpf.object import BpfObject, compiled, struct_layout, struct_size
from isthmus.datapath.libbpf.program import BpfProgram, TestRun
from isthmus.datapath.libbpf.ring import RingBuffer

__all__ = [
    "BpfError",
    "BpfLink",
    "BpfMap",
    "BpfObject",
    "BpfProgram",
    "RingBuffer",
    "TestRun",
    "attach_raw_tracepoint",
    "attach_tcx",
    "attach_xdp",
    "compiled",
    "possible_cpus",
    "struct_layout",
    "struct_size",
    "version",
]
