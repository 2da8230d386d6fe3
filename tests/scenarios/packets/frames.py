"""Frames made by scapy, which computes every checksum anew: what comes in, and what exactly must leave."""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from isthmus.tables.verdicts import Verdict
from isthmus.trace.twin import Outcome
from tests.scenarios.packets.network import BLUE_MAC, HOST_MAC, NEIGHBOR_MAC, RED_MAC


def frame(packet: Packet, to: bytes = RED_MAC, source: bytes = HOST_MAC, padding: bytes = b"") -> bytes:
    """As a host sends it to the gateway's port."""
    return bytes(Ether(dst=to, src=source) / packet) + padding


def leaving(packet: Packet, port: bytes = BLUE_MAC, padding: bytes = b"") -> bytes:
    """As the gateway's port sends it to a neighbour."""
    return bytes(Ether(dst=NEIGHBOR_MAC, src=port) / packet) + padding


def answered(packet: Packet, port: bytes = RED_MAC) -> bytes:
    """As the gateway's port sends its own answer back to the host."""
    return bytes(Ether(dst=HOST_MAC, src=port) / packet)


def assert_leaves(outcome: Outcome, packet: Packet, port: str = "blue0", mac: bytes = BLUE_MAC) -> None:
    """It was forwarded, as exactly this packet, out of this port."""
    assert outcome.verdict == Verdict.FORWARDED
    assert [(name, Ether(data)) for name, data in outcome.out] == [(port, Ether(leaving(packet, mac)))]
    assert outcome.out[0][1] == leaving(packet, mac)
    assert outcome.answer is None


def recomputed(data: bytes) -> bytes:
    """The same frame with each checksum computed anew, also in the packet that an ICMP error quotes."""
    parsed = Ether(data)
    layer = parsed
    while layer:
        for name in ("chksum", "cksum"):
            if name in layer.fields:
                layer.delfieldval(name)
        layer = layer.payload
    return bytes(parsed)


def ip(src: str, dst: str, ttl: int = 64, **fields: Any) -> Packet:
    """An IP header of the family that the addresses have."""
    return IPv6(src=src, dst=dst, hlim=ttl, **fields) if ":" in src else IP(src=src, dst=dst, ttl=ttl, **fields)
