"""Two CPUs take up the same conversations at the same moment, while others sweep and change the configuration.

Whoever is first: both packets of a conversation leave alike, no public port has two owners, and nothing is lost count
of.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from random import Random

import pytest

from isthmus.datapath import Capacity
from isthmus.tables.entries import Timeouts
from isthmus.tables.flows import ticks
from tests.differential.compare import Bench
from tests.differential.frames import ACK, ICMP, SYN, TCP, UDP, Ends, ends, read
from tests.differential.nat import PLACES, PORTS, frame, host, join, network
from tests.differential.place import XDP, bench
from tests.differential.processors import Job, Processors, Ran, Rounds, at_once, overlapping, runner

LEAST_OVERLAP = 0.15
"""Of rounds in which both packets must have been under way at once, else the test shows nothing."""


@pytest.fixture(scope="module")
def place() -> Iterator[Bench]:
    with bench(Capacity(flows=1 << 13), hooks=XDP) as made:
        yield made


@pytest.fixture
def clean(place: Bench) -> Bench:
    """Nothing is remembered."""
    place.forget()
    return place


def job(place: Bench, vpc: str, own: Ends, flags: int = SYN) -> Job:
    return frame(vpc, own, flags), place.ifindex[PLACES[vpc]]


def told(out: bytes | None) -> Ends:
    """Whom a frame that left is from and to."""
    assert out is not None, "dropped"
    found = read(out)
    assert found is not None
    own = ends(out, found)
    assert own is not None
    return own


def answer(place: Bench, seen: Ends) -> Ends:
    """Whom the answer of t to what it saw reaches."""
    run = runner(place.path)
    return told(run(*job(place, "t", seen.mirror, SYN | ACK)))


def owners(place: Bench, sent: list[Ends], ran: list[Ran]) -> None:
    """Answers go to whoever sent, as it sent it."""
    for own, one in zip(sent, ran, strict=True):
        assert answer(place, told(one.out)) == own.mirror


@pytest.mark.parametrize("per_destination", [False, True])
@pytest.mark.parametrize("proto", [TCP, UDP, ICMP[4]])
def test_both_packets_of_a_new_conversation_leave_alike(clean: Bench, proto: int, per_destination: bool) -> None:
    """The same first packet on both CPUs: one flow, one mapping."""
    join(clean, network(pool="198.18.0.0/30", per_destination=per_destination))
    count = 1500
    service = 0 if proto == ICMP[4] else 53
    sent = [Ends(4, proto, host("a", n % 16), host("t", n % 3), 100 + n, service) for n in range(count)]
    jobs = [job(clean, "a", own) for own in sent]
    left, right = at_once(clean.path, [jobs, jobs], jitter=40)
    assert [told(one.out) for one in left] == [told(one.out) for one in right]
    owners(clean, sent, left)
    clean.sweep()  # mappings that came second are no owners of anything, but still there
    records = clean.path.conversations.records()
    assert (records.flows, records.mappings) == (count, count)
    assert overlapping(left, right) > LEAST_OVERLAP


def test_one_private_port_has_one_public_port_toward_all(clean: Bench) -> None:
    """Two destinations at once: two flows over one mapping (RFC 4787 REQ-1)."""
    join(clean, network())
    count = 2000
    sent = [[Ends(4, UDP, host("a", n % 16), host("t", k), 100 + n, 53) for n in range(count)] for k in (1, 2)]
    left, right = at_once(clean.path, [[job(clean, "a", own) for own in one] for one in sent], jitter=40)
    for one, other in zip(left, right, strict=True):
        assert (told(one.out).source, told(one.out).sport) == (told(other.out).source, told(other.out).sport)
    owners(clean, sent[0] + sent[1], left + right)
    clean.sweep()  # mappings that came second are no owners of anything, but still there
    records = clean.path.conversations.records()
    assert (records.flows, records.mappings) == (2 * count, count)


@pytest.mark.parametrize("per_destination", [False, True])
@pytest.mark.parametrize("proto", [TCP, UDP, ICMP[4]])
def test_two_hosts_never_get_the_same_public_port(clean: Bench, proto: int, per_destination: bool) -> None:
    """Hosts of two VPCs, with the same address and port, want that port of the one public address at once."""
    join(clean, network(per_destination=per_destination))
    count = 1500
    service = 0 if proto == ICMP[4] else 53
    sent = [Ends(4, proto, host("a", n % 16), host("t", 1), 2000 + 7 * n, service) for n in range(count)]
    left, right = at_once(clean.path, [[job(clean, vpc, own) for own in sent] for vpc in ("a", "b")], jitter=40)
    seen = [told(one.out) for one in left + right]
    assert len(set(seen)) == 2 * count, "each its own"
    run = runner(clean.path)
    for vpc, ran in (("a", left), ("b", right)):
        for own, one in zip(sent, ran, strict=True):
            out = run(*job(clean, "t", told(one.out).mirror, SYN | ACK))
            assert told(out) == own.mirror
            assert out is not None
            assert out[4] == ord(vpc), "the MAC says whose host it is"
    assert overlapping(left, right) > LEAST_OVERLAP


def test_the_last_ports_are_found_by_all_who_look_for_them(clean: Bench) -> None:
    """Eight ports, eight hosts at once, over and over: each gets one, and the ninth is told that there is none."""
    join(clean, network(ports=((1024, 1031),)))
    run = runner(clean.path)
    for turn in range(45):
        sent = [[Ends(4, UDP, host(vpc, n), host("t", 1), 1024 + turn % 9, 53) for n in range(4)] for vpc in "ab"]
        jobs = [[job(clean, vpc, own) for own in one] for vpc, one in zip("ab", sent, strict=True)]
        left, right = at_once(clean.path, jobs, jitter=20)
        assert sorted(told(one.out).sport for one in left + right) == list(range(1024, 1032))
        assert run(*job(clean, "a", Ends(4, UDP, host("a", 9), host("t", 1), 1024, 53))) is None
        clean.forget()


def test_both_ends_start_at_once_and_it_is_one_conversation(clean: Bench) -> None:
    """c and t, plain, with rules that allow both: each packet is the other's answer (RFC 9293 3.5, simultaneous open).

    Both may give their own up for the other's; then the next packet opens one, and never is there more than one."""
    join(clean, network())
    count = 2000
    sent = [Ends(4, UDP, host("c", n % 8), host("t", 1), 100 + n, 53) for n in range(count)]
    jobs = [[job(clean, "c", own) for own in sent], [job(clean, "t", own.mirror) for own in sent]]
    left, right = at_once(clean.path, jobs, jitter=40)
    for ran, peer in ((left, "t"), (right, "c")):
        for own, one in zip(sent, ran, strict=True):
            if one.out is not None:
                assert (told(one.out), one.out[4]) == (own if peer == "t" else own.mirror, ord(peer))
    alone = runner(clean.path)
    assert all(alone(*one) is not None for one in jobs[0] + jobs[1])
    clean.sweep()
    assert clean.path.conversations.records()[:3] == (count, 0, 0)
    assert overlapping(left, right) > LEAST_OVERLAP


