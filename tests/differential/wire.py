"""The other end of every port: puts tags on as its neighbours would, and reads what leaves, strictly.

It owes nothing to twin or BPF: tags are written and read here by hand, from the RFCs.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from random import Random
from typing import NamedTuple

from isthmus.tables.address import MASK128, Family, Prefix, address_bytes, step
from isthmus.tables.entries import Attachment, AttachmentKey, Tables, Tag, TagKind, Vpc, Vtep
from isthmus.trace.environment import PortInfo
from tests.differential.frames import (
    ETHERTYPE,
    HOST_MAC,
    ICMP,
    NOT_IP,
    REPLY,
    UDP,
    checksum,
    ipv4,
    packet,
    read,
    summed,
)
from tests.differential.slots import VTEPS

MACS = 12
ETHERTYPE_ARP = 0x0806
FABRIC_MAC = b"\x02\xdd\0\0\0\x01"
Place = tuple[str, Tag]
"""A port, and the tag that an attachment has there."""


class Entering(NamedTuple):
    """A frame on a port. ``place``: whose it is, None: nobody's; ``plain``: what is left of it without the tag."""

    interface: str
    frame: bytes
    place: Place | None
    plain: bytes


class Wire:
    """All attachments as the world outside sees them."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.attachments: dict[Place, Attachment] = {}
        self.vtep: Vtep | None = None
        self.ports: Mapping[str, PortInfo] = {}

    def configure(self, tables: Tables, ports: Mapping[str, PortInfo]) -> None:
        """From now on these count."""
        self.attachments = {one.key[1:]: one for vpc in tables.vpcs.values() for one in vpc.attachments}
        self.vtep, self.ports = tables.vtep, ports

    def enter(self, place: Place, plain: bytes) -> Entering:
        """A frame as the neighbour of an attachment sends it; sometimes with a tag that is another's, or nobody's."""
        rng, (interface, tag) = self.rng, place
        kind = rng.random()
        if kind < 0.02:
            rivals = [other for other in self.attachments if other[0] == interface and other != place]
            if rivals:
                place = rng.choice(rivals)
                tag = place[1]
        elif kind < 0.05 and tag.kind is not TagKind.UNTAGGED:
            return Entering(interface, self._wrong(tag, plain), None, plain)
        elif kind < 0.1 and tag.kind is TagKind.MPLS:
            return Entering(interface, self._discovery(self.attachments[place]), None, plain)
        frame = self._tagged(tag, plain)
        if tag.kind is TagKind.MPLS and len(plain) > NOT_IP and plain[NOT_IP] >> 4 in ETHERTYPE:
            plain = (
                plain[:MACS] + ETHERTYPE[plain[NOT_IP] >> 4].to_bytes(2, "big") + plain[NOT_IP:]
            )  # nothing else tells
        return Entering(interface, frame, place, plain)

    def _tagged(self, tag: Tag, plain: bytes) -> bytes:
        rng, macs, rest = self.rng, plain[:MACS], plain[MACS:]
        if tag.kind is TagKind.VLAN:
            return macs + struct.pack("!HH", rng.choice([0x8100, 0x88A8]), self._tci(tag.outer)) + rest
        if tag.kind is TagKind.QINQ:
            outer = struct.pack("!HH", rng.choice([0x8100, 0x88A8]), self._tci(tag.outer))
            return macs + outer + struct.pack("!HH", 0x8100, self._tci(tag.inner)) + rest
        if tag.kind is TagKind.MPLS:
            null = _label(rng.choice([0, 2]), False, 9) if rng.random() < 0.2 else b""
            ttl = rng.choice([64, 64, 64, 255, 2, 1, 0])
            return macs + b"\x88\x47" + null + _label(tag.outer, True, ttl, rng.randrange(8)) + rest[2:]
        return self._in_tunnel(tag.outer, plain) if tag.kind is TagKind.VXLAN else plain

    def _tci(self, number: int) -> int:
        """With any priority bits and DEI."""
        return self.rng.randrange(16) << 12 | number if self.rng.random() < 0.3 else number

    def _in_tunnel(self, vni: int, plain: bytes, port: int = 4789, flags: int = 8, fragment: int = 0) -> bytes:
        rng, vtep = self.rng, self.vtep
        assert vtep is not None
        flags |= rng.choice([0, 0, 0xF7 & rng.randrange(256)])
        payload = struct.pack("!BBHI", flags, 0, 0, vni << 8 | rng.choice([0, 0, 255])) + plain
        sport, csum = rng.randrange(65536), rng.choice([0, 0, rng.randrange(65536)])
        udp = struct.pack("!HHHH", sport, port, 8 + len(payload), csum) + payload
        source, target = address_bytes(vtep.family, rng.choice(VTEPS[vtep.family][1:])), _own(vtep)
        traffic = rng.choice([0, 0, 1, 2, 3, 0xB8, 0xBB])
        if vtep.family == 4:
            outer = ipv4(source, target, UDP, udp, 60, fragment, 7, tos=traffic)
        else:
            word = 6 << 28 | traffic << 20 | rng.randrange(1 << 20)
            outer = struct.pack("!IHBB", word, len(udp), UDP, 60) + source + target + udp
        mac = self.ports[vtep.interface].mac if vtep.interface in self.ports else bytes(6)
        return mac + FABRIC_MAC + ETHERTYPE[vtep.family].to_bytes(2, "big") + outer

    def _wrong(self, tag: Tag, plain: bytes) -> bytes:
        """A frame whose tag is nobody's, or no tag."""
        rng, macs, rest = self.rng, plain[:MACS], plain[MACS:]
        if tag.kind is TagKind.VXLAN:
            odd = rng.randrange(4)
            if odd == 0:
                return self._in_tunnel(4242, plain)
            if odd == 1:
                return self._in_tunnel(tag.outer, plain, port=4790)
            whole = self._in_tunnel(tag.outer, plain)
            at = 42 if self.vtep is not None and self.vtep.family == 4 else 62
            if odd == 2:
                return whole[:at] + bytes([whole[at] & 0xF7]) + whole[at + 1 :]
            return whole[: rng.randrange(at, at + 8)]
        if tag.kind is TagKind.MPLS:
            right, last = _label(tag.outer, True, 64), _label(rng.choice([0, 3, 4242]), True, 64)
            null = _label(0, False, 64)
            deep = _label(tag.outer, False, 64) + right
            stack = rng.choice([last, deep, null + null + right, null + last, right[:2]])
            return macs + b"\x88\x47" + stack + (rest[2:] if len(stack) % 4 == 0 else b"")
        heads = [
            struct.pack("!HH", 0x8100, 0),
            struct.pack("!HH", 0x88A8, 4000),
            struct.pack("!HHHH", 0x8100, tag.outer, 0x88A8, tag.inner or tag.outer),
            struct.pack("!HHHH", 0x8100, 4000, 0x8100, tag.outer),
        ]
        whole = macs + rng.choice(heads) + rest
        return whole if rng.random() < 0.8 else whole[: rng.choice([14, 15, 16, 17])]

    def _discovery(self, attachment: Attachment) -> bytes:
        """Untagged ARP or ND that is about one of the gateway's own addresses, or about nobody's."""
        rng = self.rng
        own = {family: address_bytes(family, address) for family, address, _ in attachment.addresses}
        family: Family = rng.choice([4, 6])
        about = own.get(family, bytes(16 if family == 6 else 4))
        if rng.random() < 0.1:
            about = about[:-1] + b"\x77"
        target = self.ports[attachment.key.interface].mac if attachment.key.interface in self.ports else bytes(6)
        macs = rng.choice([b"\xff" * 6, target, b"\x33\x33\xff\0\0\1", b"\x02\xee\0\0\0\1"]) + HOST_MAC
        if family == 4:
            asks = struct.pack("!HHHBBH", ETHERTYPE_ARP, 1, 0x0800, 6, 4, rng.choice([1, 2]))
            return macs + asks + HOST_MAC + bytes(10) + about
        return macs + b"\x86\xdd" + solicit_or_advert(rng, about)

    def said(self, vpc: Vpc, key: AttachmentKey) -> bytes:
        """What the kernel of a VPC says on an attachment: ARP, ND, or a ping's answer, to hosts that have routes.

        Now and then another protocol, a tag, or an end that is missing."""
        frame, rng = self._said(vpc, key), self.rng
        odd = rng.random()
        if odd < 0.05:
            return frame[:MACS] + b"\x88\xcc" + frame[NOT_IP:]
        if odd < 0.1:
            tag = rng.choice([struct.pack("!HH", 0x8100, 7), b"\x88\x47" + _label(16, True, 9)])
            return frame[:MACS] + tag + frame[MACS:]
        return frame[: rng.randrange(NOT_IP, len(frame))] if odd < 0.15 else frame

    def _said(self, vpc: Vpc, key: AttachmentKey) -> bytes:
        rng = self.rng
        family: Family = rng.choice([4, 6])
        prefixes = [route.prefix for route in vpc.routes.get(family, ())] or [Prefix(family, 0, 0)]
        target = address_bytes(family, rng.choice(prefixes).first + step(family) * rng.randrange(4) & MASK128)
        macs = b"\x02\xaa\0\0\0\x02" + (self.ports[key.interface].mac if key.interface in self.ports else bytes(6))
        own = address_bytes(family, prefixes[0].first)
        if family == 4 and rng.random() < 0.5:
            asks = struct.pack("!HHHBBH", ETHERTYPE_ARP, 1, 0x0800, 6, 4, 1)
            return macs + asks + macs[6:] + own + bytes(6) + target + bytes(18)
        if family == 6 and rng.random() < 0.5:
            return macs + b"\x86\xdd" + solicit_or_advert(rng, target)
        body = struct.pack("!BBHHH", REPLY[family], 0, 0, 7, 9) + bytes(32)
        whole = summed(family, own, target, ICMP[family], body)
        return macs + ETHERTYPE[family].to_bytes(2, "big") + packet(family, own, target, ICMP[family], whole)

    def left(self, interface: str, frame: bytes) -> tuple[Attachment, bytes] | str:
        """Whose neighbour gets what left, and the frame without its tag; a text: what is wrong with it."""
        tunnelled = self._left_tunnel(frame)
        if tunnelled is not None:
            return tunnelled
        # two tags before one: 802.1Q in 802.1Q begins like a VLAN
        longest_first = sorted(self.attachments.items(), key=lambda item: -len(_head(item[1])))
        for (port, tag), one in longest_first:
            if port != interface or tag.kind is TagKind.VXLAN:
                continue
            head = _head(one)
            if tag.kind is TagKind.MPLS and one.push:
                end = 14 + 4 * len(one.push)
                if frame[12:14] == b"\x88\x47" and _stack(frame) == one.push:
                    version = frame[end] >> 4
                    plain = frame[:12] + ETHERTYPE[version].to_bytes(2, "big") + frame[end:]
                    wrong = _labels_wrong(one, frame, plain)
                    return wrong or (one, plain)
            elif frame[12 : 12 + len(head)] == head and (head or frame[12:14] in (b"\x08\0", b"\x86\xdd")):
                return one, frame[:12] + frame[12 + len(head) :]
        return "the tag that it left with is nobody's"

    def _left_tunnel(self, frame: bytes) -> tuple[Attachment, bytes] | str | None:
        vtep = self.vtep
        found = read(frame)
        if vtep is None or found is None or found.source != _own(vtep) or found.proto != UDP:
            return None
        at = found.at
        sport, dport, length, csum, flags, *_, vni = struct.unpack_from("!HHHHBBHI", frame, at)
        if dport != 4789:
            return None
        plain = frame[at + 16 :]
        one = self.attachments.get((vtep.interface, Tag(TagKind.VXLAN, vni >> 8)))
        right = (sport >= 49152, length == len(frame) - at, csum == 0, flags == 8, not vni & 255, found.ttl == 64)
        if one is None or not all(right) or found.end != len(frame):
            return f"the tunnel's header is wrong: {right}"
        if vtep.family == 4 and (checksum(frame[14:34]) or frame[18:22] != b"\0\0\x40\0"):
            return "the outer IPv4 header is wrong"
        if _traffic(frame) != _traffic(plain):
            return "DSCP or ECN of the tunnel is not the packet's"
        return one, plain


