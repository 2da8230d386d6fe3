"""The process that holds a lab's packet path: ``python -m isthmus.lab.keeper NAME READY_FD``.

A packet path lives as long as the process that loaded it, so every lab has one in the background. It attaches the
ports, hands over the tables, and tells the packet path what the gateway's kernels found (``feeds``). On the pipe
READY_FD it says how it goes, one JSON object a line: ``{"say": …}``, and last ``{"hooks": …}`` or ``{"error": …}``. It
ends on SIGTERM. Between neighbours it answers what is asked (``lab.service``), and goes over to other objects.
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
from pathlib import Path
from typing import Final

from isthmus.datapath import Bindings, Capacity, Hook, PacketPath, PortBinding
from isthmus.datapath.netns import inside
from isthmus.lab.apply import Application, drains, own_tables, places
from isthmus.lab.feeds import Complaints, DownBoard, LinkFeed, NeighbourFeed, Source, TunnelFeed
from isthmus.lab.flows.answers import Answers
from isthmus.lab.plan import LabPlan
from isthmus.lab.routes.answers import RouteAnswers
from isthmus.lab.routes.told import ToldOf
from isthmus.lab.service.questions import Questions
from isthmus.lab.service.service import Service
from isthmus.lab.state import Objects, State
from isthmus.lab.tagger import Tagger
from isthmus.routing.precedence import precedence
from isthmus.routing.router import Router
from isthmus.tables.address import FAMILIES, Family, format_address
from isthmus.tables.entries import AttachmentKey, Tables

FLOWS: Final = 65_536
"""Conversations that a lab has room for, if its objects do not say."""

_READY_WITHIN_S: Final = 8.0
_ASK_AGAIN_S: Final = 0.3
_FALLBACK: Final[dict[str, tuple[Hook, ...]]] = {"auto": ("xdp", "generic"), "xdp": ("xdp",), "tc": ("tc",)}

_Host = tuple[AttachmentKey, Family, int]  # a next hop on a link
_Vtep = tuple[Family, int]

_log = logging.getLogger("isthmus.lab.keeper")


class Keeper:
    """A loaded packet path and all that feeds it. Made, and used, inside the gateway's namespace.

    ``sources`` are heard as long as it runs; ``board`` is where they say what is down. Whoever else has something to
    tell (a routing daemon) is put among them before ``run``.
    """

    def __init__(self, plan: LabPlan, path: PacketPath, service: Service, stack: ExitStack) -> None:
        """Follow neighbours, links and the underlay; ``stack`` closes what does."""
        self._path = path
        self._service = service
        self._complaints = Complaints()
        self._neighbours = {vpc.name: NeighbourFeed(path, vpc, self._complaints, stack) for vpc in plan.vpcs}
        self._tunnels = TunnelFeed(path, plan, self._complaints, stack) if plan.vtep else None
        self.board = DownBoard(path)
        self.sources: list[Source] = [*self._neighbours.values(), LinkFeed(plan, self.board, self._complaints, stack)]
        if self._tunnels:
            self.sources.append(self._tunnels)
        self._router: Router | None = None

    def route_by(self, router: Router) -> None:
        """Have BGP too."""
        self._router = router
        self.sources.append(router)
        self.board.listeners.append(router.set_down)
        router.set_down(self.board.all())

    def run(self, plan: LabPlan, stop: int) -> Iterator[None]:
        """Feed the packet path until the file descriptor ``stop`` is readable; yields once, when every host is found.

        TimeoutError if they are not found in time.
        """
        with select.epoll() as epoll:
            for fd in (stop, self._path.event_fd, self._service.fileno(), *(each.fileno() for each in self.sources)):
                epoll.register(fd, select.EPOLLIN)
            hosts = {(link.attachment, f, a) for vpc in plan.vpcs for link, f, a in vpc.next_hops()}
            vteps = set(plan.remote_vteps)
            deadline = time.monotonic() + _READY_WITHIN_S
            waiting = True
            while True:
                if waiting:
                    missing = self._missing(hosts, vteps)
                    if not missing and (self._router is None or (self._router.settled and self._heard(plan))):
                        waiting = False
                        yield
                    elif time.monotonic() > deadline:
                        unsettled = self._router.unsettled() if self._router else []
                        raise TimeoutError(_not_found(missing, self._complaints.made, unsettled))
                    self._ask(missing)
                wait = _sooner(_ASK_AGAIN_S if waiting else None, self._service.timeout())
                if self._router:
                    wait = _sooner(wait, self._router.timeout())
                ready = {fd for fd, _ in epoll.poll(wait)}
                if stop in ready:
                    return
                for source in self.sources:
                    if source.fileno() in ready or source is self._router:
                        source.serve()
                if self._path.event_fd in ready:
                    self._ask(self._path.poll())
                self._service.serve()

    def _heard(self, plan: LabPlan) -> bool:
        """True if every external has told all that it is to tell."""
        ribs = {name: domain.rib for name, domain in self._router.domains.items()} if self._router else {}
        return all(
            external.vpc not in ribs or sum(map(ribs[external.vpc].count, FAMILIES)) >= len(external.told)
            for external in plan.externals
        )

    def _missing(self, hosts: set[_Host], vteps: set[_Vtep]) -> list[_Host | _Vtep]:
        """What has to be found before every host can be reached, and is not yet."""
        known = set[_Host]().union(*(feed.known for feed in self._neighbours.values()))
        return [*sorted(hosts - known), *sorted(vteps - self._tunnels.known if self._tunnels else ())]

    def _ask(self, wanted: Iterable[_Host | _Vtep]) -> None:
        for each in wanted:
            if len(each) == 3:
                key, family, address = each
                if key.vpc in self._neighbours:
                    self._neighbours[key.vpc].ask(key, family, address)
            elif self._tunnels:
                self._tunnels.ask(*each)


def load(objects: Objects, tables: Tables, stack: ExitStack) -> tuple[PacketPath, Bindings]:
    """Load and attach the packet path of a lab with these tables, inside its gateway's namespace."""
    room = Capacity(flows=objects.tables.flows or FLOWS)
    plan = objects.plan
    asked = {port.hook for port in plan.ports} | {link.hook for _, link in plan.links()}
    hooks = {hook for each in asked for hook in _FALLBACK[each]}
    path = stack.enter_context(closing(PacketPath.load(capacity=room, hooks=hooks)))
    ports = {port.interface: attach(path, port.hook, port.name, port.mac, port.mtu) for port in plan.ports}
    namespaces = {
        link.attachment: attach(path, link.hook, link.kernel_port, link.kernel_mac, link.mtu)
        for _, link in plan.links()
    }
    bindings = Bindings(ports, namespaces)
    path.apply(tables, bindings)
    return path, bindings