def test_nothing_is_left_of_races_when_their_time_is_over(clean: Bench) -> None:
    """More conversations than there are records, in turns: what was used and lost in races is free again."""
    join(clean, network(pool="198.18.0.0/30", timeouts=Timeouts(1, 1, 1, 1)))
    count = 3000
    for turn in range(5):
        sent = [Ends(4, UDP, host("a", n % 16), host("t", turn % 8), 1024 + n, 53) for n in range(count)]
        left, right = at_once(clean.path, [[job(clean, "a", own) for own in sent]] * 2)
        assert all(one.out and one.out == other.out for one, other in zip(left, right, strict=True))
        clean.set_now(clean.now + ticks(1))
        clean.sweep()
        assert clean.path.conversations.records()[:3] == (0, 0, 0)


def _busy(place: Bench, rounds: Rounds, own: int, hosts: list[tuple[str, Ends]], epochs: int) -> list[Ran]:
    """A processor that sends for its hosts over and over, epoch by epoch; what left for each, in order of sending.

    It pauses between epochs, while the clock is set."""
    run = runner(place.path)
    jobs = [job(place, vpc, ends_) for vpc, ends_ in hosts]
    rng = Random(own)
    found: list[Ran] = []
    for epoch in range(epochs):
        rounds.meet(own, (2,), 2 * epoch + 1)
        until = time.monotonic() + 0.05
        while time.monotonic() < until:
            at = rng.randrange(len(jobs))
            found.append(Ran(run(*jobs[at]), epoch, at))
        rounds.done[own] = 2 * epoch + 2
    return found


