"""Requests about conversations, over a real socket, to a packet path that is only said to be one."""

import json
import select
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast

import pytest

from isthmus.datapath import PacketPath
from isthmus.datapath.conversations import Conversation, Ends, PoolUse, Records
from isthmus.lab.flows.answers import Answers
from isthmus.lab.service import service as module
from isthmus.lab.service.ask import NobodyAnswers, Refused, ask
from isthmus.lab.service.questions import Questions
from isthmus.lab.service.service import MOST_CLIENTS, MOST_REQUEST, Answer, Service
from isthmus.tables.address import parse_address
from isthmus.tables.entries import Nat, Origin, Pool, Side, SideKey, Tables, Vpc
from isthmus.tables.flows import TcpState

POOL = parse_address("192.0.2.0")[1], parse_address("192.0.2.3")[1]
HERE = Origin("Peering/red--isp")


class Remembering:
    """As much of a packet path as answers need: so many conversations, every other one of them of red."""

    def __init__(self, number: int) -> None:
        self.live = {slot: conversation(slot, "red" if slot % 2 else "blue") for slot in range(number)}
        self.conversations = self

    def __iter__(self) -> Iterator[Conversation]:
        yield from list(self.live.values())

    def end(self, one: Conversation) -> bool:
        return self.live.pop(one.slot, None) is not None

    def records(self) -> Records:
        return Records(len(self.live), 2, 1, 1000)

    def pool_use(self) -> list[PoolUse]:
        return [PoolUse("isp", 4, 6, POOL[0], 12), PoolUse("isp", 4, 47, POOL[1], 1), PoolUse("gone", 4, 17, 5, 1)]

    def exhausted(self) -> dict[SideKey, int]:
        return {SideKey("red--isp", "red"): 4, SideKey("blue--isp", "blue"): 0}


def conversation(slot: int, initiator: str) -> Conversation:
    address = parse_address("10.1.1.5")[1]
    one, other = Ends(address, address, slot, 80), Ends(address, POOL[0], 80, slot)
    return Conversation(slot, 1, None, initiator, "isp", 4, 17, one, other, TcpState(0), 300.0, True)


def side(peering: str, vpc: str, pool: Pool | None = None) -> tuple[SideKey, Side]:
    key = SideKey(peering, vpc)
    return key, Side(key, Nat.STATEFUL if pool else Nat.PLAIN, {}, {}, None, False, HERE, pool)


SHARED = Pool({4: (POOL,)}, ports=((1000, 1999), (3000, 3999)))
TABLES = Tables(
    vpcs={name: Vpc(name, True, False, (), {}, {}, HERE) for name in ("red", "blue", "isp")},
    sides=dict(
        [
            side("red--isp", "red", SHARED),
            side("red--isp", "isp"),
            side("blue--isp", "blue", SHARED),
            side("blue--isp", "isp"),
        ]
    ),
)


@contextmanager
def serving(where: Path, answer: Answer) -> Iterator[list[float]]:
    """A service in a loop of its own, as a keeper has one; and how long each round of it took, in seconds."""
    rounds: list[float] = []
    stop = threading.Event()

    def loop() -> None:
        with select.epoll() as epoll:
            epoll.register(service.fileno(), select.EPOLLIN)
            while not stop.is_set():
                timeout = service.timeout()
                epoll.poll(0.01 if timeout is None else min(timeout, 0.01))
                began = time.thread_time()
                service.serve()
                rounds.append(time.thread_time() - began)

    with closing(Service(where, answer)) as service:
        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield rounds
        finally:
            stop.set()
            thread.join()


@pytest.fixture
def where(tmp_path: Path) -> Path:
    return tmp_path / "ask"


def answers(path: Remembering) -> Answer:
    return Questions(Answers(cast(PacketPath, path), TABLES).kinds).answer


def test_list_shows_some_and_counts_all(where: Path) -> None:
    with serving(where, answers(Remembering(10))):
        found = ask(where, {"ask": "list", "filter": ["from=red"], "limit": 2})
        assert [row["sent"]["sport"] for row in found.pop("flows")] == [1, 3]
        assert found == {"total": 5, "shown": 2, "records": 10, "mappings": 3, "capacity": 1000}
        assert ask(where, {"ask": "list", "filter": [], "limit": 0})["flows"] == []


def test_clear_ends_those_that_match(where: Path) -> None:
    path = Remembering(10)
    with serving(where, answers(path)):
        assert ask(where, {"ask": "clear", "filter": ["vpc=blue"]}) == {"ended": 5}
        assert {one.initiator for one in path.live.values()} == {"red"}
        assert ask(where, {"ask": "clear", "filter": ["vpc=blue"]}) == {"ended": 0}


