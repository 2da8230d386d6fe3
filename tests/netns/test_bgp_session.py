"""Our BGP against a real BIRD: what is agreed, thousands of routes both ways, and what becomes of nonsense.

The network is that of tests/measure/bird.py. An external is a plain speaker of ours; between BIRD and us there may be a
relay that spoils what passes.
"""

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from isthmus.routing.bgp import attributes as a
from isthmus.routing.bgp.attributes import AsPath, Attributes, Communities, attribute
from isthmus.routing.bgp.session import Down, Event, Session, Speaker, State, Up
from isthmus.routing.bgp.updates import Batch, EndOfRib
from isthmus.routing.bgp.wire import LONGEST_EXTENDED, Kind, message
from isthmus.tables.address import FAMILIES, Family, Prefix, parse_address
from isthmus.tables.learned import prefix_key
from tests.measure.bird import ASN, ROUTER_ID, Bird, bird, wait_for
from tests.measure.internet import External, encoded, speak, table

NAME = "isthmus-test-bgp"
FEED = "127.1.0.1"
SCALE = 0.003  # of the Internet: 3,150 IPv4 and 690 IPv6 routes
HOPS: dict[Family, int] = {4: parse_address("10.9.0.2")[1], 6: parse_address("fd09::2")[1]}
PATIENCE_S = 15.0


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Bird]:
    with bird(NAME, tmp_path, externals=1) as one:
        yield one


@pytest.fixture
def session(daemon: Bird) -> Iterator[Session]:
    with closing(Session(Speaker(ASN, ROUTER_ID + 1, ASN), lambda: daemon.connect(FEED))) as one:
        yield one


def pump_until(session: Session, enough: Callable[[list[Event]], object]) -> list[Event]:
    """Have it work until what happened is enough, and tell what happened."""
    events: list[Event] = []
    end = time.monotonic() + PATIENCE_S
    with select.epoll() as epoll:
        epoll.register(session.fileno(), session.events())
        while not enough(events):
            assert time.monotonic() < end, (session.state, session.ended, events[-3:])
            events += session.pump(time.monotonic())
            if not enough(events):
                epoll.poll(min(session.timeout(), 0.1))
    return events


def is_up(events: list[Event]) -> bool:
    return any(isinstance(one, Up) for one in events)


def is_down(events: list[Event]) -> bool:
    return any(isinstance(one, Down) for one in events)


def told(events: list[Event]) -> dict[tuple[Family, int], Attributes | None]:
    """What was said last of each prefix: while BIRD tells its table, what comes in meanwhile may be told twice."""
    return {
        (one.family, key): attributes for one in events if isinstance(one, Batch) for attributes, _, key in one.routes()
    }


def external(daemon: Bird, updates: bytes) -> socket.socket:
    connection = daemon.connect("127.2.0.1", blocking=True)
    speak(connection, ASN + 1, ROUTER_ID + 101, FAMILIES, updates)
    return connection


def test_everything_is_agreed_on(session: Session, daemon: Bird) -> None:
    events = pump_until(session, lambda events: sum(isinstance(one, EndOfRib) for one in events) == 2)
    (up,) = (one for one in events if isinstance(one, Up))
    both = frozenset(FAMILIES)
    assert (up.agreement.families, up.agreement.receive, up.agreement.send) == (both, both, both)
    assert (up.agreement.internal, up.agreement.hold_time, up.agreement.longest) == (True, 30, LONGEST_EXTENDED)
    shown = daemon.ask("show", "protocols", "all", "feed")
    assert "Established" in shown
    for capability in ("Route refresh", "Extended message", "4-octet AS numbers", "ADD-PATH", "Graceful restart"):
        assert shown.count(capability) >= 2, f"both sides have {capability}"


def test_thousands_of_routes_are_learned_with_their_attributes_and_their_loss_too(
    session: Session, daemon: Bird
) -> None:
    routes = {family: table(External(ASN + 1, HOPS), family, scale=SCALE) for family in FAMILIES}
    sent = {(family, key): some for family in FAMILIES for some, keys in routes[family] for key in keys}
    with external(daemon, b"".join(encoded(routes[family], family) for family in FAMILIES)):
        events = pump_until(session, lambda events: len(told(events)) >= len(sent))
        assert told(events) == sent
    pump_until(session, lambda _: session.counts.withdrawn >= len(sent))
    assert session.counts.treated_as_withdrawn == session.counts.discarded == session.counts.foreign == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_thousands_of_routes_are_announced_withdrawn_and_said_again(
    session: Session, daemon: Bird, family: Family
) -> None:
    keys = [1 << 24 | 0x140000 + number for number in range(5000)]
    first = Attributes((family, HOPS[family]), AsPath.sequence(4_200_000_000), med=70, communities=Communities.of(5))
    second = first._replace(med=170, next_hop=(family, HOPS[family] + (1 << (96 if family == 4 else 0))))
    for path_id, some in ((1, first), (2, second)):
        session.announce(family, keys, some, path_id)
    counted = ("show", "route", "count", "table", f"master{family}")
    pump_until(session, lambda _: "10001 of 10001" in daemon.ask(*counted))  # two paths of each, and the link
    one = daemon.ask("show", "route", "all", "20.0.0.0/24" if family == 4 else "1400::/24")
    assert one.count("BGP.as_path: 4200000000") == 2
    assert "BGP.med: 70" in one
    assert "BGP.med: 170" in one
    assert "BGP.community: (0,5)" in one
    session.withdraw(family, keys[1000:], 2)
    session.withdraw(family, [*keys[:10], 2], 1)
    pump_until(session, lambda _: "5991 of 5991" in daemon.ask(*counted))
    before = imports(daemon, family)
    reload_in(daemon)
    pump_until(session, lambda _: imports(daemon, family) >= before + 5990)
    assert "5991 of 5991" in daemon.ask(*counted)


