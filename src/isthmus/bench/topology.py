"""The namespaces of the bench: one set of three for each subject, so that subjects can take turns without being
rebuilt.

    NAME-source            NAME-gateway               NAME-sink
      wire ------veth------ in      out ------veth------ wire

Every name begins with ``isthmus-bench-`` and the number of the process that made it. ``Topology`` removes its own when
it is closed, and ``sweep`` those of processes that died before they could.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from pyroute2 import IPRoute, netns

from isthmus.bench.configuration import GATEWAY
from isthmus.datapath.netns import NAMED, inside
from isthmus.datapath.offloads import prepare_for_xdp

PREFIX: Final = "isthmus-bench-"

_PERMANENT: Final = 0x80  # NUD_PERMANENT


class Port(NamedTuple):
    """One end of a veth."""

    namespace: str
    name: str
    ifindex: int
    mac: str


class Topology:
    """Three namespaces in a row, interfaces up, no addresses yet. A context manager that removes them."""

    def __init__(self, name: str) -> None:
        """``name`` tells this set from others of the same process. Raises ``PermissionError`` without CAP_NET_ADMIN."""
        self.name = f"{PREFIX}{os.getpid()}-{name}"
        self.source = f"{self.name}-source"
        self.gateway = f"{self.name}-gateway"
        self.sink = f"{self.name}-sink"
        self._made: list[str] = []
        with ExitStack() as undo:
            undo.callback(self.close)
            for namespace in (self.source, self.gateway, self.sink):
                netns.create(namespace)
                self._made.append(namespace)
                write_sysctl(namespace, "ipv6/conf/default/disable_ipv6", 1)  # no packets but those of the bench
                with _links(namespace) as links:
                    links.link("set", index=1, state="up")
            self.source_port, self.input = _wire(self.gateway, "in", self.source)
            self.sink_port, self.output = _wire(self.gateway, "out", self.sink)
            undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the namespaces, and with them all that is inside."""
        while self._made:
            with suppress(FileNotFoundError):
                netns.remove(self._made.pop())


def sweep() -> list[str]:
    """Remove namespaces that a bench left behind whose process is gone; their names."""
    left = [path.name for path in NAMED.glob(f"{PREFIX}*") if not _alive(path.name)]
    for name in left:
        netns.remove(name)
    return left


def _alive(name: str) -> bool:
    process = name.removeprefix(PREFIX).partition("-")[0]
    return not process.isdigit() or Path(f"/proc/{process}").exists()


@contextmanager
def _links(namespace: str) -> Iterator[IPRoute]:
    with inside(namespace), IPRoute() as links:
        yield links


def _wire(gateway: str, name: str, other: str) -> tuple[Port, Port]:
    """A veth between the gateway and another namespace, up: (the other's end, the gateway's end)."""
    with _links(gateway) as links, (NAMED / other).open("rb") as far:
        links.link("add", ifname=name, kind="veth", peer={"ifname": "wire", "net_ns_fd": far.fileno()})
    return _up(other, "wire"), _up(gateway, name)


def _up(namespace: str, name: str) -> Port:
    with _links(namespace) as links:
        (index,) = links.link_lookup(ifname=name)
        links.link("set", index=index, state="up")
        (link,) = links.get_links(index)
        return Port(namespace, name, index, str(link.get_attr("IFLA_ADDRESS")))


def write_sysctl(namespace: str, name: str, value: int) -> None:
    """Set ``/proc/sys/net/NAME`` in a namespace."""
    with inside(namespace):
        Path("/proc/sys/net", name).write_text(str(value))


def take_redirected_frames(port: Port) -> None:
    """Let a veth that runs no program take the generator's frames."""
    with inside(port.namespace):
        prepare_for_xdp(port.name)


def add_host(port: Port, address: IPv4Address, gateway: Port) -> None:
    """Make the namespace of ``port`` a host with this one address, and the gateway's port its way to all others."""
    add_address(port, address, 32)
    add_neighbour(port, GATEWAY, gateway.mac)
    add_routes(port, [IPv4Network("0.0.0.0/0")], GATEWAY)


def add_address(port: Port, address: IPv4Address, length: int) -> None:
    """Give an interface an address."""
    with _links(port.namespace) as links:
        links.addr("add", index=port.ifindex, address=str(address), prefixlen=length)


def add_neighbour(port: Port, address: IPv4Address, mac: str) -> None:
    """Say who has an address behind an interface, so that nobody has to ask."""
    with _links(port.namespace) as links:
        links.neigh("add", ifindex=port.ifindex, dst=str(address), lladdr=mac, state=_PERMANENT)


def add_routes(port: Port, destinations: list[IPv4Network], via: IPv4Address) -> None:
    """Route networks through an interface, to a next hop that need not be in one of its networks."""
    with _links(port.namespace) as links:
        for destination in destinations:
            links.route("add", dst=str(destination), gateway=str(via), oif=port.ifindex, flags=["onlink"])
