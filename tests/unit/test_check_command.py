"""``isthmus check`` and ``isthmus schema``: texts, JSON, exit statuses, and files mended with their comments."""

import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from isthmus.cli.main import app

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
BROKEN = """\
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata: {name: web}
spec:
  a:
    ips:
      - cidr: 10.1.1.7/24 # the first
  b:
    ips:
      - cidr: 10.2.0.0/24
    natTyp: static
"""


def run(*arguments: str | Path, stdin: str | None = None) -> Result:
    """The command in this process: a new one for each test would be most of the time."""
    return CliRunner().invoke(app, [*map(str, arguments)], input=stdin, catch_exceptions=False)


def written(folder: Path, text: str, name: str = "in.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_text_shows_the_line_with_a_caret_and_what_to_write() -> None:
    done = run("check", "-", stdin=BROKEN)
    assert done.exit_code == 1
    assert done.stderr == ""
    assert (
        done.stdout
        == """\
warning[vpc-undefined]: no object defines the VPC a: it is taken to own exactly what it exposes
 --> -:5:3
  |
5 |   a:
  |   ^
  = Peering/web spec.a
  = help: define it: `kind: VPC` with `name: a`

error[cidr-host-bits]: 10.1.1.7/24 has bits set beyond its prefix length 24
 --> -:7:15
  |
7 |       - cidr: 10.1.1.7/24 # the first
  |               ^^^^^^^^^^^
  = Peering/web spec.a.ips[0].cidr
  = help: write 10.1.1.0/24 for the whole network, or 10.1.1.7/32 for the one address

warning[vpc-undefined]: no object defines the VPC b: it is taken to own exactly what it exposes
 --> -:8:3
  |
8 |   b:
  |   ^
  = Peering/web spec.b
  = help: define it: `kind: VPC` with `name: b`

error[field-unknown]: unknown field `natTyp`
  --> -:11:5
   |
11 |     natTyp: static
   |     ^^^^^^
   = Peering/web spec.b.natTyp
   = help: did you mean `natType`?

2 errors, 2 warnings, 0 infos (peerings: 0 right of 1, VPCs: 0)
"""
    )


def test_json_is_the_contract() -> None:
    done = run("check", "-", "-o", "json", stdin=BROKEN)
    assert done.exit_code == 1
    answer = json.loads(done.stdout)
    assert (answer["errors"], answer["warnings"], answer["infos"]) == (2, 2, 0)
    assert answer["problems"][1] == {
        "severity": "error",
        "code": "cidr-host-bits",
        "object": "Peering/web",
        "path": "spec.a.ips[0].cidr",
        "file": "-",
        "line": 7,
        "column": 15,
        "value": "10.1.1.7/24",
        "message": "10.1.1.7/24 has bits set beyond its prefix length 24",
        "hint": "write 10.1.1.0/24 for the whole network, or 10.1.1.7/32 for the one address",
    }


def test_exit_statuses(tmp_path: Path) -> None:
    plain = EXAMPLES / "plain-open.yaml"
    assert run("check", plain).exit_code == 0
    assert run("check", plain, "--strict").exit_code == 1
    assert run("check", EXAMPLES / "vpc-objects.yaml", "--strict").exit_code == 0
    assert run("check", EXAMPLES / "3-internet-ambiguous.yaml").exit_code == 1
    (tmp_path / "empty").mkdir()
    for wrong in (["nowhere.yaml"], [str(tmp_path / "empty")], [str(plain), "--dry-run"], [], ["a\0b"]):
        done = run("check", *wrong)
        assert done.exit_code == 2
        assert done.stdout == ""
        assert done.stderr


def test_a_directory_is_read_in_the_order_of_path_bytes(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / ".git").mkdir()
    same = (EXAMPLES / "plain-open.yaml").read_text()
    for name in ("b/z.yml", "B.yaml", "a.json", ".hidden.yaml", ".git/in.yaml", "note.txt"):
        written(tmp_path, same, name)
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    answer = json.loads(run("check", tmp_path, "-o", "json").stdout)
    assert [(one["code"], Path(one["file"]).name) for one in answer["problems"] if one["severity"] == "error"] == [
        ("name-duplicate", "a.json"),
        ("name-duplicate", "z.yml"),
    ]


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    path = written(tmp_path, (EXAMPLES / "plain-open.yaml").read_text())
    (tmp_path / "again.yaml").symlink_to(path)
    assert run("check", tmp_path, path, path).exit_code == 0


def test_control_characters_and_secrets_do_not_reach_the_terminal() -> None:
    text = 'apiVersion: gateway.githedgehog.com/v1alpha1\nkind: "\\e[31mVPC"\nmetadata: {name: a}\n'
    assert "\x1b" not in run("check", "-", stdin=text).stdout
    text = "apiVersion: gateway.githedgehog.com/v1alpha1\nkind: VPC\nmetadata: {name: a}\nspec:\n  password: hunter2\n"
    done = run("check", "-", stdin=text + "  attachments: [{token: [hunter2], zzz: 1}]\n")
    assert "password: ***" in done.stdout
    assert "hunter2" not in done.stdout


MENDABLE = """\
# Internet access
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering # the first
metadata:
    name: "internet" # quoted
spec:
    vpc-1:

        ips: # ours
        - cidr: 10.1.1.0/24   # the hosts

        metric: 5 # not much
    isp:
        ips:
        - cidr: 0.0.0.0/0
        - not: 10.0.0.0/8 # private
        as: # four
        # in a row
        - 192.168.1.0/30 # documentation
        natType: static # by default
# the end
--- # and another
{apiVersion: v1,   kind: Pod}
"""
MENDED = """\
# Internet access
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering # the first
metadata:
    name: "internet" # quoted
spec:
    vpc-1:

        ips: # ours
        - cidr: 10.1.1.0/24   # the hosts

        as: # four
        # in a row
        - 192.168.1.0/30 # documentation
        natType: stateful # by default
        metric: 5 # not much
    isp:
        ips:
        - cidr: 0.0.0.0/0
        - not: 10.0.0.0/8 # private
# the end
--- # and another
{apiVersion: v1,   kind: Pod}
"""


def test_fix_moves_as_and_keeps_every_comment(tmp_path: Path) -> None:
    path = written(tmp_path, MENDABLE)
    path.chmod(0o640)
    done = run("check", "--fix", path)
    assert path.read_text() == MENDED
    assert path.stat().st_mode & 0o777 == 0o640
    assert done.exit_code == 0
    assert "`as` moves from isp to vpc-1" in done.stderr
    assert "nat-size" not in done.stdout
    assert run("check", "--fix", path).stderr == ""
    assert path.read_text() == MENDED


def test_fix_of_stdin_goes_to_stdout_and_the_report_to_stderr() -> None:
    done = run("check", "--fix", "-", stdin=MENDABLE)
    assert done.stdout == MENDED
    assert "0 errors" in done.stderr
    untouched = run("check", "--fix", "-", stdin=BROKEN)
    assert untouched.stdout == BROKEN
    assert untouched.exit_code == 1


def test_dry_run_prints_the_difference_and_writes_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, MENDABLE)
    done = run("check", "--fix", "--dry-run", path)
    assert path.read_text() == MENDABLE
    assert done.stdout.startswith(f"--- {path}\n+++ {path}\n@@ ")
    assert "+        natType: stateful # by default\n" in done.stdout
    assert "-        natType: static # by default\n" in done.stdout
    patched = subprocess.run(
        ["patch", "-p0", "-s", "-o", "-", path], input=done.stdout, capture_output=True, text=True, check=True
    )
    assert patched.stdout == MENDED


