"""Who answers which kind of request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Kind = Callable[[Mapping[str, Any]], Iterator[bytes] | None]
"""From a request of its kind to its answer's JSON in pieces, some of them empty: between any two the process may do
other things. None: the request is malformed. WrongQuestion, also while pieces are made."""


class WrongQuestion(ValueError):
    """A question that has no answer: the text says why, ``hint`` what to write instead."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.hint = hint


class Questions:
    """All that can be asked."""

    def __init__(self, *kinds: Mapping[str, Kind]) -> None:
        """By the word in ``ask``."""
        self._kinds = {name: kind for some in kinds for name, kind in some.items()}

    def add(self, kinds: Mapping[str, Kind]) -> None:
        """More that can be asked."""
        self._kinds.update(kinds)

    def answer(self, request: object) -> Iterator[bytes]:
        """The answer in pieces. What is wrong with a request is an answer too."""
        try:
            kind = self._kinds.get(str(request.get("ask"))) if isinstance(request, dict) else None
            pieces = kind(request) if kind is not None and isinstance(request, dict) else None
            if pieces is None:
                raise WrongQuestion("not a request", "the other end is of another version")
            yield from pieces
        except WrongQuestion as error:
            yield json.dumps({"error": str(error), "hint": error.hint}).encode()
