"""Prints ``docs/verdicts.md``: ``python -m isthmus.tables.document``."""

from __future__ import annotations

from isthmus.tables.verdicts import MEANING, Verdict

HEAD = """# Verdicts

Written by `python -m isthmus.tables.document`; do not edit. Every packet ends in exactly one of these, and is counted
under its number. Numbers are never reused. From 10 on the packet went nowhere.

| number | name | what it means |
|---|---|---|
"""


def document() -> str:
    """The text of the page."""
    return HEAD + "".join(f"| {verdict:d} | `{verdict.label}` | {MEANING[verdict]} |\n" for verdict in Verdict)


if __name__ == "__main__":
    print(document(), end="")
