"""What the kernel of a VPC's own namespace sends through tunnels: the VPC's own routes say through which."""

from __future__ import annotations

from isthmus.tables.address import address_from_bytes
from isthmus.tables.entries import AttachmentKey, Tables, Tunnel
from isthmus.trace.classify import ARP_TARGET
from isthmus.trace.lookup import longest_match
from isthmus.trace.wire import ETHERTYPE_ARP, Frame


def tunnel_for(tables: Tables, key: AttachmentKey, frame: bytes, parsed: Frame) -> Tunnel | None:
    """The first tunnel of an attachment toward the IP destination of a frame, of ARP its target; None: there is none.

    Nothing is shared here: what a kernel says to one neighbour always goes one way.
    """
    if parsed.ip is not None:
        family, address = parsed.ip.packet.family, parsed.ip.packet.dst
    elif parsed.ethertype == ETHERTYPE_ARP and len(frame) >= ARP_TARGET.stop:
        family, address = address_from_bytes(frame[ARP_TARGET])
    else:
        return None
    route = longest_match(tables.vpcs[key.vpc].routes.get(family, ()), address)
    hops = route.next_hops if route is not None else ()
    return next((hop.tunnel for hop in hops if hop.tunnel is not None and hop.attachment == key), None)
