"""An answer as a person reads it: what happens, what the other end sees, why, and what comes back."""

from __future__ import annotations

from collections.abc import Sequence

from isthmus.tables.verdicts import Verdict
from isthmus.trace.explain import Answer


def headline(answer: Answer) -> str:
    """The answer in one line."""
    sender, receiver, peering = answer.sender, answer.receiver, answer.peering
    where = f"{sender} -> {receiver} via peering {peering}" if receiver else f"from {sender}"
    if answer.verdict == Verdict.FORWARDED:
        return f"FORWARDED  {where}"
    if answer.verdict == Verdict.LOCAL:
        return f"LOCAL  to the gateway itself in {sender}"
    return f"DROPPED  {answer.verdict.label}  {where}"


def lines(answer: Answer, indent: str = "  ") -> list[str]:
    """All below the headline, without the reply."""
    found = [f"{indent}sent       {answer.packet}"]
    if answer.delivered is not None:
        found.append(f"{indent}delivered  {answer.delivered}")
    if answer.pool:
        found.append(f"{indent}pool       {', '.join(answer.pool)}")
    if answer.hint:
        found.append(f"{indent}hint       {answer.hint}")
    if answer.assumed:
        found.append(
            f"{indent}assumed    {answer.receiver} has BGP and no routes were given: taken to route all that it exposes"
        )
    found += ["", *_table(["stage", "result", "decided by"], [list(step) for step in answer.steps], indent)]
    if answer.candidates:
        rows = [
            [
                row.peering,
                row.prefix,
                "-" if row.metric is None else str(row.metric),
                "chosen" if row.chosen else "",
                row.why,
            ]
            for row in answer.candidates
        ]
        found += ["", *_table(["candidate", "prefix", "metric", "", "why"], rows, indent)]
    return found


def caution(answer: Answer) -> str | None:
    """What is wrong with the way back of a packet that arrives; None: nothing, or it does not arrive."""
    reply = answer.reply
    if reply is None:
        return None
    if reply.delivered is None:
        return f"the packet arrives and its reply does not: {reply.verdict.label}"
    if (reply.receiver, reply.delivered.dst) != (answer.sender, answer.packet.src):
        return f"the reply goes to {reply.delivered.dst} in {reply.receiver}: see return-ambiguous in isthmus check"
    if reply.delivered.src != answer.packet.dst:
        return f"the reply comes back from {reply.delivered.src}, and the sender waits for {answer.packet.dst}"
    return None


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], indent: str) -> list[str]:
    """Columns as wide as their widest cell."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return [
        indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
