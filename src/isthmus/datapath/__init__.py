"""The packet path: BPF programs, their tables, their counters. The only package that knows libbpf.

It takes ``isthmus.tables`` and nothing else of ours; what a peering is it never learns.
"""

from isthmus.datapath.bindings import Bindings, Hook, PortBinding
from isthmus.datapath.gateway import Capacity, Outcome, PacketPath, Wanted, WantedTunnel
from isthmus.datapath.libbpf import BpfError
from isthmus.datapath.store import TableFull

__all__ = [
    "Bindings",
    "BpfError",
    "Capacity",
    "Hook",
    "Outcome",
    "PacketPath",
    "PortBinding",
    "TableFull",
    "Wanted",
    "WantedTunnel",
]
