"""Moving ``as`` from one side of a peering to the other in the YAML itself, with comments and order kept.

Only the documents that change are written anew (by ruamel.yaml); every other byte of the file stays. What was
written is read again and compared with what was meant, so that anchors, merge keys or odd layouts end in
``NotRewritable`` and never in a different configuration.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from io import StringIO
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from isthmus.api.documents import read_documents
from isthmus.api.places import Outline, Path

_HEAD = re.compile(r"\A(?:%[^\n]*\n)*---[ \t]*(?:#[^\n]*)?\n")
_TAIL = re.compile(r"(?:^[ \t]*(?:#[^\n]*)?\n)*(?:^\.\.\.(?=\s|\Z)[\s\S]*)?\Z", re.MULTILINE)


class NotRewritable(Exception):
    """The YAML cannot be changed without a risk; the text says why."""


class Edit(NamedTuple):
    """Move ``as`` of the peering at ``base`` of a document from VPC ``source`` to ``target``, made stateful."""

    outline: Outline
    base: Path
    source: str
    target: str


def move_as(text: str, edits: Iterable[Edit]) -> str:
    """The text with all edits done. Raises NotRewritable, and then nothing is to be written."""
    by_document: defaultdict[tuple[int, int], list[Edit]] = defaultdict(list)
    for edit in edits:
        by_document[edit.outline.span].append(edit)
    for (start, stop), some in sorted(by_document.items(), reverse=True):
        text = text[:start] + _rewritten(text[start:stop], some) + text[stop:]
    return text


def _rewritten(text: str, edits: list[Edit]) -> str:
    """One document with its edits done; comments before and after it are not touched."""
    if "\r\n" in text:
        return _rewritten(text.replace("\r\n", "\n"), edits).replace("\n", "\r\n")
    head = found.group() if (found := _HEAD.match(text)) else ""
    tail_at = found.start() if (found := _TAIL.search(text, len(head))) else len(text)
    body = text[len(head) : tail_at]
    yaml = _yaml_like(body)
    yaml.explicit_start = body.startswith("---")
    try:
        data = yaml.load(body)
        for edit in edits:
            _edit_tree(data, edit)
        out = StringIO()
        yaml.dump(data, out)
    except (YAMLError, KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise NotRewritable(f"ruamel.yaml cannot change it: {error}") from error
    written = out.getvalue()
    if not body.endswith("\n"):
        written = written.removesuffix("\n")
    result = head + written + text[tail_at:]
    _verify(text, result, edits)
    return result


def _edit_tree(data: Any, edit: Edit) -> None:
    """Move the key with its comments, and say ``natType: stateful`` behind it."""
    for step in (*edit.base, "spec"):
        data = data[step]
    source, target = data[edit.source], data[edit.target]
    if not isinstance(source, CommentedMap) or not isinstance(target, CommentedMap) or "as" not in dict.keys(source):
        raise NotRewritable("`as` comes from an anchor elsewhere")
    _move(source, target, "as", source["as"], list(target).index("ips") + 1)
    _move(source, target, "natType", "stateful", list(target).index("as") + 1)


def _move(source: CommentedMap, target: CommentedMap, key: str, value: Any, position: int) -> None:
    source.pop(key, None)
    target.insert(position, key, value)
    if key in source.ca.items:
        target.ca.items[key] = source.ca.items.pop(key)


def _yaml_like(text: str) -> YAML:
    """A writer whose lists are indented as those of the text."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1 << 16
    yaml.brace_single_entry_mapping_in_flow_sequence = True
    indented = re.search(
        r"^( *)[^\s#-][^\n]*:[ \t]*(?:#[^\n]*)?\r?\n(?:\s*(?:#[^\n]*)?\n)*( *)-(?= )", text, re.MULTILINE
    )
    offset = max(len(indented[2]) - len(indented[1]), 0) if indented else 2
    nested = re.search(r"^( *)[^\s#-][^\n]*:[ \t]*(?:#[^\n]*)?\r?\n( *)[^\s#-]", text, re.MULTILINE)
    mapping = max(len(nested[2]) - len(nested[1]), 1) if nested else 2
    yaml.indent(mapping=mapping, sequence=offset + 2, offset=offset)
    return yaml


def _verify(before: str, after: str, edits: list[Edit]) -> None:
    """What was written means what was meant, and has every comment."""
    (old,), problems_before = read_documents(before)
    documents, problems = read_documents(after)
    meant = json.loads(json.dumps(old.data))  # a copy in which aliases share nothing
    for edit in edits:
        spec = meant
        for step in (*edit.base, "spec"):
            spec = spec[step]
        spec[edit.source].pop("natType", None)
        spec[edit.target] |= {"as": spec[edit.source].pop("as"), "natType": "stateful"}
    if problems or problems_before or [json.loads(json.dumps(one.data)) for one in documents] != [meant]:
        raise NotRewritable("an anchor or an alias would change another place too")
    if _comments(before) != _comments(after):
        raise NotRewritable("a comment would be lost")


def _comments(text: str) -> list[str]:
    """All comments, in any order: they may move with what they stand at."""
    return sorted(found.strip() for found in re.findall(r"(?:^|(?<=\s))#[^\r\n]*", text))
