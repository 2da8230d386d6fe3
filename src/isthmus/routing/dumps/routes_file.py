"""Our own routes file: by VPC a list of paths.

    isp:
      - {prefix: 198.51.100.0/24, nextHop: 192.0.2.1, asPath: [65001, 65010], med: 20}
      - {prefix: 198.51.100.0/24, nextHop: 192.0.2.2, asPath: [65002, 65010], localPref: 200}
      - {prefix: 2001:db8:5::/48, nextHop: 2001:db8::1, neighbor: 2001:db8::9, origin: incomplete}

``prefix`` and ``nextHop`` have to be there. ``neighbor`` is who told it, if it is not the next hop; ``localPref`` 100,
``origin`` igp, ``asPath`` empty, and no ``med``, if they are not written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import yaml

from isthmus.routing.dumps.path import DEFAULT_LOCAL_PREF, DumpError, Origin, Path, Paths
from isthmus.tables.address import Family, Prefix, parse_address
from isthmus.tables.learned import prefix_key

_FIELDS: Final = ("prefix", "nextHop", "neighbor", "asPath", "origin", "med", "localPref")
_HIGHEST: Final = 2**32 - 1


def read_routes_file(text: str) -> Paths:
    """The paths of a routes file. DumpError."""
    try:
        content = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise DumpError(f"not YAML: {error}") from error
    if not isinstance(content, dict):
        raise DumpError("a routes file is a mapping of VPC names to lists of paths")
    for vpc, paths in content.items():
        if not isinstance(paths, list):
            raise DumpError(f"{vpc}: not a list of paths")
        for index, path in enumerate(paths):
            try:
                family, key, read = _path(path)
            except (ValueError, TypeError) as error:
                raise DumpError(f"{vpc}[{index}]: {error}") from error
            yield str(vpc), family, key, read


def _path(written: Any) -> tuple[Family, int, Path]:
    if not isinstance(written, Mapping):
        raise ValueError("not a mapping")
    for name in written:
        if name not in _FIELDS:
            raise ValueError(f"unknown field {name}; known are {', '.join(_FIELDS)}")
    for name in ("prefix", "nextHop"):
        if name not in written:
            raise ValueError(f"{name} is missing")
    prefix = Prefix.parse(str(written["prefix"]))
    next_hop = str(written["nextHop"])
    as_path = written.get("asPath", [])
    if not isinstance(as_path, list) or not all(_is_number(one) for one in as_path):
        raise ValueError("asPath: a list of AS numbers")
    origin = str(written.get("origin", "igp")).upper()
    if origin not in Origin.__members__:
        raise ValueError("origin: igp, egp or incomplete")
    path = Path(
        parse_address(next_hop),
        str(written.get("neighbor", next_hop)),
        len(as_path),
        Origin[origin],
        _number(written, "med", None),
        _number(written, "localPref", DEFAULT_LOCAL_PREF) or 0,
    )
    return prefix.family, prefix_key(prefix), path


def _number(written: Mapping[str, Any], name: str, default: int | None) -> int | None:
    value = written.get(name, default)
    if value is not None and not _is_number(value):
        raise ValueError(f"{name}: a number from 0 to {_HIGHEST}")
    return int(value) if value is not None else None


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _HIGHEST
