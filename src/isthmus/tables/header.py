"""Prints ``bpf/generated/tables.h``: verdicts, enums, flags and records, from this package alone."""

from __future__ import annotations

from enum import IntEnum, IntFlag

from isthmus.tables.entries import Nat, PathKind, TagKind
from isthmus.tables.flows import TcpState
from isthmus.tables.layout import (
    DIMENSIONS,
    FLAGS,
    PHASES,
    RECORD_KINDS,
    RECORDS,
    ROLES,
    RULE_CLASSES,
    RULE_PROTOS,
    TIMEOUTS,
    Field,
)
from isthmus.tables.verdicts import VERDICT_COUNT, Verdict


def _enum(name: str, prefix: str, members: dict[str, int]) -> str:
    lines = [f"\t{prefix}_{member} = {value}," for member, value in members.items()]
    return "\n".join([f"enum {name} {{", *lines, "};", ""])


def _members(kind: type[IntEnum] | type[IntFlag]) -> dict[str, int]:
    return {str(member.name): int(member) for member in kind}


def _field(field: Field) -> str:
    array = f"[{field.number}]" if field.number > 1 else ""
    note = f" /* {field.note} */" if field.note else ""
    return f"\t{field.type} {field.name}{array};{note}"


def header() -> str:
    """The text of the header."""
    parts = [
        "/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */",
        "/* Written by `python -m isthmus.tables.header`; do not edit. */",
        "/* clang-format off */",
        "#pragma once",
        "#include <linux/types.h>",
        "",
        f"#define VERDICT_COUNT {VERDICT_COUNT}",
        *(f"#define {name} {value:#x}u" for name, value in FLAGS.items()),
        "",
        _enum("verdict", "V", _members(Verdict)),
        _enum("nat", "NAT", _members(Nat)),
        _enum("path_kind", "PATH", _members(PathKind)),
        _enum("tag_kind", "TAG", _members(TagKind)),
        _enum("role", "ROLE", ROLES),
        _enum("dimension", "BY", DIMENSIONS),
        _enum("rule_class", "CLASS", RULE_CLASSES),
        _enum("rule_proto", "RULE_PROTO", RULE_PROTOS),
        _enum("timeout", "TIMEOUT", TIMEOUTS),
        _enum("phase", "PHASE", PHASES),
        _enum("record_kind", "RECORD", RECORD_KINDS),
        _enum("tcp_state", "TCP_STATE", _members(TcpState)),
    ]
    for made in RECORDS.values():
        parts += [f"/* {made.about} */", f"struct {made.name} {{", *map(_field, made.fields), "};", ""]
    return "\n".join(parts)


if __name__ == "__main__":
    print(header(), end="")