def route(objects: Objects, tables: Tables, path: PacketPath, keeper: Keeper, folder: Path, stack: ExitStack) -> Router:
    """BGP with the neighbours of every VPC that has some."""
    stack.enter_context(precedence())
    router = Router(
        tables,
        objects.model.vpcs,
        places(objects),
        path,
        folder,
        lambda down: keeper.board.tell("router", down),
        drain=drains(objects),
    )
    stack.enter_context(closing(router))
    keeper.route_by(router)
    return router


def attach(path: PacketPath, asked: str, interface: str, mac: str, mtu: int) -> PortBinding:
    """Attach an interface at the hook that is asked for, or the next best where any will do."""
    index = socket.if_nametoindex(interface)
    hooks = _FALLBACK[asked]
    for hook in hooks:
        try:
            path.attach(index, hook)
        except OSError as error:
            if hook == hooks[-1]:
                raise
            _log.warning("%s: %s is refused (%s): trying the next hook", interface, hook, error)
        else:
            return PortBinding(index, bytes.fromhex(mac.replace(":", "")), mtu, hook)
    raise AssertionError(hooks)


def _sooner(one: float | None, other: float | None) -> float | None:
    """The lesser of two times to wait; None is for ever."""
    return min((seconds for seconds in (one, other) if seconds is not None), default=None)


def _not_found(missing: list[_Host | _Vtep], complaints: set[str], unsettled: list[str]) -> str:
    if not missing:
        return f"BGP does not come up with {', '.join(unsettled)}"
    some = [
        f"{format_address(each[1], each[2])} of {each[0].vpc}"
        if len(each) == 3
        else f"the VTEP {format_address(*each)}"
        for each in missing
    ]
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
        tables = own_tables(objects)
        path, bindings = load(objects, tables, stack)
        tagger = stack.enter_context(Tagger(objects.plan)) if objects.plan.fabric else None
        _tell(ready, {"say": "packet path loaded and attached"})
        questions = Questions()

        def answer_for(applied: Objects) -> None:
            questions.add(Answers(path, applied.tables, tagger.counts if tagger else None).kinds)

        answer_for(objects)
        service = stack.enter_context(closing(Service(state.socket, questions.answer)))
        keeper = Keeper(objects.plan, path, service, stack)
        router = route(objects, tables, path, keeper, state.bgp, stack)
        questions.add(RouteAnswers(ToldOf(router)).kinds)
        questions.add(Application(state, path, bindings, router, answer_for).kinds)
        hooks = {port.name: bindings.ports[port.interface].hook for port in objects.plan.ports}
        for _ in keeper.run(objects.plan, stop):
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
