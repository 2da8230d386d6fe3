"""The gateway that runs here, asked over its socket."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from isthmus.cli import output
from isthmus.lab.service import ask as service
from isthmus.lab.state import LabError, NoSuchLab, State, meant

NameOption = Annotated[
    str | None,
    typer.Option("--name", "-n", help="Which lab; if not given: the lab `isthmus`, or else the only one."),
]


def gateway(name: str | None) -> State:
    """The gateway that is asked. It is root's."""
    if os.geteuid() != 0:
        output.die("the gateway that runs answers root alone", hint="sudo isthmus …")
    try:
        return meant(name)
    except LabError as error:
        output.die(str(error), status=output.USAGE if isinstance(error, NoSuchLab) else output.NO)


def ask(which: State, request: Mapping[str, object]) -> dict[str, Any]:
    """Its answer; who gets none is told why."""
    try:
        return service.ask(which.socket, request)
    except service.Refused as error:
        output.die(str(error), hint=error.hint)
    except service.NobodyAnswers as error:
        output.die(
            f"the gateway of lab {which.name} does not answer: {error}",
            hint=f"isthmus lab list says whether it is up; isthmus lab down --name {which.name} removes it",
            status=output.NO,
        )
