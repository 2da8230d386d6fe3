"""The packet path in Python: a frame in, a verdict and exact frames out."""

from __future__ import annotations

from typing import NamedTuple

from isthmus.tables.entries import Attachment, AttachmentKey, Tables, Tag
from isthmus.tables.verdicts import Verdict
from isthmus.trace.answers import answer
from isthmus.trace.classify import claims, classify, unclaimed
from isthmus.trace.environment import Environment
from isthmus.trace.flows import Flows
from isthmus.trace.fragments import fragments
from isthmus.trace.judge import judge
from isthmus.trace.judgement import Judgement
from isthmus.trace.mss import least_mss
from isthmus.trace.rewrite import rewrite
from isthmus.trace.wire import ETHERNET, TAGGED, Frame, Parsed, parse_frame


class Outcome(NamedTuple):
    """What became of a frame.

    ``out``: (port, frame) of what left, in order, without tags. ``to_namespace``: the attachment whose namespace got
    the frame as it came (``local``). ``answer``: (port, frame) of what the gateway said itself. ``peering``: the one
    that was picked.
    """

    verdict: Verdict
    out: tuple[tuple[str, bytes], ...] = ()
    to_namespace: AttachmentKey | None = None
    answer: tuple[str, bytes] | None = None
    peering: str | None = None


class Twin:
    """The packet path over one set of tables and one node. ``flows``: what it remembers; None: nothing yet."""

    def __init__(self, tables: Tables, environment: Environment, flows: Flows | None = None) -> None:
        self.tables = tables
        self.environment = environment
        self.flows = Flows() if flows is None else flows
        self._claims = claims(tables)

    def process(self, frame: bytes, interface: str, tag: Tag = Tag()) -> Outcome:  # noqa: B008 - a constant tuple
        """What becomes of a frame that came in on a port; ``frame`` is without the tags that ``tag`` tells of."""
        parsed = parse_frame(frame)
        if isinstance(parsed, Verdict):
            return Outcome(parsed)
        if parsed.ethertype in TAGGED:
            return Outcome(unclaimed(self.tables, interface))
        attachment, port = self._claims.get((interface, tag)), self.environment.ports.get(interface)
        if attachment is None or port is None:
            return Outcome(unclaimed(self.tables, interface))
        verdict = classify(parsed, port)
        if verdict == Verdict.LOCAL:
            return Outcome(verdict, to_namespace=attachment.key)
        if verdict is not None or parsed.ip is None:
            return Outcome(Verdict.NOT_IP if verdict is None else verdict)
        judgement = judge(self.tables, attachment.key.vpc, parsed.ip.packet, self.environment, self.flows)
        if judgement.verdict == Verdict.LOCAL:
            return Outcome(Verdict.LOCAL, to_namespace=attachment.key)
        out: tuple[tuple[str, bytes], ...] = ()
        if judgement.verdict == Verdict.FORWARDED:
            out = self._encapsulate(frame, parsed.ip, attachment, judgement)
        said = self._answer(frame, parsed, attachment, judgement)
        return Outcome(judgement.verdict, out=out, answer=said, peering=judgement.peering)

    def _encapsulate(
        self, data: bytes, ip: Parsed, attachment: Attachment, judgement: Judgement
    ) -> tuple[tuple[str, bytes], ...]:
        """The frames as they leave. A packet that has to be cut and can't be is ``too-big`` after all."""
        if judgement.translated is None or judgement.hop is None or judgement.neighbor is None:
            judgement.verdict = Verdict.INTERNAL
            return ()
        interface = judgement.hop.attachment.interface
        out = rewrite(data, ip, judgement.translated, least_mss(attachment, judgement.attachment))
        out[:12] = judgement.neighbor + self.environment.ports[interface].mac
        if not judgement.fragmented or judgement.mtu is None:
            return ((interface, bytes(out)),)
        pieces = fragments(bytes(out[ip.layout.ip : ip.layout.end]), judgement.mtu)
        if pieces is None:
            judgement.verdict = Verdict.TOO_BIG
            return ()
        return tuple((interface, bytes(out[:ETHERNET]) + piece) for piece in pieces)

    def _answer(
        self, data: bytes, frame: Frame, attachment: Attachment, judgement: Judgement
    ) -> tuple[str, bytes] | None:
        """What the gateway itself says about it, back out of the port it came from."""
        interface = attachment.key.interface
        mac = self.environment.ports[interface].mac
        said = answer(data, frame, judgement.verdict, judgement.mtu or 0, attachment, mac)
        return (interface, said) if said is not None else None
