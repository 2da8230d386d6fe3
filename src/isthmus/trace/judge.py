"""The decision on one packet: the stages in order, until one of them says how it ends."""

from __future__ import annotations

from collections.abc import Callable

from isthmus.tables.entries import Tables
from isthmus.tables.verdicts import Verdict
from isthmus.trace.classify import only_tagged
from isthmus.trace.environment import ASSUMED, Environment
from isthmus.trace.judgement import Judgement
from isthmus.trace.packet import Packet
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


def judge(tables: Tables, vpc_name: str, packet: Packet, environment: Environment = ASSUMED) -> Judgement:
    """What becomes of a packet that entered from a VPC. KeyError if the tables know no such VPC."""
    judgement = Judgement(tables, environment, tables.vpcs[vpc_name], packet, packet)
    if environment.assumed and only_tagged(judgement.vpc):
        judgement.verdict, judgement.stage = Verdict.NOT_CARRIED, "classify"
        return judgement
    for name, stage in STAGES:
        verdict = stage(judgement)
        judgement.stage = name
        if verdict is not None:
            judgement.verdict = verdict
            break
    return judgement
