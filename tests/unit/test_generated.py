"""What is generated is fresh, and agrees with what it was generated from."""

from __future__ import annotations

from pathlib import Path

from isthmus.tables.document import document
from isthmus.tables.header import header
from isthmus.tables.layout import CODES, RECORDS
from isthmus.tables.verdicts import MEANING, VERDICT_COUNT, Verdict

ROOT = Path(__file__).parents[2]
CODE_BYTES = {"B": 1, "H": 2, "I": 4, "Q": 8}


def test_header_is_fresh() -> None:
    """`python -m isthmus.tables.header > bpf/generated/tables.h` mends it."""
    assert (ROOT / "bpf/generated/tables.h").read_text() == header()


def test_page_of_verdicts_is_fresh() -> None:
    """`python -m isthmus.tables.document > docs/verdicts.md` mends it."""
    assert (ROOT / "docs/verdicts.md").read_text() == document()


def test_every_verdict_has_a_meaning_and_a_counter() -> None:
    assert set(MEANING) == set(Verdict)
    assert max(Verdict) < VERDICT_COUNT


def test_records_have_no_implicit_padding() -> None:
    """Members stand at multiples of their own alignment, so C adds nothing between them."""
    for made in RECORDS.values():
        for field in made.fields:
            offset, _ = made.layout[field.name]
            inner = RECORDS[field.type.removeprefix("struct ")].codes if field.type.startswith("struct ") else ""
            align = max(CODE_BYTES[code] for code in inner) if inner else CODE_BYTES[CODES[field.type]]
            assert offset % align == 0, (made.name, field.name)
