"""What the twin sends is what neighbours understand who read tags strictly, and they notice what is wrong."""

from __future__ import annotations

from random import Random

import pytest

from isthmus.compile import compile_tables
from isthmus.tables.entries import Tag, TagKind
from isthmus.tables.verdicts import Verdict
from isthmus.trace.environment import Environment
from isthmus.trace.twin import Twin
from tests.differential.conversations import Conversations
from tests.differential.lively import lively_model
from tests.differential.node import draw_neighbours, draw_ports, draw_tunnels
from tests.differential.wire import Wire


class Village:
    """A random configuration, the twin of its gateway, and the hosts around it."""

    def __init__(self, seed: int) -> None:
        rng = Random(seed)
        self.tables = compile_tables(lively_model(rng))
        ports = draw_ports(rng, True)
        tunnels = draw_tunnels(rng, self.tables, ports)
        environment = Environment(ports, draw_neighbours(rng, self.tables, True), tunnels=tunnels)
        self.twin = Twin(self.tables, environment)
        self.wire, self.talks = Wire(rng), Conversations(rng)
        self.wire.configure(self.tables, ports)
        self.talks.configure(self.tables, {name: info.mac for name, info in ports.items()})
        self.vpcs = {one.key[1:]: vpc.name for vpc in self.tables.vpcs.values() for one in vpc.attachments}
        self.left: list[tuple[str, bytes, Tag]] = []

    def talk(self, frames: int) -> None:
        for _ in range(frames if self.talks.places else 0):
            interface, frame, place, plain = self.wire.enter(*self.talks.frame())
            outcome = self.twin.process(frame, interface)
            if outcome.verdict is not Verdict.FORWARDED:
                continue
            assert place is not None, "nobody's frame was carried"
            found = self.wire.left(*outcome.out[-1])
            assert not isinstance(found, str), found
            attachment, out = found
            self.left.append((*outcome.out[-1], attachment.key.tag))
            self.talks.delivered(self.vpcs[place], plain, attachment.key.vpc, out)


def test_neighbours_understand_what_the_twin_sends() -> None:
    kinds: set[TagKind] = set()
    for seed in range(20):
        village = Village(seed)
        village.talk(150)
        kinds |= {tag.kind for _, _, tag in village.left}
    assert kinds == set(TagKind)


@pytest.mark.parametrize(
    ("kind", "at"),
    [
        (TagKind.VLAN, 15),  # the VLAN ID
        (TagKind.QINQ, 19),  # the inner one
        (TagKind.VXLAN, 22),  # TTL, or our address
        (TagKind.VXLAN, 15),  # DSCP and ECN
        (TagKind.VXLAN, 19),  # identification, or the length
    ],
)
def test_neighbours_notice_what_is_wrong(kind: TagKind, at: int) -> None:
    noticed = 0
    for seed in range(12):
        village = Village(seed)
        village.talk(60)
        for interface, frame, tag in village.left:
            if tag.kind is kind:
                spoiled = frame[:at] + bytes([frame[at] ^ 0x10]) + frame[at + 1 :]
                noticed += 1
                assert village.wire.left(interface, spoiled) != village.wire.left(interface, frame)
    assert noticed