def test_fix_of_the_example_is_the_fixed_example(tmp_path: Path) -> None:
    path = written(tmp_path, (EXAMPLES / "3-internet-ambiguous.yaml").read_text())
    run("check", "--fix", path)
    wanted = (EXAMPLES / "3-internet-fixed.yaml").read_text()
    assert path.read_text().partition("apiVersion")[2] == wanted.partition("apiVersion")[2]


def test_fix_leaves_other_files_and_line_ends_alone(tmp_path: Path) -> None:
    other = written(tmp_path, (EXAMPLES / "plain-open.yaml").read_text(), "other.yaml")
    before = other.stat().st_mtime_ns
    path = tmp_path / "in.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + MENDABLE.replace("\n", "\r\n").encode())
    run("check", "--fix", tmp_path)
    assert path.read_bytes() == b"\xef\xbb\xbf" + MENDED.replace("\n", "\r\n").encode()
    assert other.stat().st_mtime_ns == before


SIDES = "ips: [{cidr: 0.0.0.0/0}], as: [192.0.2.0/30]"
HEAD = "apiVersion: gateway.githedgehog.com/v1alpha1\nkind: Peering\nmetadata: {name: web}\nspec:\n"


@pytest.mark.parametrize(
    "spec",
    [
        "  a: {ips: [{cidr: 10.1.0.0/24}], as: [192.0.2.0/30]}\n  b: {ips: [{cidr: 10.2.0.0/24}]}\n",
        f"  a: {{{SIDES}}}\n  b: {{ips: [{{cidr: 10.2.0.0/24}}], as: [192.0.3.0/24]}}\n",
        f"  a: {{{SIDES}}}\n  b: {{ips: [{{cidr: 10.2.0.0/24}}, {{cidr: 'fd00::/64'}}]}}\n",
        (
            "  a: {ips: [{cidr: 0.0.0.0/0}, {cidr: 'fd00::/64'}], as: [192.0.2.0/30, '2001:db8::/64']}\n"
            "  b: {ips: [{cidr: 10.2.0.0/24}, {cidr: 'fd00:2::/64'}]}\n"
        ),
        "  a: {ips: [{cidr: 10.1.0.0/24}], as: [192.0.0.0/16]}\n  b: {ips: [{cidr: 0.0.0.0/0}]}\n",
    ],
)
def test_fix_writes_nothing_where_there_are_two_answers(tmp_path: Path, spec: str) -> None:
    path = written(tmp_path, HEAD + spec)
    done = run("check", "--fix", path)
    assert path.read_text() == HEAD + spec
    assert done.exit_code == 1
    assert "nat-size" in done.stdout


