"""What is done for a request: the answer comes in pieces, so that whoever asks for it can do other things between."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from isthmus.lab.flows.filter import Filter, WrongWord, check_names, parse_filter
from isthmus.lab.flows.rows import protocol_name, row
from isthmus.lab.service.questions import Kind
from isthmus.tables.address import format_address
from isthmus.tables.entries import Pool, SideKey, Tables

if TYPE_CHECKING:
    from isthmus.datapath import PacketPath
    from isthmus.datapath.conversations import Conversation, PoolUse
    from isthmus.lab.tagger import Count

MOST_SHOWN: Final = 100_000
"""Conversations that one answer lists at most: some 35 MB."""

_MOST_WORDS: Final = 64


class Answers:
    """The requests about one packet path."""

    def __init__(self, path: PacketPath, tables: Tables, tagged: Callable[[], dict[Count, int]] | None = None) -> None:
        """``tagged``: what the tagger of the lab's fabric has counted, where there is one."""
        self._path = path
        self._tables = tables
        self._tagged = tagged

    @property
    def kinds(self) -> dict[str, Kind]:
        """What can be asked. Between two pieces of an answer the packet path is left alone."""
        asked = ["list", "clear", "pools", *(["tagger"] if self._tagged else [])]
        return dict.fromkeys(asked, self._answer)

    def _answer(self, request: Mapping[str, Any]) -> Iterator[bytes] | None:
        match request:
            case {"ask": "list", "filter": list(words), "limit": int(limit)} if 0 <= limit <= MOST_SHOWN:
                return self._list(self._filter(words), limit)
            case {"ask": "clear", "filter": list(words)}:
                return self._clear(self._filter(words))
            case {"ask": "pools"}:
                return self._pools()
            case {"ask": "tagger"} if self._tagged:
                return iter((json.dumps({each.name: count for each, count in self._tagged().items()}).encode(),))
        return None

    def _filter(self, words: list[object]) -> Filter:
        if len(words) > _MOST_WORDS:
            raise WrongWord(f"more than {_MOST_WORDS} words", "")
        asked = parse_filter(map(str, words))
        check_names(asked, self._tables.vpcs, {key.peering for key in self._tables.sides})
        return asked

    def _list(self, asked: Filter, limit: int) -> Iterator[bytes]:
        total = shown = 0
        yield b'{"flows": ['
        for conversation in self._found(asked):
            if conversation is None:
                yield b""
                continue
            total += 1
            if shown < limit:
                yield (b", " if shown else b"") + json.dumps(row(conversation)).encode()
                shown += 1
        flows, mappings, addresses, capacity = self._path.conversations.records()
        records = {"records": flows, "mappings": mappings + addresses, "capacity": capacity}
        counts = {"total": total, "shown": shown, **records}
        yield b"], " + json.dumps(counts).encode()[1:]

    def _clear(self, asked: Filter) -> Iterator[bytes]:
        ended = 0
        for conversation in self._found(asked):
            if conversation is not None:
                ended += self._path.conversations.end(conversation)
            yield b""
        yield json.dumps({"ended": ended}).encode()

    def _found(self, asked: Filter) -> Iterator[Conversation | None]:
        """Those that match, and None for each that does not."""
        for conversation in self._path.conversations:
            yield conversation if asked.matches(conversation) else None

    def _pools(self) -> Iterator[bytes]:
        """Public addresses in use, those who share each, and packets that found no free port or address, by side."""
        pools = [self._pool(use) for use in self._path.conversations.pool_use()]
        refused = [
            {"peering": key.peering, "vpc": key.vpc, "packets": packets}
            for key, packets in sorted(self._path.exhausted().items())
            if packets
        ]
        yield json.dumps({"pools": pools, "refused": refused}).encode()

    def _pool(self, use: PoolUse) -> dict[str, Any]:
        sharers = {key: pool for key, pool in self._pools_toward(use.responder) if _holds(pool, use)}
        name = protocol_name(use.family, use.proto)
        one_port_one_mapping = isinstance(name, str) and not any(pool.per_destination for pool in sharers.values())
        sizes = {sum(last - first + 1 for first, last in pool.ports) for pool in sharers.values()}
        return {
            "to": use.responder,
            "address": format_address(use.family, use.address),
            "proto": name,
            "used": use.used,
            "of": max(sizes) if sizes and one_port_one_mapping else None,
            "sides": [{"peering": key.peering, "vpc": key.vpc} for key in sorted(sharers)],
        }

    def _pools_toward(self, vpc: str) -> Iterator[tuple[SideKey, Pool]]:
        peerings = {key.peering for key in self._tables.sides if key.vpc == vpc}
        for key, side in self._tables.sides.items():
            if key.peering in peerings and key.vpc != vpc and side.pool is not None:
                yield key, side.pool


def _holds(pool: Pool, use: PoolUse) -> bool:
    return any(first <= use.address <= last for first, last in pool.addresses.get(use.family, ()))
