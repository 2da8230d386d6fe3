"""What the twin says of a case: the packet, and if it arrives where a host is, the reply."""

from __future__ import annotations

from typing import Literal, NamedTuple

from isthmus.lab.plan import LabPlan
from isthmus.lab.probe.cases import Case
from isthmus.tables.address import Family, parse_address
from isthmus.tables.entries import AttachmentKey, SideKey, Tables
from isthmus.tables.learned import NOTHING_LEARNED, Learned
from isthmus.tables.verdicts import Verdict
from isthmus.trace.environment import Environment, PortInfo
from isthmus.trace.explain import Answer, explain
from isthmus.trace.packet import ECHO_REQUEST, ICMP_PROTO, TCP, TCP_SYN, UDP, Packet

Outcome = Literal["answered", "delivered", "dropped"]
"""``answered``: it arrived and its reply came back. ``delivered``: it arrived, no reply came back. ``dropped``: it
never arrived."""

_LENGTH = 84  # bytes of an IP packet of the probes, about: far below any MTU


class Arrival(NamedTuple):
    """A packet at the hosts of a VPC, as it came out of the gateway. ``source`` None: one that the gateway chooses."""

    vpc: str
    source: int | None
    target: int


class Expected(NamedTuple):
    """``reason``: the verdict that drops the packet (or, when delivered, its reply); empty when answered.

    ``pool``: the addresses (first, last) that the gateway chooses a source from, where it does.
    """

    outcome: Outcome
    reason: str
    arrival: Arrival | None
    pool: tuple[tuple[int, int], ...] = ()

    def fits(self, seen: Arrival) -> bool:
        """True if this is how it has to arrive."""
        if self.arrival is None or seen.source is None:
            return False
        if self.arrival.source is not None:
            return seen == self.arrival
        chosen = any(first <= seen.source <= last for first, last in self.pool)
        return chosen and seen._replace(source=None) == self.arrival


class Twin:
    """The twin, in the surroundings that a lab gives it."""

    def __init__(self, plan: LabPlan, tables: Tables, learned: Learned = NOTHING_LEARNED) -> None:
        self._tables, self._learned = tables, learned
        self._environment = _environment(plan)
        self._hosts = {(vpc.name, host.family, host.address) for vpc in plan.vpcs for host in vpc.hosts}

    def expect(self, case: Case) -> Expected:
        """What has to become of a case that is the first of its conversation."""
        answer = explain(self._tables, case.source_vpc, _packet(case), self._environment, self._learned)
        if answer.verdict is not Verdict.FORWARDED or answer.delivered is None or answer.receiver is None:
            return Expected("dropped", answer.verdict.label, None)
        source, target = _number(answer.delivered.src), _number(answer.delivered.dst)
        assert target is not None, "the destination is dialled, never chosen"
        arrival = Arrival(answer.receiver, source, target)
        pool = self._pool(answer, case) if source is None else ()
        why = "" if (arrival.vpc, case.family, target) in self._hosts else "no-host"
        why = why or _reply_lost(answer, case)
        return Expected("delivered" if why else "answered", why, arrival, pool)

    def _pool(self, answer: Answer, case: Case) -> tuple[tuple[int, int], ...]:
        assert answer.peering is not None
        pool = self._tables.sides[SideKey(answer.peering, case.source_vpc)].pool
        assert pool is not None, "only a pool is chosen from"
        return pool.addresses[case.family]


def _reply_lost(answer: Answer, case: Case) -> str:
    """Why the reply to what arrived does not come back; empty if it does."""
    reply = answer.reply
    if reply is None:
        return "reply: none"
    if reply.verdict is not Verdict.FORWARDED or reply.delivered is None:
        return f"reply: {reply.verdict.label}"
    back = (reply.receiver, _number(reply.delivered.src), _number(reply.delivered.dst))
    return "" if back == (case.source_vpc, case.target, case.source) else "reply: goes elsewhere"


def _number(address: str | None) -> int | None:
    return None if address is None else parse_address(address)[1]


def _packet(case: Case) -> Packet:
    if case.proto == "icmp":
        proto, sport, dport = ICMP_PROTO[case.family], ECHO_REQUEST[case.family], 0
    else:
        proto, sport, dport = {"tcp": TCP, "udp": UDP}[case.proto], case.sport, case.dport
    flags = TCP_SYN if case.proto == "tcp" else 0
    return Packet(case.family, case.source, case.target, proto, sport, dport, length=_LENGTH, tcp_flags=flags)


def _environment(plan: LabPlan) -> Environment:
    ports = {port.interface: PortInfo(bytes.fromhex(port.mac.replace(":", "")), port.mtu) for port in plan.ports}
    neighbors: dict[tuple[AttachmentKey, Family, int], bytes] = {
        (link.attachment, family, address): bytes.fromhex(link.host_mac.replace(":", ""))
        for vpc in plan.vpcs
        for link, family, address in vpc.next_hops()
    }
    outer = plan.vtep_port
    tunnels = (
        {vtep: (outer.interface, bytes.fromhex(outer.wire_mac.replace(":", ""))) for vtep in plan.remote_vteps}
        if outer
        else {}
    )
    return Environment(ports, neighbors, tunnels=tunnels)
