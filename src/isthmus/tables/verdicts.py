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
