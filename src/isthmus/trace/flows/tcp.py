"""How far a TCP connection has got, from the flags that passed, and how long a silent flow is remembered.

RFC 6146 3.5.2.2 with RFC 7857 2, and an established state that waits for the initiator's ACK.
"""

from __future__ import annotations

from typing import Final

from isthmus.tables.flows import ticks
from isthmus.trace.flows.records import Flow
from isthmus.trace.packet import ICMP_PROTO, TCP, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN

ANSWERED: Final = 1
ESTABLISHED: Final = 2
FIN_OUT: Final = 4
FIN_BACK: Final = 8
RESET: Final = 16
CLOSED: Final = FIN_OUT | FIN_BACK


def bits_after(bits: int, flags: int, direction: int) -> int | None:
    """The bits of a flow after a packet with these flags; None: the responder would start something with it."""
    if flags & TCP_RST:
        return bits | RESET
    if flags & TCP_SYN and direction == 1:
        begun = bits & (ESTABLISHED | CLOSED | RESET)
        return None if begun and not flags & TCP_ACK else bits | ANSWERED
    if flags & (TCP_SYN | TCP_ACK) == TCP_SYN:
        return 0 if bits & RESET or bits & CLOSED == CLOSED else bits
    bits &= ~RESET
    if direction == 0 and flags & TCP_ACK and bits & ANSWERED:
        bits |= ESTABLISHED
    if flags & TCP_FIN:
        bits |= (FIN_OUT, FIN_BACK)[direction]
    return bits


def timeout(flow: Flow) -> int:
    """After how many ticks of silence the flow is over."""
    proto, timeouts = flow.keys[0].proto, flow.timeouts
    if proto == TCP:
        return ticks(timeouts.tcp_established if _is_established(flow.bits) else timeouts.tcp_transitory)
    return ticks(timeouts.icmp if proto == ICMP_PROTO[flow.keys[0].family] else timeouts.udp)


def _is_established(bits: int) -> bool:
    return bool(bits & ESTABLISHED) and bits & CLOSED != CLOSED and not bits & RESET
