"""The daemons of externals: started among the hosts of their VPC, asked, and ended, also those of a crash."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from isthmus.datapath.netns import inside
from isthmus.lab.externals.bird import bird_config
from isthmus.lab.externals.frr import bgpd_config
from isthmus.lab.externals.speakers import External
from isthmus.lab.process import working_below
from isthmus.routing.bird.process import Daemon

_BGPD: Final = Path("/usr/lib/frr/bgpd")
_WITHIN_S, _LOOK_S = 10.0, 0.02


class ExternalError(Exception):
    """An external can't be played; the text says why."""


def start(external: External, folder: Path) -> None:
    """Run the daemon of an external, whose files are in a folder of its own, until ``end``; returns when it answers.

    ExternalError, or the daemon's own words as ``DaemonError``, if it does not start.
    """
    passwords = {s.password_file: _password(s.password_file) for s in external.speakers if s.password_file}
    if external.program == "bird":
        with inside(external.namespace):
            Daemon(folder, bird_config(external, passwords)).detach()
    else:
        if unfit := next((file for file, text in passwords.items() if text.split() != [text]), None):
            raise ExternalError(f"passwordFile {unfit}: FRR takes no password with a space in it")
        _start_bgpd(external, folder, bgpd_config(external, passwords))


def end(folders: Iterable[Path]) -> None:
    """End every process that works in one of these folders, or below."""
    for process in working_below(folders):
        process.end()


def ask(folder: Path, program: str, command: str) -> str:
    """What a daemon answers: to ``birdc``, or to ``vtysh``. CalledProcessError if it does not."""
    calls = {
        "bird": ["birdc", "-r", "-s", str(folder / "bird.ctl"), *command.split()],
        "frr": ["vtysh", "--vty_socket", str(folder), "-d", "bgpd", "-c", command],
    }
    return subprocess.run(calls[program], capture_output=True, text=True, check=True, timeout=_WITHIN_S).stdout


def _password(file: str) -> str:
    try:
        text = Path(file).read_text().rstrip("\n")
    except OSError as error:
        raise ExternalError(f"passwordFile {file}: {error.strerror}") from error
    if '"' in text or not text.isprintable():
        raise ExternalError(f"passwordFile {file}: a daemon's configuration has no place for what it holds")
    return text


def _start_bgpd(external: External, folder: Path, text: str) -> None:
    if not _BGPD.exists():
        raise ExternalError(f"there is no {_BGPD} (Debian: frr)")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bgpd.conf").write_text(text)
    (folder / "bgpd.conf").chmod(0o600)
    command = [str(_BGPD), "-Z", "-S", "-f", "bgpd.conf", "-i", "bgpd.pid", "--vty_socket", ".", "-P", "0"]
    # -Z: no zebra. -S: as our user, because FRR's own need not be let into the folders above
    with inside(external.namespace), (folder / "stderr").open("wb") as said:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )
    _wait(folder, process.poll, lambda: (folder / "bgpd.vty").exists())
    process.returncode = 0  # it outlives us: no warning that it still runs


def _wait(folder: Path, ended: Callable[[], int | None], met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while not met():
        if ended() is not None or time.monotonic() > deadline:
            raise ExternalError(f"bgpd does not start: {(folder / 'stderr').read_text(errors='replace').strip()}")
        time.sleep(_LOOK_S)
