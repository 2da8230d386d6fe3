"""What the packet path is told of the node: its ports, and the ways into the VPCs' namespaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from isthmus.tables.entries import AttachmentKey

Hook = Literal["xdp", "generic", "tc"]


@dataclass(frozen=True, slots=True)
class PortBinding:
    """A port as the kernel knows it; ``mac`` of 6 bytes, ``mtu`` in bytes of the IP packet."""

    ifindex: int
    mac: bytes
    mtu: int
    hook: Hook = "xdp"


@dataclass(frozen=True, slots=True)
class Bindings:
    """The ports of this node by interface name, and for each attachment the gateway's end of its namespace's veth."""

    ports: Mapping[str, PortBinding] = field(default_factory=dict)
    namespaces: Mapping[AttachmentKey, PortBinding] = field(default_factory=dict)
