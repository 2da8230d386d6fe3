"""The other end of ``service``: one request, one answer."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

PATIENCE_S: Final = 60.0
"""For the whole answer."""
MOST_ANSWER: Final = 1 << 26
"""Bytes of an answer."""

_READ: Final = 1 << 16


class NobodyAnswers(Exception):
    """Nobody listens there, or whoever does broke off; the text says which."""


class Refused(Exception):
    """The request is wrong: the text says why, ``hint`` what to write instead."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.hint = hint


def ask(where: Path, request: Mapping[str, object], patience_s: float = PATIENCE_S) -> dict[str, Any]:
    """The answer of who listens at a path. NobodyAnswers, Refused."""
    try:
        answer: dict[str, Any] = json.loads(_exchange(where, json.dumps(request).encode() + b"\n", patience_s))
    except OSError as error:
        raise NobodyAnswers(error.strerror or str(error)) from error
    except ValueError as error:
        raise NobodyAnswers("the answer broke off") from error
    if "error" in answer:
        raise Refused(answer["error"], answer.get("hint", ""))
    return answer


def _exchange(where: Path, request: bytes, patience_s: float) -> bytes:
    stop = time.monotonic() + patience_s
    answer = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(patience_s)
        connection.connect(str(where))
        connection.sendall(request)
        while said := connection.recv(_READ):
            answer += said
            if len(answer) > MOST_ANSWER:
                raise ConnectionError("the answer has no end")
            connection.settimeout(max(0.001, stop - time.monotonic()))
    return bytes(answer)
