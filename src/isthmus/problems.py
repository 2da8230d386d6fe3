"""Problems: what is wrong with the objects, where, and what to write instead.

Found by ``api`` (shapes) and ``model`` (meaning), printed by the command line; imports nothing of ours.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Severity(Enum):
    """``error`` leaves the object out; ``warning`` and ``info`` do not."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Problem(NamedTuple):
    """One finding. ``object`` is ``Kind/name``; ``path`` is inside it; line and column count from 1, 0 if unknown."""

    severity: Severity
    code: str
    object: str
    path: str
    file: str
    line: int
    column: int
    value: str
    message: str
    hint: str
