"""Small clients, each a program: ``python -m isthmus.lab.demo.clients WHAT …``, on the hosts of a VPC.

They do what some programs do that trouble a NAT: ask two questions from one socket, follow ICMP errors, fill a path
that is narrower than its ends, be silent for long. Exit status 1 if it did not work.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Final, NamedTuple

WITHIN_S: Final = 3.0

A, AAAA = 1, 28  # RFC 1035 3.2.2, RFC 3596 2.1
QUESTION: Final = struct.Struct(">6H")  # a DNS header: identifier, flags, and four counts
RECURSIVE, RESPONSE = 0x0100, 0x8180

_IP_MTU, _IP_RECVERR = 14, 11  # ip(7)
_SOCK_EXTENDED_ERR: Final = struct.Struct("=IBBBxII")  # errno, origin, type, code, info, data (ip(7))
_TRACED_PORT: Final = 33434
_MOST_HOPS: Final = 8
_CHUNK: Final = bytes(1 << 16)


def main() -> int:
    """Run the client that is asked for."""
    _, what, *arguments = sys.argv
    clients: dict[str, Callable[..., int]] = {
        "resolve": resolve,
        "route": route,
        "upload": upload,
        "wait": wait,
    }
    return clients[what](*arguments)


def resolve(name: str, server: str, port: str = "0") -> int:
    """Ask for A and AAAA from one socket, as the C library does; both answers are needed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("", int(port)))
        one.settimeout(WITHIN_S)
        for kind in (A, AAAA):
            one.sendto(question(kind, name), (server, 53))
        found: dict[int, str] = {}
        while len(found) < 2:
            try:
                answer, sender = one.recvfrom(512)
            except TimeoutError:
                break
            if sender == (server, 53):
                kind, address = parsed(answer)
                found[kind] = address
    print(f"{name} is {found.get(A, '(no answer)')} and {found.get(AAAA, '(no answer)')}")
    return 0 if len(found) == 2 else 1


def question(kind: int, name: str) -> bytes:
    """A query; its identifier is the type that is asked for."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return QUESTION.pack(kind, RECURSIVE, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


def answer_to(query: bytes, address: bytes) -> bytes:
    """The response that holds one address: of 4 bytes for A, of 16 for AAAA."""
    identifier = QUESTION.unpack_from(query)[0]
    record = struct.pack(">HHHIH", 0xC00C, kind_of(query), 1, 60, len(address)) + address  # 0xc00c: the name above
    return QUESTION.pack(identifier, RESPONSE, 1, 1, 0, 0) + query[QUESTION.size :] + record


def kind_of(query: bytes) -> int:
    """The type that a query asks for."""
    return int.from_bytes(query[-4:-2], "big")


def parsed(answer: bytes) -> tuple[int, str]:
    """Type and address of a response with one record, which is its end."""
    kind = QUESTION.unpack_from(answer)[0]
    if kind == A:
        return kind, socket.inet_ntop(socket.AF_INET, answer[-4:])
    return kind, socket.inet_ntop(socket.AF_INET6, answer[-16:])


class Hop(NamedTuple):
    """Who told of a packet that did not arrive, and why; ``there``: it was its destination that told."""

    address: str
    there: bool


def route(address: str) -> int:
    """Who is on the way, as traceroute finds out: by UDP with a TTL that is too small."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        for ttl in range(1, _MOST_HOPS + 1):
            one.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
            one.sendto(b"who is there?", (address, _TRACED_PORT + ttl))
            hop = _told(one)
            print(f"{ttl}  {hop.address if hop else '*'}")
            if hop and hop.there:
                return 0
    return 1


def _told(one: socket.socket) -> Hop | None:
    """The next ICMP error about what this socket sent; None if none comes."""
    poller = select.poll()
    poller.register(one, 0)  # errors are always told
    if not poller.poll(WITHIN_S * 1000):
        return None
    _, ancillary, _, _ = one.recvmsg(512, 512, socket.MSG_ERRQUEUE)
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_RECVERR):
            number = _SOCK_EXTENDED_ERR.unpack_from(data)[0]
            offender = data[_SOCK_EXTENDED_ERR.size + 4 :][:4]  # the address in a struct sockaddr_in
            return Hop(socket.inet_ntop(socket.AF_INET, offender), number == errno.ECONNREFUSED)
    return None


def upload(address: str, port: str, length: str) -> int:
    """Send so many bytes, and have the other end say how many came."""
    left = int(length)
    with socket.create_connection((address, int(port)), WITHIN_S) as one:
        while left:
            left -= one.send(_CHUNK[: min(left, len(_CHUNK))])
        one.shutdown(socket.SHUT_WR)
        counted = one.recv(64).decode()
        mtu = one.getsockopt(socket.IPPROTO_IP, _IP_MTU)
    print(f"{address} counted {counted} bytes; the path takes packets of {mtu}")
    return 0 if counted == length else 1


def wait(address: str, port: str, seconds: str) -> int:
    """Connect, be silent for so long, hear what the other end then says, and say something too."""
    with socket.create_connection((address, int(port)), WITHIN_S) as one:
        one.sendall(f"{seconds}\n".encode())
        one.settimeout(float(seconds) + WITHIN_S)
        began = time.monotonic()
        said = one.recv(64).decode()
        silent = time.monotonic() - began
        one.sendall(b"and I am still here too\n")
        heard = one.recv(64).decode()
    print(f"after {silent:.0f} s of silence it said: {said.strip()}; and to my answer: {heard.strip()}")
    return 0 if said and heard else 1


if __name__ == "__main__":
    sys.exit(main())
