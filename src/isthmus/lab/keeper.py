"""The process that holds a lab's packet path: ``python -m isthmus.lab.keeper NAME READY_FD``.

A packet path lives as long as the process that loaded it, so every lab has one in the background. It attaches the
ports, hands over the tables, and tells the packet path which neighbours the gateway's kernels found. On the pipe
READY_FD it says how it goes, one JSON object a line: ``{"say": …}``, and last ``{"hooks": …}`` or ``{"error": …}``. It
ends on SIGTERM. Between neighbours it answers what is asked about conversations.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Final, NamedTuple

from isthmus.datapath import Bindings, Capacity, Hook, PacketPath, PortBinding, Wanted
from isthmus.datapath.netns import inside
from isthmus.lab.flows.answers import Answers
from isthmus.lab.flows.service import Service
from isthmus.lab.plan import LabPlan, LabVpc, Link
from isthmus.lab.state import Objects, State
from isthmus.routing.neighbours import Neighbour, Neighbours
from isthmus.tables.address import Family, format_address
from isthmus.tables.entries import AttachmentKey

FLOWS: Final = 65_536
"""Conversations that a lab has room for, if its objects do not say."""

_READY_WITHIN_S: Final = 8.0
_ASK_AGAIN_S: Final = 0.3
_FALLBACK: Final[dict[str, tuple[Hook, ...]]] = {"auto": ("xdp", "generic"), "xdp": ("xdp",), "tc": ("tc",)}

_log = logging.getLogger("isthmus.lab.keeper")


class _Follower(NamedTuple):
    """The neighbours of one VPC's namespace, and which attachment each interface index there is."""

    neighbours: Neighbours
    attachments: dict[int, AttachmentKey]


class Keeper:
    """A loaded packet path and all that feeds it. Made, and used, inside the gateway's namespace."""

    def __init__(self, plan: LabPlan, path: PacketPath, service: Service, stack: ExitStack) -> None:
        """Follow the neighbours of every VPC's namespace; ``stack`` closes them."""
        self._path = path
        self._service = service
        self._followers: list[_Follower] = []
        self._by_attachment: dict[AttachmentKey, tuple[Neighbours, int]] = {}
        self._known: set[tuple[AttachmentKey, Family, int]] = set()
        self._complained: set[str] = set()
        for vpc in plan.vpcs:
            self._follow(vpc, stack)

    def _follow(self, vpc: LabVpc, stack: ExitStack) -> None:
        with inside(vpc.gateway_namespace):
            neighbours = stack.enter_context(closing(Neighbours()))
            indexes = {socket.if_nametoindex(link.inside): link.attachment for link in vpc.links}
        self._followers.append(_Follower(neighbours, indexes))
        self._by_attachment.update({key: (neighbours, index) for index, key in indexes.items()})

    def run(self, plan: LabPlan, stop: int) -> Iterator[None]:
        """Feed the packet path until the file descriptor ``stop`` is readable; yields once, when every host is found.

        TimeoutError if they are not found in time.
        """
        with select.epoll() as epoll:
            epoll.register(stop, select.EPOLLIN)
            epoll.register(self._path.event_fd, select.EPOLLIN)
            epoll.register(self._service.fileno(), select.EPOLLIN)
            for follower in self._followers:
                epoll.register(follower.neighbours.fileno(), select.EPOLLIN)
            wanted = {(link.attachment, f, a) for vpc in plan.vpcs for link, f, a in vpc.next_hops()}
            deadline = time.monotonic() + _READY_WITHIN_S
            waiting = True
            while True:
                if waiting and wanted <= self._known:
                    waiting = False
                    yield
                if waiting:
                    self._ask(wanted - self._known)
                    if time.monotonic() > deadline:
                        raise TimeoutError(_not_found(wanted - self._known, self._complained))
                ready = {
                    fd for fd, _ in epoll.poll(_sooner(_ASK_AGAIN_S if waiting else None, self._service.timeout()))
                }
                if stop in ready:
                    return
                self._feed(ready)
                self._service.serve()

    def _feed(self, ready: set[int]) -> None:
        """Tell the packet path what changed, and ask for what it wants."""
        for follower in self._followers:
            if follower.neighbours.fileno() in ready:
                try:
                    for neighbour in follower.neighbours.changes():
                        self._tell(follower, neighbour)
                except OSError as error:
                    self._complain(f"the kernel does not tell all neighbours: {error}")
        if self._path.event_fd in ready:
            self._ask(one for one in self._path.poll() if isinstance(one, Wanted))

    def _tell(self, follower: _Follower, neighbour: Neighbour) -> None:
        key = follower.attachments.get(neighbour.interface)
        if key is None:
            return
        known = (key, neighbour.family, neighbour.address)
        noted = False
        try:
            noted = self._path.set_neighbor(*known, neighbour.mac)
            if not noted and neighbour.mac is not None:
                self._complain(f"{key.vpc} on {key.interface} has more neighbours than the packet path has room for")
        except OSError as error:
            self._complain(f"the packet path takes no neighbour of {key.vpc}: {error}")
        if noted and neighbour.mac is not None:
            self._known.add(known)
        else:
            self._known.discard(known)

    def _ask(self, wanted: Iterable[tuple[AttachmentKey, Family, int]]) -> None:
        for key, family, address in wanted:
            if key in self._by_attachment:
                neighbours, index = self._by_attachment[key]
                try:
                    neighbours.resolve(index, family, address)
                except OSError as error:
                    self._complain(f"the kernel looks for no neighbour: {error}")

    def _complain(self, what: str) -> None:
        """Log it the first time: the log of a lab is no place for a line a packet."""
        if what not in self._complained:
            self._complained.add(what)
            _log.warning("%s", what)


