"""Stage ``gateway``: what concerns the gateway's own addresses in this VPC.

Verdicts: ``gateway-spoof``, ``local``, ``martian``.
"""

from __future__ import annotations

from isthmus.tables.address import Family
from isthmus.tables.entries import Vpc
from isthmus.tables.martians import LINK_LOCAL_V6, MULTICAST_V6
from isthmus.tables.verdicts import Verdict
from isthmus.trace.judgement import Judgement


def gateway(judgement: Judgement) -> Verdict | None:
    """Tells packets from, for and around the gateway; what never leaves its link ends here."""
    packet = judgement.packet
    own = own_addresses(judgement.vpc, packet.family)
    if packet.src in own:
        return Verdict.GATEWAY_SPOOF
    if packet.dst in own:
        return Verdict.LOCAL
    if packet.family == 6 and (packet.dst in LINK_LOCAL_V6 or (packet.link_only and packet.dst in MULTICAST_V6)):
        return Verdict.LOCAL
    return Verdict.MARTIAN if packet.link_only else None


def own_addresses(vpc: Vpc, family: Family) -> list[int]:
    """The gateway's own addresses in a VPC, of one family, on all of its attachments."""
    return [
        address
        for attachment in vpc.attachments
        for address_family, address, _length in attachment.addresses
        if address_family == family
    ]
