"""RFC 5508: what is declined, with the reason, and notes on what is met."""

from typing import Final

_CHECKSUMS = (
    "Checksums are updated incrementally and never verified: what came corrupted leaves corrupted, and its receiver "
    "drops it."
)
_HAIRPIN = "No hairpinning: a pool is shown to the peer VPC, and by construction is not visible from inside."

DECLINED: Final[dict[str, str]] = {
    "REQ-3": _CHECKSUMS,
    "REQ-3a": _CHECKSUMS,
    "REQ-7": _HAIRPIN,
    "REQ-7a": _HAIRPIN,
    "REQ-8": "Such a packet is dropped and counted by its verdict, and never answered.",
    "REQ-9": "A permission that is not used: there is no such policy.",
    "REQ-10b": "A Parameter Problem about a flow is translated; redirects, source routes, Timestamp, Address Mask and "
    "Router Discovery are not carried.",
    "REQ-10d": "ICMP of the gateway itself has TOS 0xc0 (RFC 1812 4.3.2.5), not that of the packet.",
}
NOTES: Final[dict[str, str]] = {
    "REQ-1": "Of the queries, echo alone.",
    "REQ-2": "By default: `timeouts` may say less, from 1 s.",
    "REQ-4": "It is counted as `no-inbound`.",
    "REQ-5": "It is counted as `no-inbound`.",
    "REQ-5c": "Where the flow's own host sends the error, its source becomes the flow's public address; the gateway's "
    "own address stands for all others.",
    "REQ-10e": "But a directed broadcast is not told from a host, and IPv4 header checksums are not verified: packets "
    "with these are answered like others.",
    "REQ-10f": "For each attachment and CPU.",
}