def load(objects: Objects, stack: ExitStack) -> tuple[PacketPath, dict[str, str]]:
    """Load and attach the packet path of a lab, inside its gateway's namespace; and the hook of every port."""
    room = Capacity(flows=objects.tables.flows or FLOWS)
    path = stack.enter_context(closing(PacketPath.load(capacity=room)))
    ports: dict[str, PortBinding] = {}
    namespaces: dict[AttachmentKey, PortBinding] = {}
    for _, link in objects.plan.links():
        port = attach(path, link, link.port, link.port_mac)
        ports[link.attachment.interface] = port
        namespaces[link.attachment] = attach(path, link, link.kernel_port, link.kernel_mac)
    path.apply(objects.tables, Bindings(ports, namespaces))
    return path, {link.port: ports[link.attachment.interface].hook for _, link in objects.plan.links()}


def attach(path: PacketPath, link: Link, interface: str, mac: str) -> PortBinding:
    """Attach an interface at the hook that is asked for, or the next best where any will do."""
    index = socket.if_nametoindex(interface)
    hooks = _FALLBACK[link.hook]
    for hook in hooks:
        try:
            path.attach(index, hook)
        except OSError as error:
            if hook == hooks[-1]:
                raise
            _log.warning("%s: %s is refused (%s): trying the next hook", interface, hook, error)
        else:
            return PortBinding(index, bytes.fromhex(mac.replace(":", "")), link.mtu, hook)
    raise AssertionError(hooks)


def _sooner(one: float | None, other: float | None) -> float | None:
    """The lesser of two times to wait; None is for ever."""
    return min((seconds for seconds in (one, other) if seconds is not None), default=None)


def _not_found(missing: set[tuple[AttachmentKey, Family, int]], complaints: set[str]) -> str:
    some = [f"{format_address(family, address)} of {key.vpc}" for key, family, address in sorted(missing)]
    why = "".join(f"; {complaint}" for complaint in sorted(complaints))
    return f"the gateway can't reach {', '.join(some[:5])}{' and more' if len(some) > 5 else ''}{why}"


@contextmanager
def _stop_requests() -> Iterator[int]:
    """A file descriptor that becomes readable on SIGTERM or SIGINT."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(-1)
        os.close(writer)
        os.close(reader)


def _keep(state: State, ready: int) -> None:
    state.write_keeper()
    objects = state.objects()
    with _stop_requests() as stop, inside(objects.plan.gateway_namespace), ExitStack() as stack:
        path, hooks = load(objects, stack)
        _tell(ready, {"say": "packet path loaded and attached"})
        service = stack.enter_context(closing(Service(state.socket, Answers(path, objects.tables).answer)))
        for _ in Keeper(objects.plan, path, service, stack).run(objects.plan, stop):
            state.write_json("ready.json", {"hooks": hooks})
            _tell(ready, {"hooks": hooks})
            os.close(ready)
            _log.info("ready: %s", hooks)
        _log.info("asked to stop")


def _tell(ready: int, message: dict[str, object]) -> None:
    os.write(ready, json.dumps(message).encode() + b"\n")


def main() -> int:
    """Keep a lab until asked to stop. 1 if it could not be kept; the log says why."""
    name, ready = sys.argv[1], int(sys.argv[2])
    os.set_inheritable(ready, False)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        _keep(State(name), ready)
    except BrokenPipeError:
        _log.error("who started this has gone: stopping")
        return 1
    except Exception as error:  # noqa: BLE001 -- the last frame of the process: whatever it is, `up` must hear of it
        _log.exception("stopped")
        try:
            _tell(ready, {"error": f"{type(error).__name__}: {error}"})
        except OSError:
            _log.error("and nobody listens")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
