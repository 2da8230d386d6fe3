"""RFC 6888: what is declined, with the reason, and notes on what is met."""

from typing import Final

_LIMITS = (
    "There are no limits for each subscriber: one bounded table for all refuses new flows when it is full, and keeps "
    "live ones."
)

DECLINED: Final[dict[str, str]] = {
    "REQ-1": "Not all of it: RFC 4787, 5382 and 5508 are kept but for what is declined of them, such as hairpinning; "
    "DCCP is translated by address only.",
    "REQ-4": _LIMITS,
    "REQ-4a": _LIMITS,
    "REQ-4b": _LIMITS,
    "REQ-4c": _LIMITS,
    "REQ-5": _LIMITS,
    "REQ-5a": _LIMITS,
    "REQ-5b": _LIMITS,
    "REQ-6": "Translation belongs to a side of a peering, not to destinations.",
    "REQ-7": "Stricter: what comes in must come from the address and port that was asked.",
    "REQ-8a": "A permission that is not used: TCP ports rest for 120 s.",
    "REQ-8b": "A permission that is not used: no ports belong to subscribers statically.",
    "REQ-8 (limits)": "The 120 s are fixed, and the number of ports that rest is not limited.",
    "REQ-9": "There is no PCP.",
    "REQ-10": "It is managed by YAML, the command line and counters; there is no standard MIB.",
    "REQ-11b": "Such a packet is counted, for its side too, and not answered.",
    "REQ-11c": "There are counters for each pool, and no notifications.",
    "REQ-12": "Not applicable: flows are not logged at all.",
    "REQ-14": "Ports are given one by one; there are no blocks for each subscriber.",
}
NOTES: Final[dict[str, str]] = {
    "REQ-2": "As long as that address has ports left; then the next of the pool serves. Protocols without ports take "
    "an address that no other host has for them.",
    "REQ-8": "For TCP; UDP ports and echo identifiers are free at once, as REQ-8c allows.",
    "REQ-13": "Of ranges beyond 1,024 ports the last half percent may be refused.",
    "REQ-15": "Where the private port is free in public it is kept; these are the others, searched from a keyed hash.",
}
