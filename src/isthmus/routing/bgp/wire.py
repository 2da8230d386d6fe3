"""The frame of every BGP message, and what ends a session (RFC 4271 4.1, 4.5 and 6)."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final

from isthmus.tables.address import Family

MARKER: Final = b"\xff" * 16
HEADER_BYTES: Final = 19
LONGEST: Final = 4096
"""Bytes of a message, its header included."""
LONGEST_EXTENDED: Final = 65535
"""The same where both sides can (RFC 8654)."""

AFI: Final[dict[Family, int]] = {4: 1, 6: 2}
UNICAST: Final = 1
FAMILY_OF: Final[dict[tuple[int, int], Family]] = {(afi, UNICAST): family for family, afi in AFI.items()}
"""Address family and subsequent address family (AFI, SAFI) to ours."""

_LENGTH_AND_KIND: Final = Struct(">HB")


class Kind(IntEnum):
    """Types of messages (RFC 4271 4.1, RFC 2918)."""

    OPEN = 1
    UPDATE = 2
    NOTIFICATION = 3
    KEEPALIVE = 4
    ROUTE_REFRESH = 5


class Code(IntEnum):
    """Error codes of a NOTIFICATION (RFC 4271 4.5)."""

    HEADER = 1
    OPEN = 2
    UPDATE = 3
    HOLD_TIMER = 4
    STATE = 5
    CEASE = 6


NAMES: Final[dict[tuple[int, int], str]] = {
    (1, 1): "connection not synchronized",
    (1, 2): "bad message length",
    (1, 3): "bad message type",
    (2, 1): "unsupported version number",
    (2, 2): "bad peer AS",
    (2, 3): "bad BGP identifier",
    (2, 4): "unsupported optional parameter",
    (2, 6): "unacceptable hold time",
    (2, 7): "unsupported capability",
    (3, 1): "malformed attribute list",
    (3, 2): "unrecognized well-known attribute",
    (3, 9): "optional attribute error",
    (3, 10): "invalid network field",
    (4, 0): "hold timer expired",
    (5, 0): "finite state machine error",
    (5, 1): "unexpected message in OpenSent",
    (5, 2): "unexpected message in OpenConfirm",
    (5, 3): "unexpected message in Established",
    (6, 1): "maximum number of prefixes reached",
    (6, 2): "administrative shutdown",
    (6, 3): "peer de-configured",
    (6, 4): "administrative reset",
    (6, 5): "connection rejected",
    (6, 6): "other configuration change",
    (6, 7): "connection collision resolution",
    (6, 8): "out of resources",
}
"""What error codes and subcodes mean (IANA's registry of BGP error subcodes); those that we send or BIRD does."""


def error_text(code: int, subcode: int) -> str:
    """An error in words, with its numbers."""
    return f"{NAMES.get((code, subcode), 'unknown error')} ({code}/{subcode})"


class BgpError(Exception):
    """What ends a session. The peer is told with a NOTIFICATION of this code, subcode and data."""

    def __init__(self, code: int, subcode: int, data: bytes = b"", detail: str = "") -> None:
        """``detail``: words for our own log, where the numbers do not say it all."""
        self.code, self.subcode, self.data = code, subcode, data
        text = error_text(code, subcode)
        super().__init__(f"{text}: {detail}" if detail else text)

    def notification(self) -> bytes:
        """The message that says so."""
        return message(Kind.NOTIFICATION, bytes((self.code, self.subcode)) + self.data)


def message(kind: Kind, body: bytes = b"") -> bytes:
    """A whole message."""
    return MARKER + _LENGTH_AND_KIND.pack(HEADER_BYTES + len(body), kind) + body


KEEPALIVE: Final = message(Kind.KEEPALIVE)
