"""Cuts an IPv4 packet that is too big for the way out (RFC 791 3.2), on the hook that can: TC."""

from __future__ import annotations

from isthmus.trace.checksum import updated
from isthmus.trace.wire import END_OF_OPTIONS, MORE_FRAGMENTS, NO_OPERATION, OFFSET_MASK

MOST_PIECES = 64
COPIED = 0x80


def fragments(packet: bytes, mtu: int) -> list[bytes] | None:
    """The packet as fragments of at most ``mtu`` bytes, each as large as fits; None if it can't be cut.

    The packet is whole, without Ethernet header or padding, and may be a fragment itself. All keep its ID and its
    other fields; the first has all options, later ones NOPs for those that are not to be copied. Header checksums
    are updated incrementally, so a wrong one stays wrong in every fragment. It can't be cut where not even 8 bytes
    of payload fit, where an offset would not fit into its 13 bits, or where more than 64 pieces would be needed.
    """
    first_header = packet[: (packet[0] & 15) * 4]
    payload = packet[len(first_header) :]
    later_header = _without_uncopied(first_header)
    flags = int.from_bytes(packet[6:8], "big")
    cut: list[bytes] = []
    done = 0
    while done < len(payload) or not cut:
        header = later_header if cut else first_header
        room = mtu - len(header)
        offset = (flags & OFFSET_MASK) + done // 8
        if room < 8 or offset > OFFSET_MASK or len(cut) == MOST_PIECES:
            return None
        piece = payload[done : done + room]
        more = flags & MORE_FRAGMENTS
        if done + len(piece) < len(payload):
            piece = piece[: room // 8 * 8]
            more = MORE_FRAGMENTS
        cut.append(
            _header_for(packet, header, len(piece), flags & ~(MORE_FRAGMENTS | OFFSET_MASK) | more | offset) + piece
        )
        done += len(piece)
    return cut


def _header_for(packet: bytes, header: bytes, payload: int, flags_and_offset: int) -> bytes:
    """``header`` with its length, flags and offset, and the checksum that follows from that of the packet."""
    new = bytearray(header)
    new[2:4] = (len(header) + payload).to_bytes(2, "big")
    new[6:8] = flags_and_offset.to_bytes(2, "big")
    old = packet[: (packet[0] & 15) * 4]
    new[10:12] = updated(int.from_bytes(old[10:12], "big"), old, bytes(new)).to_bytes(2, "big")
    return bytes(new)


def _without_uncopied(header: bytes) -> bytes:
    """The header with NOPs where options stood whose copied flag is not set (RFC 791 3.1), as Linux does.

    What stands behind an option that is malformed stays.
    """
    cleared = bytearray(header)
    at = 20
    while at < len(header) and header[at] != END_OF_OPTIONS:
        size = 1
        if header[at] != NO_OPERATION:
            size = header[at + 1] if at + 1 < len(header) else 0
        if size == 0 or at + size > len(header):
            break
        if not header[at] & COPIED:
            cleared[at : at + size] = bytes([NO_OPERATION]) * size
        at += size
    return bytes(cleared)
