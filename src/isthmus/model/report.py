"""What is wrong with one object, noted while it is resolved."""

from __future__ import annotations

from typing import Any, NamedTuple

from isthmus.api.found import Found
from isthmus.problems import Problem, Severity
from isthmus.tables.address import Prefix


class Report(NamedTuple):
    """One object and its errors so far; with one it is left out."""

    found: Found[Any]
    problems: list[Problem]

    def error(self, code: str, path: str, message: str, hint: str, value: object = "", key: bool = False) -> None:
        """Note what keeps the object out."""
        self.problems.append(self.found.problem(Severity.ERROR, code, path, message, hint, value, key))

    def martian(self, path: str, prefix: Prefix) -> None:
        """Addresses that no packet may carry across the gateway."""
        message = f"{prefix} lies wholly in address space that never crosses the gateway"
        self.error("cidr-martian", path, message, "write addresses that hosts can use", prefix)
