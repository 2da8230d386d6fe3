"""What is done for requests about routes and neighbours."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from typing import Any, Final

from isthmus.lab.routes.router import LearnedPath, RoutingAnswers
from isthmus.lab.service.questions import Kind, WrongQuestion
from isthmus.tables.address import BITS, FAMILIES, Family, Prefix, format_address, parse_address
from isthmus.tables.entries import AttachmentKey, Peer
from isthmus.tables.learned import key_prefix, prefix_key

MOST_SHOWN: Final = 100_000
"""Paths that one answer lists at most."""

MOST_PREFIXES: Final = 64
"""Prefixes that one answer is about at most."""

_AT_ONCE: Final = 256  # prefixes that are looked at between two pieces
_Table = Mapping[int, Sequence[LearnedPath]]


class RouteAnswers:
    """The requests about one router."""

    def __init__(self, router: RoutingAnswers) -> None:
        self._router = router

    @property
    def kinds(self) -> dict[str, Kind]:
        """What can be asked."""
        return {"routes": self._routes, "neighbors": self._neighbors, "down": self._down, "drain": self._drain}

    def _routes(self, request: Mapping[str, Any]) -> Iterator[bytes] | None:
        match request:
            case {
                "vpc": str() | None,
                "prefixes": list(words),
                "longer": bool(),
                "from": str() | None,
                "limit": int(most),
            }:
                if 0 <= most <= MOST_SHOWN and len(words) <= MOST_PREFIXES:
                    wanted = [parse_wanted(str(word)) for word in words]
                    return self._list(request["vpc"], wanted, request["longer"], request["from"], most)
        return None

    def _neighbors(self, request: Mapping[str, Any]) -> Iterator[bytes]:
        rows = [row._asdict() for row in sorted(self._router.neighbors())]
        ambiguous = yield from self._ambiguous(None)
        answer = {"neighbors": rows, "draining": self._router.draining, "ambiguous": ambiguous}
        yield json.dumps(answer).encode()

    def _down(self, _: Mapping[str, Any]) -> Iterator[bytes]:
        down = self._router.down
        attachments = sorted((one.vpc, one.interface, *one.tag) for one in down if isinstance(one, AttachmentKey))
        neighbors = sorted(one for one in down if isinstance(one, Peer))
        answer = {"vpcs": sorted(self._router.vpcs()), "attachments": attachments, "neighbors": neighbors}
        yield json.dumps(answer).encode()

    def _drain(self, request: Mapping[str, Any]) -> Iterator[bytes] | None:
        match request:
            case {"on": bool(on)}:
                self._router.drain(on)
                return iter((json.dumps({"draining": self._router.draining}).encode(),))
        return None

    def _ambiguous(self, vpc: str | None) -> Generator[bytes, None, list[dict[str, Any]]]:
        found = []
        for one in self._router.ambiguous(vpc):
            if one is None:
                yield b""
            else:
                found.append(one)
        return [one._asdict() for one in sorted(found)]

    def _list(
        self, vpc: str | None, wanted: list[Prefix], longer: bool, neighbour: str | None, most: int
    ) -> Iterator[bytes]:
        names = [_known("VPC", vpc, self._router.vpcs())] if vpc is not None else sorted(self._router.vpcs())
        if neighbour is not None:
            mine = [row.address for row in self._router.neighbors() if vpc in (None, row.vpc)]
            neighbour = _known("neighbour", _canonical(neighbour), mine)
        total = shown = 0
        yield b'{"routes": ['
        for name in names:
            tables = self._router.paths(name)
            for family in FAMILIES:
                table = tables.get(family, {})
                for key in _keys(family, table, wanted, longer):
                    if key is None:
                        yield b""
                        continue
                    for path in table.get(key, ()):
                        if neighbour in (None, path.peer):
                            total += 1
                            if shown < most:
                                yield (b", " if shown else b"") + json.dumps(_row(name, family, key, path)).encode()
                                shown += 1
        ambiguous = yield from self._ambiguous(vpc)
        yield b"], " + json.dumps({"total": total, "shown": shown, "ambiguous": ambiguous}).encode()[1:]


def parse_wanted(word: str) -> Prefix:
    """A CIDR, or an address: of that the longest match is meant. WrongQuestion."""
    try:
        return Prefix.parse(word)
    except ValueError as error:
        raise WrongQuestion(f"not a CIDR and not an address: {word}: {error}", "10.0.0.0/8, or 10.1.2.3") from error


def _keys(family: Family, table: _Table, wanted: list[Prefix], longer: bool) -> Iterator[int | None]:
    """The prefix keys that are asked for, each once; None: a moment to pause."""
    mine = [prefix for prefix in wanted if prefix.family == family]
    if wanted and not longer:
        yield from dict.fromkeys(key for prefix in mine if (key := _match(table, prefix)))
        return
    inside = [(prefix.length, prefix_key(prefix)) for prefix in mine]
    for index, key in enumerate(table if mine or not wanted else ()):
        if index % _AT_ONCE == 0:
            yield None
        length = key.bit_length() - 1
        if not wanted or any(least <= length and key >> length - least == one for least, one in inside):
            yield key


def _match(table: _Table, prefix: Prefix) -> int:
    """The key of a prefix, or of the longest that holds an address; 0: there is none."""
    key = prefix_key(prefix)
    while key and key not in table:
        key = key >> 1 if prefix.length == BITS[prefix.family] else 0
    return key


def _row(vpc: str, family: Family, key: int, path: LearnedPath) -> dict[str, Any]:
    """As ``isthmus routes -o json`` prints it."""
    return {
        "vpc": vpc,
        "prefix": str(key_prefix(family, key)),
        "from": path.peer,
        "nextHop": format_address(*path.next_hop),
        "asPath": path.as_path,
        "origin": path.origin,
        "med": path.med,
        "localPref": path.local_pref,
        "communities": list(path.communities),
        "use": path.use.value,
    }


def _canonical(address: str) -> str:
    try:
        return format_address(*parse_address(address))
    except ValueError as error:
        raise WrongQuestion(str(error), "a neighbour is meant by its address") from error


def _known(kind: str, name: str, names: Collection[str]) -> str:
    if name in names:
        return name
    nearest = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"there are: {', '.join(sorted(names)) or 'none'}"
    raise WrongQuestion(f"no {kind} is {'named ' if kind == 'VPC' else ''}{name}", hint)
