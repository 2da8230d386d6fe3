"""Every problem code is found where it should be: tests/scenarios/problems/CODE/objects.yaml and expected.json."""

import json
from pathlib import Path
from typing import Any

import pytest

from isthmus.cli.objects import load
from isthmus.model import catalogue

ROOT = Path(__file__).parents[2]
SCENARIOS = ROOT / "tests" / "scenarios" / "problems"
CODES = [entry.code for entry in catalogue.ENTRIES]


def found_in(file: Path) -> list[dict[str, Any]]:
    return [
        {
            "severity": problem.severity.value,
            "code": problem.code,
            "object": problem.object,
            "path": problem.path,
            "line": problem.line,
            "column": problem.column,
        }
        for problem in load([str(file)]).problems
    ]


@pytest.mark.parametrize("code", CODES)
def test_a_scenario_gives_exactly_its_problems_at_their_places(code: str) -> None:
    found = found_in(SCENARIOS / code / "objects.yaml")
    assert found == json.loads((SCENARIOS / code / "expected.json").read_text())
    mine = [problem["severity"] for problem in found if problem["code"] == code]
    entry = next(entry for entry in catalogue.ENTRIES if entry.code == code)
    assert mine, f"the scenario of {code} does not show it"
    assert set(mine) <= set(entry.severity.split(" or "))


def test_every_scenario_is_of_a_known_code() -> None:
    assert sorted(folder.name for folder in SCENARIOS.iterdir()) == sorted(CODES)


def test_every_problem_of_every_scenario_has_a_message_a_known_code_and_a_place() -> None:
    for problem in load([str(SCENARIOS)]).problems:
        assert problem.code in CODES
        assert problem.message
        assert problem.line > 0
        assert problem.column > 0
        assert problem.hint or problem.code in {"yaml-invalid", "field-type"}


def test_the_page_of_problems_is_fresh() -> None:
    assert (ROOT / "docs" / "problems.md").read_text() == catalogue.markdown()


def test_what_is_right_beside_broken_objects_stays() -> None:
    assert list(load([str(SCENARIOS / "yaml-invalid")]).model.peerings) == ["right"]
    assert list(load([str(SCENARIOS / "pool-conflict")]).model.peerings) == ["first", "shares", "spells-defaults-out"]
    assert list(load([str(SCENARIOS / "peering-duplicate-pair")]).model.peerings) == ["web"]
    assert list(load([str(SCENARIOS / "attachment-conflict")]).model.vpcs) == ["a", "d"]


def test_a_broken_vpc_is_never_inferred() -> None:
    model = load([str(SCENARIOS / "vpc-broken")]).model
    assert model.vpcs == {}
    assert model.peerings == {}
