"""From documents to objects of the right shape, and everything that is wrong with the shapes of the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from pydantic import BaseModel, ValidationError

from isthmus.api.documents import Document, read_documents
from isthmus.api.fields import kind_of
from isthmus.api.found import Found, format_path
from isthmus.api.gateway import Gateway
from isthmus.api.names import API_VERSION, GROUP, nearest
from isthmus.api.parts import not_carried
from isthmus.api.peering import Peering, Side
from isthmus.api.places import Path
from isthmus.api.shapes import null_problems, shape_problems
from isthmus.api.sources import LARGEST, Source
from isthmus.api.vpc import Vpc
from isthmus.problems import Problem, Severity

MOST_PROBLEMS = 100  # of one sort in one object; who mends these sees the next
KINDS: dict[str, type[BaseModel]] = {"Peering": Peering, "VPC": Vpc, "Gateway": Gateway}


@dataclass(slots=True)
class Objects:
    """All objects of our own kinds, the broken ones too, in file order; and the problems of their shapes."""

    peerings: list[Found[Peering]] = field(default_factory=list)
    vpcs: list[Found[Vpc]] = field(default_factory=list)
    gateways: list[Found[Gateway]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    foreign: int = 0


def read_objects(sources: Iterable[Source]) -> tuple[Objects, dict[str, str]]:
    """All objects of all files, and the files' texts. Bad input of any kind becomes problems."""
    objects = Objects()
    texts: dict[str, str] = {}
    empty: list[Source] = []
    total = 0
    for source in sources:
        text, problem = _decode(source)
        texts[source.path] = text
        documents, unreadable = ([], []) if problem else read_documents(text)
        objects.problems += [problem] if problem else []
        objects.problems += [
            _unreadable(source.path, one.line, one.column, one.message, one.hint) for one in unreadable
        ]
        if not (documents or unreadable or problem):
            empty.append(source)
        total += len(documents) + len(unreadable) + bool(problem)
        for document in documents:
            _sort_in(objects, source.path, document, document.data, ())
    for source in empty:
        if source.named or not total:
            objects.problems.append(_unreadable(source.path, 1, 1, "no object in this file", "write a Peering into it"))
    return objects, texts


def _unreadable(path: str, line: int, column: int, message: str, hint: str) -> Problem:
    return Problem(Severity.ERROR, "yaml-invalid", "", "", path, line, column, "", message, hint)


def _decode(source: Source) -> tuple[str, Problem | None]:
    """The text of a file, or why it is none."""
    if source.data is None:
        message, hint = f"this file is larger than {LARGEST >> 20} MiB", "split it into several files"
        return "", _unreadable(source.path, 1, 1, message, hint)
    try:
        return source.data.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        before = source.data[: error.start].decode("utf-8", "replace")
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        message = f"this is no UTF-8 text: {error.reason} {source.data[error.start]:#04x}"
        return "", _unreadable(source.path, line, column, message, "save it as UTF-8")


def _sort_in(objects: Objects, file: str, document: Document, data: Any, base: Path) -> None:
    """Put what stands at ``base`` of a document where it belongs; a List's items each for themselves."""
    if not isinstance(data, dict):
        stranger: Found[Any] = Found("", "", file, document, base)
        message = f"an object is a mapping with apiVersion, kind, metadata and spec; found {kind_of(data)}"
        objects.problems.append(stranger.problem(Severity.ERROR, "field-type", (), message, value=data))
        return
    kind, version = data.get("kind"), data.get("apiVersion")
    if _is_list(kind, version):
        items = data.get("items")
        for index, item in enumerate(items if isinstance(items, list) else ()):
            _sort_in(objects, file, document, item, (*base, "items", index))
        if not isinstance(items, list):
            holder: Found[Any] = Found(str(kind), "", file, document, base)
            message = f"expected a list, found {kind_of(items)}"
            objects.problems.append(
                holder.problem(Severity.ERROR, "field-type", ("items",), message, "write `items: []`")
            )
        return
    found: Found[Any] = Found(kind if isinstance(kind, str) else "", _name_of(data), file, document, base)
    refused = _head_problems(found, kind, version)
    if refused:
        objects.problems += refused
        objects.foreign += refused[0].code == "kind-foreign"
        return
    _judge(objects, found, data)


def _is_list(kind: object, version: object) -> bool:
    return (kind == "List" and version == "v1") or (isinstance(kind, str) and kind in _LISTS and version == API_VERSION)


_LISTS = frozenset(f"{kind}List" for kind in (*KINDS, ""))


def _name_of(data: dict[str, Any]) -> str:
    metadata = data.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return "" if name is None or isinstance(name, dict | list) else str(name)[:100]


