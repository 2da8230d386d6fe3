"""YAML text to plain data: dicts with text keys, lists, and scalars.

Built from the events of PyYAML's C parser, so that hostile input is bounded where it appears: nesting, the number
of nodes, and what aliases multiply. Places (line and column) are found later, and only for documents that need them
(see ``places``). One document that cannot be read does not hide the others of its file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import yaml
from yaml import CSafeLoader
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)

from isthmus.api import scalars
from isthmus.api.places import Outline, Path, Place

DEEPEST = 64
MOST_NODES = 2_000_000  # in one file: about 35,000 peerings
MOST_ALIASED = 100_000  # nodes that aliases repeat, in one file
MOST_UNREADABLE = 100  # documents of one file that are reported one by one
MOST_DIRECTIVES = 100  # libyaml compares each with all before it
_MERGE = "<<"
_DOCUMENT = re.compile(r"^---(?=\s|$)", re.MULTILINE)


class Document(NamedTuple):
    """One YAML document. ``odd``: it holds duplicate keys, which ``data`` cannot show; the outline lists them.

    ``nulls``: a null stands somewhere in it.
    """

    data: Any
    outline: Outline
    odd: bool
    nulls: bool


class Unreadable(NamedTuple):
    """A stretch of text that is no acceptable YAML; line and column count from 1."""

    line: int
    column: int
    message: str
    hint: str


class _Refused(Exception):
    """A construct that is refused where it begins; line and column count from 0. Always caught in this module."""

    def __init__(self, event: Event | None, message: str, hint: str = "") -> None:
        super().__init__(message)
        mark = event.start_mark if event is not None else None
        self.line, self.column = (mark.line, mark.column) if mark is not None else (0, 0)
        self.message, self.hint = message, hint


def read_documents(text: str) -> tuple[list[Document], list[Unreadable]]:
    """All documents of one file, and what of it is unreadable. Never raises, in time linear in the text."""
    parts = list(_parts(text))
    try:
        return list(_Builder(text).documents()), []
    except (yaml.YAMLError, _Refused) as error:
        if len(parts) == 1:
            return [], [_located(error, 0, text)]
    documents: list[Document] = []
    unreadable: list[Unreadable] = []
    nodes = 0
    for line, part in parts:
        builder = _Builder(part, line, nodes)
        try:
            documents += builder.documents()
        except (yaml.YAMLError, _Refused) as error:
            unreadable.append(_located(error, line, part))
            if len(unreadable) == MOST_UNREADABLE:
                unreadable.append(Unreadable(line + 1, 1, "too many unreadable documents; the rest is not read", ""))
                break
        nodes = builder.nodes
        if nodes > MOST_NODES:
            break
    return documents, unreadable


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """The text cut before every ``---`` line, which no YAML construct can cross, each with its first line from 0."""
    starts = [0, *(found.start() for found in _DOCUMENT.finditer(text)), len(text)]
    line = 0
    for start, stop in pairwise(starts):
        if stop > start:
            yield line, text[start:stop]
        line += text.count("\n", start, stop)


def _located(error: yaml.YAMLError | _Refused, line: int, text: str) -> Unreadable:
    """Where and why: from the mark of a syntax error, or from the offset of a forbidden character."""
    if isinstance(error, _Refused):
        return Unreadable(line + error.line + 1, error.column + 1, error.message, error.hint)
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        said = " ".join(part for part in (error.context, error.problem) if part)
        if mark is not None:
            around = text[max(mark.index - 80, 0) : mark.index + 80]
            hint = 'write an IPv6 address in quotes: "::1"' if "::" in around else ""
            return Unreadable(line + mark.line + 1, mark.column + 1, said, hint)
    if isinstance(error, yaml.reader.ReaderError):
        position = _first_unprintable(text)
        before = text[:position]
        column = position - (before.rfind("\n") + 1)
        message = f"this is no text: it holds the character {text[position : position + 1]!a}"
        return Unreadable(line + before.count("\n") + 1, column + 1, message, "")
    return Unreadable(line + 1, 1, str(error), "")


_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|\ufeff")


def _first_unprintable(text: str) -> int:
    """The offset of the first character that YAML does not allow (YAML 1.2, section 5.1)."""
    found = _UNPRINTABLE.search(text)
    return found.start() if found else 0


class _Builder:
    """Turns the events of one text into data; holds what must be bounded over the whole text."""

    def __init__(self, text: str, line: int = 0, nodes: int = 0) -> None:
        self.text, self.line, self.nodes = text, line, nodes
        self.next: Any = CSafeLoader(text).get_event
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.aliased = self.depth = 0
        self.odd = self.nulls = False
        self.keys: dict[Path, Place] = {}
        self.path: tuple[str, ...] = ()

    def documents(self) -> Iterator[Document]:
        """Every document that is not empty."""
        if len(re.findall(r"^%", self.text, re.MULTILINE)) > MOST_DIRECTIVES:
            raise _Refused(None, "too many YAML directives")
        waiting: tuple[Any, int, int] | None = None
        while True:
            event = self.next()
            if type(event) is DocumentStartEvent or type(event) is StreamEndEvent:
                mark: Any = event.start_mark  # the C parser marks every event
                start = mark.index - mark.column
                if waiting is not None:
                    data, first, line = waiting
                    yield Document(data, Outline(self.text, first, start, line, self.keys), self.odd, self.nulls)
                if type(event) is StreamEndEvent:
                    return
                self.anchors.clear()
                self.odd = self.nulls = False
                self.keys, self.path = {}, ()
                data = self._node(self.next())
                waiting = (data, start, self.line + mark.line) if data is not None else None

    def _node(self, event: Any) -> Any:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise _Refused(event, f"more than {MOST_NODES:,} values in one file", "split it into several files")
        kind = type(event)
        if kind is ScalarEvent:
            value = self._scalar(event)
            if event.anchor is not None:
                self.anchors[event.anchor] = (value, 1)
            return value
        if kind is AliasEvent:
            return self._alias(event)
        return self._collection(event)

    def _scalar(self, event: Any) -> Any:
        if event.tag is not None:
            try:
                return scalars.tagged(event.tag, event.value)
            except ValueError as error:
                raise _Refused(event, str(error), "write the value without a tag") from error
        if not event.implicit[0]:
            return event.value
        value = scalars.plain(event.value)
        if value is None:
            self.nulls = True
        return value

    def _alias(self, event: NodeEvent) -> Any:
        if event.anchor not in self.anchors:
            raise _Refused(event, f"the alias *{event.anchor} names no anchor that stands before it")
        value, size = self.anchors[event.anchor]
        if size == 0:
            raise _Refused(event, f"the anchor &{event.anchor} contains itself")
        self.aliased += size
        if self.aliased > MOST_ALIASED:
            raise _Refused(event, f"aliases repeat more than {MOST_ALIASED:,} values", "write the values out")
        return value

    def _collection(self, event: CollectionStartEvent) -> Any:
        """A mapping or a sequence; the anchor's size counts what its own aliases repeat."""
        before = self.nodes + self.aliased
        if event.anchor is not None:
            self.anchors[event.anchor] = (None, 0)
        if self.depth >= DEEPEST:
            raise _Refused(event, f"nested more than {DEEPEST} levels deep")
        is_mapping = type(event) is MappingStartEvent
        if event.tag not in (None, "!", f"tag:yaml.org,2002:{'map' if is_mapping else 'seq'}"):
            raise _Refused(event, f"the tag {event.tag} is not accepted here", "write the value without a tag")
        self.depth += 1
        if is_mapping:
            value: Any = self._outer_mapping() if self.depth == len(self.path) + 1 < 3 else self._mapping()
        else:
            value = self._sequence()
        self.depth -= 1
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, self.nodes + self.aliased - before + 1)
        return value

    def _sequence(self) -> list[Any]:
        items = []
        following, node = self.next, self._node
        while type(event := following()) is not SequenceEndEvent:
            items.append(node(event))
        return items

    def _mapping(self) -> dict[str, Any]:
        pairs = {}
        following, node, key = self.next, self._node, self._key
        count = 0
        while type(event := following()) is not MappingEndEvent:
            pairs[key(event)] = node(following())
            count += 1
        if count != len(pairs):
            self.odd = True
        return self._merged(pairs) if _MERGE in pairs else pairs

    def _outer_mapping(self) -> dict[str, Any]:
        """The same for the two outer levels, whose keys' places are kept."""
        pairs = {}
        path = self.path
        count = 0
        while type(event := self.next()) is not MappingEndEvent:
            key = self._key(event)
            self.path = (*path, key)
            mark = event.start_mark
            self.keys[self.path] = Place(self.line + mark.line + 1, mark.column + 1)
            pairs[key] = self._node(self.next())
            count += 1
        self.path = path
        if count != len(pairs):
            self.odd = True
        return self._merged(pairs) if _MERGE in pairs else pairs

    def _key(self, event: Any) -> str:
        """Keys are the text that stands there, so ``no:`` and ``100:`` are the names "no" and "100"."""
        self.nodes += 1
        if type(event) is ScalarEvent:
            key: str = event.value
            if event.anchor is not None:
                self.anchors[event.anchor] = (key, 1)
            return key
        if type(event) is AliasEvent:
            key = self._alias(event)
        else:
            raise _Refused(event, "a key must be plain text, not a list or a mapping")
        if not isinstance(key, str):
            raise _Refused(event, "a key must be plain text")
        return key

    def _merged(self, pairs: dict[str, Any]) -> dict[str, Any]:
        """YAML's merge key: ``<<`` takes what the named mappings hold and this one does not."""
        bases = pairs[_MERGE] if isinstance(pairs[_MERGE], list) else [pairs[_MERGE]]
        if not all(isinstance(base, dict) for base in bases):
            return pairs
        own = {key: value for key, value in pairs.items() if key != _MERGE}
        for base in bases:
            for key, value in base.items():
                own.setdefault(key, value)
        return own
