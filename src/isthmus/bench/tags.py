"""How the attachments of the bench are tagged: what stands in front of a packet, and what an object says of it.

The tag of VPC number n says n, so that a frame that leaves with the tag it came with is seen. Frames are written here
byte by byte, apart from the packet path, so that one mistake can not hide in both.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, ip_address
from typing import Final, Literal, NamedTuple

DATAGRAM_BYTES: Final = 50
"""Of each IP packet: 64 bytes with an Ethernet header."""

Kind = Literal["untagged", "vlan", "qinq", "mpls", "vxlan-ipv4", "vxlan-ipv6"]
KINDS: Final[tuple[Kind, ...]] = ("untagged", "vlan", "qinq", "mpls", "vxlan-ipv4", "vxlan-ipv6")

VTEPS: Final = {
    "vxlan-ipv4": (ip_address("198.51.100.1"), ip_address("198.51.100.2")),
    "vxlan-ipv6": (ip_address("2001:db8::1"), ip_address("2001:db8::2")),
}
"""The gateway's own VTEP, and the one that all VPCs are behind."""

_GATEWAY: Final = """\
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Gateway
metadata: {{name: bench}}
spec: {{vtep: {{address: "{vtep}", interface: {interface}}}}}
"""
_FIRST: Final = 1000  # what the tag of VPC number 0 would say
_SERVICE: Final = 7  # the outer of two VLAN tags
_REMOTE_MAC: Final = "02:00:00:00:00:02"  # of the hosts behind a tunnel
_IPV4, _IPV6, _VLAN, _SERVICE_VLAN, _MPLS = 0x0800, 0x86DD, 0x8100, 0x88A8, 0x8847
_VXLAN_PORT: Final = 4789
_TUNNEL_TTL: Final = 64


class Ends(NamedTuple):
    """What depends on which way a frame goes: its MAC addresses (destination and source), those inside of a tunnel, the
    outer source port there, TTL of its packet, and whether the gateway has sent it."""

    macs: bytes
    inside: bytes
    port: int
    ttl: int
    leaves: bool


class Tag(NamedTuple):
    """The tag of a VPC's attachment, by the VPC's number."""

    kind: Kind = "untagged"
    number: int = 0

    @property
    def name(self) -> int:
        """What the tag says: VLAN, inner VLAN, label, or VNI."""
        return _FIRST + self.number

    def attachment(self, router: IPv4Address) -> str:
        """What the attachment says beside its interface, in YAML; ``router``: the VPC's hosts are behind it."""
        match self.kind:
            case "untagged":
                return ""
            case "vlan":
                return f"vlan: {self.name}"
            case "qinq":
                return f"qinq: {{outer: {_SERVICE}, inner: {self.name}}}"
            case "mpls":
                return f"mpls: {{label: {self.name}, push: [{self.name}]}}"
            case tunnel:
                remote = f'{{to: {router}/32, vtep: "{VTEPS[tunnel][1]}", mac: "{_REMOTE_MAC}"}}'
                return f"vxlan: {{vni: {self.name}, remotes: [{remote}]}}"

    def gateway(self, interface: str) -> str:
        """The Gateway object that it needs, in YAML, or none; ``interface``: that of all tunnels."""
        if self.kind not in VTEPS:
            return ""
        return _GATEWAY.format(vtep=VTEPS[self.kind][0], interface=interface)

    def entering(self, gateway: bytes, source: bytes, ttl: int) -> bytes:
        """What is in front of a packet to the gateway."""
        return self._head(Ends(gateway + source, gateway + _mac(_REMOTE_MAC), 50000, ttl, leaves=False))

    def leaving(self, ttl: int) -> tuple[bytes, bytes]:
        """What is in front of a packet from the gateway, and a mask of the bits that are known: not those of the MAC
        addresses that interfaces happen to have, nor of the source port that a tunnel takes from the packet."""
        low, high = (
            self._head(Ends(some * 12, _mac(_REMOTE_MAC) + some * 6, some[0] * 0x101, ttl, leaves=True))
            for some in (b"\x00", b"\xff")
        )
        return low, bytes(~(a ^ b) & 0xFF for a, b in zip(low, high, strict=True))

    def _head(self, ends: Ends) -> bytes:
        match self.kind:
            case "untagged":
                return ends.macs + struct.pack("!H", _IPV4)
            case "vlan":
                return ends.macs + struct.pack("!3H", _VLAN, self.name, _IPV4)
            case "qinq":
                return ends.macs + struct.pack("!5H", _SERVICE_VLAN, _SERVICE, _VLAN, self.name, _IPV4)
            case "mpls":
                return ends.macs + struct.pack("!HI", _MPLS, self.name << 12 | 1 << 8 | ends.ttl)
            case "vxlan-ipv4" | "vxlan-ipv6":
                return self._tunnel(ends)

    def _tunnel(self, ends: Ends) -> bytes:
        """The outer headers of VXLAN (RFC 7348), without a UDP checksum, and the inner Ethernet header."""
        inner = ends.inside + struct.pack("!H", _IPV4)
        vxlan = struct.pack("!II", 8 << 24, self.name << 8) + inner
        udp = struct.pack("!4H", ends.port, _VXLAN_PORT, 8 + len(vxlan) + DATAGRAM_BYTES, 0) + vxlan
        own, remote = VTEPS[self.kind]
        source, target = (own.packed, remote.packed) if ends.leaves else (remote.packed, own.packed)
        length = len(udp) + DATAGRAM_BYTES
        if own.version == 6:
            ip = struct.pack("!IHBB", 6 << 28, length, 17, _TUNNEL_TTL) + source + target
            return ends.macs + struct.pack("!H", _IPV6) + ip + udp
        words = (0x45, 0, 20 + length, 0, 0x4000, _TUNNEL_TTL, 17)
        check = checksum(struct.pack("!BBHHHBBH", *words, 0) + source + target)
        ip = struct.pack("!BBHHHBBH", *words, check) + source + target
        return ends.macs + struct.pack("!H", _IPV4) + ip + udp


def checksum(data: bytes) -> int:
    """The Internet checksum of an even number of bytes (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