@pytest.mark.parametrize(
    "text",
    [
        f"{HEAD}  a: &a {{{SIDES}}}\n  b: {{ips: [{{cidr: 10.2.0.0/24}}]}}\n---\nkind: {{<<: *a}}\n".replace(
            "---\n", ""
        ),
        HEAD
        + "  a:\n    <<: {as: [192.0.2.0/30]}\n    ips: [{cidr: 0.0.0.0/0}]\n  b:\n    ips: [{cidr: 10.2.0.0/24}]\n",
    ],
)
def test_fix_writes_nothing_where_an_anchor_would_carry_it_elsewhere(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    run("check", "--fix", path)
    assert path.read_text() == text


def test_fix_reaches_into_lists_and_flow_style(tmp_path: Path) -> None:
    item = HEAD.replace("\n", "\n  ").rstrip() + f" {{a: {{{SIDES}}}, b: {{ips: [{{cidr: 10.2.0.0/24}}]}}}}\n"
    path = written(tmp_path, f"apiVersion: v1\nkind: List\nitems:\n- {item}")
    assert run("check", "--fix", path).exit_code == 0
    assert "b: {ips: [{cidr: 10.2.0.0/24}], as: [192.0.2.0/30], natType: stateful}" in path.read_text()


def test_the_schema_is_json() -> None:
    for arguments in ([], ["-o", "json"]):
        assert set(json.loads(run("schema", *arguments).stdout)) == {"$schema", "title", "oneOf", "$defs"}
