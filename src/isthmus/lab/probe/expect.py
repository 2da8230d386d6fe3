"""What the twin says of a case: the packet, and if it arrives where a host is, the reply."""

from __future__ import annotations

from typing import Literal, NamedTuple

from isthmus.lab.plan import LabPlan
from isthmus.lab.probe.cases import Case
from isthmus.lab.state import Objects
from isthmus.tables.address import Family
from isthmus.tables.entries import AttachmentKey
from isthmus.tables.verdicts import Verdict
from isthmus.trace.environment import Environment, PortInfo
from isthmus.trace.judge import judge
from isthmus.trace.packet import ECHO_REQUEST, ICMP_PROTO, TCP, TCP_SYN, UDP, Packet
from isthmus.trace.reply import reply_to

Outcome = Literal["answered", "delivered", "dropped"]
"""``answered``: it arrived and its reply came back. ``delivered``: it arrived, no reply came back. ``dropped``: it
never arrived."""

_LENGTH = 84  # bytes of an IP packet of the probes, about: far below any MTU


class Arrival(NamedTuple):
    """A packet at the hosts of a VPC, as it came out of the gateway."""

    vpc: str
    source: int
    target: int


class Expected(NamedTuple):
    """``reason``: the verdict that drops the packet (or, when delivered, its reply); empty when answered."""

    outcome: Outcome
    reason: str
    arrival: Arrival | None


class Twin:
    """The twin, in the surroundings that a lab gives it."""

    def __init__(self, objects: Objects) -> None:
        self._tables = objects.tables
        self._environment = _environment(objects.plan)
        self._hosts = {(vpc.name, host.family, host.address) for vpc in objects.plan.vpcs for host in vpc.hosts}

    def expect(self, case: Case) -> Expected:
        """What has to become of a case."""
        packet = _packet(case)
        there = judge(self._tables, case.source_vpc, packet, self._environment)
        if there.verdict is not Verdict.FORWARDED or there.translated is None or there.hop is None:
            return Expected("dropped", there.verdict.label, None)
        arrived = there.translated
        arrival = Arrival(there.hop.attachment.vpc, arrived.src, arrived.dst)
        if (arrival.vpc, case.family, arrival.target) not in self._hosts:
            return Expected("delivered", "no-host", arrival)
        reply = reply_to(arrived)
        if reply is None:
            return Expected("delivered", "reply: none", arrival)
        back = judge(self._tables, arrival.vpc, reply, self._environment)
        if back.verdict is not Verdict.FORWARDED or back.translated is None or back.hop is None:
            return Expected("delivered", f"reply: {back.verdict.label}", arrival)
        if (back.hop.attachment.vpc, back.translated.src, back.translated.dst) != (
            case.source_vpc,
            case.target,
            case.source,
        ):
            return Expected("delivered", "reply: goes elsewhere", arrival)
        return Expected("answered", "", arrival)


def _packet(case: Case) -> Packet:
    if case.proto == "icmp":
        proto, sport, dport = ICMP_PROTO[case.family], ECHO_REQUEST[case.family], 0
    else:
        proto, sport, dport = {"tcp": TCP, "udp": UDP}[case.proto], case.sport, case.dport
    flags = TCP_SYN if case.proto == "tcp" else 0
    return Packet(case.family, case.source, case.target, proto, sport, dport, length=_LENGTH, tcp_flags=flags)


def _environment(plan: LabPlan) -> Environment:
    ports = {
        link.attachment.interface: PortInfo(bytes.fromhex(link.port_mac.replace(":", "")), link.mtu)
        for _, link in plan.links()
    }
    neighbors: dict[tuple[AttachmentKey, Family, int], bytes] = {
        (link.attachment, family, address): bytes.fromhex(link.host_mac.replace(":", ""))
        for vpc in plan.vpcs
        for link, family, address in vpc.next_hops()
    }
    return Environment(ports, neighbors)
