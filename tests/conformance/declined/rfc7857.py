"""RFC 7857: what is declined, with the reason, and notes on what is met."""

from typing import Final

HAIRPINNING: Final = (
    "There is no hairpinning: a pool is shown to the peer VPC alone, and cannot be seen from inside by construction. "
    "A static side does take echo requests from outside."
)

DECLINED: Final[dict[str, str]] = {
    "2.1a": "One timer, `tcpTransitory`, is for opening and closing.",
    "4a": "A host whose address has no port left uses the next address of the pool, rather than be refused.",
    "4b": "There is no parameter for that: a host whose address is full always uses the pool's next.",
    "7.1b": "A RST from inside is a packet of its flow like any other, and sets the transitory timer anew.",
    "8b": "There is no PCP, and so no way for a host to ask for a port or its parity.",
    "10": "IP identifications are copied: fragments of two hosts behind one address may collide at the receiver.",
    "12a": HAIRPINNING,
    "12b": HAIRPINNING,
}
NOTES: Final[dict[str, str]] = {
    "2": "One difference: a connection is established only by the ACK of its initiator, not by the SYN-ACK.",
    "6": "Filters depend on the sender's address and port too.",
}
