"""Objects as they were found: the shape, or what is left of it, and the place to point at."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from isthmus.api.documents import Document
from isthmus.api.peering import Side
from isthmus.api.places import Path
from isthmus.problems import Problem, Severity

Body = TypeVar("Body", bound=BaseModel)
_STEP = re.compile(r"[^.\[\]]+|\[(\d+)\]")
_LONGEST_VALUE = 200


@dataclass(slots=True)
class Found(Generic[Body]):
    """One object. ``body`` is None if its shape is broken. ``base`` leads to it inside its document (a List's item).

    ``sides`` is for peerings: what stands under ``spec``, by VPC name; None for a side whose own shape is broken.
    ``doubled``: one VPC stands there twice, which has been told.
    """

    kind: str
    name: str
    file: str
    document: Document
    base: Path = ()
    body: Body | None = None
    sides: dict[str, Side | None] = field(default_factory=dict)
    doubled: bool = False

    @property
    def label(self) -> str:
        """``Peering/web``, as problems and table entries name it."""
        return f"{self.kind or '?'}/{self.name}" if self.name else self.kind

    @property
    def data(self) -> Any:
        """The plain data of the object."""
        data = self.document.data
        for step in self.base:
            data = data[step]
        return data

    def problem(
        self,
        severity: Severity,
        code: str,
        path: str | Path,
        message: str,
        hint: str = "",
        value: object = "",
        key: bool = False,
    ) -> Problem:
        """A problem of this object at a path inside it; with ``key``, the place is that of the key."""
        steps = split_path(path) if isinstance(path, str) else path
        place = self.document.outline.place((*self.base, *steps), key)
        where = path if isinstance(path, str) else format_path(path)
        shown = shown_value(value, steps)
        return Problem(severity, code, self.label, where, self.file, place.line, place.column, shown, message, hint)

    def at(self, path: str | Path = ()) -> str:
        """``FILE:LINE`` of a path in this object, for a message about another one."""
        steps = split_path(path) if isinstance(path, str) else path
        return f"{self.file}:{self.document.outline.place((*self.base, *steps)).line}"


def format_path(path: Path) -> str:
    """``("spec", "vpc-1", "as", 0)`` to ``spec.vpc-1.as[0]``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step[:100]}" for step in path).removeprefix(".")


def split_path(text: str) -> Path:
    """The reverse, for paths whose keys hold neither dots nor brackets."""
    return tuple(int(found[1]) if found[1] else found[0] for found in _STEP.finditer(text))


_SECRET = re.compile(r"pass(word|wd|phrase)?|secret|token|psk|credential|(^|[^a-z])key$", re.IGNORECASE)


def is_secret(key: str) -> bool:
    """True if the value under such a key is not to be shown: problems never print secrets."""
    return key != "passwordFile" and _SECRET.search(key) is not None


def shown_value(value: object, path: Path) -> str:
    """A value for people: cut where it is long, masked under a key that may hold a secret, empty for collections."""
    if any(isinstance(step, str) and is_secret(step) for step in path):
        return "***"
    if isinstance(value, dict | list) or value is None:
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…"
