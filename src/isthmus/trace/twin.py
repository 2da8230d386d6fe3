"""The packet path in Python: a frame in, a verdict and exact frames out."""

from __future__ import annotations

from typing import NamedTuple

from isthmus.tables.entries import Attachment, AttachmentKey, NextHop, Tables, TagKind, Tunnel
from isthmus.tables.learned import NOTHING_LEARNED, Learned
from isthmus.tables.verdicts import Verdict
from isthmus.trace.answers import answer
from isthmus.trace.classify import Arrival, Arrivals, classify
from isthmus.trace.environment import Environment
from isthmus.trace.flows import Flows
from isthmus.trace.fragments import fragments
from isthmus.trace.judge import judge
from isthmus.trace.judgement import Judgement
from isthmus.trace.local import tunnel_for
from isthmus.trace.mss import least_mss
from isthmus.trace.rewrite import rewrite
from isthmus.trace.tags import put_on, read_tag
from isthmus.trace.vxlan import Underlay, put_in_tunnel
from isthmus.trace.wire import ETHERNET, ETHERTYPE_ARP, Frame, Parsed, parse_frame


class Outcome(NamedTuple):
    """What became of a frame.

    ``out``: (port, frame) of what left, in order, as on the wire. ``to_namespace``: the attachment whose namespace got
    the frame (``local``), and ``delivered``: that frame, without tags. ``answer``: (port, frame) of what the gateway
    said itself. ``peering``: the one that was picked.
    """

    verdict: Verdict
    out: tuple[tuple[str, bytes], ...] = ()
    to_namespace: AttachmentKey | None = None
    delivered: bytes | None = None
    answer: tuple[str, bytes] | None = None
    peering: str | None = None


