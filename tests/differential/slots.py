"""Ports and tags for the attachments of a random configuration: several on a port, told apart by every kind of tag."""

from __future__ import annotations

from random import Random

from isthmus.model.types import Attachment, Gateway, Port
from isthmus.tables.address import Family, parse_address
from isthmus.tables.entries import Tag, TagKind, Tunnel, Vtep

VTEPS: dict[Family, tuple[int, ...]] = {
    4: tuple(parse_address(f"192.0.2.{last}")[1] for last in (1, 9, 10, 11)),
    6: tuple(parse_address(f"2001:db8:99::{last}")[1] for last in (1, 9, 10, 11)),
}
"""Of tunnel ends: our own, then remote ones."""
IDS, LABELS, VNIS = (1, 7, 100, 4094), (16, 200, 201, 2**20 - 1), (1, 5001, 5002, 2**24 - 1)
KINDS = [*TagKind, TagKind.UNTAGGED, TagKind.UNTAGGED, TagKind.VLAN, TagKind.MPLS]


class Slots:
    """Each attachment can be told from all others on its port, on the way in and on the way out."""

    def __init__(self, rng: Random, ports: list[str], tags: bool = True) -> None:
        self.rng, self.ports, self.tags = rng, ports, tags
        self.vtep: Vtep | None = None
        self.claimed: set[tuple[str, object]] = set()
        if tags and rng.random() < 0.6:
            family: Family = rng.choice([4, 6])
            self.vtep = Vtep(family, VTEPS[family][0], rng.choice(ports))
            self.claimed.add((self.vtep.interface, "bare"))

    def gateway(self) -> Gateway | None:
        """The node's object, where it needs one."""
        rng = self.rng
        if self.vtep is None and rng.random() < 0.5:
            return None
        ports = tuple(Port(port, "auto", rng.choice(["drop", "pass"])) for port in self.ports)
        return Gateway("gw", ports, vtep=self.vtep)

    def draw(self, addresses: list[tuple[Family, int, int]], mtu: int, mss: int, path: str) -> Attachment | None:
        """An attachment; None: where it would be is taken. Of MPLS attachments on a port no two have one address."""
        rng = self.rng
        kind = rng.choice(KINDS) if self.tags else TagKind.UNTAGGED
        port = rng.choice(self.ports)
        tag = Tag()
        push: tuple[int, ...] = ()
        if kind is TagKind.VLAN:
            tag = Tag(kind, rng.choice(IDS))
        elif kind is TagKind.QINQ:
            tag = Tag(kind, rng.choice(IDS), rng.choice(IDS))
        elif kind is TagKind.VXLAN:
            if self.vtep is None:
                return None
            port, tag = self.vtep.interface, Tag(kind, rng.choice(VNIS))
        elif kind is TagKind.MPLS:
            if self.vtep is not None and port == self.vtep.interface:
                return None
            tag, push = Tag(kind, rng.choice(LABELS)), tuple(rng.sample(LABELS, rng.choice([0, 1, 1, 2, 3, 4])))
            addresses = [own for own in addresses if self._claim(port, own[:2])]
        bare = kind is TagKind.UNTAGGED or (kind is TagKind.MPLS and not push)
        if (bare and (port, "bare") in self.claimed) or not self._claim(port, tag):
            return None
        if (bare and not self._claim(port, "bare")) or (push and not self._claim(port, push)):
            return None
        outer_type = rng.choice([0x88A8, 0x8100]) if kind is TagKind.QINQ else 0x88A8
        uniform = kind is not TagKind.MPLS or rng.random() < 0.5
        return Attachment(port, tag, tuple(addresses), mtu, path, mss, outer_type, push, uniform)

    def _claim(self, port: str, what: object) -> bool:
        """False: another has it."""
        if (port, what) in self.claimed:
            return False
        self.claimed.add((port, what))
        return True

    def tunnel(self, attachment: Attachment) -> Tunnel | None:
        """Where a route on an attachment leads through, if that is a VXLAN segment."""
        if attachment.tag.kind is not TagKind.VXLAN or self.vtep is None:
            return None
        family = self.vtep.family
        return Tunnel(family, self.rng.choice(VTEPS[family][1:]), bytes([2, 0xCC, 0, 0, 0, self.rng.randrange(3)]))
