"""OPEN messages, their capabilities, and what two speakers agree on (RFC 4271 4.2, RFC 5492)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag
from struct import Struct
from typing import Final

from isthmus.routing.bgp.wire import AFI, FAMILY_OF, LONGEST, LONGEST_EXTENDED, UNICAST, BgpError, Code, Kind, message
from isthmus.tables.address import FAMILIES, Family

VERSION: Final = 4
AS_TRANS: Final = 23456  # stands where an AS number of 4 bytes does not fit (RFC 6793)

_FIXED: Final = Struct(">BHHIB")  # version, AS, hold time, BGP identifier, bytes of parameters
_MULTIPROTOCOL, _ROUTE_REFRESH, _EXTENDED_MESSAGE, _GRACEFUL_RESTART, _FOUR_OCTETS, _ADD_PATH = 1, 2, 6, 64, 65, 69
_CAPABILITIES: Final = 2  # type of the optional parameter
_FAMILY: Final = Struct(">HxB")
_GRACEFUL: Final = Struct(">H")
_GRACEFUL_FAMILY: Final = Struct(">HBB")
_PATHS: Final = Struct(">HBB")
_U32: Final = Struct(">I")
_RESTARTED, _RESTART_TIME, _FORWARDING = 0x8000, 0x0FFF, 0x80

_BAD_VERSION, _BAD_AS, _BAD_IDENTIFIER, _BAD_PARAMETER, _BAD_HOLD_TIME, _BAD_CAPABILITY = 1, 2, 3, 4, 6, 7


class AddPath(IntFlag):
    """What a speaker does with several paths of a prefix (RFC 7911 4)."""

    RECEIVE = 1
    SEND = 2
    BOTH = RECEIVE | SEND


@dataclass(frozen=True, slots=True)
class Open:
    """An OPEN. ``restart_time`` in seconds; 0: what was announced ends with the session (no graceful restart)."""

    asn: int
    hold_time: int
    router_id: int
    families: frozenset[Family] = frozenset(FAMILIES)
    add_path: tuple[tuple[Family, AddPath], ...] = ()
    four_octets: bool = True
    route_refresh: bool = True
    extended_messages: bool = True
    graceful_restart: bool = True  # at least: it sends End-of-RIB (RFC 4724)
    restart_time: int = 0
    restarted: bool = False

    def encode(self) -> bytes:
        """The message. What is kept through a restart is kept in all families."""
        capabilities = b"".join(bytes((code, len(value))) + value for code, value in self._capabilities())
        parameters = bytes((_CAPABILITIES, len(capabilities))) + capabilities if capabilities else b""
        asn = self.asn if self.asn < 1 << 16 else AS_TRANS
        fixed = _FIXED.pack(VERSION, asn, self.hold_time, self.router_id, len(parameters))
        return message(Kind.OPEN, fixed + parameters)

    def _capabilities(self) -> Iterator[tuple[int, bytes]]:
        families = sorted(self.families)
        for family in families:
            yield _MULTIPROTOCOL, _FAMILY.pack(AFI[family], UNICAST)
        if self.route_refresh:
            yield _ROUTE_REFRESH, b""
        if self.extended_messages:
            yield _EXTENDED_MESSAGE, b""
        if self.graceful_restart:
            kept = [_GRACEFUL_FAMILY.pack(AFI[one], UNICAST, _FORWARDING) for one in families if self.restart_time]
            time = self.restart_time & _RESTART_TIME | _RESTARTED * self.restarted
            yield _GRACEFUL_RESTART, _GRACEFUL.pack(time) + b"".join(kept)
        if self.four_octets:
            yield _FOUR_OCTETS, _U32.pack(self.asn)
        if self.add_path:
            yield _ADD_PATH, b"".join(_PATHS.pack(AFI[one], UNICAST, mode) for one, mode in self.add_path)


def decode_open(body: bytes) -> Open:
    """What an OPEN says behind its header. BgpError (RFC 4271 6.2) if that makes no sense."""
    version, asn, hold_time, router_id, size = _FIXED.unpack_from(body)
    if version != VERSION:
        raise BgpError(Code.OPEN, _BAD_VERSION, VERSION.to_bytes(2, "big"))
    if hold_time in (1, 2):
        raise BgpError(Code.OPEN, _BAD_HOLD_TIME)
    if not router_id:
        raise BgpError(Code.OPEN, _BAD_IDENTIFIER)
    capabilities = list(_read_capabilities(body[_FIXED.size :], size))
    try:
        return _understand(capabilities, asn, hold_time, router_id)
    except (IndexError, ValueError) as error:
        raise BgpError(Code.OPEN, 0, detail="a capability is malformed") from error


def _read_capabilities(parameters: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    if len(parameters) != size:
        raise BgpError(Code.OPEN, 0, detail="the length of the parameters is wrong")
    for kind, value in _elements(parameters):
        if kind != _CAPABILITIES:
            raise BgpError(Code.OPEN, _BAD_PARAMETER)
        yield from _elements(value)


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each element: parameters and capabilities are packed alike."""
    at = 0
    while at < len(data):
        end = at + 2 + data[at + 1] if at + 1 < len(data) else len(data) + 1
        if end > len(data):
            raise BgpError(Code.OPEN, 0, detail="an optional parameter goes on behind its end")
        yield data[at], data[at + 2 : end]
        at = end


