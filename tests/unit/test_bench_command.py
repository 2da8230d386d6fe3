"""``isthmus bench`` measures what it is asked for. No time is taken here."""

from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from isthmus.bench.run import Row
from isthmus.cli import bench
from isthmus.cli.main import app

NAMES = {name: f"_{name}" for name in ("static", "tcp", "flows", "attachments", "lookups", "routes")}


@pytest.fixture(autouse=True)
def nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def stands_for(name: str) -> Callable[..., list[Row]]:
        return lambda *_: [Row(name, 2.0, "Mpps", "kernel", 1.0, 1.0, 3.0)]

    for name, function in NAMES.items():
        monkeypatch.setattr(bench, function, stands_for(name))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("isthmus.bench.topology.sweep", list)


@pytest.mark.parametrize(
    ("arguments", "measured"),
    [
        ([], list(NAMES)),
        (["--only", "flows"], ["flows"]),
        (["--only", "tcp", "--only", "static"], ["static", "tcp"]),
        (["--only", "routes", "--only", "lookups", "--only", "attachments"], ["attachments", "lookups", "routes"]),
    ],
)
def test_groups_are_measured_in_one_order_all_or_those_asked_for(arguments: list[str], measured: list[str]) -> None:
    done = CliRunner().invoke(app, ["bench", *arguments])
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == measured


def test_a_group_that_does_not_exist_ends_with_2() -> None:
    assert CliRunner().invoke(app, ["bench", "--only", "all"]).exit_code == 2
