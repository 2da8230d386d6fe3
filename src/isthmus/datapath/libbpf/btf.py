"""The type information (BTF) inside a BPF object: where the fields of a C struct lie, where a global variable lies.

Only what a loader needs is read: structs, unions, arrays, modifiers, variables and sections.
Source: kernel, Documentation/bpf/btf.rst.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_HEADER: Final = struct.Struct("=HBBIIIII")  # magic, version, flags, header length, type offset/length, string ...
_TYPE: Final = struct.Struct("=III")  # name offset, info, size or type
_TRIPLE: Final = struct.Struct("=III")  # a member, an array, or a variable in a section
_MAGIC: Final = 0xEB9F

_INT, _PTR, _ARRAY, _STRUCT, _UNION, _ENUM = 1, 2, 3, 4, 5, 6
_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _FUNC_PROTO, _VAR, _DATASEC = 8, 9, 10, 11, 13, 14, 15
_FLOAT, _DECL_TAG, _TYPE_TAG, _ENUM64 = 16, 17, 18, 19
_STATIC: Final = 0  # linkage of a variable
_MODIFIERS: Final = frozenset({_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _VAR, _TYPE_TAG})

# bytes after the common header, of a type with ``n`` members: (fixed, for each member)
_EXTRA: Final = MappingProxyType(
    {
        _INT: (4, 0),
        _ARRAY: (12, 0),
        _STRUCT: (0, 12),
        _UNION: (0, 12),
        _ENUM: (0, 8),
        _FUNC_PROTO: (0, 8),
        _VAR: (4, 0),
        _DATASEC: (0, 12),
        _DECL_TAG: (4, 0),
        _ENUM64: (0, 12),
    }
)


@dataclass(frozen=True, slots=True)
class _Type:
    name: str
    kind: int
    sized: int  # size in bytes, or the id of the type that this one modifies
    bit_fields: bool
    triples: tuple[tuple[int, int, int], ...]


class Btf:
    """The types of one object.

    Raises ``ValueError`` where the bytes are no BTF of this machine's byte order."""

    def __init__(self, raw: bytes) -> None:
        magic, _version, _flags, header, type_offset, type_size, string_offset, string_size = _HEADER.unpack_from(raw)
        if magic != _MAGIC:
            raise ValueError(f"no BTF of this byte order: it begins with {magic:#06x}, not {_MAGIC:#06x}")
        self._strings = raw[header + string_offset : header + string_offset + string_size]
        self._types = [_Type("void", 0, 0, False, ()), *self._parse(raw[header + type_offset :][:type_size])]

    def _parse(self, raw: bytes) -> Iterator[_Type]:
        position = 0
        while position < len(raw):
            name, info, sized = _TYPE.unpack_from(raw, position)
            kind, members = info >> 24 & 0x1F, info & 0xFFFF
            fixed, each = _EXTRA.get(kind, (0, 0))
            end = position + _TYPE.size + fixed + each * members
            triples: tuple[tuple[int, int, int], ...] = ()
            if kind in {_ARRAY, _STRUCT, _UNION, _DATASEC}:
                triples = tuple(_TRIPLE.iter_unpack(raw[position + _TYPE.size : end]))
            elif kind == _VAR:
                triples = ((int.from_bytes(raw[end - 4 : end], sys.byteorder), 0, 0),)  # its linkage
            yield _Type(self._string(name), kind, sized, bool(info >> 31), triples)
            position = end

    def _string(self, offset: int) -> str:
        return self._strings[offset : self._strings.index(b"\0", offset)].decode()

    def _size(self, index: int) -> int:
        """Size of a type in bytes; of a pointer, that of a BPF program (8)."""
        kind = self._types[index]
        if kind.kind in _MODIFIERS:
            return self._size(kind.sized)
        if kind.kind == _ARRAY:
            ((element, _index_type, count),) = kind.triples
            return self._size(element) * count
        return 8 if kind.kind == _PTR else kind.sized

    def _resolve(self, index: int) -> _Type:
        kind = self._types[index]
        return self._resolve(kind.sized) if kind.kind in _MODIFIERS else kind

    def _named(self, name: str) -> _Type:
        for kind in self._types:
            if kind.kind in {_STRUCT, _UNION} and kind.name == name:
                return kind
            if kind.kind == _TYPEDEF and kind.name == name:
                target = self._resolve(kind.sized)
                if target.kind in {_STRUCT, _UNION}:
                    return target
        known = ", ".join(sorted({kind.name for kind in self._types if kind.kind == _STRUCT and kind.name}))
        raise KeyError(f"the object knows no struct {name}; it knows {known or 'none'}")

    def struct_size(self, name: str) -> int:
        """Size of a struct or union in bytes, padding included. Raises ``KeyError`` where there is none of that
        name."""
        return self._named(name).sized

    def struct_layout(self, name: str) -> dict[str, tuple[int, int]]:
        """Fields of a struct: name to (offset, size), both in bytes, in the order of the C source.

        The fields of an anonymous struct or union inside count as the struct's own. Raises ``KeyError`` where there is
        no such struct, ``ValueError`` for a bit field, which has no byte offset."""
        return dict(self._fields(self._named(name), 0))

    def _fields(self, kind: _Type, base: int) -> Iterator[tuple[str, tuple[int, int]]]:
        for name_offset, member, position in kind.triples:
            bits, width = (position & 0xFFFFFF, position >> 24) if kind.bit_fields else (position, 0)
            name = self._string(name_offset)
            if width or bits % 8:
                raise ValueError(f"{kind.name}.{name} is a bit field")
            target = self._resolve(member)
            if not name and target.kind in {_STRUCT, _UNION}:
                yield from self._fields(target, base + bits // 8)
            else:
                yield name, (base + bits // 8, self._size(member))

    def variables(self, section: str) -> Mapping[str, tuple[int, int]]:
        """Global variables of a section such as ``.rodata``: name to (offset, size) in bytes; empty without the
        section.

        ``static`` variables are left out: before linking, BTF does not know where they lie."""
        found: dict[str, tuple[int, int]] = {}
        for kind in self._types:
            if kind.kind == _DATASEC and kind.name == section:
                for index, offset, size in kind.triples:
                    variable = self._types[index]
                    if variable.triples[0][0] != _STATIC:
                        found[variable.name] = (offset, size)
        return found
