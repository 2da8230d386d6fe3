"""The report says what tests show, and of every requirement either that or why not."""

from __future__ import annotations

from tests.conformance.report import MODULES, PAGE, key, marked, page, proofs
from tests.conformance.requirements import REQUIREMENTS


def test_the_page_is_fresh() -> None:
    """`python -m tests.conformance.report > docs/nat-conformance.md` mends it."""
    assert PAGE.read_text() == page()


def test_every_requirement_is_shown_or_declined_and_not_both() -> None:
    shown = proofs()
    for one in REQUIREMENTS:
        declined = MODULES[one.rfc].DECLINED.get(one.name, "")
        assert (key(one) in shown) != bool(declined), key(one)
        assert not declined or (declined.endswith(".") and "todo" not in declined.lower()), key(one)


def test_every_proof_and_reason_is_of_a_requirement_that_exists() -> None:
    known = {key(one) for one in REQUIREMENTS}
    assert len(known) == len(REQUIREMENTS)
    declined = {f"{rfc} {name}" for rfc, module in MODULES.items() for name in module.DECLINED}
    noted = {f"{rfc} {name}" for rfc, module in MODULES.items() for name in module.NOTES}
    assert {*proofs()} <= known
    assert declined <= known
    assert noted <= {*proofs()}, "notes are of what is met"
    assert {*marked("instead")} <= declined, "what is done instead is of what is declined"
