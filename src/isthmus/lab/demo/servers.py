"""Servers on the hosts of a VPC that remember whom they saw. Each listens from the moment it is made."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, NamedTuple

from isthmus.datapath.netns import inside
from isthmus.lab.demo.clients import A, answer_to, kind_of
from isthmus.lab.plan import LabVpc

_POLL_S: Final = 0.05
_ANY: Final = "0.0.0.0"
_ADDRESSES: Final = {4: socket.inet_aton("192.0.2.80"), 16: socket.inet_pton(socket.AF_INET6, "2001:db8::80")}


class Visit(NamedTuple):
    """Where a request came from, and which address it was sent to."""

    source: str
    port: int
    target: str

    def __str__(self) -> str:
        return f"{self.source}:{self.port} > {self.target}"


def _visit(client: tuple[str, int], target: str) -> Visit:
    source, port = client
    return Visit(source, port, target)


_Make = Callable[[list[Visit]], Sequence[socketserver.BaseServer]]


class Servers:
    """Some servers on the hosts of a VPC. ``seen``: who came, in order."""

    def __init__(self, vpc: LabVpc, make: _Make, *, namespace: str = "") -> None:
        """``namespace``: another one than that of the VPC's hosts."""
        self.vpc = vpc.name
        self.seen: list[Visit] = []
        with inside(namespace or vpc.host_namespace):
            self._servers = make(self.seen)
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": _POLL_S}, daemon=True).start()

    def close(self) -> None:
        """Stop."""
        for server in self._servers:
            server.shutdown()
            server.server_close()


def web(vpc: LabVpc, *ports: int) -> Servers:
    """Web servers (plain HTTP) whose page says whom they see."""

    def make(seen: list[Visit]) -> list[socketserver.BaseServer]:
        handler = type("Handler", (_Page,), {"seen": seen, "vpc": vpc.name})
        return [ThreadingHTTPServer((_ANY, port), handler) for port in ports]

    return Servers(vpc, make)


def resolver(vpc: LabVpc, address: str) -> Servers:
    """A DNS server on port 53 of one address, that knows one answer to A and one to AAAA."""
    return Servers(
        vpc, lambda seen: [socketserver.UDPServer((address, 53), type("Handler", (_Resolver,), {"seen": seen}))]
    )


def counter(vpc: LabVpc, port: int, *, namespace: str = "") -> Servers:
    """A TCP server that counts what it is sent."""
    return Servers(
        vpc, lambda seen: [_Tcp((_ANY, port), type("Handler", (_Counter,), {"seen": seen}))], namespace=namespace
    )


def patient(vpc: LabVpc, port: int) -> Servers:
    """A TCP server that is told how long to be silent before it says the first word."""
    return Servers(vpc, lambda seen: [_Tcp((_ANY, port), type("Handler", (_Patient,), {"seen": seen}))])


class _Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class _Page(BaseHTTPRequestHandler):
    seen: list[Visit]
    vpc: str

    def do_GET(self) -> None:
        """Answer with what the connection looks like from here."""
        visit = _visit(self.client_address, self.connection.getsockname()[0])
        self.seen.append(visit)
        page = f"I am {visit.target} in {self.vpc}, and you are {visit.source}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the name is the base class's
        """Be silent."""


class _Resolver(socketserver.BaseRequestHandler):
    seen: list[Visit]

    def handle(self) -> None:
        query, one = self.request
        self.seen.append(_visit(self.client_address, "A" if kind_of(query) == A else "AAAA"))
        address = _ADDRESSES[4 if kind_of(query) == A else 16]
        one.sendto(answer_to(query, address), self.client_address)


class _Counter(socketserver.StreamRequestHandler):
    seen: list[Visit]

    def handle(self) -> None:
        self.seen.append(_visit(self.client_address, self.connection.getsockname()[0]))
        total = 0
        while said := self.connection.recv(1 << 16):
            total += len(said)
        self.wfile.write(str(total).encode())


class _Patient(socketserver.StreamRequestHandler):
    seen: list[Visit]

    def handle(self) -> None:
        self.seen.append(_visit(self.client_address, self.connection.getsockname()[0]))
        seconds = float(self.rfile.readline())
        threading.Event().wait(seconds)
        self.wfile.write(b"still here\n")
        self.wfile.write(b"I heard: " + self.rfile.readline())
