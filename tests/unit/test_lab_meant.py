"""Which lab is meant where none, or one that is not there, is named."""

from pathlib import Path

import pytest

from isthmus.lab import state
from isthmus.lab.state import NoSuchLab, meant


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(state, "ROOT", tmp_path)
    return tmp_path


def test_the_default_one_if_it_is_there(root: Path) -> None:
    for name in ("a", "isthmus", "z"):
        (root / name).mkdir()
    assert meant(None).name == "isthmus"
    assert meant("z").name == "z"
    assert meant("z").socket == root / "z" / "ask"


def test_the_only_one(root: Path) -> None:
    (root / "a").mkdir()
    assert meant(None).name == "a"


def test_one_of_several_must_be_named(root: Path) -> None:
    for name in ("a", "z"):
        (root / name).mkdir()
    with pytest.raises(NoSuchLab, match="--name says which; there are: a, z"):
        meant(None)


def test_none_is_there(root: Path) -> None:
    with pytest.raises(NoSuchLab, match="isthmus lab up FILE"):
        meant(None)
    with pytest.raises(NoSuchLab, match="isthmus lab up FILE --name a"):
        meant("a")
