"""RFC 5382: what is declined, with the reason, and notes on what is met."""

from typing import Final

FILTERING: Final = (
    "What comes in is filtered by address and port: only packets of a live flow pass. It is not optional, and the same "
    "for UDP and TCP."
)
HAIRPINNING: Final = (
    "There is no hairpinning: a pool is shown to the peer VPC alone, and cannot be seen from inside by construction."
)

DECLINED: Final[dict[str, str]] = {
    "REQ-3": FILTERING,
    "REQ-3a": FILTERING,
    "REQ-3b": FILTERING,
    "REQ-8": HAIRPINNING,
    "REQ-8a": HAIRPINNING,
}
NOTES: Final[dict[str, str]] = {
    "REQ-2": "A stateful side permits no connection begun outside, simultaneous open excepted. Where rules let "
    "both ends begin, the one that answered may begin on the same two ports only when the old connection is forgotten.",
    "REQ-4": "It is dropped silently, at once and for good, as REQ-4a has it: that nobody may call is the policy.",
    "REQ-5": "By default: `timeouts` may say less, from 1 s.",
}
