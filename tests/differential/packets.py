"""Random frames: mostly such that they get far, with every oddity that the parser must survive."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from random import Random

from isthmus.tables.address import BITS, FAMILIES, MASK128, Family, address_bytes, step
from isthmus.tables.entries import Exposure, PathKind, Side, Tables, Vpc

TCP, UDP = 6, 17
WEIGHTS = {PathKind.PLAIN: 1, PathKind.STATIC: 1, PathKind.STATEFUL: 0.4, PathKind.HOLE: 0.2, PathKind.SAME_VPC: 0.1}
"""How often a destination of a kind is dialled; most say no early."""
ERRORS: dict[Family, tuple[int, ...]] = {4: (3, 4, 5, 11, 12), 6: (1, 2, 3, 4, 100)}


def checksum(data: bytes) -> int:
    """RFC 1071, from the start."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Packets:
    """Frames that enter from one VPC of the tables, out of one random sequence."""

    def __init__(self, rng: Random, tables: Tables, vpc: Vpc) -> None:
        self.rng = rng
        self.vpc = vpc
        offered = {
            f: [e for e in vpc.exposures.get(f, ()) if rng.random() < WEIGHTS[e.candidates[0].kind]] for f in (4, 6)
        }
        self.dst = {f: [(e.first, e.last) for e in found] for f, found in offered.items()}
        sides = [side for key, side in tables.sides.items() if key.vpc == vpc.name]
        self.src = {f: [(r.first, r.last) for s in sides for r in s.private.get(f, ())] for f in (4, 6)}
        self.offered_to = {
            f: {(e.first, e.last): tables.sides[e.candidates[0].here] for e in found if e.candidates[0].here}
            for f, found in offered.items()
        }
        self.inviting: dict[Family, list[tuple[Exposure, Side]]] = {
            f: [
                (exposure, tables.sides[here])
                for exposure in vpc.exposures.get(f, ())
                if exposure.candidates[0].kind in (PathKind.PLAIN, PathKind.STATIC)
                and (here := exposure.candidates[0].here) is not None
            ]
            for f in FAMILIES
        }
        self.gateways: dict[Family, list[tuple[int, Side]]] = {
            f: [
                ((own - exposure.candidates[0].delta) & MASK128, side)
                for exposure, side in self.inviting[f]
                if (there := exposure.candidates[0].there) is not None
                for own in _own_addresses(tables.vpcs[there.vpc], f)
                if exposure.first <= (own - exposure.candidates[0].delta) & MASK128 <= exposure.last
            ]
            for f in FAMILIES
        }
        self.own = {f: [(a, a) for a in _own_addresses(vpc, f)] for f in FAMILIES}

    def frame(self, mac: bytes) -> bytes:
        """One Ethernet frame to the port with this MAC."""
        rng = self.rng
        family = rng.choice([f for f in FAMILIES if self.dst[f] and self.src[f]] or FAMILIES)
        packet = self._packet(family)
        kind = rng.random()
        ethertype = 0x0800 if family == 4 else 0x86DD
        destination = mac
        if kind < 0.02:
            ethertype = rng.choice([0x0806, 0x88CC, 0x0800, 0x86DD, 0x8100, 0x88A8])
        elif kind < 0.04:
            destination = rng.choice([b"\xff" * 6, b"\x33\x33\0\0\0\1", b"\x02\xee\0\0\0\1"])
        frame = destination + b"\x02\xaa\0\0\0" + bytes([rng.randrange(4)]) + struct.pack("!H", ethertype) + packet
        if kind > 0.97:
            frame = self._damaged(frame)
        return frame + bytes(rng.choice([0, 0, 0, 2, 6])) if len(frame) >= 14 else frame + bytes(14 - len(frame))

    def _damaged(self, frame: bytes) -> bytes:
        rng = self.rng
        if rng.random() < 0.5:
            return frame[: rng.randrange(14, len(frame) + 1)]
        mutable = bytearray(frame)
        for _ in range(rng.randint(1, 4)):
            mutable[rng.randrange(14, min(len(mutable), 90))] = rng.choice([0, 255, rng.randrange(256)])
        return bytes(mutable)

    def _address(self, family: Family, spans: Sequence[tuple[int, int]]) -> int:
        """An address of one of the spans, often at an end or just outside; sometimes anything."""
        rng = self.rng
        unit = step(family)
        if not spans or rng.random() < 0.03:
            return rng.getrandbits(BITS[family]) << (128 - BITS[family])
        first, last = rng.choice(spans)
        count = (last - first) // unit + 1
        near = rng.randrange(min(count, 4)) if count < 1 << 20 or rng.random() < 0.2 else rng.randrange(count)
        offset = rng.choice([near, near, near, 0, count - 1, rng.randrange(count), -1 if rng.random() < 0.1 else near])
        return (first + offset * unit) & ((1 << 128) - 1)

    def opening(self, family: Family) -> tuple[int, int] | None:
        """Source and destination of a conversation that may well begin: few hosts, at the start of what is offered."""
        rng = self.rng
        inviting = self.inviting[family]
        if not inviting or rng.random() < 0.05:
            return None
        exposure, side = rng.choice(inviting)
        target = _early(rng, family, exposure.first, exposure.last)
        if self.gateways[family] and rng.random() < 0.02:
            target, side = rng.choice(self.gateways[family])
        hosts = side.private.get(family, ())
        if not hosts:
            return None
        place = rng.choice(hosts)
        return _early(rng, family, place.first, place.last), target

    def ends(self, family: Family) -> tuple[int, int]:
        """Source and destination: mostly such that the side that is asked offers the source."""
        rng = self.rng
        if rng.random() < 0.02:
            return self._address(family, self.own[family]), self._address(family, self.own[family])
        spans = self.dst[family]
        if not spans:
            return self._address(family, self.src[family]), self._address(family, spans)
        span = rng.choice(spans)
        side = self.offered_to[family].get(span)
        ranges = [(r.first, r.last) for r in side.private.get(family, ())] if side else []
        sources = ranges if rng.random() < 0.9 else self.src[family]
        return self._address(family, sources), self._address(family, [span])

    def _packet(self, family: Family) -> bytes:
        if self.rng.random() < 0.25:
            return self._error(family)
        return self._plain(family, *self.ends(family))

    def _error(self, family: Family) -> bytes:
        """An ICMP error about a packet that may have come from there."""
        rng = self.rng
        host, dst = self.ends(family)
        router = host if rng.random() < 0.3 else self.ends(family)[0]
        inner = self._plain(family, dst if rng.random() < 0.95 else self.ends(family)[1], host, quoted=True)
        inner = inner[: rng.choice([len(inner), 28, 48, 56, rng.randint(0, len(inner))])]
        body = struct.pack("!BBHI", rng.choice(ERRORS[family]), rng.randrange(3), 0, rng.randrange(2000)) + inner
        return self._ip(family, router, dst, 1 if family == 4 else 58, body, 2)

    def _plain(self, family: Family, src: int, dst: int, quoted: bool = False) -> bytes:
        rng = self.rng
        sport, dport = rng.randrange(6), rng.randrange(6)
        size = rng.choice([0, 0, 1, 5, 8, 30, 100] + ([] if quoted else [1200, 1300, 1480, 1600]))
        data = rng.randbytes(size)
        kind = rng.random()
        icmp = 1 if family == 4 else 58
        if kind < 0.35:
            flags = rng.choice([2, 0x12, 0x10, 0x18, 4])
            return self._ip(
                family, src, dst, TCP, struct.pack("!HHIIBBHHH", sport, dport, 1, 2, 0x50, flags, 100, 0, 0) + data, 16
            )
        if kind < 0.65:
            body = struct.pack("!HHHH", sport, dport, 8 + size, 0) + data
            return self._ip(family, src, dst, UDP, body, 6 if rng.random() < 0.8 else None)
        if kind < 0.9:
            type_ = (
                rng.choice([0, 8, 13] if family == 4 else [128, 129, 135, 143])
                if rng.random() < 0.9
                else rng.randrange(256)
            )
            return self._ip(family, src, dst, icmp, struct.pack("!BBHHH", type_, rng.randrange(2), 0, 7, 9) + data, 2)
        proto = rng.choice([2, 33, 136, 47, 50, 132, 1, 58, 59, rng.randrange(256)])
        return self._ip(family, src, dst, proto, rng.randbytes(rng.choice([0, 4, 7, 8, 20])) + data, None)

    def _ip(self, family: Family, src: int, dst: int, proto: int, body: bytes, csum: int | None) -> bytes:
        source, target = address_bytes(family, src), address_bytes(family, dst)
        if csum is not None:
            pseudo = b"" if proto == 1 else source + target + struct.pack("!II", len(body), proto)
            body = body[:csum] + struct.pack("!H", checksum(pseudo + body)) + body[csum + 2 :]
        ttl = self.rng.choice([64, 64, 64, 255, 2, 1, 0])
        return (self._ipv4 if family == 4 else self._ipv6)(source, target, proto, ttl, body)

    def _ipv4(self, source: bytes, target: bytes, proto: int, ttl: int, body: bytes) -> bytes:
        rng = self.rng
        options = rng.choice([b"", b"", b"", b"\x07\x07\x04\0\0\0\0\0", b"\x94\x04\0\0", b"\x01" * 40])
        if rng.random() < 0.02:
            options = rng.choice([b"\x83\x07\x04\x0a\0\2\x63\0", b"\1\x89\3\4"])
        fragment = rng.choice([0, 0, 0x4000, 0x4000, 0x2000, 0x2005, 0x0010, 0x4001]) if rng.random() < 0.6 else 0
        header = struct.pack(
            "!BBHHHBBH4s4s", 0x45 + len(options) // 4, rng.choice([0, 0xB8]), 20 + len(options) + len(body),
            rng.randrange(65536), fragment, ttl, proto, 0, source, target,
        ) + options  # fmt: skip
        return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + body

    def _ipv6(self, source: bytes, target: bytes, proto: int, ttl: int, body: bytes) -> bytes:
        rng = self.rng
        chain: list[tuple[int, bytes]] = []
        if rng.random() < 0.25:
            for _ in range(rng.choice([1, 1, 2, 3, 6, 7, 8])):
                kind = rng.choice([0, 43, 60, 44, 51, 135])
                if kind == 44:
                    chain.append((44, struct.pack("!BHI", 0, rng.choice([0, 0, 1, 8, 9]), 77)))
                else:
                    units = rng.choice([0, 0, 1, 2])
                    size = (units + 1) * 8 if kind != 51 else (units + 2) * 4
                    left = rng.random() < 0.1
                    chain.append((kind, bytes([units, 0, left]) + bytes(max(size, 8) - 4)))
        rest = b""
        following = proto
        for kind, tail in reversed(chain):
            rest = bytes([following]) + tail + rest
            following = kind
        head = struct.pack("!IHBB", 6 << 28 | rng.randrange(1 << 20), len(rest) + len(body), following, ttl)
        return head + source + target + rest + body


def _own_addresses(vpc: Vpc, family: Family) -> list[int]:
    """The gateway's own in a VPC."""
    return [address for one in vpc.attachments for kin, address, _ in one.addresses if kin == family]


def _early(rng: Random, family: Family, first: int, last: int) -> int:
    """One of the first few addresses."""
    return first + step(family) * rng.randrange(min((last - first) // step(family) + 1, 4))
