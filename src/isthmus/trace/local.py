"""What the kernel of a VPC's own namespace sends through tunnels: the VPC's own routes say through which."""

from __future__ import annotations

from isthmus.tables.address import address_from_bytes
from isthmus.tables.entries import AttachmentKey, Tables, Tunnel
from isthmus.trace.classify import ARP_TARGET
from isthmus.trace.lookup import longest_match, pick_next_hop
from isthmus.trace.wire import ETHERTYPE_ARP, Frame


def tunnel_for(tables: Tables, key: AttachmentKey, frame: bytes, parsed: Frame) -> Tunnel | None:
    """The tunnel to the IP destination of a frame, of ARP to its target; None: there is none."""
    src = port_word = 0
    if parsed.ip is not None:
        packet = parsed.ip.packet
        family, src, address, port_word = packet.family, packet.src, packet.dst, packet.port_word
    elif parsed.ethertype == ETHERTYPE_ARP and len(frame) >= ARP_TARGET.stop:
        family, address = address_from_bytes(frame[ARP_TARGET])
    else:
        return None
    route = longest_match(tables.vpcs[key.vpc].routes.get(family, ()), address)
    hop = pick_next_hop(key.vpc, route.next_hops, src, address, port_word) if route is not None else None
    return hop.tunnel if hop is not None else None
