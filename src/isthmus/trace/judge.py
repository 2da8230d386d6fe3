"""The decision on one packet: the stages in order, until one of them says how it ends."""

from __future__ import annotations

from collections.abc import Callable

from isthmus.tables.entries import Tables
from isthmus.tables.learned import NOTHING_LEARNED, Learned
from isthmus.tables.verdicts import Verdict
from isthmus.trace.environment import ASSUMED, Environment
from isthmus.trace.flows import Flows
from isthmus.trace.judgement import Judgement
from isthmus.trace.packet import Packet
from isthmus.trace.stages.flow import flow
from isthmus.trace.stages.gateway import gateway
from isthmus.trace.stages.icmp_errors import icmp_errors
from isthmus.trace.stages.martian import martian
from isthmus.trace.stages.mtu import mtu
from isthmus.trace.stages.next_hop import next_hop
from isthmus.trace.stages.path import path
from isthmus.trace.stages.rules import rules
from isthmus.trace.stages.source import source
from isthmus.trace.stages.translate import translate
from isthmus.trace.stages.ttl import ttl

STAGES: tuple[tuple[str, Callable[[Judgement], Verdict | None]], ...] = (
    ("gateway", gateway),
    ("flow", flow),
    ("martian", martian),
    ("ICMP errors", icmp_errors),
    ("path", path),
    ("source", source),
    ("rules", rules),
    ("translate", translate),
    ("ttl", ttl),
    ("mtu", mtu),
    ("next hop", next_hop),
)
"""What follows ``parse`` and ``classify``; ``encapsulate`` has nothing left to decide."""
NOT_ASKED = frozenset({"martian", "ICMP errors", "path", "source", "rules", "translate"})
"""What a packet that follows a flow passes by."""


def judge(
    tables: Tables,
    vpc_name: str,
    packet: Packet,
    environment: Environment = ASSUMED,
    flows: Flows | None = None,
    learned: Learned = NOTHING_LEARNED,
) -> Judgement:
    """What becomes of a packet that entered from a VPC, in the state ``flows`` (None: no packet came before it).

    KeyError if the tables know no such VPC.
    """
    state = Flows() if flows is None else flows
    judgement = Judgement(tables, environment, tables.vpcs[vpc_name], packet, packet, state, learned)
    for name, stage in STAGES:
        if judgement.standing == "followed" and name in NOT_ASKED:
            continue
        verdict = stage(judgement)
        judgement.stage = name
        if verdict is not None:
            judgement.verdict = verdict
            break
    return judgement
