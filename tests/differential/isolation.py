"""What must hold of every packet that leaves, whatever made it leave: an oracle that knows neither twin nor BPF.

It reads frames with ``frames`` and the tables with the eye of an auditor. A packet goes to a peer only. Its addresses
are what the two sides say. What enters for an address of a pool, or from a side that may start nothing, answers what
the very host that gets it has sent, to the one it has sent it to, and not after its time. No two hosts have the same
public address and port. A checksum that was right is right.
"""

from __future__ import annotations

from typing import NamedTuple

from isthmus.tables.address import MASK128, Family, address_from_bytes
from isthmus.tables.entries import Nat, Side, Tables
from isthmus.tables.flows import HOLD_DOWN_S, ticks
from tests.differential.frames import CHECKSUM_AT, ICMP, TCP, UDP, Ends, Read, checksum, ends, is_error, quoted, read

Who = tuple[str, Ends]
"""A VPC, and who talks to whom as it writes it."""


Road = tuple[str, int, bytes, bytes]
"""A VPC, a protocol, and addresses as it writes them: what also later fragments tell."""


class Passage(NamedTuple):
    """A frame of a VPC at a tick, and what left to a peer; both None: nothing did. ``far``: it got to *ttl*."""

    tick: int
    vpc: str
    frame: bytes
    peer: str | None
    out: bytes | None
    far: bool


class _Owner(NamedTuple):
    """Who sent what a VPC sees as certain ends: frame number and tick of the last time."""

    who: Who
    number: int
    tick: int


class Isolation:
    """Told of every frame in order; says what is wrong with it, or None."""

    def __init__(self) -> None:
        self.number = 0
        self.sent: dict[Who, int] = {}
        self.talked: dict[Road, int] = {}
        self.passed: dict[Road, int] = {}
        self.owners: dict[Who, _Owner] = {}
        self.given: dict[tuple[str, Family, int, bytes, int, tuple[bytes, int] | None], tuple[Who, int]] = {}
        self.sides: dict[tuple[str, str], Side] = {}
        self.apart: set[str] = set()  # to whom pools were shown where a mapping is for one destination alone
        self.longest = self.shortest = 0

    def configure(self, tables: Tables) -> None:
        """From now on these tables count."""
        self.sides = {}
        by_peering: dict[str, list[Side]] = {}
        for side in tables.sides.values():
            by_peering.setdefault(side.key.peering, []).append(side)
        for one, other in by_peering.values():
            self.sides[one.key.vpc, other.key.vpc] = one
            self.sides[other.key.vpc, one.key.vpc] = other
        times = [ticks(time) for side in tables.sides.values() for time in side.timeouts] or [0]
        self.apart |= {
            other for (_, other), side in self.sides.items() if side.pool is not None and side.pool.per_destination
        }
        self.longest, self.shortest = max(self.longest, *times), min(times)
        self.given.clear()

    def reroute(self) -> None:
        """Routes have changed: a conversation whose way is lost has ended, and its port is anybody's."""
        self.given.clear()

    def judge(self, it: Passage) -> str | None:
        """What is wrong with it; None: nothing."""
        self.number += 1
        found = read(it.frame)
        if found is None:
            return None if it.out is None else "what left can't be read"
        own = ends(it.frame, found)
        if own is not None:
            self.sent[it.vpc, own] = self.number
        road = (it.vpc, found.proto, found.source, found.target)
        self.talked[road] = it.tick
        wrong = None if it.out is None or it.peer is None else self._left(it, found, own, it.out, it.peer)
        if it.far:
            self.passed[road] = it.tick
        return wrong

    def _left(self, it: Passage, found: Read, own: Ends | None, out: bytes, peer: str) -> str | None:
        theirs = read(out)
        if theirs is None:
            return "what left can't be read"
        here, there = self.sides.get((it.vpc, peer)), self.sides.get((peer, it.vpc))
        if here is None or there is None:
            return f"{it.vpc} has no peering with {peer}"
        if not (theirs.offset or theirs.more) and _sums_right(it.frame, found) and not _sums_right(out, theirs):
            return "a checksum that was right is wrong"
        if is_error(it.frame, found):
            return self._error(there, peer, out, theirs)
        wrong = _addresses(here, there, found, theirs)
        if wrong is not None:
            return wrong
        their_own = ends(out, theirs)
        if own is None or their_own is None:
            return self._portless(there, peer, found, theirs)
        who, asked = (it.vpc, own), (peer, their_own.mirror)
        if there.nat is Nat.STATEFUL or here.rules == ():
            wrong = self._answer(there, who, asked, it.tick)
        elif here.nat is Nat.STATEFUL:
            wrong = self._given(who, peer, their_own, it.tick)
        self.owners[asked] = _Owner(who, self.number, it.tick)
        return wrong

    def _portless(self, there: Side, peer: str, found: Read, theirs: Read) -> str | None:
        """A later fragment, or ICMP that is neither echo nor error."""
        if there.nat is not Nat.STATEFUL:
            return None
        if found.proto == ICMP[found.family] and not found.offset:
            return "ICMP that is neither echo nor error went through a pool"
        road = (peer, theirs.proto, theirs.target, theirs.source)
        return None if road in self.talked else f"{peer} has sent nothing that this answers"

    def _error(self, there: Side, peer: str, out: bytes, theirs: Read) -> str | None:
        """An error about what came out of a pool: its receiver has sent the packet inside."""
        inner = quoted(out, theirs)
        if there.nat is not Nat.STATEFUL:
            return None
        if inner is None:
            return "an error about a packet of no flow went through a pool"
        if inner.source != theirs.target:
            return f"{peer} gets an error for {theirs.target.hex()} about a packet of {inner.source.hex()}"
        return None if (peer, inner) in self.sent else f"{peer} has not sent what the error is about"

    def _answer(self, there: Side, who: Who, asked: Who, now: int) -> str | None:
        """A packet that only a flow lets in: it answers ``asked``, as its receiver has sent it."""
        number = self.sent.get(asked)
        if number is None:
            return f"{asked[0]} has never sent what this answers: {asked[1]}"
        owner = self.owners.get(who)
        if there.nat is not Nat.STATEFUL or owner is None:
            return None
        if owner.who != asked:
            return None if number > owner.number else f"this is for {owner.who}, and {asked} got it"
        vpc, own = asked
        last = max(
            self.talked[vpc, own.proto, own.source, own.target],
            self.passed.get((who[0], who[1].proto, who[1].source, who[1].target), 0),
        )
        return None if now - last <= self.longest else f"nothing was said for {now - last} ticks, and this still passes"

    def _given(self, who: Who, peer: str, seen: Ends, now: int) -> str | None:
        """A public address and port belong to one host, as long as its last packet is not older than any timeout.

        Of TCP it is held for a while longer."""
        vpc, own = who
        remote = (seen.target, seen.dport) if peer in self.apart else None
        public = (peer, seen.family, seen.proto, seen.source, seen.sport, remote)
        host: Who = (vpc, own._replace(target=b"", dport=0))
        old, tick = self.given.get(public, (host, now))
        self.given[public] = host, now
        held = self.shortest + (ticks(HOLD_DOWN_S) if seen.proto == TCP else 0)
        if old != host and now - tick < held:
            return f"{seen.source.hex()} port {seen.sport} is {old}'s, and {host} got it"
        return None


