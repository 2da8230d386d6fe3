"""Peerings on their way into the model: what was found, what it means so far, and what keeps it out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from isthmus.api.found import Found
from isthmus.api.peering import Peering
from isthmus.api.peering import Side as WrittenSide
from isthmus.model.exposures import NOTHING, Exposure
from isthmus.model.types import Side
from isthmus.problems import Problem, Severity
from isthmus.tables.address import Family


class DraftSide(NamedTuple):
    """One side: as written, resolved, and what it offers in each family. Its own errors keep the peering out."""

    written: WrittenSide
    side: Side
    exposed: dict[Family, Exposure]

    def in_family(self, family: Family) -> Exposure:
        """What it offers in a family; nothing if it does not speak it."""
        return self.exposed.get(family, NOTHING)


@dataclass(slots=True)
class Draft:
    """One peering. ``sides`` has both, in file order, only if each could be resolved. ``order`` is that of the file."""

    found: Found[Peering]
    order: int
    names: tuple[str, ...]
    sides: tuple[DraftSide, ...] = ()
    problems: list[Problem] = field(default_factory=list)
    broken: bool = False

    @property
    def name(self) -> str:
        """The peering's name."""
        return self.found.name

    def error(self, code: str, path: str, message: str, hint: str, value: object = "", key: bool = False) -> None:
        """Note what keeps this peering out."""
        self.broken = True
        self.problems.append(self.found.problem(Severity.ERROR, code, path, message, hint, value, key))

    def warn(self, code: str, path: str, message: str, hint: str, value: object = "", key: bool = False) -> None:
        """Note what its author should know."""
        self.problems.append(self.found.problem(Severity.WARNING, code, path, message, hint, value, key))

    def inform(self, code: str, path: str, message: str, hint: str, value: object = "") -> None:
        """Note what is right, and perhaps not what was meant."""
        self.problems.append(self.found.problem(Severity.INFO, code, path, message, hint, value))
