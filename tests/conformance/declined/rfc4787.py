"""RFC 4787: what is declined, with the reason, and notes on what is met."""

from typing import Final

DECLINED: Final[dict[str, str]] = {
    "REQ-3a": "Ports are of one range, 1024 to 65535 unless `ports` says otherwise: "
    "a port below 1024 does not stay below.",
    "REQ-4": "Parity is not looked at. RFC 7857 section 8 lets a NAT leave it.",
    "REQ-5a": "A permission that is not used: one timer holds for all ports.",
    "REQ-8": "Replies pass for live flows only, by address and port: stricter than either recommendation.",
    "REQ-8a": "A permission that is not used: replies pass for live flows only, and there is no other way to choose.",
    "REQ-9": "A pool is shown to the peer VPC and cannot be seen from inside, by construction; "
    "hosts of one VPC reach one another without the gateway.",
    "REQ-9a": "There is no hairpinning (REQ-9).",
    "REQ-10a": "Not applicable: there are no application gateways.",
    "REQ-14": "The packet path keeps no packets: later fragments that come before their first are dropped and counted "
    "as `fragment-no-state`. In order they pass.",
}
NOTES: Final[dict[str, str]] = {
    "REQ-2": "As long as that address has ports left; then the next of the pool serves. Protocols without ports take "
    "an address that no other host has for them.",
    "REQ-5": "By default: `timeouts` may say less, from 1 s.",
    "REQ-7": "Public addresses are configured, not dynamic; networks with the same addresses "
    "meet through a static side.",
    "REQ-12a": "But for sources that never cross: martians, and the gateway's own addresses.",
    "REQ-13a": "On the TC hook; XDP, which cannot cut packets, answers as with DF.",
    "REQ-14a": "Nothing is kept of later fragments. Firsts that pass are noted: who sends many may cost those of its "
    "own VPC theirs, and no other VPC.",
}
