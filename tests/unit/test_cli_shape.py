"""The command line as a contract: its commands are there, it teaches, and it ends with the right status."""

import subprocess
import sys
from pathlib import Path

import pytest

import isthmus

PROGRAM = Path(sys.executable).with_name("isthmus")
COMMANDS = ["check", "trace", "map", "lab", "flows", "routes", "neighbors", "drain", "bench", "schema"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False)


def test_help_names_every_command_and_the_exit_statuses() -> None:
    done = run("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert f" {command} " in done.stdout
    assert "Exit status" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert f"isthmus {command}" in done.stdout


@pytest.mark.parametrize("arguments", [["--no-such-option"], ["no-such-command"], ["check", "--no-such-option"]])
def test_a_wrong_call_ends_with_2_and_says_so_on_stderr(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert arguments[-1] in done.stderr


def test_version() -> None:
    assert run("--version").stdout == f"isthmus {isthmus.__version__}\n"


def test_a_reader_that_leaves_early_sees_no_traceback() -> None:
    writer = subprocess.Popen([PROGRAM, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert writer.stdout
    assert writer.stderr
    writer.stdout.close()
    complaint = writer.stderr.read()
    writer.stderr.close()
    assert writer.wait() in (0, 1)
    assert complaint == ""


def test_no_escape_codes_outside_a_terminal() -> None:
    assert "\x1b" not in run("--help").stdout


@pytest.mark.parametrize(
    ("arguments", "unneeded"),
    [
        ("--help", {"pyroute2", "pydantic", "yaml", "ruamel", "isthmus.datapath"}),
        (
            "check examples/ipv6.yaml",
            {"pyroute2", "ruamel", "isthmus.datapath", "isthmus.lab.control", "isthmus.bench"},
        ),
    ],
)
def test_no_command_waits_for_what_others_need(arguments: str, unneeded: set[str]) -> None:
    """Each of these takes longer to load than `check` takes for a small file."""
    program = f"import sys; sys.argv[1:] = {arguments.split()}\nfrom isthmus.cli.main import main\ntry: main()\n"
    program += "finally: print(*sys.modules, file=sys.stderr)"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert unneeded & set(done.stderr.split()) == set()