def imports(daemon: Bird, family: Family) -> int:
    """How many updates of a family BIRD has received on the feed."""
    shown = daemon.ask("show", "protocols", "all", "feed").partition(f"Channel ipv{family}")[2]
    return int(shown.partition("Import updates:")[2].split()[0])


def reload_in(daemon: Bird) -> None:
    """Have BIRD ask for all again (ROUTE-REFRESH); a restricted birdc may not."""
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(daemon.folder / "ctl"))
        control.settimeout(PATIENCE_S)
        control.sendall(b"reload in feed\n")
        heard = b""
        while b"reloading" not in heard:
            heard += control.recv(4096)


def test_after_a_reset_by_bird_all_is_said_again(session: Session, daemon: Bird) -> None:
    session.announce(4, [prefix_key(Prefix.parse("20.0.0.0/24"))], Attributes((4, HOPS[4])))
    pump_until(session, lambda _: "20.0.0.0/24" in daemon.ask("show", "route"))
    # nonsense, as if from us: an ORIGIN that says it is 300 bytes long, without routes
    session._stream.write(message(Kind.UPDATE, b"\0\0\0\4\x50\1\1\x2c"))  # type: ignore[union-attr]
    events = pump_until(session, is_down)
    assert [one.reason for one in events if isinstance(one, Down)] == ["the peer says: malformed attribute list (3/1)"]
    assert session.state is State.IDLE
    pump_until(session, is_up)
    pump_until(session, lambda _: "20.0.0.0/24" in daemon.ask("show", "route"))


class Spoiler:
    """Between us and BIRD: passes everything on, but for what ``spoil`` makes of what BIRD sends once ``on``."""

    def __init__(self, daemon: Bird, spoil: Callable[[bytes], bytes]) -> None:
        self.on = False
        self._daemon, self._spoil = daemon, spoil

    def connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        to_bird = self._daemon.connect(FEED, blocking=True)
        to_bird.settimeout(None)
        for source, target, spoil in ((theirs, to_bird, None), (to_bird, theirs, self._spoil)):
            threading.Thread(target=self._relay, args=(source, target, spoil), daemon=True).start()
        return ours

    def _relay(self, source: socket.socket, target: socket.socket, spoil: Callable[[bytes], bytes] | None) -> None:
        try:
            while data := source.recv(1 << 16):
                target.sendall(spoil(data) if spoil and self.on else data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def spoil_marker(data: bytes) -> bytes:
    return b"\0" + data[1:]


def spoil_kind(data: bytes) -> bytes:
    return data[:18] + b"\x63" + data[19:]


def well_known_attribute(data: bytes) -> bytes:
    unknown = attribute(a.TRANSITIVE, 99, b"")
    return message(Kind.UPDATE, b"\0\0" + len(unknown).to_bytes(2, "big") + unknown) + data


@pytest.mark.parametrize(
    ("spoil", "reason", "logged"),
    [
        (spoil_marker, "connection not synchronized (1/1)", "Connection not synchronized"),
        (spoil_kind, "bad message type (1/3)", "Bad message type"),
        (well_known_attribute, "unrecognized well-known attribute (3/2)", "Unrecognized well-known attribute"),
    ],
)
def test_nonsense_ends_the_session_and_bird_is_told_why(
    daemon: Bird, spoil: Callable[[bytes], bytes], reason: str, logged: str
) -> None:
    spoiler = Spoiler(daemon, spoil)
    routes = table(External(ASN + 1, HOPS), 4, scale=0.001)
    with closing(Session(Speaker(ASN, ROUTER_ID + 1, ASN), spoiler.connect)) as session:
        pump_until(session, is_up)
        spoiler.on = True
        with external(daemon, encoded(routes, 4)):
            events = pump_until(session, is_down)
        assert events[-1] == Down(reason)
        spoiler.on = False
        pump_until(session, lambda _: logged in daemon.log())
        assert f"feed: Received: {logged}" in daemon.log()
        pump_until(session, is_up)


def test_a_daemon_of_another_as_is_refused_and_told(daemon: Bird) -> None:
    with closing(Session(Speaker(ASN, ROUTER_ID + 1, 65009), lambda: daemon.connect(FEED))) as session:
        pump_until(session, lambda _: "bad peer AS (2/2)" in session.ended)
        pump_until(session, lambda _: "Bad peer AS" in daemon.log())


def test_closing_tells_bird_and_being_silent_too_long_ends_the_session(daemon: Bird) -> None:
    session = Session(Speaker(ASN, ROUTER_ID + 1, ASN), lambda: daemon.connect(FEED))
    pump_until(session, is_up)
    list(session.pump(time.monotonic()))
    later = time.monotonic() + 31
    events = list(session.pump(later))
    events += session.pump(later + 31)
    assert Down("hold timer expired (4/0)") in events
    session.close()
    with closing(Session(Speaker(ASN, ROUTER_ID + 1, ASN), lambda: daemon.connect(FEED))) as other:
        pump_until(other, is_up)
    wait_for(lambda: "Administrative shutdown" in daemon.log())
