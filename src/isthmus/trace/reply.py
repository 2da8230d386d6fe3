"""What a host that got a packet would send back."""

from __future__ import annotations

from isthmus.tables.address import Family
from isthmus.trace.packet import TCP, TCP_ACK, TCP_SYN, Packet

REPLY_TYPES: dict[Family, dict[int, int]] = {4: {8: 0, 13: 14}, 6: {128: 129}}
"""ICMP requests and what answers them (RFC 792, RFC 4443 4.2)."""
HOST_TTL = 64


def reply_to(delivered: Packet) -> Packet | None:
    """SYN-ACK to a SYN, echo reply to an echo request, else the same with both ends swapped; None: nobody replies."""
    reply = delivered.mirrored._replace(ttl=HOST_TTL)
    if delivered.icmp:
        kind = REPLY_TYPES[delivered.family].get(delivered.sport)
        return None if kind is None else reply._replace(sport=kind)
    if delivered.proto == TCP:
        return reply._replace(tcp_flags=TCP_SYN | TCP_ACK)
    return reply
