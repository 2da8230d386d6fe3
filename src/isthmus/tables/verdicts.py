"""What can become of a packet. Numbers are a contract: never reused, never renumbered.

The same names stand in ``bpf/generated/tables.h``, in the twin, in ``isthmus trace`` and in the docs.
"""

from __future__ import annotations

from enum import IntEnum


class Verdict(IntEnum):
    """The one counted end of a packet; from 10 on it is a drop."""

    FORWARDED = 0
    LOCAL = 1
    PASSED = 2
    AUDIT = 3
    MALFORMED = 10
    NOT_IP = 11
    NOT_OUR_MAC = 12
    UNKNOWN_TAG = 13
    IPV6_EXT = 14
    MARTIAN = 15
    GATEWAY_ADDRESS = 16
    GATEWAY_SPOOF = 17
    SAME_VPC = 18
    NO_PEERING = 20
    NO_ROUTE = 21
    NAT_HOLE = 22
    NO_ATTACHMENT = 23
    SOURCE_NOT_EXPOSED = 30
    NOT_ALLOWED = 31
    NO_INBOUND = 32
    NO_FLOW = 33
    FLOW_CONFLICT = 34
    FLOW_TABLE_FULL = 35
    FRAGMENT_NO_STATE = 36
    ICMP_MALFORMED = 37
    NAT_EXHAUSTED = 40
    NAT_PROTOCOL = 41
    TTL = 50
    TOO_BIG = 51
    NEXT_HOP_UNRESOLVED = 52
    PORT_DOWN = 53
    NOT_CARRIED = 60
    INTERNAL = 61

    @property
    def dropped(self) -> bool:
        """True if the packet went nowhere."""
        return self >= Verdict.MALFORMED

    @property
    def label(self) -> str:
        """The name that people and JSON see: ``not-allowed``."""
        return self.name.lower().replace("_", "-")


VERDICT_COUNT = 64


MEANING: dict[Verdict, str] = {
    Verdict.FORWARDED: "left on the way to another VPC",
    Verdict.LOCAL: "for the gateway itself, or from it: handed to the kernel of that VPC's namespace, or sent for it",
    Verdict.PASSED: "a tag that nobody claims, on a port whose `unclaimed` is `pass`: left to the host",
    Verdict.AUDIT: "a rule would have dropped it, and its side only audits (later)",
    Verdict.MALFORMED: "the frame or a header is cut short, or says what can't be",
    Verdict.NOT_IP: "neither IP nor ARP",
    Verdict.NOT_OUR_MAC: "the destination MAC is not the port's",
    Verdict.UNKNOWN_TAG: "no attachment claims this port and tag",
    Verdict.IPV6_EXT: "more than six IPv6 extension headers",
    Verdict.MARTIAN: "an address that never crosses, before or after translation",
    Verdict.GATEWAY_ADDRESS: "for the gateway's own address in another VPC",
    Verdict.GATEWAY_SPOOF: "came from the wire with the gateway's own address as its source",
    Verdict.SAME_VPC: "the destination is in the sender's own VPC",
    Verdict.NO_PEERING: "no peer offers the destination",
    Verdict.NO_ROUTE: "peers offer the destination, and none has a route to it",
    Verdict.NAT_HOLE: "a `not` takes the destination out of a static side, and nobody else offers it",
    Verdict.NO_ATTACHMENT: "the way out is a port that this node does not have",
    Verdict.SOURCE_NOT_EXPOSED: "the sender's side does not offer the source",
    Verdict.NOT_ALLOWED: "no `ingress` rule of the sender's side allows it",
    Verdict.NO_INBOUND: "the destination's side is stateful: only it can start a conversation",
    Verdict.NO_FLOW: "needs a flow, there is none, and it starts none: TCP in mid-stream, an unasked echo reply",
    Verdict.FLOW_CONFLICT: "another conversation has the answers that this one would get",
    Verdict.FLOW_TABLE_FULL: "no room for a new flow or mapping; those that are there go on",
    Verdict.FRAGMENT_NO_STATE: "a later fragment, where ports or a flow decide, and its first has not passed before",
    Verdict.ICMP_MALFORMED: "an ICMP error with too little inside, about another error, or about a packet of others",
    Verdict.NAT_EXHAUSTED: "the pool has no free port",
    Verdict.NAT_PROTOCOL: "the pool has no free address for this protocol, which has no ports",
    Verdict.TTL: "TTL or hop limit used up: answered with Time Exceeded",
    Verdict.TOO_BIG: "larger than the way out, and may not be cut: answered with the right MTU",
    Verdict.NEXT_HOP_UNRESOLVED: "the MAC of the next hop is not known yet: it is asked for",
    Verdict.PORT_DOWN: "the port on the way out can't take packets",
    Verdict.NOT_CARRIED: "not produced any more: attachments of every kind have a packet path",
    Verdict.INTERNAL: "a table entry that should exist does not: always a bug, please report it",
}
"""One line for each verdict; ``docs/verdicts.md`` is written from it."""
