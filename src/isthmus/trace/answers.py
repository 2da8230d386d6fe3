"""What the gateway says itself: Time Exceeded and Too Big, byte for byte (RFC 792, RFC 1812 4.3.2, RFC 4443)."""

from __future__ import annotations

from struct import pack

from isthmus.tables.address import Family, address_bytes
from isthmus.tables.entries import Attachment
from isthmus.tables.verdicts import Verdict
from isthmus.trace.checksum import checksum
from isthmus.trace.packet import ICMP_PROTO, Packet
from isthmus.trace.stages.teller import gateway_source
from isthmus.trace.wire import DONT_FRAGMENT, Frame

MOST_QUOTED: dict[Family, int] = {4: 548, 6: 1232}
"""Bytes of the packet that are sent back: 576 and 1,280 in all."""
TYPE_AND_CODE: dict[tuple[Family, Verdict], tuple[int, int]] = {
    (4, Verdict.TTL): (11, 0),
    (4, Verdict.TOO_BIG): (3, 4),
    (6, Verdict.TTL): (3, 0),
    (6, Verdict.TOO_BIG): (2, 0),
}
TOS_INTERNETWORK_CONTROL = 0xC0  # RFC 1812 4.3.2.5
ANSWER_TTL = 64


def answer(data: bytes, frame: Frame, verdict: Verdict, mtu: int, attachment: Attachment, mac: bytes) -> bytes | None:
    """The frame, without tags, that goes back to where ``data`` came from, or None where the gateway keeps silent.

    ``mtu``: of the way out, for too-big; ``attachment`` and ``mac``: where the packet came in, and that port's MAC.
    """
    if frame.ip is None or _must_be_silent(frame, frame.ip.packet):
        return None
    packet, layout = frame.ip.packet, frame.ip.layout
    about = TYPE_AND_CODE.get((packet.family, verdict))
    source = gateway_source(packet.family, attachment)
    if about is None or source is None:
        return None
    word = mtu if verdict == Verdict.TOO_BIG else 0
    if packet.family == 4:
        word &= 0xFFFF
    quote = data[layout.ip : min(layout.end, layout.ip + MOST_QUOTED[packet.family])]
    message = pack(">BBHI", *about, 0, word) + quote
    head = frame.source + mac + frame.ethertype.to_bytes(2, "big")
    return head + (_ipv4 if packet.family == 4 else _ipv6)(source, packet.src, message)


def _must_be_silent(frame: Frame, packet: Packet) -> bool:
    """No error about an error, about a later fragment, or to a group (RFC 1122 3.2.2, RFC 4443 2.4 e)."""
    return packet.error or packet.later_fragment or bool(frame.source[0] & 1)


def _ipv4(source: int, destination: int, message: bytes) -> bytes:
    message = _summed(message, b"")
    addresses = address_bytes(4, source) + address_bytes(4, destination)
    length = 20 + len(message)
    header = pack(">BBHHHBBH", 0x45, TOS_INTERNETWORK_CONTROL, length, 0, DONT_FRAGMENT, ANSWER_TTL, ICMP_PROTO[4], 0)
    header += addresses
    return header[:10] + checksum(header).to_bytes(2, "big") + header[12:] + message


def _ipv6(source: int, destination: int, message: bytes) -> bytes:
    addresses = address_bytes(6, source) + address_bytes(6, destination)
    message = _summed(message, addresses + pack(">II", len(message), ICMP_PROTO[6]))
    return pack(">IHBB", 6 << 28, len(message), ICMP_PROTO[6], ANSWER_TTL) + addresses + message


def _summed(message: bytes, pseudo_header: bytes) -> bytes:
    """An ICMP message with its checksum in place of the zeros at offset 2."""
    return message[:2] + checksum(pseudo_header + message).to_bytes(2, "big") + message[4:]
