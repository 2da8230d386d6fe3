"""Try all cases of a lab at once, and compare what was seen with what the twin expects."""

from __future__ import annotations

import resource
import secrets
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import Any, Final, NamedTuple

from isthmus.datapath.netns import inside
from isthmus.lab.apply import own_tables
from isthmus.lab.live import Ask, live_routes
from isthmus.lab.plan import LabPlan
from isthmus.lab.probe.cases import OWN_PORTS, Case, Proto, cases, hook_of
from isthmus.lab.probe.expect import Arrival, Expected, Outcome, Twin
from isthmus.lab.probe.sockets import Client, Ears, serve
from isthmus.lab.probe.wire import Sighting, Watch
from isthmus.lab.service.ask import NobodyAnswers, Refused, ask
from isthmus.lab.state import LabError, Objects, State
from isthmus.tables.address import Family, format_address

QUIET_S: Final = 0.3
"""How long nothing may arrive of what must not."""

_GIVE_UP_S: Final = 3.0  # longer than the second SYN (1 s), so that one lost packet is no failure
_LISTEN_S: Final = 0.05
_TOKEN_BYTES: Final = 16

_AGAIN_S: Final = 0.6  # when a datagram is sent again

_Served = tuple[str, Family, Proto, int]  # VPC, family, protocol, port


class Seen(NamedTuple):
    """What became of a case."""

    outcome: Outcome
    arrivals: tuple[Arrival, ...]
    error: str


class Result(NamedTuple):
    """A case, what the twin says, what was seen, and why they differ (empty: they do not)."""

    case: Case
    hook: str
    expected: Expected
    seen: Seen
    why: str

    def row(self) -> dict[str, Any]:
        """As ``lab probe -o json`` prints it."""
        case, expected = self.case, self.expected
        icmp = case.proto == "icmp"
        return {
            "from": case.source_vpc,
            "to": case.target_vpc,
            "src": format_address(case.family, case.source),
            "dst": format_address(case.family, case.target),
            "proto": case.proto,
            "sport": None if icmp else case.sport,
            "dport": None if icmp else case.dport,
            "hook": self.hook,
            "expected": expected.outcome,
            "reason": expected.reason or None,
            "expectedArrival": _arrival(case.family, expected.arrival),
            "seen": self.seen.outcome,
            "arrivals": [_arrival(case.family, arrival) for arrival in self.seen.arrivals],
            "ok": not self.why,
            "why": self.why or None,
        }


class Arrivals:
    """Whose case it was that arrived. What it holds tells that. A SYN holds nothing: it is known by its ports.

    But NAT may give one case the port of another; then what follows the SYN shows whose it was.
    """

    def __init__(self, tokens: Mapping[Case, bytes]) -> None:
        """``tokens``: what the client of each case says."""
        self._by_token = {token: case for case, token in tokens.items()}
        self._by_ports = {(case.proto, case.sport, case.dport): case for case in tokens}
        self._found: dict[Case, dict[Arrival, tuple[str, Sighting]]] = {case: {} for case in tokens}
        self._owners: dict[tuple[str, Sighting], Case] = {}

    def note(self, vpc: str, sighting: Sighting) -> None:
        """It was seen at the hosts of a VPC; what is of no case is passed over."""
        stream = (vpc, sighting._replace(said=b""))
        owner = self._by_token.get(sighting.said)
        if owner:
            self._owners[stream] = owner
        elif sighting.said and sighting.proto == "tcp":  # the answer to a case, or somebody else's
            return
        else:
            owner = self._by_ports.get((sighting.proto, sighting.sport, sighting.dport))
        if owner:
            self._found[owner][Arrival(vpc, sighting.source, sighting.target)] = stream

    def of(self, case: Case) -> tuple[Arrival, ...]:
        """How a case has arrived."""
        return tuple(arrival for arrival, stream in self._found[case].items() if self._owners.get(stream, case) is case)


def probe(objects: Objects, hooks: dict[str, str], limit: int) -> tuple[list[Result], int]:
    """Try at most ``limit`` cases in a lab that is up; the results, and how many cases there are."""
    _allow_files()
    _forget_earlier_probes(objects.plan)
    chosen, total = cases(objects, limit)
    tables = own_tables(objects)
    with _answering(objects.plan) as gateway:
        twin = Twin(objects.plan, tables, live_routes(tables, gateway))
        expected = {case: twin.expect(case) for case in chosen}
    seen: dict[Case, Seen] = {}
    for tick in sorted({case.tick for case in chosen}):
        seen.update(_try(objects.plan, {case: e for case, e in expected.items() if case.tick == tick}))
    results = [
        Result(c, hook_of(objects.plan, hooks, c), expected[c], seen[c], difference(c, expected[c], seen[c]))
        for c in chosen
    ]
    return results, total


