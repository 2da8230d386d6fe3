"""FILTER: words ``KEY=VALUE``, all of which a conversation must match. Pure.

Addresses and ports of both spaces count, so that each may be given as whoever asks knows it: ``src`` is the initiator
as it sends or as the responder sees it, ``dst`` the responder as it is dialled or as its own VPC knows it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from isthmus.lab.flows.rows import PROTOCOLS, State, has_ports, is_icmp, state_of
from isthmus.lab.service.questions import WrongQuestion
from isthmus.tables.address import Family, Prefix

if TYPE_CHECKING:
    from isthmus.datapath.conversations import Conversation

WORDS: Final[dict[str, tuple[str, str]]] = {
    "vpc": ("NAME", "either end is in this VPC"),
    "from": ("NAME", "this VPC started it"),
    "to": ("NAME", "this VPC answers it"),
    "peering": ("NAME", "it was opened through this peering"),
    "proto": ("tcp|udp|icmp|N", "its protocol"),
    "src": ("CIDR", "who started it: as it sends, or as the other VPC sees it"),
    "dst": ("CIDR", "who answers: as dialled, or as its own VPC knows it"),
    "port": ("N[-M]", "either port (TCP, UDP), before or after translation"),
    "sport": ("N[-M]", "the port of who started it"),
    "dport": ("N[-M]", "the port of who answers"),
    "state": ("|".join(State), "how far it has come"),
}
"""Every key: what its value looks like, and what a conversation that matches is like."""

_HIGHEST_PORT: Final = 65535
_HIGHEST_PROTOCOL: Final = 255

Kind = Literal["VPC", "peering"]
_Test = Callable[["Conversation"], bool]


class WrongWord(WrongQuestion):
    """A word that means nothing: the text says why, ``hint`` what to write instead."""


class Filter(NamedTuple):
    """What is asked of a conversation, and the names that were used for it, to be looked up by who knows them all."""

    tests: tuple[_Test, ...] = ()
    names: tuple[tuple[Kind, str], ...] = ()

    def matches(self, conversation: Conversation) -> bool:
        """True if all words fit."""
        return all(test(conversation) for test in self.tests)


def parse_filter(words: Iterable[str]) -> Filter:
    """The filter of some words; WrongWord for the first that means nothing."""
    tests: list[_Test] = []
    names: list[tuple[Kind, str]] = []
    for word in words:
        key, equals, value = word.partition("=")
        if key not in WORDS or not equals:
            raise WrongWord(f"not a filter: {word!r}", _instead(key))
        if key in _NAMES:
            kind, test = _NAMES[key]
            names.append((kind, value))
            tests.append(test(value))
            continue
        try:
            tests.append(_VALUES[key](value))
        except ValueError as error:
            meta, meaning = WORDS[key]
            raise WrongWord(f"{word}: {error}", f"{key}={meta}: {meaning}") from error
    return Filter(tuple(tests), tuple(names))


def check_names(asked: Filter, vpcs: Iterable[str], peerings: Iterable[str]) -> None:
    """WrongWord where a name is one that the gateway does not have: it would match nothing, for ever."""
    known: dict[Kind, Sequence[str]] = {"VPC": sorted(vpcs), "peering": sorted(peerings)}
    for kind, name in asked.names:
        if name not in known[kind]:
            nearest = difflib.get_close_matches(name, known[kind], n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"there are: {', '.join(known[kind]) or 'none'}"
            raise WrongWord(f"no {kind} is named {name}", hint)


def _instead(key: str) -> str:
    nearest = difflib.get_close_matches(key, WORDS, n=1)
    known = ", ".join(f"{name}={meta}" for name, (meta, _) in WORDS.items())
    return (f"did you mean {nearest[0]}={WORDS[nearest[0]][0]}? " if nearest else "") + f"known are: {known}"


_NAMES: Final[dict[str, tuple[Kind, Callable[[str], _Test]]]] = {
    "vpc": ("VPC", lambda name: lambda one: name in (one.initiator, one.responder)),
    "from": ("VPC", lambda name: lambda one: one.initiator == name),
    "to": ("VPC", lambda name: lambda one: one.responder == name),
    "peering": ("peering", lambda name: lambda one: one.peering == name),
}


def _proto(text: str) -> _Test:
    if text.lower() == "icmp":
        return is_icmp
    number = PROTOCOLS.get(text.lower())
    if number is None:
        number = _number(text, _HIGHEST_PROTOCOL)
    return lambda one: one.proto == number


def _src(text: str) -> _Test:
    prefix = Prefix.parse(text)
    return lambda one: _within(prefix, one.family, one.sent.src, one.answered.dst)


def _dst(text: str) -> _Test:
    prefix = Prefix.parse(text)
    return lambda one: _within(prefix, one.family, one.sent.dst, one.answered.src)


def _within(prefix: Prefix, family: Family, *addresses: int) -> bool:
    return prefix.family == family and any(address in prefix for address in addresses)


def _port(text: str) -> _Test:
    one, other = _sport(text), _dport(text)
    return lambda conversation: one(conversation) or other(conversation)


def _sport(text: str) -> _Test:
    ports = _range(text)
    return lambda one: has_ports(one) and (one.sent.sport in ports or one.answered.dport in ports)


def _dport(text: str) -> _Test:
    ports = _range(text)
    return lambda one: has_ports(one) and (one.sent.dport in ports or one.answered.sport in ports)


def _state(text: str) -> _Test:
    try:
        wanted = State(text)
    except ValueError:
        raise ValueError("not a state") from None
    return lambda one: state_of(one) is wanted


def _range(text: str) -> range:
    low, dash, high = text.partition("-")
    first = _number(low, _HIGHEST_PORT)
    last = _number(high, _HIGHEST_PORT) if dash else first
    if last < first:
        raise ValueError("a range that ends before it begins")
    return range(first, last + 1)


def _number(text: str, highest: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(highest)) and int(text) <= highest):
        raise ValueError(f"not a number from 0 to {highest}")
    return int(text)


_VALUES: Final[dict[str, Callable[[str], _Test]]] = {
    "proto": _proto,
    "src": _src,
    "dst": _dst,
    "port": _port,
    "sport": _sport,
    "dport": _dport,
    "state": _state,
}
