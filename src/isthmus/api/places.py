"""Where in its file a part of a document stands. Found by reading the document once more, when first asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from yaml import MappingNode, Node, ScalarNode, SequenceNode
from yaml.cyaml import CParser  # type: ignore[attr-defined] # the types do not export it

Path = tuple[str | int, ...]


class Place(NamedTuple):
    """Line and column, both from 1."""

    line: int
    column: int


Children = dict[str | int, tuple[Node | None, Node]]
"""By key or index: the key's node (None in a list) and the value's."""


class Duplicate(NamedTuple):
    """A key that its mapping (at ``path``) holds twice, and both places."""

    path: Path
    key: str
    first: Place
    second: Place


class Outline:
    """One document's text and, once asked, its tree of YAML nodes with their marks."""

    __slots__ = ("_children", "_keys", "_line", "_root", "_start", "_stop", "_text")

    def __init__(self, text: str, start: int, stop: int, line: int, keys: Mapping[Path, Place]) -> None:
        """The document is ``text[start:stop]``; its first line is ``line`` (from 0) of the file.

        ``keys`` are places that are known already: of the two outer levels, so that a warning for each of thousands
        of documents need not read all of them again.
        """
        self._text, self._start, self._stop, self._line, self._keys = text, start, stop, line, keys
        self._root: Node | None = None
        self._children: dict[int, Children] = {}

    @property
    def span(self) -> tuple[int, int]:
        """The offsets in its file at which the document begins and ends."""
        return self._start, self._stop

    def place(self, path: Path, key: bool = False) -> Place:
        """Where the value at ``path`` stands (with ``key``: the key), or the nearest part above that exists."""
        if key and path in self._keys:
            return self._keys[path]
        node = self._tree()
        mark = node.start_mark
        for step in path:
            found = self._child(node, step)
            if found is None:
                break
            key_node, node = found
            mark = key_node.start_mark if key and key_node is not None else node.start_mark
        return Place(self._line + mark.line + 1, mark.column + 1)

    def exists(self, path: Path) -> int:
        """How many leading steps of the path lead to something that stands there."""
        node = self._tree()
        for count, step in enumerate(path):
            found = self._child(node, step)
            if found is None:
                return count
            node = found[1]
        return len(path)

    def duplicates(self) -> Iterator[Duplicate]:
        """Every key that stands twice in one mapping, in the order of the second places."""
        todo: list[tuple[Path, Node]] = [((), self._tree())]
        visited: set[int] = set()
        while todo:
            path, node = todo.pop()
            if id(node) in visited:
                continue
            visited.add(id(node))
            if isinstance(node, SequenceNode):
                todo += [((*path, index), child) for index, child in enumerate(node.value)]
            elif isinstance(node, MappingNode):
                yield from self._in_mapping(path, node)
                todo += [((*path, str(key.value)), value) for key, value in node.value]

    def _in_mapping(self, path: Path, node: MappingNode) -> Iterator[Duplicate]:
        seen: dict[str, Node] = {}
        for key, _ in node.value:
            first = seen.setdefault(key.value, key)
            if first is not key:
                yield Duplicate(path, key.value, self._at(first), self._at(key))

    def _at(self, node: Node) -> Place:
        return Place(self._line + node.start_mark.line + 1, node.start_mark.column + 1)

    def _child(self, node: Node, step: str | int) -> tuple[Node | None, Node] | None:
        children = self._children.get(id(node))
        if children is None:
            children = self._children[id(node)] = _children(node)
        return children.get(step)

    def _tree(self) -> Node:
        if self._root is None:
            self._root = _Composer(self._text[self._start : self._stop]).get_single_node()
            assert self._root is not None, "only documents with content are kept"
        return self._root


class _Composer(CParser):
    """Nodes with marks and without tags: finding the tag of every scalar is most of the time, and nobody asks."""

    def resolve(self, kind: type[Node], value: object, implicit: object) -> str:
        return ""

    def descend_resolver(self, parent: Node | None, index: object) -> None:
        pass

    def ascend_resolver(self) -> None:
        pass


def _children(node: Node) -> Children:
    """What stands in a mapping, merge keys (``<<``) followed, or in a list."""
    found: Children = {}
    if isinstance(node, SequenceNode):
        found |= {index: (None, child) for index, child in enumerate(node.value)}
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == "<<":
                for base in reversed(value.value if isinstance(value, SequenceNode) else [value]):
                    found |= _children(base) if isinstance(base, MappingNode) else {}
        found |= {key.value: (key, value) for key, value in node.value if isinstance(key, ScalarNode)}
    return found
