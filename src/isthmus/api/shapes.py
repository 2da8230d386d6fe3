"""From pydantic's errors to problems: a code, a place, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from isthmus.api.fields import kind_of
from isthmus.api.found import Found, format_path
from isthmus.api.names import nearest
from isthmus.api.parts import model_at, parts
from isthmus.api.places import Path
from isthmus.problems import Problem, Severity

_KEY = "[key]"  # pydantic's mark of an error about the key of a mapping
_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def shape_problems(found: Found[Any], model: type[BaseModel], error: ValidationError) -> Iterator[Problem]:
    """One problem for each place of a validation error; of the alternatives of a union the first speaks."""
    seen: set[str] = set()
    for one in error.errors(include_url=False):
        problem = _problem(found, model, one["type"], one["loc"], one["input"], one["msg"], one.get("ctx", {}))
        if problem.path not in seen:
            seen.add(problem.path)
            yield problem


def _problem(
    found: Found[Any], model: type[BaseModel], kind: str, loc: Path, value: Any, said: str, context: dict[str, Any]
) -> Problem:
    is_key = loc[-1:] == (_KEY,)
    if is_key:
        loc, value = loc[:-1], loc[-2]
    stands = found.document.outline.exists((*found.base, *loc)) - len(found.base)
    if kind == "missing":
        hint = f"write `{loc[-1]}:` here"
        return found.problem(Severity.ERROR, "field-missing", loc, f"`{loc[-1]}` is missing", hint)
    if kind == "extra_forbidden":
        return _unknown(found, model, loc)
    path = loc[:stands]
    if kind in _EXPECTED:
        message = f"expected {_EXPECTED[kind]}, found {kind_of(value)}"
        return found.problem(Severity.ERROR, "field-type", path, message, _type_hint(kind, value), value)
    if "hint" in context:
        return found.problem(Severity.ERROR, kind, path, said, str(context["hint"]), value, is_key)
    return found.problem(Severity.ERROR, "field-value", path, _plainly(said), _value_hint(kind, value, context), value)


def _unknown(found: Found[Any], model: type[BaseModel], loc: Path) -> Problem:
    """An unknown field, with the nearest of those that are known at its place."""
    name = str(loc[-1])
    here = model_at(model, loc[:-1])
    known = list(parts(here)) if here is not None else []
    meant = nearest(name, known)
    hint = f"did you mean `{meant}`?" if meant else f"known here: {', '.join(known)}"
    message = f"unknown field `{name[:100]}`"
    return found.problem(Severity.ERROR, "field-unknown", loc, message, hint, name, key=True)


def _plainly(said: str) -> str:
    """Pydantic's message, begun as ours are."""
    return said.replace("Input should be", "this must be").replace("Input should", "this should")


def _type_hint(kind: str, value: Any) -> str:
    if value is None:
        return "write the value, or leave the key away"
    if kind == "string_type":
        return f'write it in quotes: "{str(value).lower() if isinstance(value, bool) else value}"'
    if kind in ("int_type", "int_from_float"):
        return f"write it without quotes: {value}" if isinstance(value, str) and value.isdecimal() else "write a number"
    if kind == "bool_type":
        return "write true or false"
    if kind == "list_type":
        return f"write a list: [{value}]" if isinstance(value, str | int) else "begin each item with `- `"
    return "write `key: value` lines below it, or {} for none"


def _value_hint(kind: str, value: Any, context: dict[str, Any]) -> str:
    if kind == "literal_error":
        meant = (
            nearest(value, str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", "))
            if isinstance(value, str)
            else None
        )
        return f"did you mean {meant}?" if meant else f"write {context['expected']}"
    limits = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    return " ".join(f"write {limits[name]} {limit}" for name, limit in context.items() if name in limits)


def null_problems(found: Found[Any], data: Any, path: Path = ("spec",)) -> Iterator[Problem]:
    """Every key below ``spec`` that stands without a value: nothing says whether that means none or any."""
    items: Iterator[tuple[str | int, Any]] = iter(())
    if isinstance(data, dict):
        items = iter(data.items())
    elif isinstance(data, list):
        items = iter(enumerate(data))
    for step, value in items:
        here = (*path, step)
        if value is None:
            message = f"`{format_path(here[-1:])}` stands without a value"
            yield found.problem(Severity.ERROR, "field-type", here, message, _null_hint(step), key=True)
        else:
            yield from null_problems(found, value, here)


def _null_hint(step: str | int) -> str:
    if step == "ingress":
        return "write `ingress: []` if nothing may start from here, or leave the key away if everything may pass"
    if step in ("allow", "tcp", "udp", "icmp"):
        return f"write `{step}: {{}}` for all of it"
    return "write its value, or leave it away"
