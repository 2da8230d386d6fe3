"""What is wanted of a BGP daemon: who we are, who the neighbours are, and where our own end of it is.

Refused at once, with ``ValueError``: what BIRD could not do, or would understand otherwise. Secrets are not printed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from isthmus.tables.address import Family

IpAddress = IPv4Address | IPv6Address

MARKER_AS: Final = 0
"""The AS whose large communities are ours alone: nobody may use it (RFC 7607), so they are taken off what comes in."""

_DAEMON, _AGENT = IPv4Address("127.0.0.1"), IPv4Address("127.0.0.2")
_HOPS: Final = 64
_RESTART_S: Final = 120
_PASSWORD_BYTES: Final = 80  # TCP_MD5SIG_MAXKEYLEN
_NOT_IN_A_PASSWORD: Final = ('"', "\n", "\0")  # BIRD's strings have no way to write them
_INTERFACE: Final = re.compile(r"[0-9A-Za-z_.:-]{1,15}")


class LargeCommunity(NamedTuple):
    """A large community (RFC 8092)."""

    administrator: int
    one: int
    two: int


class LogLevel(StrEnum):
    """The least that is written to the log."""

    TRACE = "trace"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class OverLimit(StrEnum):
    """What becomes of a session whose neighbour sends more than ``max_prefixes``."""

    RESTART = "restart"  # it ends and is tried again, ever later
    DISABLE = "disable"  # it ends until it is enabled by hand


@dataclass(frozen=True, slots=True)
class Bfd:
    """Bidirectional forwarding detection (RFC 5880): a packet every ``interval_ms``, down after ``multiplier`` lost."""

    interval_ms: int = 300
    multiplier: int = 3

    def __post_init__(self) -> None:
        _within("BFD interval", self.interval_ms, 10, 60_000)
        _within("BFD multiplier", self.multiplier, 2, 255)


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A BGP neighbour.

    ``local``: our address toward it; needed for BFD over several hops. ``interface``: needed for a link-local address,
    and not looked at for others. ``max_prefixes`` counts for each family. ``graceful_restart``: off, on, or how many
    seconds it should wait for us (RFC 4724).
    """

    address: IpAddress
    asn: int
    local: IpAddress | None = None
    interface: str | None = None
    password: str | None = field(default=None, repr=False)
    bfd: bool | Bfd = False
    multihop: bool | int = False
    max_prefixes: int | None = None
    over_limit: OverLimit = OverLimit.RESTART
    graceful_restart: bool | int = True
    hold_s: int = 90

    def __post_init__(self) -> None:
        _within("AS", self.asn, 1, 2**32 - 1)
        _within("hold time", self.hold_s, 3, 65_535)
        _within("multihop", self.hops, 0, 255)
        _within("restart time", self.restart_s, 0, 4_095)
        if self.max_prefixes is not None:
            _within("max prefixes", self.max_prefixes, 1, 2**31 - 1)
        if self.local is not None and self.local.version != self.address.version:
            raise ValueError(f"{self.address}: our address {self.local} is of the other family")
        if self.hops and self.bfd and self.local is None:
            raise ValueError(f"{self.address}: BFD over several hops needs our own address")
        if self.address.is_link_local and isinstance(self.address, IPv6Address):
            self._check_link_local()
        if self.password is not None:
            _check_password(self.address, self.password)

    def _check_link_local(self) -> None:
        if getattr(self.address, "scope_id", None) is not None:
            raise ValueError(f"{self.address}: the interface goes into `interface`")
        if self.hops:
            raise ValueError(f"{self.address}: a link-local address is not several hops away")
        if self.interface is None or not _INTERFACE.fullmatch(self.interface):
            raise ValueError(f"{self.address}: a link-local address needs an interface, found {self.interface!r}")

    @property
    def name(self) -> str:
        """The neighbour's name in the daemon: its address, and for a link-local one the interface."""
        return f"{self.address}-{self.interface}" if self.address.is_link_local else str(self.address)

    @property
    def hops(self) -> int:
        """How many hops it may be away; 0: it is on the link."""
        return _HOPS if self.multihop is True else int(self.multihop)

    @property
    def restart_s(self) -> int:
        """How long it should keep our routes while we restart, in seconds; 0: not at all."""
        return _RESTART_S if self.graceful_restart is True else int(self.graceful_restart)

    @property
    def detection(self) -> Bfd | None:
        """How BFD is done, or None."""
        return Bfd() if self.bfd is True else self.bfd or None

    @property
    def marker(self) -> LargeCommunity:
        """The large community on every route that came from this neighbour; it is the same whoever else there is."""
        digest = blake2b(self.name.encode(), digest_size=8).digest()
        return LargeCommunity(MARKER_AS, int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:], "big"))


@dataclass(frozen=True, slots=True)
class Feed:
    """Both ends of the session between the daemon and us, inside the namespace. The daemon listens; we connect.

    Our BGP identifier must not be the daemon's (RFC 6286)."""

    daemon: IPv4Address = _DAEMON
    port: int = 1790
    agent: IPv4Address = _AGENT
    hold_s: int = 240

    def __post_init__(self) -> None:
        _within("port", self.port, 1, 65_535)
        _within("hold time", self.hold_s, 3, 65_535)
        if self.port == 179:
            raise ValueError("port 179 is for the neighbours")


@dataclass(frozen=True, slots=True)
class Speaker:
    """A BGP daemon. The order of the neighbours means nothing."""

    asn: int
    router_id: IPv4Address
    neighbors: tuple[Neighbor, ...] = ()
    families: tuple[Family, ...] = (4, 6)
    feed: Feed = field(default_factory=Feed)
    log: LogLevel = LogLevel.INFO

    def __post_init__(self) -> None:
        _within("AS", self.asn, 1, 2**32 - 1)
        if not int(self.router_id):
            raise ValueError("0.0.0.0 is no router ID")
        names = [neighbor.name for neighbor in self.neighbors]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"a neighbour stands twice: {', '.join(twice)}")


def _within(what: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ValueError(f"{what} {value} is not within {least} to {most}")


def _check_password(address: IpAddress, password: str) -> None:
    if not password or len(password.encode()) > _PASSWORD_BYTES:
        raise ValueError(f"{address}: a TCP MD5 password has 1 to {_PASSWORD_BYTES} bytes (RFC 2385)")
    if any(character in password for character in _NOT_IN_A_PASSWORD):
        raise ValueError(f"{address}: BIRD can't take a password with a double quote, a line break or a zero byte")
