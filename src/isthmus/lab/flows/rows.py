"""A conversation as people and JSON see it. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from isthmus.tables.address import Family, format_address
from isthmus.tables.flows import TcpState

if TYPE_CHECKING:
    from isthmus.datapath.conversations import Conversation

PROTOCOLS: Final[dict[str, int]] = {"tcp": 6, "udp": 17}
"""Those with ports."""

_TCP: Final = PROTOCOLS["tcp"]
_ICMP: Final[dict[Family, int]] = {4: 1, 6: 58}
_NAMES: Final = {number: name for name, number in PROTOCOLS.items()}


class State(StrEnum):
    """How far a conversation has come: the first six are TCP's, the last is that of all others."""

    OPENING = "opening"  # a SYN, and no answer
    ANSWERED = "answered"  # the SYN was answered, and its sender has said nothing since
    ESTABLISHED = "established"
    CLOSING = "closing"  # a FIN of one end
    CLOSED = "closed"  # a FIN of both
    RESET = "reset"
    OPEN = "open"


def state_of(conversation: Conversation) -> State:
    """The state of a conversation."""
    bits = conversation.tcp
    fins = TcpState.FIN_OUT | TcpState.FIN_BACK
    if conversation.proto != _TCP:
        found = State.OPEN
    elif bits & TcpState.RESET:
        found = State.RESET
    elif bits & fins:
        found = State.CLOSED if bits & fins == fins else State.CLOSING
    elif bits & TcpState.ESTABLISHED:
        found = State.ESTABLISHED
    else:
        found = State.ANSWERED if bits & TcpState.ANSWERED else State.OPENING
    return found


def has_ports(conversation: Conversation) -> bool:
    """True for TCP and UDP."""
    return conversation.proto in _NAMES


def is_icmp(conversation: Conversation) -> bool:
    """True for the family's own ICMP."""
    return conversation.proto == _ICMP[conversation.family]


def protocol_name(family: Family, proto: int) -> str | int:
    """``tcp``, ``udp``, ``icmp`` (the family's own), or the number."""
    return "icmp" if proto == _ICMP[family] else _NAMES.get(proto, proto)


def row(conversation: Conversation) -> dict[str, Any]:
    """As ``isthmus flows -o json`` prints it.

    ``sent``: the initiator's packets as it sends them; ``seen``: as the responder sees them. ``id`` is the echo
    identifier of ICMP. ``expires``: in so many seconds, if nothing more is sent.
    """
    one, there = conversation.sent, conversation.answered
    return {
        "peering": conversation.peering,
        "from": conversation.initiator,
        "to": conversation.responder,
        "proto": protocol_name(conversation.family, conversation.proto),
        "sent": _ends(conversation, one.src, one.dst, one.sport, one.dport),
        "seen": _ends(conversation, there.dst, there.src, there.dport, there.sport),
        "state": state_of(conversation).value,
        "expires": round(max(conversation.expires_s, 0.0), 1),
        "nat": conversation.mapped,
    }


def _ends(conversation: Conversation, src: int, dst: int, sport: int, dport: int) -> dict[str, Any]:
    family, ported = conversation.family, has_ports(conversation)
    ends: dict[str, Any] = {
        "src": format_address(family, src),
        "dst": format_address(family, dst),
        "sport": sport if ported else None,
        "dport": dport if ported else None,
    }
    return {**ends, "id": sport} if is_icmp(conversation) else ends
