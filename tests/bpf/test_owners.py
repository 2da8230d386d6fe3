"""A public port, a conversation, a number: each has one owner, also while the configuration changes or fails to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from isthmus.datapath import Capacity, TableFull
from isthmus.tables.verdicts import Verdict
from tests.bpf.talks import passed, send, talk
from tests.differential.compare import Bench
from tests.differential.frames import ACK, SYN, TCP, UDP, Ends
from tests.differential.nat import PORTS, host, join, network
from tests.differential.place import XDP, bench

MANY = tuple((port, port) for port in range(1024, 1124, 2))
"""More ranges of ports than there is room for."""


@pytest.fixture(scope="module")
def loaded() -> Iterator[Bench]:
    with bench(Capacity(flows=64, port_ranges=16), hooks=XDP) as made:
        yield made


@pytest.fixture
def place(loaded: Bench) -> Bench:
    loaded.forget()
    return loaded


def number(place: Bench, vpc: str) -> int:
    """That of a VPC in keys of flows and mappings."""
    return place.path._vpc_names.number(vpc)


def to(server: int, vpc: str, proto: int = UDP, client: int = 1) -> Ends:
    """A conversation that all of a and b begin alike, and c and d."""
    return Ends(4, proto, host(vpc, client), host("t", server), 5000, 53)


def is_answered(place: Bench, vpc: str, own: Ends, seen: Ends) -> bool:
    """Does t's answer reach who asked?"""
    answer = passed(send(place, "t", seen.mirror, SYN | ACK))
    return (answer.seen, answer.out[4]) == (own.mirror, ord(vpc))


@pytest.mark.parametrize("judge_flows", [True, False])
@pytest.mark.parametrize("per_destination", [True, False])
def test_another_kind_of_mapping_gives_no_port_a_second_owner(
    place: Bench, per_destination: bool, judge_flows: bool
) -> None:
    """``nat.mapping`` of a live pool changes: a's conversation is over, so b may have its port; a gets one anew."""
    join(place, network(per_destination=per_destination))
    before = talk(place, "a", to(1, "a"))[0].seen
    join(place, network(per_destination=not per_destination), judge_flows)

    taken = passed(send(place, "b", to(2, "b"))).seen
    assert (taken.source, taken.sport) == (before.source, before.sport)
    assert send(place, "t", before.mirror).verdict is Verdict.NO_INBOUND, "a's conversation outlived its mapping"
    again = passed(send(place, "a", to(1, "a"))).seen
    other = passed(send(place, "a", to(2, "a"))).seen
    assert taken.sport not in ({other.sport} if not per_destination else {again.sport, other.sport})
    for vpc, own, seen in (("b", to(2, "b"), taken), ("a", to(1, "a"), again), ("a", to(2, "a"), other)):
        assert is_answered(place, vpc, own, seen)
    assert sorted((one.initiator, one.sent.dst) for one in place.path.conversations) == sorted(
        (vpc, int.from_bytes(host("t", server), "big") << 96) for vpc, server in (("a", 1), ("a", 2), ("b", 2))
    )


def test_a_port_is_its_owners_while_one_conversation_uses_it(place: Bench) -> None:
    """The ports of the pool change and change back, and only a's first conversation is judged in between.

    Its mapping is over, and the second conversation goes on with it."""
    first, second = to(1, "a"), to(2, "a")
    join(place, network())
    seen = [talk(place, "a", own)[0].seen for own in (first, second)]
    join(place, network(ports=((6000, 7000),)), judge_flows=False)
    assert passed(send(place, "a", first)).seen.sport >= 6000
    join(place, network(), judge_flows=False)
    assert passed(send(place, "a", second)).seen == seen[1]
    place.sweep()
    taken = passed(send(place, "b", to(1, "b"))).seen
    assert taken.sport != seen[1].sport, "one public port has two owners"
    assert is_answered(place, "b", to(1, "b"), taken)
    assert is_answered(place, "a", second, seen[1])


def test_private_addresses_of_vpc_number_0_are_told_from_the_pool_that_they_are_in() -> None:
    """a's host 5 has as private what is public here. Its keys begin with 0, the number of a, and then that of the peer;
    those of public ports must not look like that."""
    with bench(Capacity(flows=64), hooks=XDP) as place:
        join(place, network(pool="10.0.0.5/32"))
        assert number(place, "a") == 0
        asked = {"a": to(1, "a", client=5), "b": to(1, "b", client=1)}
        for first, second in ("ab", "ba"):
            kept = passed(send(place, first, asked[first])).seen
            moved = passed(send(place, second, asked[second])).seen
            assert (kept.source, kept.sport, moved.source) == (host("a", 5), 5000, host("a", 5))
            assert moved.sport != kept.sport, "one public port has two owners"
            assert is_answered(place, first, asked[first], kept)
            assert is_answered(place, second, asked[second], moved)
            place.forget()


def belongs_to_nobody(place: Bench, own: Ends) -> None:
    """A conversation of c, now that d has come with c's addresses."""
    assert send(place, "d", own, ACK).verdict is Verdict.NO_FLOW
    assert send(place, "t", own.mirror, ACK).verdict is Verdict.NO_FLOW


def test_a_number_of_one_that_is_gone_comes_without_its_conversations(place: Bench) -> None:
    """c goes, and d gets its number, its hosts' addresses and its peer."""
    join(place, network(peers="c"))
    own, was = to(1, "c", TCP), number(place, "c")
    talk(place, "c", own)
    join(place, network(peers=""))
    join(place, network(peers="d"))
    assert number(place, "d") == was
    belongs_to_nobody(place, own)


def test_a_number_that_conversations_may_know_is_nobody_elses(place: Bench) -> None:
    """c goes, and no flow is judged yet: d gets another number, whatever is applied or refused in between."""
    join(place, network(peers="c"))
    own, was = to(1, "c", TCP), number(place, "c")
    talk(place, "c", own)
    join(place, network(peers=""), judge_flows=False)
    refused = network(peers="a", ports=MANY)
    with pytest.raises(TableFull):
        place.path.apply(refused, place.bindings(refused, PORTS), judge_flows=False)
    join(place, network(peers="d"), judge_flows=False)
    assert number(place, "d") != was
    assert [(one.initiator, one.peering) for one in place.path.conversations] == [("c", "c--t")]
    belongs_to_nobody(place, own)
    place.sweep()
    assert list(place.path.conversations) == []
