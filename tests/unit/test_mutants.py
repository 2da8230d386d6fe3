"""Does every mutant of ``scripts/mutate`` still find what it breaks?"""

from tests.mutants import MUTANTS, ROOT


def test_every_mutant_breaks_something() -> None:
    """Else it says nothing, and the whole run ends there."""
    gone = [mutant.name for mutant in MUTANTS if mutant.old not in (ROOT / mutant.file).read_text()]
    assert not gone, "their text is not in their file any more: mend tests/mutants.py"


def test_names_of_mutants_are_their_own() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names)
