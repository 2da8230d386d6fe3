"""Lowers the largest segment that a TCP SYN asks for (RFC 9293 3.7.1), where an attachment says so."""

from __future__ import annotations

from isthmus.tables.entries import Attachment
from isthmus.trace.packet import TCP, TCP_SYN, Packet
from isthmus.trace.wire import END_OF_OPTIONS, NO_OPERATION, Layout

MSS, MSS_LENGTH = 2, 4
TCP_HEADER, DATA_OFFSET_AT = 20, 12


def least_mss(*attachments: Attachment | None) -> int | None:
    """The least that the attachments allow; None: whatever is asked for."""
    return min((one.mss for one in attachments if one is not None and one.mss), default=None)


def clamp_mss(out: bytearray, layout: Layout, packet: Packet, most: int) -> None:
    """Writes ``most`` into a SYN that asks for more; the checksum is left to ``rewrite``."""
    if packet.proto != TCP or packet.later_fragment or not packet.tcp_flags & TCP_SYN:
        return
    start = layout.transport
    length = (out[start + DATA_OFFSET_AT] >> 4) * 4
    at = _value_at(out[start : min(start + length, layout.end)])
    if at is not None and int.from_bytes(out[start + at : start + at + 2], "big") > most:
        out[start + at : start + at + 2] = most.to_bytes(2, "big")


def _value_at(header: bytearray) -> int | None:
    """Where in a TCP header the number of the first MSS option stands; None: there is none."""
    at = TCP_HEADER
    while at + 1 < len(header) and header[at] != END_OF_OPTIONS:
        if header[at] == NO_OPERATION:
            at += 1
            continue
        size = header[at + 1]
        if size < 2 or at + size > len(header):
            return None
        if header[at] == MSS:
            return at + 2 if size == MSS_LENGTH else None
        at += size
    return None
