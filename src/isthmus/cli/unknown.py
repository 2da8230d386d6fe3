"""A name that the objects do not have: is it a slip, or was its object left out for its errors?"""

import difflib
import re
from collections.abc import Iterable
from typing import NoReturn

from isthmus.cli.objects import Loaded
from isthmus.cli.output import NO, USAGE, die
from isthmus.problems import Severity


def unknown(kind: str, name: str, known: Iterable[str], loaded: Loaded) -> NoReturn:
    """End the program: 1 if the files do speak of the name, but what they say has errors; else 2, with the nearest."""
    names = sorted(known)
    spoken_of = any(re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", text) for text in loaded.sources.values())
    if spoken_of and loaded.of(Severity.ERROR):
        die(
            f"{kind} {name} is left out, because of the errors above",
            hint="isthmus check says how to mend them",
            status=NO,
        )
    nearest = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"there are: {', '.join(names) or 'none'}"
    die(f"no {kind} is named {name}", hint=hint, status=USAGE)
