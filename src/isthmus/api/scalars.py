"""What an unquoted YAML scalar is: null, a boolean, a number, or text.

YAML 1.2's core schema, not 1.1: ``no``, ``on``, ``12:30:45`` and ``2024-01-01`` stay the text that they look like,
and nothing but ``true`` and ``false`` is a boolean. A number with leading zeros or of absurd length stays text.
"""

from __future__ import annotations

import math
import re
from typing import Any

_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,38})")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,32}|0o[0-7]{1,43}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,40}|[0-9]{1,40}(\.[0-9]{0,40})?)([eE][-+]?[0-9]{1,4})?")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_NUMBER_STARTS = frozenset("0123456789+-.")


def plain(text: str) -> Any:
    """The value of a plain scalar: None, bool, int, float or str."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS:
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _HEX.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text) and not _leading_zero(text):
        return float(text)
    return text


def _leading_zero(text: str) -> bool:
    digits = text.lstrip("+-")
    return len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()


_TAGS: dict[str, tuple[type, ...]] = {"null": (type(None),), "bool": (bool,), "int": (int,), "float": (int, float)}


def tagged(tag: str, text: str) -> Any:
    """The value of a scalar with one of YAML's own tags; ValueError for any other, or where text and tag differ."""
    if tag in ("!", "tag:yaml.org,2002:str"):
        return text
    value = plain(text)
    wanted = _TAGS.get(tag.rpartition(":")[2])
    if not tag.startswith("tag:yaml.org,2002:") or wanted is None:
        raise ValueError(f"the tag {tag} is not accepted here")
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        raise ValueError(f"{text!r} is not what its tag {tag} says")
    return value