def solicit_or_advert(rng: Random, about: bytes) -> bytes:
    """ND to a solicited-node group that asks for an address, or an advertisement to the address itself."""
    asker = b"\xfd" + bytes(14) + b"\x05"
    kind = rng.choice([135, 135, 136])
    target = about if kind == 136 or rng.random() < 0.2 else b"\xff\x02" + bytes(9) + b"\x01\xff" + about[13:]
    body = struct.pack("!BBHI", kind, 0, 0, 0) + about
    pseudo = asker + target + struct.pack("!II", len(body), 58)
    body = body[:2] + checksum(pseudo + body).to_bytes(2, "big") + body[4:]
    return struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + asker + target + body


def _own(vtep: Vtep) -> bytes:
    return address_bytes(vtep.family, vtep.address)


def _label(label: int, last: bool, ttl: int, traffic: int = 0) -> bytes:
    return struct.pack("!I", label << 12 | traffic << 9 | last << 8 | ttl)


def _head(one: Attachment) -> bytes:
    """What stands behind the MACs of a frame that leaves with VLAN tags."""
    tag = one.key.tag
    if tag.kind is TagKind.VLAN:
        return struct.pack("!HH", 0x8100, tag.outer)
    return struct.pack("!HHHH", one.outer_type, tag.outer, 0x8100, tag.inner) if tag.kind is TagKind.QINQ else b""


def _stack(frame: bytes) -> tuple[int, ...]:
    """The labels of a frame."""
    labels, at = [], 14
    while at + 4 <= len(frame):
        entry = int.from_bytes(frame[at : at + 4], "big")
        labels.append(entry >> 12)
        at += 4
        if entry & 0x100:
            break
    return tuple(labels)


def _labels_wrong(one: Attachment, frame: bytes, plain: bytes) -> str | None:
    ttl = 255 if not one.uniform else plain[22] if plain[12:14] == b"\x08\0" else plain[21]
    for index in range(len(one.push)):
        entry = int.from_bytes(frame[14 + 4 * index : 18 + 4 * index], "big")
        if (entry & 0xFF, entry >> 9 & 7) != (ttl, _traffic(plain) >> 5):
            return "TTL or traffic class of a label is wrong"
    return None


def _traffic(frame: bytes) -> int:
    """DSCP and ECN; 0 where there is no IP."""
    if frame[12:14] == b"\x08\0":
        return frame[NOT_IP + 1]
    return (frame[NOT_IP] << 4 | frame[NOT_IP + 1] >> 4) & 0xFF if frame[12:14] == b"\x86\xdd" else 0