def _try(plan: LabPlan, expected: dict[Case, Expected]) -> dict[Case, Seen]:
    """Start everything, and listen until all that has to come has come, and nothing else for a while."""
    tokens = {case: secrets.token_bytes(_TOKEN_BYTES) for case in expected}
    arrivals = Arrivals(tokens)
    with ExitStack() as stack:
        ears = stack.enter_context(closing(Ears()))
        _watch(plan, ears, stack, arrivals)
        foreign = _serve(plan, ears, expected)
        clients = _start(plan, ears, tokens)
        started = time.monotonic()
        quiet_until = started + (0 if all(e.outcome == "answered" for e in expected.values()) else QUIET_S)
        again_at = started + _AGAIN_S
        while time.monotonic() < started + _GIVE_UP_S:
            ears.listen(_LISTEN_S)
            seen = {c: _seen(c, e, clients[c], arrivals.of(c), foreign) for c, e in expected.items()}
            missing = [c for c, e in expected.items() if _less(seen[c], e)]
            if not missing and time.monotonic() >= quiet_until:
                break
            if time.monotonic() >= again_at:
                again_at += _GIVE_UP_S
                for case in missing:
                    clients[case].again()
    return seen


def _less(seen: Seen, expected: Expected) -> bool:
    """True while something expected may still come."""
    order = ("dropped", "delivered", "answered")
    if expected.arrival and not any(map(expected.fits, seen.arrivals)):
        return True
    return order.index(seen.outcome) < order.index(expected.outcome)


def _seen(case: Case, expected: Expected, client: Client, arrivals: tuple[Arrival, ...], foreign: set[_Served]) -> Seen:
    """Where another program serves, a TCP connection and an arrived datagram are all the answer there will be."""
    served = {(arrival.vpc, case.family, case.proto, case.dport) for arrival in arrivals} & foreign
    silent = case.proto == "udp" and expected.outcome == "answered"
    answered = client.answered or bool(served and (client.connected or silent))
    return Seen("answered" if answered else "delivered" if arrivals else "dropped", arrivals, client.error)


def _watch(plan: LabPlan, ears: Ears, stack: ExitStack, arrivals: Arrivals) -> None:
    """Note every arrival, in whichever VPC: what arrives at the wrong one must be seen too."""

    def look(watch: Watch, which: int) -> None:
        for found in watch.sightings(watch.sockets[which]):
            arrivals.note(watch.vpc, found)

    for vpc in plan.vpcs:
        with inside(vpc.host_namespace):
            watch = stack.enter_context(closing(Watch(vpc)))
        for which, one in enumerate(watch.sockets):
            ears.on(one, lambda watch=watch, which=which: look(watch, which))  # type: ignore[misc]


def _serve(plan: LabPlan, ears: Ears, expected: dict[Case, Expected]) -> set[_Served]:
    """Servers wherever a case may arrive, also those that must not; which ports another program serves already."""
    needed: dict[str, set[tuple[Family, Proto, int]]] = defaultdict(set)
    for case, what in expected.items():
        if case.proto != "icmp":
            for name in {case.target_vpc, what.arrival.vpc if what.arrival else case.target_vpc}:
                needed[name].add((case.family, case.proto, case.dport))
    foreign: set[_Served] = set()
    for vpc in plan.vpcs:
        with inside(vpc.host_namespace):
            for family, proto, port in sorted(needed[vpc.name]):
                if not serve(ears, family, proto, port):
                    foreign.add((vpc.name, family, proto, port))
    return foreign


def _start(plan: LabPlan, ears: Ears, tokens: Mapping[Case, bytes]) -> dict[Case, Client]:
    by_vpc: dict[str, list[Case]] = defaultdict(list)
    for case in tokens:
        by_vpc[case.source_vpc].append(case)
    clients: dict[Case, Client] = {}
    for vpc in plan.vpcs:
        with inside(vpc.host_namespace):
            clients.update({case: Client(ears, case, tokens[case]) for case in by_vpc[vpc.name]})
    return clients


def difference(case: Case, expected: Expected, seen: Seen) -> str:
    """How what was seen differs from what was expected; empty if it does not."""
    wrong = [arrival for arrival in seen.arrivals if not expected.fits(arrival)]
    if wrong:
        return f"arrived at {_words(case.family, wrong[0])}"
    if len(seen.arrivals) > 1:
        return f"arrived from several addresses: {'; '.join(_words(case.family, each) for each in seen.arrivals)}"
    if expected.arrival and not seen.arrivals and seen.outcome == expected.outcome:
        return f"was {seen.outcome} without being seen to arrive"
    if seen.outcome != expected.outcome:
        return f"was {seen.outcome}" + (f" ({seen.error})" if seen.error else "")
    return ""


def _words(family: Family, arrival: Arrival) -> str:
    return f"{arrival.vpc} as {_text(family, arrival.source)} > {format_address(family, arrival.target)}"


def _text(family: Family, address: int | None) -> str | None:
    return None if address is None else format_address(family, address)


def _arrival(family: Family, arrival: Arrival | None) -> dict[str, str | None] | None:
    if arrival is None:
        return None
    return {
        "vpc": arrival.vpc,
        "src": _text(family, arrival.source),
        "dst": format_address(family, arrival.target),
    }


def _forget_earlier_probes(plan: LabPlan) -> None:
    """End their conversations: a packet that looks like an answer in one of them would pass."""
    ports = f"port={OWN_PORTS.start}-{OWN_PORTS.stop - 1}"
    with _answering(plan) as gateway:
        gateway({"ask": "clear", "filter": [ports]})


@contextmanager
def _answering(plan: LabPlan) -> Iterator[Ask]:
    """Asks the gateway of a lab. LabError if it does not answer."""
    try:
        yield partial(ask, State(plan.name).socket)
    except (NobodyAnswers, Refused) as error:
        raise LabError(f"lab {plan.name} does not answer: {error}") from error


def _allow_files() -> None:
    """Every case has sockets of its own."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