def test_pools_say_who_shares_them_and_how_much_there_is(where: Path) -> None:
    with serving(where, answers(Remembering(0))):
        found = ask(where, {"ask": "pools"})
    tcp, other, gone = found["pools"]
    sharers = [{"peering": "blue--isp", "vpc": "blue"}, {"peering": "red--isp", "vpc": "red"}]
    assert tcp == {"to": "isp", "address": "192.0.2.0", "proto": "tcp", "used": 12, "of": 2000, "sides": sharers}
    assert (other["proto"], other["of"], other["address"]) == (47, None, "192.0.2.3")
    assert (gone["of"], gone["sides"]) == (None, [])
    assert found["refused"] == [{"peering": "red--isp", "vpc": "red", "packets": 4}]


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"ask": "list", "filter": ["vpc=rde"], "limit": 1}, "no VPC is named rde"),
        ({"ask": "list", "filter": ["vcp=red"], "limit": 1}, "not a filter"),
        ({"ask": "list", "filter": [], "limit": -1}, "not a request"),
        ({"ask": "list", "filter": "vpc=red", "limit": 1}, "not a request"),
        ({"ask": "clear", "filter": ["vpc=red"] * 100}, "more than"),
        ({"ask": "dance"}, "not a request"),
        ({}, "not a request"),
    ],
)
def test_what_is_wrong_with_a_request_is_the_answer(where: Path, request_: dict[str, object], text: str) -> None:
    path = Remembering(3)
    with serving(where, answers(path)), pytest.raises(Refused, match=text):
        ask(where, request_)
    assert len(path.live) == 3


@pytest.mark.parametrize("said", [b"\n", b"not json\n", b"[" * 50_000 + b"\n", b'"list"\n', b"\xff\n", b""])
def test_what_is_no_request_is_answered_too(where: Path, said: bytes) -> None:
    with serving(where, answers(Remembering(3))):
        answer = json.loads(exchange(where, said))
    assert answer["error"] == "not a request"


def exchange(where: Path, said: bytes) -> bytes:
    with connected(where) as one:
        one.sendall(said)
        one.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: one.recv(1 << 16), b""))


def connected(where: Path) -> socket.socket:
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(10)
    one.connect(str(where))
    return one


def test_it_is_its_owner_s_alone(where: Path) -> None:
    with closing(Service(where, answers(Remembering(0)))):
        assert stat.S_IMODE(where.stat().st_mode) == 0o600


def test_a_full_table_is_answered_in_short_rounds(where: Path) -> None:
    with serving(where, answers(Remembering(65_536))) as rounds:
        found = ask(where, {"ask": "list", "filter": ["proto=udp"], "limit": 65_536})
    assert (found["total"], len(found["flows"])) == (65_536, 65_536)
    assert len(rounds) > 50
    assert sorted(rounds)[-10] < 0.05, "of the processor's time; a few rounds may meet a garbage collection"


def test_whoever_reads_nothing_costs_little_memory_and_is_left_behind(
    where: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.2)
    made = 0

    def much(_: object) -> Iterator[bytes]:
        nonlocal made
        while True:
            made += 1
            yield bytes(1000)

    with serving(where, much), connected(where) as one:
        one.sendall(b"{}\n")
        wait_for(lambda: "left behind" in caplog.text)
        assert made < 2000
        while one.recv(1 << 16):
            pass


def test_whoever_asks_nothing_is_left_behind(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.1)
    with serving(where, answers(Remembering(1))), connected(where) as one:
        one.sendall(b'{"ask": "pools"')
        assert one.recv(1) == b""


def test_a_request_without_end_is_cut_off(where: Path) -> None:
    with serving(where, answers(Remembering(1))), connected(where) as one:
        with pytest.raises(ConnectionError):
            one.sendall(bytes(100 * MOST_REQUEST))
        assert ask(where, {"ask": "pools"})["pools"]


def test_others_are_served_beside_one_who_is_slow(where: Path) -> None:
    with serving(where, answers(Remembering(1))), connected(where):
        assert ask(where, {"ask": "pools"}, patience_s=2)["pools"]


def test_when_there_are_too_many_the_rest_wait(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.3)
    with serving(where, answers(Remembering(1))):
        idle = [connected(where) for _ in range(MOST_CLIENTS)]
        try:
            assert ask(where, {"ask": "pools"}, patience_s=5)["pools"], "when those who said nothing were left behind"
        finally:
            for one in idle:
                one.close()


def test_an_answer_that_fails_ends_with_its_connection(where: Path, caplog: pytest.LogCaptureFixture) -> None:
    def failing(request: object) -> Iterator[bytes]:
        yield b'{"flows": ['
        if request:
            raise KeyError("a VPC that is gone")
        yield b"]}"

    with serving(where, failing):
        with pytest.raises(NobodyAnswers, match="broke off"):
            ask(where, {"ask": "list"})
        assert "a VPC that is gone" in caplog.text
        assert ask(where, {}) == {"flows": []}


def test_whoever_leaves_is_not_worked_for(where: Path) -> None:
    left = threading.Event()

    def endless(_: object) -> Iterator[bytes]:
        try:
            while True:
                yield b""
        finally:
            left.set()

    with serving(where, endless):
        with connected(where) as one:
            one.sendall(b"{}\n")
            assert not left.wait(0.05)
        assert left.wait(5)


def test_nobody_answers(where: Path) -> None:
    with pytest.raises(NobodyAnswers, match="No such file"):
        ask(where, {"ask": "pools"})
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(where))
        with pytest.raises(NobodyAnswers, match="refused"):
            ask(where, {"ask": "pools"})
        deaf.listen()
        with pytest.raises(NobodyAnswers, match="timed out"):
            ask(where, {"ask": "pools"}, patience_s=0.05)


def wait_for(done: Callable[[], bool]) -> None:
    stop = time.monotonic() + 5
    while not done():
        assert time.monotonic() < stop
        threading.Event().wait(0.01)