def _addresses(here: Side, there: Side, found: Read, theirs: Read) -> str | None:
    """Source and destination as the two sides have them."""
    family: Family = found.family
    source, target = address_from_bytes(found.source)[1], address_from_bytes(found.target)[1]
    shown, dialled = address_from_bytes(theirs.source)[1], address_from_bytes(theirs.target)[1]
    if here.pool is not None:
        if not any(first <= shown <= last for first, last in here.pool.addresses.get(family, ())):
            return "the source is not in the pool"
        if _private(here, family, source) is None:
            return "the source is not exposed"
    elif _private(here, family, source) != shown:
        return "the source is not translated as its side says"
    if there.pool is not None:
        if not any(first <= target <= last for first, last in there.pool.addresses.get(family, ())):
            return "what was dialled is not in the pool"
        if _private(there, family, dialled) is None:
            return "the receiver is not exposed"
    elif _private(there, family, dialled) != target:
        return "the destination is not translated as its side says"
    return None


def _private(side: Side, family: Family, address: int) -> int | None:
    """The public form of a private address of a side without a pool (with one: itself); None: it is not exposed."""
    for span in side.private.get(family, ()):
        if span.first <= address <= span.last:
            return (address + span.delta) & MASK128
    return None


def _sums_right(frame: bytes, found: Read) -> bool:
    """True for a whole packet whose transport checksum is right (IPv4: the header's too), or 0 and UDP."""
    if found.offset or found.more:
        return False
    at = 2 if found.proto == ICMP[found.family] else CHECKSUM_AT.get(found.proto)
    body = frame[found.at : found.end]
    if at is None or len(body) < at + 2:
        return False
    if found.family == 4 and checksum(frame[14 : found.at]):
        return False
    if found.proto == UDP and body[6:8] == b"\0\0":
        return True
    if found.proto in (TCP, UDP) or found.family == 6:
        pseudo = found.source + found.target + len(body).to_bytes(4, "big") + found.proto.to_bytes(4, "big")
        return checksum(pseudo + body) == 0
    return checksum(body) == 0
