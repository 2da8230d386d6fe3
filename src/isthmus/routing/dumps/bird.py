"""What BIRD's ``show route all`` prints (BIRD 2 and 3)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from isthmus.routing.dumps.path import DEFAULT_LOCAL_PREF, DumpError, Origin, Path, Paths
from isthmus.tables.address import Family, Prefix, parse_address
from isthmus.tables.learned import prefix_key

_ROUTE: Final = re.compile(
    r"(?P<prefix>[0-9a-fA-F.:]+/\d+)?\s+(?:unicast|unreachable|blackhole|prohibited)\s+\[(?P<who>[^]]*)\]"
)
_FROM: Final = re.compile(r"\bfrom (\S+)")
_ATTRIBUTE: Final = re.compile(r"\s+(?:BGP\.|bgp_)(?P<name>\w+):\s*(?P<value>.*)")
_ORIGINS: Final = {"IGP": Origin.IGP, "EGP": Origin.EGP, "Incomplete": Origin.INCOMPLETE}
_AS: Final = re.compile(r"\{[^}]*\}|\([^)]*\)|\d+")


def is_bird(start: str) -> bool:
    """True if a text that starts so is one of BIRD's."""
    return any(line.startswith(("BIRD ", "Table ")) or _ROUTE.match(line) for line in start.splitlines()[:20])


def read_bird(lines: Iterable[str], vpc: str) -> Paths:
    """The BGP paths of a dump, all of them of one VPC; other routes are passed over. DumpError."""
    prefix: Prefix | None = None
    who = ""
    said: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        try:
            if route := _ROUTE.match(line):
                if prefix is not None and (path := _path(who, said)):
                    yield vpc, prefix.family, prefix_key(prefix), path
                prefix = Prefix.parse(route["prefix"]) if route["prefix"] else prefix
                if prefix is None:
                    raise ValueError("a route without a prefix")
                who, said = route["who"], {}
            elif attribute := _ATTRIBUTE.match(line):
                said[attribute["name"].removeprefix("as_")] = attribute["value"].strip()
        except ValueError as error:
            raise DumpError(f"line {number}: {error}") from error
    if prefix is not None and (path := _path(who, said)):
        yield vpc, prefix.family, prefix_key(prefix), path


def _path(who: str, said: dict[str, str]) -> Path | None:
    if "next_hop" not in said:
        return None
    next_hop: tuple[Family, int] = parse_address(said["next_hop"].split()[0])
    told_by = _FROM.search(who)
    return Path(
        next_hop,
        told_by[1] if told_by else said["next_hop"].split()[0],
        sum(not one.startswith("(") for one in _AS.findall(said.get("path", ""))),
        _ORIGINS.get(said.get("origin", ""), Origin.INCOMPLETE),
        int(said["med"]) if "med" in said else None,
        int(said.get("local_pref", DEFAULT_LOCAL_PREF)),
    )