def test_a_sweep_takes_nothing_from_those_who_talk(clean: Bench) -> None:
    """A third process sweeps without pause, while two open and go on.

    A port, once given, stays while time stands still; then all is over at once, and ports have new owners."""
    join(clean, network(ports=((1024, 1030),), timeouts=Timeouts(1, 1, 1, 1)))
    hosts = [
        [(vpc, Ends(4, UDP, host(vpc, n), host("t", k), 1024, 53)) for n in range(6) for k in (1, 2)] for vpc in "ab"
    ]
    rounds, epochs = Rounds(), 20
    with Processors([partial(_busy, clean, rounds, own, hosts[own], epochs) for own in (0, 1)]) as running:
        for epoch in range(epochs):
            clean.set_now(clean.now + ticks(1))
            rounds.done[2] = 2 * epoch + 1
            while min(rounds.done[0], rounds.done[1]) < 2 * epoch + 2:
                clean.sweep()
        results = running.results()
    for epoch in range(epochs):
        given: dict[tuple[str, bytes], set[int]] = {}
        for own, ran in enumerate(results):
            for one in ran:
                if one.since == epoch and one.out is not None:
                    vpc, sent = hosts[own][one.until]
                    given.setdefault((vpc, sent.source), set()).add(told(one.out).sport)
        assert all(len(ports) == 1 for ports in given.values()), "a host keeps its port"
        taken = [port for ports in given.values() for port in ports]
        assert len(set(taken)) == len(taken) == 7, "no port has two owners, and none lies idle"
    clean.set_now(clean.now + ticks(1))
    clean.sweep()
    assert clean.path.conversations.records()[:3] == (0, 0, 0)


def _talking(place: Bench, rounds: Rounds, own: int, talks: list[tuple[Job, Job]]) -> list[Ran]:
    """A processor that sends both ways until it is told to end; ``since``: 0 for what the initiator sent."""
    run = runner(place.path)
    rng = Random(own)
    found: list[Ran] = []
    rounds.meet(own, (2,), 1)
    while rounds.done[2] < 2:
        at, direction = rng.randrange(len(talks)), rng.randrange(2)
        found.append(Ran(run(*talks[at][direction]), direction, at))
    return found


def test_conversations_that_both_configurations_allow_go_on(clean: Bench) -> None:
    """Back and forth between two pools of b: a, whose pool stays, never misses a packet; b's go to nobody else."""
    one, other = (network("198.18.0.0/32", f"198.18.0.{number}/32") for number in (1, 2))
    join(clean, one)
    run = runner(clean.path)
    sent = [[Ends(4, UDP, host(vpc, n), host("t", 1), 3000 + n, 53) for n in range(16)] for vpc in "ab"]
    seen = [[told(run(*job(clean, vpc, own))) for own in sent[at]] for at, vpc in enumerate("ab")]
    talks = [
        [(job(clean, vpc, own), job(clean, "t", s.mirror)) for own, s in zip(sent[at], seen[at], strict=True)]
        for at, vpc in enumerate("ab")
    ]
    rounds = Rounds()
    with Processors([partial(_talking, clean, rounds, own, talks[own]) for own in (0, 1)]) as running:
        rounds.meet(2, (0, 1), 1)
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            clean.path.apply(other, clean.bindings(other, PORTS), judge_flows=False)
            clean.sweep()
            clean.path.apply(one, clean.bindings(one, PORTS))
        rounds.done[2] = 2
        stayed, moved = running.results()
    for ran in stayed:
        assert ran.out is not None, "a conversation that both configurations allow lost a packet"
        assert told(ran.out) == (sent[0][ran.until].mirror if ran.since else seen[0][ran.until])
    for ran in moved:
        if ran.out is not None and ran.since:
            assert (told(ran.out), ran.out[4]) == (sent[1][ran.until].mirror, ord("b"))
        elif ran.out is not None:
            assert told(ran.out).source[3] in (1, 2)
    assert len(stayed) > 1000
    assert any(ran.out is None for ran in moved), "b's conversations are ended now and then"
    clean.forget()
    assert clean.path.conversations.records()[:3] == (0, 0, 0)