def _understand(capabilities: list[tuple[int, bytes]], asn: int, hold_time: int, router_id: int) -> Open:
    """ValueError if a capability's value has a length that is not its own."""
    values = dict(capabilities)
    families = {
        FAMILY_OF.get((afi, safi))
        for code, value in capabilities
        if code == _MULTIPROTOCOL
        for afi, safi in (_whole(_FAMILY, value),)
    }
    paths = [
        (FAMILY_OF.get((afi, safi)), mode)
        for code, value in capabilities
        if code == _ADD_PATH
        for afi, safi, mode in _rows(_PATHS, value)
    ]
    graceful = values.get(_GRACEFUL_RESTART)
    restart = int.from_bytes(graceful[:2], "big") if graceful is not None and len(graceful) >= 2 else 0
    return Open(
        asn=_whole(_U32, values[_FOUR_OCTETS])[0] if _FOUR_OCTETS in values else asn,
        hold_time=hold_time,
        router_id=router_id,
        families=frozenset(family for family in families if family) if families else frozenset((4,)),  # RFC 4760 8
        add_path=tuple((family, AddPath(mode)) for family, mode in paths if family and 1 <= mode <= AddPath.BOTH),
        four_octets=_FOUR_OCTETS in values,
        route_refresh=_ROUTE_REFRESH in values,
        extended_messages=_EXTENDED_MESSAGE in values,
        graceful_restart=graceful is not None,
        restart_time=restart & _RESTART_TIME,
        restarted=bool(restart & _RESTARTED),
    )


def _whole(layout: Struct, value: bytes) -> tuple[int, ...]:
    if len(value) != layout.size:
        raise ValueError(f"{len(value)} bytes instead of {layout.size}")
    return layout.unpack(value)


def _rows(layout: Struct, value: bytes) -> Iterator[tuple[int, ...]]:
    if len(value) % layout.size:
        raise ValueError(f"{len(value)} bytes are no multiple of {layout.size}")
    return layout.iter_unpack(value)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What holds in a session: ``receive`` and ``send`` are the families with path identifiers in that direction;
    ``hold_time`` in seconds, 0: the peer may be silent for ever; ``longest``: bytes of a message."""

    families: frozenset[Family] = frozenset()
    receive: frozenset[Family] = frozenset()
    send: frozenset[Family] = frozenset()
    internal: bool = False
    hold_time: int = 0
    longest: int = LONGEST


def agree(ours: Open, theirs: Open, peer_asn: int) -> Agreement:
    """What two OPENs come to, where the peer must be of AS ``peer_asn``. BgpError if they do not go together."""
    if theirs.asn != peer_asn:
        raise BgpError(Code.OPEN, _BAD_AS, detail=f"AS {theirs.asn} instead of {peer_asn}")
    if theirs.router_id == ours.router_id and theirs.asn == ours.asn:  # RFC 6286 2.1
        raise BgpError(Code.OPEN, _BAD_IDENTIFIER, detail="it is ours")
    if not theirs.four_octets:
        raise BgpError(Code.OPEN, _BAD_CAPABILITY, bytes((_FOUR_OCTETS, 4)) + _U32.pack(ours.asn), "4-octet AS numbers")
    families = ours.families & theirs.families
    if not families:
        raise BgpError(Code.OPEN, _BAD_CAPABILITY, detail="no family in common")
    our_paths, their_paths = dict(ours.add_path), dict(theirs.add_path)

    def both(our: AddPath, their: AddPath) -> frozenset[Family]:
        return frozenset(one for one in families if our_paths.get(one, 0) & our and their_paths.get(one, 0) & their)

    return Agreement(
        families=families,
        receive=both(AddPath.RECEIVE, AddPath.SEND),
        send=both(AddPath.SEND, AddPath.RECEIVE),
        internal=ours.asn == theirs.asn,
        hold_time=min(ours.hold_time, theirs.hold_time),
        longest=LONGEST_EXTENDED if ours.extended_messages and theirs.extended_messages else LONGEST,
    )
