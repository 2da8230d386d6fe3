"""The BIRD process of a VPC: started in its network namespace, reconfigured without a session lost, watched, ended.

It lives on when we end: whoever starts it again finds it by its control socket and takes it over.
"""

from __future__ import annotations

import os
import pwd
import select
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from isthmus.routing.bird.control import Control, ControlError
from isthmus.routing.precedence import as_usual

_PROGRAM: Final = "bird"
_USER: Final = "bird"  # whom Debian's package makes; BIRD keeps the capabilities it needs
_CONTROL, _CONFIG, _NEW, _STDERR = "bird.ctl", "bird.conf", "bird.new", "stderr"
_START_S: Final = 10.0
_END_S: Final = 10.0
_LOOK_MS: Final = 5  # how often a daemon that starts is asked whether it answers


class DaemonError(Exception):
    """BIRD does not start, or refuses a configuration; the message has its own words."""


class Daemon:
    """A running BIRD. Its files are in ``directory``: bird.conf, bird.log, and the control socket.

    It is made, and restarted, inside the network namespace that it is for; the rest may be called from anywhere.
    One directory for one daemon. Not safe for threads.
    """

    def __init__(self, directory: Path, text: str, *, recover: bool = False) -> None:
        """Run BIRD with this configuration, and wait until it answers. One that runs in ``directory`` already is taken
        over and reconfigured.

        ``recover``: neighbours that do graceful restart keep our routes (RFC 4724): nothing is taken back before the
        feed has said all. ``DaemonError`` if it does not start.
        """
        self.directory = directory
        self._child: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        try:
            self.control = Control(self.control_socket)
        except ControlError:
            self._start(text, recover=recover)
        else:
            self._pidfd = os.pidfd_open(self.control.pid)
            self.reconfigure(text)

    @property
    def control_socket(self) -> Path:
        """For a `Watch`, or for ``birdc -s``."""
        return self.directory / _CONTROL

    @property
    def pid(self) -> int:
        """The process."""
        return self.control.pid

    def fileno(self) -> int:
        """A pidfd: readable when the process has ended, whoever ended it."""
        return self._pidfd

    def alive(self) -> bool:
        """False once the process has ended."""
        return not _ended(self._pidfd, 0)

    def reconfigure(self, text: str) -> None:
        """Go over to another configuration. Sessions whose settings are the same stay up.

        ``DaemonError`` with BIRD's words if it refuses; then the one before stays."""
        new = self._checked(text)
        try:
            new.replace(self.directory / _CONFIG)
            self.control.ask("configure")
        except ControlError as error:
            raise DaemonError(f"BIRD refuses its configuration: {error}") from error

    def check(self, text: str) -> None:
        """Change nothing. ``DaemonError`` with BIRD's words if it would refuse this configuration."""
        self._checked(text).unlink()

    def restart(self, text: str) -> None:
        """End the process and start another; neighbours that do graceful restart notice nothing (RFC 4724)."""
        with suppress(ControlError):
            self.control.ask("graceful restart")
        self._wait()
        self._start(text, recover=True)

    def stop(self) -> None:
        """End the process: neighbours are told. Nothing happens if it has ended."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)
        self._wait()
        os.close(self._pidfd)

    def detach(self) -> None:
        """Let go of the process: it goes on, and can be taken over."""
        self.control.close()
        os.close(self._pidfd)

    def _checked(self, text: str) -> Path:
        """A file with this configuration, of which BIRD says that it is right."""
        new = self.directory / _NEW
        self._write(new, text)
        try:
            self.control.ask(f'configure check "{_NEW}"')
        except ControlError as error:
            new.unlink()
            raise DaemonError(f"BIRD refuses its configuration: {error}") from error
        return new

    def _start(self, text: str, *, recover: bool) -> None:
        program = shutil.which(_PROGRAM, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
        if program is None:
            raise DaemonError("there is no program `bird` (Debian: bird2)")
        self._write(self.directory / _CONFIG, text)
        # relative to its directory, because BIRD's user need not be let into those above it
        command = [program, "-f", "-c", _CONFIG, "-s", _CONTROL]
        command += ["-R"] * recover + ["-u", _USER, "-g", _USER] * (_identity() is not None)
        with (self.directory / _STDERR).open("wb") as stderr:
            self._child = subprocess.Popen(
                command,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
            )
        as_usual(self._child.pid)
        self._pidfd = os.pidfd_open(self._child.pid)
        try:
            self.control = self._answer()
        except DaemonError:
            self._child.kill()
            self._child.wait()
            os.close(self._pidfd)
            raise

    def _answer(self) -> Control:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            with suppress(ControlError):
                return Control(self.control_socket)
            if _ended(self._pidfd, _LOOK_MS):
                said = (self.directory / _STDERR).read_text(errors="replace").strip()
                raise DaemonError(f"BIRD does not start: {said or 'it says nothing'}")
        raise DaemonError(f"BIRD does not answer within {_START_S:.0f} s")

    def _wait(self) -> None:
        """Until the process has ended; it is killed if that takes long."""
        self.control.close()
        if not _ended(self._pidfd, int(_END_S * 1000)):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            _ended(self._pidfd, -1)
        if self._child is not None:
            self._child.wait()
            self._child = None

    def _write(self, path: Path, text: str) -> None:
        """Readable for BIRD and for nobody else: there are passwords in it."""
        path.unlink(missing_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
        if identity := _identity():
            for owned in (self.directory, path):
                os.chown(owned, identity.pw_uid, identity.pw_gid)


def _identity() -> pwd.struct_passwd | None:
    """The user that BIRD runs as; None: our own."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_USER)
    except KeyError:
        return None


def _ended(pidfd: int, timeout_ms: int) -> bool:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(timeout_ms))
