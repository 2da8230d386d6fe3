"""What a decision needs to know of the node besides the tables: ports, neighbours, the hook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from isthmus.tables.address import Family
from isthmus.tables.entries import AttachmentKey


class PortInfo(NamedTuple):
    """A port of this node: its MAC (6 bytes), its MTU in bytes of the IP packet, and whether it takes packets."""

    mac: bytes
    mtu: int
    up: bool = True


@dataclass(frozen=True, slots=True)
class Environment:
    """The node around the tables. A port that is not in ``ports`` is not on this node.

    ``neighbors``: (attachment, family, left-aligned address on it) to MAC. ``tunnels``: family and address of a remote
    VTEP to the port by which the kernel's route to it leaves, and the MAC of the next hop there. ``hook``: where
    programs are attached, as only TC can fragment. ``assumed``: an offline question; every port, neighbour and tunnel
    is taken to be there, of any MTU.
    """

    ports: Mapping[str, PortInfo] = field(default_factory=dict)
    neighbors: Mapping[tuple[AttachmentKey, Family, int], bytes] = field(default_factory=dict)
    hook: Literal["xdp", "tc"] = "xdp"
    assumed: bool = False
    tunnels: Mapping[tuple[Family, int], tuple[str, bytes]] = field(default_factory=dict)


ASSUMED = Environment(assumed=True)
"""For ``isthmus trace`` without a node."""
