"""The packet that ``isthmus trace`` is asked about, from the words of its caller."""

from __future__ import annotations

from typing import Literal, NamedTuple

from isthmus.tables.address import Family, format_address, parse_address
from isthmus.trace.packet import ECHO_REQUEST, ICMP_PROTO, TCP, TCP_SYN, UDP, Packet

DEFAULT_SPORT, DEFAULT_DPORT, DEFAULT_TTL = 40000, 80, 64
ECHO_ID = 1
"""The identifier of an echo that is asked about."""
ICMP_V6_NAMES = ("icmp6", "icmpv6")


CHOSEN = "chosen from the pool"
"""Stands for an end that only the running gateway knows."""


class Question(NamedTuple):
    """What may be given of a packet; None: not given. ``proto``: tcp, udp, icmp (the family's own) or a number."""

    src: str
    dst: str
    proto: str = "tcp"
    sport: int | None = None
    dport: int | None = None
    type: int | None = None
    code: int | None = None
    ttl: int = DEFAULT_TTL


def packet_of(question: Question) -> Packet:
    """The packet, with what was not given filled in: TCP is a SYN, ICMP an echo request. ValueError: what is wrong."""
    family, src = parse_address(question.src)
    other, dst = parse_address(question.dst)
    if family != other:
        raise ValueError(f"{question.src} is IPv{family} and {question.dst} is IPv{other}: one packet has one family")
    proto = _protocol(question.proto, family)
    first, second = _ports(question, family, proto)
    flags = TCP_SYN if proto == TCP else 0
    packet = Packet(family, src, dst, proto, first, second, ttl=question.ttl, tcp_flags=flags)
    return packet._replace(echo_id=ECHO_ID) if packet.echo else packet


def _protocol(text: str, family: Family) -> int:
    name = text.lower()
    if name in ICMP_V6_NAMES and family == 4:
        raise ValueError(f"{text} is of IPv6, and the addresses are IPv4: say icmp")
    known = {"tcp": TCP, "udp": UDP, "icmp": ICMP_PROTO[family], **dict.fromkeys(ICMP_V6_NAMES, ICMP_PROTO[6])}
    if name in known:
        return known[name]
    if name.isascii() and name.isdigit() and int(name) <= 255:
        return int(name)
    raise ValueError(f"not a protocol: {text!r}; say tcp, udp, icmp or a number from 0 to 255")


def _ports(question: Question, family: Family, proto: int) -> tuple[int, int]:
    """Both ports, or type and code; ValueError where the protocol has not what was given."""
    ports = (question.sport, question.dport)
    kind = (question.type, question.code)
    icmp = proto == ICMP_PROTO[family]
    if any(given is not None for given in ports) and proto not in (TCP, UDP):
        raise ValueError(f"{question.proto} has no ports" + (": say --type and --code" if icmp else ""))
    if any(given is not None for given in kind) and not icmp:
        raise ValueError(f"{question.proto} has no type and code: say --proto icmp")
    if icmp:
        return _or(question.type, ECHO_REQUEST[family]), _or(question.code, 0)
    if proto in (TCP, UDP):
        return _or(question.sport, DEFAULT_SPORT), _or(question.dport, DEFAULT_DPORT)
    return 0, 0


def _or(given: int | None, default: int) -> int:
    return default if given is None else given


class Shown(NamedTuple):
    """A packet as people and JSON see it. None where its protocol has no such field, or the gateway will choose it."""

    src: str | None
    dst: str | None
    proto: str | int
    sport: int | None
    dport: int | None
    type: int | None
    code: int | None
    ttl: int

    def __str__(self) -> str:
        kind = f" type {self.type} code {self.code}" if self.type is not None else ""
        proto = f"protocol {self.proto}" if isinstance(self.proto, int) else self.proto
        return f"{proto}{kind} {_end(self.src, self.sport)} -> {_end(self.dst, self.dport)}, ttl {self.ttl}"


def _end(address: str | None, port: int | None) -> str:
    if address is None:
        return CHOSEN
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def shown(packet: Packet, chosen: Literal["src", "dst"] | None = None) -> Shown:
    """The packet for an answer; address and port of the end that is ``chosen`` are the gateway's choice."""
    names: dict[int, str | int] = {TCP: "tcp", UDP: "udp", ICMP_PROTO[packet.family]: "icmp"}
    ports, icmp = packet.proto in (TCP, UDP), packet.icmp
    return Shown(
        src=None if chosen == "src" else format_address(packet.family, packet.src),
        dst=None if chosen == "dst" else format_address(packet.family, packet.dst),
        proto=names.get(packet.proto, packet.proto),
        sport=packet.sport if ports and chosen != "src" else None,
        dport=packet.dport if ports and chosen != "dst" else None,
        type=packet.sport if icmp else None,
        code=packet.dport if icmp else None,
        ttl=packet.ttl,
    )