def _head_problems(found: Found[Any], kind: object, version: object) -> list[Problem]:
    """What keeps apiVersion and kind from saying what the object is; all of it at once."""
    problems = []
    for key, value, example in (("apiVersion", version, API_VERSION), ("kind", kind, "Peering")):
        if value is None:
            problems.append(
                found.problem(
                    Severity.ERROR, "field-missing", (key,), f"`{key}` is missing", f"write `{key}: {example}`"
                )
            )
        elif not isinstance(value, str):
            message = f"expected text, found {kind_of(value)}"
            problems.append(found.problem(Severity.ERROR, "field-type", (key,), message, f"write {example}", value))
    if not isinstance(version, str):
        return problems
    group, _, _ = version.partition("/")
    if group != GROUP:
        message, hint = (
            f"an object of {version} is passed over",
            f"objects of this gateway have apiVersion: {API_VERSION}",
        )
        return [found.problem(Severity.WARNING, "kind-foreign", ("apiVersion",), message, hint, version)]
    if version != API_VERSION:
        message, hint = f"this version of isthmus does not know {version}", f"write {API_VERSION}"
        problems.append(found.problem(Severity.ERROR, "field-value", ("apiVersion",), message, hint, version))
    if isinstance(kind, str) and kind not in KINDS:
        meant = nearest(kind, KINDS)
        hint = f"did you mean {meant}?" if meant else f"the kinds are {', '.join(KINDS)}"
        problems.append(
            found.problem(Severity.ERROR, "kind-unknown", ("kind",), f"unknown kind {kind[:80]}", hint, kind)
        )
    return problems


def _judge(objects: Objects, found: Found[Any], data: dict[str, Any]) -> None:
    """Validate one object of a known kind, and file it under its kind, whole or broken."""
    model = KINDS[found.kind]
    problems = list(islice(_duplicate_keys(found), MOST_PROBLEMS)) if found.document.odd else []
    if found.document.nulls:
        problems += islice(null_problems(found, data.get("spec")), MOST_PROBLEMS)
    try:
        body = model.__pydantic_validator__.validate_python(data)
    except ValidationError as error:
        nulls = {problem.path for problem in problems}
        wrong = (problem for problem in shape_problems(found, model, error) if problem.path not in nulls)
        problems += islice(wrong, MOST_PROBLEMS)
        body = None
    if body is not None:
        problems += _later_problems(found, body)
    if not any(problem.severity is Severity.ERROR for problem in problems):
        found.body = body
    objects.problems += problems
    if isinstance(body, Peering):
        found.sides = dict(body.spec) if found.body else dict.fromkeys(body.spec)
    elif found.kind == "Peering":
        found.sides = _right_sides(data.get("spec"))
    filed: dict[str, list[Any]] = {"Peering": objects.peerings, "VPC": objects.vpcs, "Gateway": objects.gateways}
    filed[found.kind].append(found)


def _right_sides(spec: object) -> dict[str, Side | None]:
    """The sides of a broken peering, so that what is right in shape is judged for its meaning at once."""
    if not isinstance(spec, dict):
        return {}
    sides: dict[str, Side | None] = dict.fromkeys(spec)
    for name, data in spec.items() if len(spec) <= MOST_PROBLEMS else ():
        try:
            sides[name] = Side.model_validate(data)
        except ValidationError:
            sides[name] = None
    return sides


def _later_problems(found: Found[Any], body: BaseModel) -> Iterator[Problem]:
    for path in not_carried(body):
        message = f"this version does not carry `{path[-1]}` yet: what needs it is left out"
        hint = "leave it away until a version of isthmus carries it"
        yield found.problem(Severity.WARNING, "field-unsupported", path, message, hint, str(path[-1]), key=True)


def _duplicate_keys(found: Found[Any]) -> Iterator[Problem]:
    """Keys that stand twice; under a peering's ``spec`` they are VPCs, and then its two sides are the same one."""
    depth = len(found.base)
    for double in found.document.outline.duplicates():
        if double.path[:depth] != found.base:
            continue
        path = (*double.path[depth:], double.key)
        is_side = found.kind == "Peering" and path[:-1] == ("spec",)
        code = "peering-sides" if is_side else "yaml-invalid"
        found.doubled = found.doubled or is_side
        said = f"the VPC {double.key} twice" if is_side else f"the key `{double.key}` twice in one mapping"
        hint = "name two different VPCs" if is_side else "keep one of the two"
        message = f"{said}: here and in line {double.first.line}"
        where = format_path(path)
        yield Problem(
            Severity.ERROR,
            code,
            found.label,
            where,
            found.file,
            double.second.line,
            double.second.column,
            double.key,
            message,
            hint,
        )