class Twin:
    """The packet path over one set of tables and one node.

    ``flows``: what it remembers; None: nothing yet. ``learned``: what BGP taught so far, which may be set anew.
    """

    def __init__(
        self,
        tables: Tables,
        environment: Environment,
        flows: Flows | None = None,
        learned: Learned = NOTHING_LEARNED,
    ) -> None:
        self.tables = tables
        self.environment = environment
        self.flows = Flows() if flows is None else flows
        self.learned = learned
        self._arrivals = Arrivals(tables, environment)

    def process(self, frame: bytes, interface: str) -> Outcome:
        """What becomes of a frame that came in on a port, as it was on the wire."""
        if len(frame) < ETHERNET:
            return Outcome(Verdict.MALFORMED)
        arrival = self._arrivals.find(frame, interface)
        if isinstance(arrival, Verdict):
            return Outcome(arrival)
        attachment, plain, _ = arrival
        parsed = parse_frame(plain)
        if isinstance(parsed, Verdict):
            return Outcome(parsed)
        verdict = classify(parsed, self.environment.ports[interface])
        if verdict == Verdict.LOCAL:
            return _local(arrival)
        if verdict is not None or parsed.ip is None:
            return Outcome(Verdict.NOT_IP if verdict is None else verdict)
        packet = parsed.ip.packet
        judgement = judge(self.tables, attachment.key.vpc, packet, self.environment, self.flows, self.learned)
        if judgement.verdict == Verdict.LOCAL:
            return _local(arrival)
        out: tuple[tuple[str, bytes], ...] = ()
        if judgement.verdict == Verdict.FORWARDED:
            out = self._encapsulate(plain, parsed.ip, attachment, judgement)
        said = self._answer(parsed, arrival, judgement)
        return Outcome(judgement.verdict, out=out, answer=said, peering=judgement.peering)

    def process_from_namespace(self, frame: bytes, key: AttachmentKey) -> Outcome:
        """What becomes of a frame that the kernel of a VPC's own namespace sends on an attachment."""
        read = read_tag(frame)
        if read is not None:
            return Outcome(read if isinstance(read, Verdict) else Verdict.UNKNOWN_TAG)
        parsed = parse_frame(frame)
        if isinstance(parsed, Verdict):
            return Outcome(parsed)
        attachment = next(one for one in self.tables.vpcs[key.vpc].attachments if one.key == key)
        if key.interface not in self.environment.ports:
            return Outcome(Verdict.NO_ATTACHMENT)
        if key.tag.kind is TagKind.MPLS and parsed.ip is None and parsed.ethertype != ETHERTYPE_ARP:
            return Outcome(Verdict.NOT_IP)
        if key.tag.kind is not TagKind.VXLAN:
            return Outcome(Verdict.LOCAL, out=((key.interface, put_on(frame, attachment)),))
        tunnel = tunnel_for(self.tables, key, frame, parsed)
        if tunnel is None:
            return Outcome(Verdict.NO_ROUTE)
        found = self._underlay(tunnel)
        if found is None:
            return Outcome(Verdict.NEXT_HOP_UNRESOLVED)
        interface, way = found
        return Outcome(Verdict.LOCAL, out=((interface, put_in_tunnel(tunnel.mac + frame[6:], key.tag.outer, way)),))

    def _encapsulate(
        self, data: bytes, ip: Parsed, attachment: Attachment, judgement: Judgement
    ) -> tuple[tuple[str, bytes], ...]:
        """The frames as they leave. A packet that has to be cut and can't be is ``too-big`` after all."""
        hop, way_out = judgement.hop, judgement.attachment
        if judgement.translated is None or hop is None or way_out is None or judgement.neighbor is None:
            judgement.verdict = Verdict.INTERNAL
            return ()
        out = rewrite(data, ip, judgement.translated, least_mss(attachment, way_out))
        destination = judgement.neighbor if hop.tunnel is None else hop.tunnel.mac
        out[:12] = destination + self.environment.ports[hop.attachment.interface].mac
        if not judgement.fragmented or judgement.mtu is None:
            return ((judgement.interface, self._tagged(bytes(out), way_out, hop)),)
        pieces = fragments(bytes(out[ip.layout.ip : ip.layout.end]), judgement.mtu)
        if pieces is None:
            judgement.verdict = Verdict.TOO_BIG
            return ()
        head = bytes(out[:ETHERNET])
        return tuple((judgement.interface, self._tagged(head + piece, way_out, hop)) for piece in pieces)

    def _tagged(self, plain: bytes, attachment: Attachment, hop: NextHop) -> bytes:
        """The frame with the tag of the attachment, or in the tunnel of the next hop."""
        found = self._underlay(hop.tunnel) if hop.tunnel is not None else None
        if found is None:
            return put_on(plain, attachment)
        return put_in_tunnel(plain, attachment.key.tag.outer, found[1])

    def _underlay(self, tunnel: Tunnel) -> tuple[str, Underlay] | None:
        """By which port, and how, the packets of a tunnel leave; None: nobody knows yet."""
        outer = self.environment.tunnels.get((tunnel.family, tunnel.vtep))
        if outer is None or self.tables.vtep is None:
            return None
        interface, mac = outer
        return interface, Underlay(self.tables.vtep, tunnel.vtep, self.environment.ports[interface].mac, mac)

    def _answer(self, frame: Frame, arrival: Arrival, judgement: Judgement) -> tuple[str, bytes] | None:
        """What the gateway itself says about it, back out of the port, and through the tunnel, that it came from."""
        attachment, plain, back = arrival
        interface = attachment.key.interface
        mac = self.environment.ports[interface].mac
        said = answer(plain, frame, judgement.verdict, judgement.mtu or 0, attachment, mac)
        if said is None:
            return None
        if back is not None:
            return interface, put_in_tunnel(said, attachment.key.tag.outer, back)
        return interface, put_on(said, attachment)


def _local(arrival: Arrival) -> Outcome:
    return Outcome(Verdict.LOCAL, to_namespace=arrival.attachment.key, delivered=arrival.frame)
