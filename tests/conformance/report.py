"""Prints ``docs/nat-conformance.md``: ``python -m tests.conformance.report``.

A requirement is met if a test says so (``proves``) and for no other reason: a test that is cut makes its row fall.
"""

from __future__ import annotations

import importlib
from collections import Counter, defaultdict
from pathlib import Path

from tests.conformance.declined import rfc4787, rfc5382, rfc5508, rfc6888, rfc7857
from tests.conformance.requirements import REQUIREMENTS, Requirement

PAGE = Path(__file__).parents[2] / "docs/nat-conformance.md"
TITLES = {
    4787: "RFC 4787: UDP",
    5382: "RFC 5382: TCP",
    5508: "RFC 5508: ICMP",
    6888: "RFC 6888: carrier-grade NAT",
    7857: "RFC 7857: updates of the first three",
}
MODULES = {4787: rfc4787, 5382: rfc5382, 5508: rfc5508, 6888: rfc6888, 7857: rfc7857}
HEAD = """# NAT conformance

What five RFCs ask of a NAT, requirement by requirement, and what stateful NAT (`natType: stateful`) does about it.
Written by `python -m tests.conformance.report`; do not edit. **pass**: the tests named show it, on the real packet
path, and CI runs them; without them the row falls. **declined**: not done, or not asked of us, for the reason given.

"""
TABLE_HEAD = """| requirement | level | what it asks | verdict | shown by, or why not |
|---|---|---|---|---|
"""


def proofs() -> dict[str, list[str]]:
    """The tests that show a requirement, by its name: ``4787 REQ-1``."""
    return marked("proves")


def marked(marker: str) -> dict[str, list[str]]:
    """The tests that name a requirement with this marker. One that is skipped, or meant to fail, shows nothing."""
    found: dict[str, list[str]] = defaultdict(list)
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        for name, value in vars(importlib.import_module(f"tests.conformance.{file.stem}")).items():
            marks = getattr(value, "pytestmark", [])
            if not name.startswith("test_") or {"skip", "skipif", "xfail"} & {mark.name for mark in marks}:
                continue
            for requirement in dict.fromkeys(each for mark in marks if mark.name == marker for each in mark.args):
                found[requirement].append(f"{file.stem}::{name}")
    return dict(found)


def key(requirement: Requirement) -> str:
    """Its name among all."""
    return f"{requirement.rfc} {requirement.name}"


def answer(requirement: Requirement, shown: dict[str, list[str]], others: dict[str, list[str]]) -> tuple[str, str]:
    """The verdict, and the tests or the reason, with the tests that show that."""
    module, name = MODULES[requirement.rfc], key(requirement)
    if name not in shown:
        reason, tests = module.DECLINED.get(requirement.name), others.get(name, [])
        if reason is None:
            return "unanswered", "no test shows it, and no reason is given"
        return "declined", reason + (f" Shown by {listed(tests)}." if tests else "")
    note = module.NOTES.get(requirement.name)
    return "pass", listed(shown[name]) + (f". {note}" if note else "")


def listed(tests: list[str]) -> str:
    """As the page has them."""
    return "; ".join(f"`{test}`" for test in tests)


def page() -> str:
    """The text of the page."""
    shown, others = proofs(), marked("instead")
    answers = {key(one): answer(one, shown, others) for one in REQUIREMENTS}
    counts = Counter(verdict for verdict, _ in answers.values())
    parts = [HEAD, f"{len(answers)} requirements: {counts['pass']} pass, {counts['declined']} declined.\n"]
    for rfc, title in TITLES.items():
        parts.append(f"\n## {title}\n\n{TABLE_HEAD}")
        for one in (one for one in REQUIREMENTS if one.rfc == rfc):
            verdict, why = answers[key(one)]
            parts.append(f"| {one.name} | {one.level} | {one.text} | {verdict} | {why} |\n")
    return "".join(parts)


if __name__ == "__main__":
    print(page(), end="")
