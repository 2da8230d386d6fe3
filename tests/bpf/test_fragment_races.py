"""Two CPUs at one set of fragments at the same moment: what one notes is neither lost nor mixed with the other's.

A set has one lock. With two of them, both CPUs take the same free place, and a later fragment finds what is half its
own and half another tenant's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

import pytest

from isthmus.datapath import Capacity
from isthmus.tables.flows import FRAGMENT_S, ticks
from tests.differential.compare import Bench
from tests.differential.frames import UDP, Ends, read
from tests.differential.nat import PLACES, host, in_pieces, join, network
from tests.differential.place import XDP, bench
from tests.differential.processors import Processors, Ran, Rounds, overlapping, runner

LEAST_OVERLAP = 0.15
"""Of rounds in which both first fragments must have been under way at once, else the test shows nothing."""
ROUNDS = 2000
JITTER = 23
"""Fewer turns of an empty loop than this are lost before a first fragment, so that either is first at times."""


@pytest.fixture(scope="module")
def place() -> Iterator[Bench]:
    with bench(Capacity(flows=64, fragments=8), hooks=XDP) as made:
        yield made


def _in_pieces(place: Bench, rounds: Rounds, own: int, vpc: str, talk: Ends) -> list[Ran]:
    """A processor that sends a packet in two pieces each round; when the first ran, and how the later one left.

    The set is empty when a round begins: processor 0 lets the time of all in it pass."""
    run, port, other = runner(place.path), place.ifindex[PLACES[vpc]], (1 - own,)
    found: list[Ran] = []
    meeting = iter(range(1, 3 * ROUNDS + 1))
    for number in range(ROUNDS):
        first, later = in_pieces(vpc, talk, number)
        rounds.meet(own, other, next(meeting))
        if own == 0:
            place.set_now(place.now + ticks(FRAGMENT_S))
        rounds.meet(own, other, next(meeting))
        for _ in range((number * 7 if own else number * 5) % JITTER):
            pass
        since = time.monotonic_ns()
        run(first, port)
        until = time.monotonic_ns()
        rounds.meet(own, other, next(meeting))
        found.append(Ran(run(later, port), since, until))
    return found


def test_later_fragments_follow_their_own_conversation(place: Bench) -> None:
    """a and b, of the same hosts, in pieces of the same identification; their pools and servers tell them apart."""
    join(place, network(pool="198.18.0.1/32", other_pool="198.18.0.2/32"))
    talks = [(vpc, Ends(4, UDP, host(vpc, 1), host("t", number), 700, 53)) for number, vpc in enumerate("ab", 1)]
    rounds = Rounds()
    with Processors([partial(_in_pieces, place, rounds, own, *talks[own]) for own in (0, 1)]) as running:
        both = running.results()
    for number, ran in enumerate(both, 1):
        road = bytes([198, 18, 0, number]), host("t", number)
        for one in ran:
            assert one.out is not None, "what its first fragment found was lost"
            found = read(one.out)
            assert found is not None
            assert (found.source, found.target) == road, "it follows another's conversation"
    assert overlapping(*both) > LEAST_OVERLAP
