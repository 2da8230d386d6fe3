"""Each verdict that exists now is the end of some packet, and of nothing else: one verdict, and what goes with it."""

import pytest

from isthmus.tables.verdicts import Verdict
from tests.scenarios.packets.cases import CASES, LATER, Case


@pytest.mark.parametrize("case", CASES, ids=[case.verdict.label for case in CASES])
def test_a_packet_ends_with(case: Case) -> None:
    outcome = case.network.process(case.frame, case.port)
    assert outcome.verdict == case.verdict
    assert bool(outcome.out) == (case.verdict == Verdict.FORWARDED)
    assert (outcome.to_namespace is not None) == (case.verdict == Verdict.LOCAL)
    assert (outcome.answer is not None) == (case.verdict in (Verdict.TTL, Verdict.TOO_BIG))


def test_no_verdict_is_left_out() -> None:
    assert {case.verdict for case in CASES} == set(Verdict) - LATER


def test_a_twin_that_is_given_no_flows_starts_with_none() -> None:
    for case in CASES:
        assert case.network.process(case.frame, case.port) == case.network.process(case.frame, case.port)
