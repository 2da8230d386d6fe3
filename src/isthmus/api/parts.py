"""What a model is made of, by the names that stand in YAML: which fields are known where, and which come later."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from pydantic import BaseModel

from isthmus.api.places import Path


class Part(NamedTuple):
    """One field. ``inner``: the model of its value, or of the values in its list or mapping, if there is one."""

    name: str
    inner: type[BaseModel] | None
    carried: bool


@cache
def parts(model: type[BaseModel]) -> dict[str, Part]:
    """The fields of a model by the names they have in YAML."""
    found = {}
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra
        carried = not (isinstance(extra, dict) and extra.get("x-carried") is False)
        found[field.alias or name] = Part(name, _model_in(field.annotation), carried)
    return found


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The first model inside an annotation: ``list[Rule] | None`` gives Rule."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in typing.get_args(annotation):
        if (found := _model_in(inner)) is not None:
            return found
    return None


def model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model of the mapping at a path below an object; None where there is none."""
    current: type[BaseModel] | None = model
    inside = False  # a mapping or list whose values are of ``current``
    for step in path:
        if current is None:
            return None
        known = parts(current)
        if isinstance(step, str) and not inside and step in known:
            inside = _is_container(current, known[step].name)
            current = known[step].inner
        else:
            inside = False
    return current


def _is_container(model: type[BaseModel], name: str) -> bool:
    def holds(annotation: Any) -> bool:
        if typing.get_origin(annotation) in (list, dict):
            return True
        return any(holds(inner) for inner in typing.get_args(annotation))

    return holds(model.model_fields[name].annotation)


@cache
def _later_parts(model: type[BaseModel]) -> tuple[tuple[str, Part], ...]:
    """The fields that are not carried yet, and those in which there may be such."""
    return tuple(
        (key, part)
        for key, part in parts(model).items()
        if not part.carried or (part.inner is not None and _later_parts(part.inner))
    )


def not_carried(value: BaseModel, path: Path = ()) -> Iterator[Path]:
    """The paths of all fields that were written and that this version only knows."""
    written = value.model_fields_set
    for key, part in _later_parts(type(value)):
        if part.name not in written:
            continue
        if not part.carried:
            yield (*path, key)
        else:
            yield from _inside(getattr(value, part.name), (*path, key))


def _inside(value: Any, path: Path) -> Iterator[Path]:
    if isinstance(value, BaseModel):
        yield from not_carried(value, path)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _inside(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _inside(inner, (*path, index))
