"""What each VPC with BGP neighbours is told: what its peers offer it, in public addresses. Pure.

``offers`` reads from the tables what a VPC is offered, ``announcement`` is what is said of one prefix, ``advertiser``
says which prefixes, and keeps that true as routes come and go.

- ``routes``: every route of the offering VPC, cut to what is exposed, translated, as CIDRs. Of several routes that cut
  to one CIDR the longest counts, as it does for packets. MED = the route's metric + the side's (saturating).
- ``summary``: the exposed CIDRs as they are written, without their holes, each while something below is alive. They are
  routes of the gateway's own: MED = the side's metric, no AS path.
- Neither is asked for: ``summary`` of a peer with more than 1,000 routes, else ``routes``.
- A stateful side is one summary, and always alive, if its VPC has an attachment.

Never told: a prefix inside martian space or inside the VPC's own subnets, the gateway's own addresses, routes with
``no-export`` or ``no-advertise``. A default route stays one, also over these. Where several sides offer one prefix the
lowest MED counts, of equals the first peering. AS paths are kept: whose AS is in one refuses it (RFC 4271 9.1.2).
"""

from isthmus.routing.advertise.advertiser import Advertiser, Changes
from isthmus.routing.advertise.announcement import Announcement, Attributes, Drain, Heard, Policy

__all__ = ["Advertiser", "Announcement", "Attributes", "Changes", "Drain", "Heard", "Policy"]
