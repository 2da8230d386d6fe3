"""The report says what tests show, and of every requirement either that or why not."""

from __future__ import annotations

from tests.conformance.report import MODULES, PAGE, key, page, proofs
from tests.conformance.requirements import REQUIREMENTS


def test_the_page_is_fresh() -> None:
    """`python -m tests.conformance.report > docs/nat-conformance.md` mends it."""
    assert PAGE.read_text() == page()


def test_every_requirement_is_shown_or_declined_and_not_both() -> None:
    shown = proofs()
    for one in REQUIREMENTS:
        declined = MODULES[one.rfc].DECLINED.get(one.name, "")
        assert (key(one) in shown) != bool(declined), key(one)
        assert not declined or (len(declined) > 20 and "todo" not in declined.lower())


def test_every_proof_and_reason_is_of_a_requirement_that_exists() -> None:
    known = {key(one) for one in REQUIREMENTS}
    named = {*proofs(), *(f"{rfc} {name}" for rfc, m in MODULES.items() for name in (*m.DECLINED, *m.NOTES))}
    assert named <= known, named - known
