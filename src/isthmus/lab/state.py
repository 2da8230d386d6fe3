"""What a lab remembers in ``/run/isthmus/lab/N``, so that all of it can be found again, also after a crash.

===================  ==================================================================================================
``lab.json``         the names: written before anything is made
``made``             a line for each namespace made, with the inode number that tells it from another of that name
``objects.pickle``   plan, model and tables, for the keeper and for probes (the folder is root's alone)
``next.pickle``      the same, that the keeper is to go over to
``keeper.json``      the keeper's process: id and start, by itself, first thing
``ready.json``       the hook of every port, by the keeper, when every host could be reached
``keeper.log``       what the keeper had to say
``bgp/VPC``          files of the gateway's own BGP daemon in a VPC
``externals/VPC``    files of the daemon that plays the BGP neighbours of a VPC
``ask``              the keeper's socket: what other processes ask (``lab.service``)
===================  ==================================================================================================

The folder's lock is held by who makes or removes the lab, and lost with that process.
"""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from isthmus.lab.names import LAB_NAME
from isthmus.lab.plan import LabPlan
from isthmus.lab.process import Process
from isthmus.model.types import Model
from isthmus.tables.entries import Tables

ROOT = Path("/run/isthmus/lab")

DEFAULT = "isthmus"
"""The lab that is meant where none is named."""

_NOW, _NEXT = "objects.pickle", "next.pickle"
_LOCK_PATIENCE_S = 20.0
_LOCK_POLL_S = 0.05


class LabError(Exception):
    """What a lab can't do, and what to do about it; the text is for a person."""


class NoSuchLab(LabError):
    """No lab has this name, or none can have it: the call itself is wrong."""


class Objects(NamedTuple):
    """What a lab was made of."""

    plan: LabPlan
    model: Model
    tables: Tables


class State:
    """The folder of one lab."""

    def __init__(self, name: str) -> None:
        """LabError if no lab can have this name. Reads and makes nothing."""
        if not LAB_NAME.fullmatch(name):
            raise NoSuchLab(f"{name!r} is no name for a lab: a-z, 0-9 and - inside, at most 40 characters")
        self.name = name
        self.folder = ROOT / name

    @property
    def socket(self) -> Path:
        """Where the keeper answers, while it runs."""
        return self.folder / "ask"

    @property
    def bgp(self) -> Path:
        """Where the gateway's own BGP daemons work, each in a folder named by its VPC."""
        return self.folder / "bgp"

    @property
    def externals(self) -> Path:
        """Where the daemons of externals work, each in the folder that ``external`` names."""
        return self.folder / "externals"

    def external(self, vpc: str) -> Path:
        """The folder of the daemon that plays a VPC."""
        return self.externals / vpc

    def exists(self) -> bool:
        """True from the first moment of ``up`` to the last of ``down``."""
        return self.folder.is_dir()

    def create(self) -> None:
        """Make the folder; LabError if there is one."""
        ROOT.mkdir(parents=True, exist_ok=True, mode=0o755)
        try:
            self.folder.mkdir(mode=0o700)
        except FileExistsError as error:
            raise LabError(
                f"there is a lab {self.name} already; remove it with: isthmus lab down --name {self.name}"
            ) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the one who makes or removes this lab. LabError if another one goes on doing it, or it is gone."""
        try:
            fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NoSuchLab(f"there is no lab {self.name}") from error
        try:
            deadline = time.monotonic() + _LOCK_PATIENCE_S
            while not _lock(fd):
                if time.monotonic() > deadline:
                    raise LabError(f"lab {self.name} is being made or removed by another process: try again")
                time.sleep(_LOCK_POLL_S)
            yield
        finally:
            os.close(fd)

    def remove(self) -> None:
        """Remove the folder, and those above it if nothing else is in them."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for above in (ROOT, ROOT.parent):
            with suppress(OSError):
                above.rmdir()

    def write_json(self, file: str, content: object) -> None:
        """Write a file so that it is there whole or not at all."""
        self._write(file, json.dumps(content, indent=1).encode())

    def read_json(self, file: str) -> Any:
        """What ``write_json`` wrote; None if it never did, or not to the end."""
        try:
            return json.loads((self.folder / file).read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def write_objects(self, objects: Objects) -> None:
        """Remember what the lab is made of."""
        self._write(_NOW, pickle.dumps(objects))

    def write_next_objects(self, objects: Objects) -> None:
        """Remember what it is to be made of."""
        self._write(_NEXT, pickle.dumps(objects))

    def objects(self) -> Objects:
        """What the lab is made of. LabError if there is none, or another version of the program made it."""
        return self._read_objects(_NOW)

    def next_objects(self) -> Objects:
        """What it is to be made of; otherwise as above."""
        return self._read_objects(_NEXT)

    def _read_objects(self, file: str) -> Objects:
        try:
            found = pickle.loads((self.folder / file).read_bytes())
        except FileNotFoundError as error:
            raise NoSuchLab(
                f"there is no lab {self.name}; make one with: isthmus lab up FILE --name {self.name}"
            ) from error
        except (pickle.UnpicklingError, AttributeError, ImportError, TypeError, EOFError) as error:
            raise LabError(
                f"lab {self.name} was made by another version of isthmus; remove it with: "
                f"isthmus lab down --name {self.name}"
            ) from error
        if not isinstance(found, Objects):
            raise LabError(f"lab {self.name}: {file} holds something else")
        return found

    def note_namespace(self, name: str, inode: int) -> None:
        """Remember that a namespace was made."""
        with (self.folder / "made").open("a") as file:
            file.write(f"{name} {inode}\n")

    def made_namespaces(self) -> dict[str, int | None]:
        """The namespaces made, with their inode numbers; None for one that was being made when ``up`` was killed."""
        made: dict[str, int | None] = {}
        with suppress(FileNotFoundError):
            for line in (self.folder / "made").read_text().splitlines(keepends=True):
                name, _, inode = line.strip().partition(" ")
                if line.endswith("\n") and inode.isdecimal():
                    made[name] = int(inode)
        planned = (self.read_json("lab.json") or {}).get("namespaces", [])
        following = next((name for name in planned if name not in made), None)
        return made if following is None else {**made, following: None}

    def write_keeper(self) -> None:
        """Called by the keeper: this process is it."""
        self.write_json("keeper.json", Process.current()._asdict())

    def keeper(self) -> Process | None:
        """The keeper, running or not; None if none ever said it was."""
        found = self.read_json("keeper.json")
        return Process(**found) if found else None

    def _write(self, file: str, content: bytes) -> None:
        new = self.folder / f".{file}.new"
        new.write_bytes(content)
        new.rename(self.folder / file)


def labs() -> list[State]:
    """Every lab of this machine, by name."""
    names = sorted(path.name for path in ROOT.iterdir() if path.is_dir()) if ROOT.is_dir() else []
    return [State(name) for name in names if LAB_NAME.fullmatch(name)]


def meant(name: str | None) -> State:
    """The lab of a name; without one the lab ``isthmus``, or else the only one. NoSuchLab if there is none to mean."""
    if name is not None:
        state = State(name)
        if not state.exists():
            raise NoSuchLab(f"there is no lab {name}; make one with: isthmus lab up FILE --name {name}")
        return state
    there = {state.name: state for state in labs()}
    if DEFAULT in there:
        return there[DEFAULT]
    if len(there) > 1:
        raise NoSuchLab(f"several labs are up: --name says which; there are: {', '.join(there)}")
    if not there:
        raise NoSuchLab("no gateway runs here; make a lab with: isthmus lab up FILE")
    return next(iter(there.values()))


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
