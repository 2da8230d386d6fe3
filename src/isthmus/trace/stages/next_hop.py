"""Stage ``next hop``: to which MAC. ``next-hop-unresolved``, ``port-down``."""

from __future__ import annotations

from isthmus.tables.verdicts import Verdict
from isthmus.trace.judgement import Judgement


def next_hop(judgement: Judgement) -> Verdict | None:
    """The MAC of the router, of the destination itself where the route is on-link, or of the way to the remote VTEP."""
    hop, environment, translated = judgement.hop, judgement.environment, judgement.translated
    if environment.assumed:
        return None
    if hop is None or translated is None:
        return Verdict.INTERNAL
    judgement.interface = hop.attachment.interface
    if hop.tunnel is not None:
        outer = environment.tunnels.get((hop.tunnel.family, hop.tunnel.vtep))
        judgement.interface, judgement.neighbor = outer or ("", None)
    else:
        address = translated.dst if hop.gateway is None else hop.gateway
        judgement.neighbor = environment.neighbors.get((hop.attachment, translated.family, address))
    if judgement.neighbor is None:
        return Verdict.NEXT_HOP_UNRESOLVED
    return None if environment.ports[judgement.interface].up else Verdict.PORT_DOWN
