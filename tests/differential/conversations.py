"""What hosts say to one another: openings, answers to what was delivered, repetitions, errors about it, fragments.

All is made of what the packet path delivered, so that translated addresses and ports are those that hosts would see.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from random import Random

from isthmus.tables.address import FAMILIES, Family, address_bytes
from isthmus.tables.entries import Tables
from tests.differential.frames import (
    ACK,
    ESP,
    ETHERTYPE,
    FIN,
    GRE,
    ICMP,
    NOT_IP,
    PSH,
    REPLY,
    REQUEST,
    RST,
    SCTP,
    SYN,
    TCP,
    UDP,
    Ends,
    ends,
    packet,
    piece,
    read,
    summed,
)
from tests.differential.packets import Packets
from tests.differential.wire import Place

MOST_TALKS, MOST_PIECES = 48, 12
PATIENCE = 4
"""So many packets in a row are lost before hosts give up a conversation."""
PORTS = (1024, 1025, 1026, 1027, 2, 5, 0, 40000, 65535)
SERVICES = (53, 53, 80, 443, 2, 1024)
ODD_FLAGS = (SYN, SYN | ACK, ACK, FIN | ACK, FIN, RST, RST | ACK, 0, SYN | FIN, SYN | RST, SYN | ACK | RST, ACK | PSH)
ERRORS: dict[int, tuple[tuple[int, int], ...]] = {
    4: ((3, 4), (3, 1), (3, 3), (11, 0), (12, 0)),
    6: ((2, 0), (1, 0), (3, 0), (4, 1)),
}
NEXT_FLAGS = ((SYN, SYN | ACK), (ACK, ACK), (ACK | PSH, ACK | PSH), (ACK, ACK), (FIN | ACK, FIN | ACK), (ACK, ACK))
"""Of the initiator and of the other end, step by step."""

Raw = tuple[str, bytes, Family]
"""The VPC that an IP packet comes from, the packet, its family."""


class Talk:
    """One conversation as both ends write it. Direction 0 is what the initiator sends; ``heard[e]``: the last IP packet
    that end ``e`` was sent by the other."""

    __slots__ = ("ends", "heard", "lost", "step", "vpcs")

    def __init__(self, vpc: str, own: Ends) -> None:
        self.ends: list[Ends | None] = [own, None]
        self.vpcs: list[str | None] = [vpc, None]
        self.heard: list[bytes | None] = [None, None]
        self.step = 0
        self.lost = 0


class Conversations:
    """Frames out of one random sequence; tell it what was delivered."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.talks: list[Talk] = []
        self.known: dict[tuple[str, Ends], tuple[Talk, int]] = {}
        self.pieces: list[Raw] = []
        self.recent: Talk | None = None
        self.hurried = False
        self.ports: Mapping[str, bytes] = {}
        self.places: dict[str, list[Place]] = {}
        self.before: dict[str, list[Place]] = {}
        self.heirs: dict[str, str] = {}
        self.packets: list[Packets] = []
        self.inviting: list[Packets] = []
        self.serial = 0

    def configure(self, tables: Tables, macs: Mapping[str, bytes]) -> None:
        """From now on these are the VPCs and ports; conversations go on.

        Where a VPC has gone and another has its port, the hosts there say what those before them would have said."""
        self.ports = macs
        self.before |= self.places
        self.places = {}
        self.packets = []
        for vpc in tables.vpcs.values():
            places: list[Place] = [one.key[1:] for one in vpc.attachments if one.key.interface in macs]
            if places:
                self.places[vpc.name] = places
                self.packets.append(Packets(self.rng, tables, vpc))
        owners = {place: name for name, places in self.places.items() for place in places}
        self.heirs = {
            gone: owners[places[0]]
            for gone, places in self.before.items()
            if gone not in self.places and places[0] in owners
        }
        self.inviting = [packets for packets in self.packets if any(packets.inviting.values())]

    def hurry(self) -> None:
        """The next frame is of the conversation that spoke last: what lies between is time."""
        self.hurried = True

    def frame(self) -> tuple[Place, bytes]:
        """A place, and a frame that enters there, yet without its tag; ``places`` may not be empty."""
        rng = self.rng
        kind = rng.random()
        raw: Raw | None = None
        talk = self._talk()
        if talk is None or kind < 0.22:
            if kind < 0.17:
                raw = self._opening()
        elif kind < 0.32:
            pass
        elif kind < 0.62:
            raw = self._said(talk, 1)
        elif kind < 0.8:
            raw = self._said(talk, 0)
        elif kind < 0.88:
            raw = self._error(talk)
        elif kind < 0.94 and self.pieces:
            raw = self.pieces.pop(rng.randrange(len(self.pieces)))
        else:
            raw = self._stray(talk)
        if raw is not None and raw[0] in self.heirs:
            raw = (self.heirs[raw[0]], *raw[1:])
        if raw is None or raw[0] not in self.places:
            packets = rng.choice(self.packets)
            where = rng.choice(self.places[packets.vpc.name])
            return where, packets.frame(self.ports[where[0]])
        vpc, ip, family = raw
        where = rng.choice(self.places[vpc])
        frame = self.ports[where[0]] + b"\x02\xaa\0\0\0\x01" + ETHERTYPE[family].to_bytes(2, "big") + ip
        return where, frame if rng.random() < 0.95 else frame + bytes(6)

    def _talk(self) -> Talk | None:
        if self.hurried and self.recent is not None:
            self.hurried = False
            return self.recent
        return self.rng.choice(self.talks) if self.talks else None

    def delivered(self, vpc: str, frame: bytes, peer: str | None, out: bytes | None) -> None:
        """A frame of a VPC was sent to a peer as ``out``; or it was dropped: None and None."""
        found = read(frame)
        own = ends(frame, found) if found is not None and not found.offset else None
        if found is None or own is None:
            return
        key = (vpc, own)
        talk, direction = self.known.get(key, (None, 0))
        if talk is None:
            if peer is None and self.rng.random() < 0.9:
                return
            talk, direction = self._add(key), 0
        self.recent = talk
        if peer is None or out is None:
            talk.lost += 1
            if talk.lost > PATIENCE and talk in self.talks:
                self.talks.remove(talk)
                self._forget(talk, 0)
                self._forget(talk, 1)
            return
        talk.lost = 0
        theirs = read(out)
        other = ends(out, theirs) if theirs is not None else None
        talk.heard[1 - direction] = out[NOT_IP : theirs.end if theirs is not None else None]
        if direction == 0 and other is not None and theirs is not None:
            back = other.mirror
            if talk.ends[1] != back or talk.vpcs[1] != peer:
                self._forget(talk, 1)
                talk.ends[1], talk.vpcs[1] = back, peer
                self.known.setdefault((peer, back), (talk, 1))

    def _add(self, key: tuple[str, Ends]) -> Talk:
        talk = Talk(*key)
        if len(self.talks) < MOST_TALKS:
            self.talks.append(talk)
        else:
            at = self.rng.randrange(MOST_TALKS)
            old, self.talks[at] = self.talks[at], talk
            self._forget(old, 0)
            self._forget(old, 1)
        self.known[key] = (talk, 0)
        return talk

    def _forget(self, talk: Talk, end: int) -> None:
        vpc, own = talk.vpcs[end], talk.ends[end]
        if vpc is not None and own is not None and self.known.get((vpc, own), (None, 0))[0] is talk:
            del self.known[vpc, own]

    def _opening(self) -> Raw:
        """The first packet of a conversation: few hosts, few ports, so that they meet."""
        rng = self.rng
        packets = rng.choice(self.inviting or self.packets)
        family = rng.choice([f for f in FAMILIES if packets.inviting[f]] or FAMILIES)
        source, target = (address_bytes(family, address) for address in packets.opening(family) or packets.ends(family))
        proto = rng.choice([TCP, TCP, TCP, UDP, UDP, UDP, ICMP[family], rng.choice([GRE, ESP, SCTP, 136, 33])])
        sport, dport = rng.choice(PORTS), rng.choice(SERVICES)
        if proto not in (TCP, UDP):
            sport, dport = (sport if proto == ICMP[family] else 0), 0
        own = Ends(family, proto, source, target, sport, dport)
        flags = SYN if rng.random() < 0.9 else rng.choice(ODD_FLAGS)
        return packets.vpc.name, self._ip(own, self._body(own, flags, REQUEST[family])), family

    def _said(self, talk: Talk, end: int) -> Raw | None:
        """What an end of a conversation says next."""
        vpc, own = talk.vpcs[end], talk.ends[end]
        if vpc is None or own is None:
            end = 0
            vpc, own = talk.vpcs[0], talk.ends[0]
        if vpc is None or own is None:
            return None
        flags = NEXT_FLAGS[talk.step % len(NEXT_FLAGS)][end]
        if self.rng.random() < 0.5:
            talk.step += end
        if self.rng.random() < 0.25:
            flags = self.rng.choice(ODD_FLAGS)
        kind = (REPLY if end and not own.sport else REQUEST)[own.family]
        return self._maybe_cut(vpc, own, self._body(own, flags, kind))

    def _stray(self, talk: Talk) -> Raw | None:
        """Nearly what an end would say: from another VPC, another host, or another port."""
        rng = self.rng
        end = rng.randrange(2)
        vpc, own = talk.vpcs[end], talk.ends[end]
        if vpc is None or own is None:
            return None
        kind = rng.randrange(4)
        if kind == 0:
            vpc = rng.choice(list(self.places))
        elif kind == 1:
            own = own._replace(source=_near(rng, own.source))
        elif kind == 2 and own.proto in (TCP, UDP):
            own = own._replace(sport=(own.sport + 1) & 0xFFFF)
        elif kind == 3 and own.proto in (TCP, UDP):
            own = own._replace(dport=(own.dport + rng.choice([1, -1])) & 0xFFFF)
        flags = rng.choice(ODD_FLAGS)
        return self._maybe_cut(vpc, own, self._body(own, flags, rng.choice([REQUEST, REPLY])[own.family]))

    def _body(self, own: Ends, flags: int, kind: int) -> bytes:
        """Transport header and some data, with a right checksum; UDP often without one."""
        rng = self.rng
        data = bytes(rng.choice((0, 0, 1, 5, 12, 24, 40)) if rng.random() < 0.97 else rng.choice((560, 1252, 1452)))
        proto, family = own.proto, own.family
        if proto == TCP:
            options = _options(rng) if flags & SYN else b""
            words = 0x50 + len(options) * 4
            body = struct.pack("!HHIIBBHHH", own.sport, own.dport, 1, 2, words, flags, 100, 0, 0) + options + data
        elif proto == UDP:
            body = struct.pack("!HHHH", own.sport, own.dport, 8 + len(data), 0) + data
            if rng.random() < 0.15:
                return body
        elif proto == ICMP[family]:
            code = 0 if rng.random() < 0.93 else 1
            body = struct.pack("!BBHHH", kind, code, 0, own.sport or own.dport, 9) + data
        else:
            return b"\x88\x11\x22\x33\x44\x55\x66\x77" + data
        return summed(family, own.source, own.target, proto, body)

    def _ip(self, own: Ends, body: bytes) -> bytes:
        ttl = 64 if self.rng.random() < 0.95 else self.rng.choice([1, 2, 0, 255])
        return packet(own.family, own.source, own.target, own.proto, body, ttl)

    def _maybe_cut(self, vpc: str, own: Ends, body: bytes) -> Raw:
        """The packet; or a fragment of it, and others for later."""
        rng = self.rng
        if rng.random() > 0.13 or len(body) < 9:
            return vpc, self._ip(own, body), own.family
        self.serial += 1
        identification = self.serial % 50 if rng.random() < 0.9 else 7
        step = rng.choice([8, 16, 24, 24, 32])
        cuts = [(at, body[at : at + step]) for at in range(0, len(body), step)][:4]
        made = [
            (vpc, piece(own.family, own.source, own.target, own.proto, part, at, at != cuts[-1][0], identification))
            for at, part in cuts
        ]
        first = 0 if rng.random() < 0.85 else rng.randrange(len(made))
        self.pieces += [(who, ip, own.family) for index, (who, ip) in enumerate(made) if index != first]
        if rng.random() < 0.3:
            self.pieces.append((*made[first], own.family))
        while len(self.pieces) > MOST_PIECES:
            self.pieces.pop(rng.randrange(len(self.pieces)))
        return (*made[first], own.family)

    def _error(self, talk: Talk) -> Raw | None:
        """An ICMP error about what an end heard last: by that end, or by a router on the way to it."""
        rng = self.rng
        end = 1 if talk.heard[0] is None or rng.random() < 0.6 else 0
        vpc, own, heard = talk.vpcs[end], talk.ends[end], talk.heard[end]
        if vpc is None or own is None or heard is None:
            return None
        if rng.random() < 0.04:
            vpc = rng.choice(list(self.places))
        sender = own.source if rng.random() < 0.6 else _near(rng, own.source)
        least = 28 if own.family == 4 else 48
        quote = heard[: rng.choice([least, least, least + 12, len(heard), len(heard), 576])]
        if rng.random() < 0.1 and len(quote) > 12:
            spoiled = bytearray(quote)
            spoiled[rng.randrange(12, len(quote))] ^= rng.choice([1, 255])
            quote = bytes(spoiled)
        kind, code = rng.choice(ERRORS[own.family])
        body = struct.pack("!BBHI", kind, code, 0, rng.choice([0, 1280])) + quote
        proto = ICMP[own.family]
        whole = summed(own.family, sender, own.target, proto, body)
        return vpc, packet(own.family, sender, own.target, proto, whole), own.family


def _near(rng: Random, address: bytes) -> bytes:
    """A neighbour of a host, or somebody anywhere."""
    if rng.random() < 0.8:
        return address[:-1] + bytes([address[-1] ^ rng.choice([1, 2, 3])])
    return bytes([address[0]]) + rng.randbytes(len(address) - 1)


def _options(rng: Random) -> bytes:
    """TCP options of a SYN: mostly with an MSS, sometimes odd."""
    kind = rng.random()
    size = rng.choice([1460, 1460, 536, 1220, 65535, 0]).to_bytes(2, "big")
    if kind < 0.4:
        return b"\x02\x04" + size
    if kind < 0.6:
        return b"\x01\x01\x04\x02\x02\x04" + size
    if kind < 0.7:
        return rng.choice([b"\x01\x02\x04" + size + b"\x01\x01\x01", b"\x03\x03\x07\x02\x04" + size + b"\0"])
    if kind < 0.75:
        return rng.choice(
            [b"\x02\x02\0\0", b"\x01\x01\x02\x04", b"\0\x02\x04\x05\xb4\0\0\0", b"\x02\x05\0\1\2\0\0\0", b"\x05\0\0\0"]
        )
    return b""
