"""What a probe tries, and what the twin makes of it; no packet is sent here."""

from pathlib import Path

import pytest

from isthmus.cli.objects import load
from isthmus.compile import compile_tables
from isthmus.lab.plan import plan
from isthmus.lab.probe.cases import Case, cases
from isthmus.lab.probe.expect import Arrival, Expected, Outcome, Twin
from isthmus.lab.probe.run import Arrivals, Seen, difference
from isthmus.lab.probe.wire import Sighting
from isthmus.lab.state import Objects
from isthmus.tables.address import format_address, parse_address

EXAMPLES = Path(__file__).parents[2] / "examples"


def objects(*files: str | Path, **hosts: str) -> Objects:
    model = load([str(file) for file in files]).model
    tables = compile_tables(model)
    extra = {vpc.replace("_", "-"): [parse_address(text)] for vpc, text in hosts.items()}
    return Objects(plan("lab", model, tables, extra), model, tables)


def expectations(of: Objects) -> dict[Case, Expected]:
    twin = Twin(of.plan, of.tables)
    return {case: twin.expect(case) for case in cases(of, 1000)[0]}


def outcomes(of: Objects, source_vpc: str, proto: str) -> dict[int, str]:
    return {c.dport: e.outcome for c, e in expectations(of).items() if (c.source_vpc, c.proto) == (source_vpc, proto)}


def test_example_1_passes_443_and_nothing_else() -> None:
    found = outcomes(objects(EXAMPLES / "1-static-nat.yaml"), "vpc1", "tcp")
    assert found.pop(443) == "answered"
    assert found.pop(80) == "dropped"
    assert set(found.values()) == {"dropped"}
    assert found, "a port that no rule names is tried too"


def test_example_1_also_lets_the_server_s_port_start() -> None:
    found = expectations(objects(EXAMPLES / "1-static-nat.yaml"))
    assert [e.outcome for c, e in found.items() if (c.source_vpc, c.proto, c.sport) == ("vpc2", "tcp", 443)] == [
        "answered"
    ]


def test_the_translation_is_part_of_the_expectation() -> None:
    found = expectations(objects(EXAMPLES / "5-overlapping-subnets.yaml"))
    arrivals = {(c.source_vpc, format_address(4, e.arrival.source or 0)) for c, e in found.items() if e.arrival}
    assert arrivals == {("vpc-1", "192.168.1.1"), ("vpc-2", "192.168.2.1")}


def test_a_hole_is_dialled_where_it_would_have_been() -> None:
    found = expectations(objects(EXAMPLES / "5-overlapping-subnets.yaml", vpc_1="10.1.1.42"))
    reasons = {e.reason for c, e in found.items() if format_address(4, c.target) == "192.168.1.42"}
    assert reasons == {"nat-hole"}


def test_a_reply_that_does_not_pass_is_delivered_without_answer(tmp_path: Path) -> None:
    file = tmp_path / "one-way.yaml"
    file.write_text(
        """
        apiVersion: gateway.githedgehog.com/v1alpha1
        kind: Peering
        metadata: {name: a--b}
        spec:
          a: {ips: [{cidr: 10.1.1.0/24}], ingress: [{allow: {stateless: true, udp: {dstPort: 514}}}]}
          b: {ips: [{cidr: 10.2.1.0/24}], ingress: []}
        """
    )
    [syslog] = [
        e for c, e in expectations(objects(file)).items() if (c.source_vpc, c.proto, c.dport) == ("a", "udp", 514)
    ]
    assert (syslog.outcome, syslog.reason) == ("delivered", "reply: not-allowed")


def test_a_stateful_side_starts_from_any_address_of_its_pool_and_nobody_starts_toward_it() -> None:
    found = expectations(objects(EXAMPLES / "4-two-externals-by-metric.yaml"))
    pool = parse_address("192.168.1.0")[1], parse_address("192.168.1.3")[1]
    out = [e for c, e in found.items() if c.source_vpc == "vpc-1"]
    assert {(e.outcome, e.pool) for e in out} == {("answered", (pool,))}
    assert {e.arrival and (e.arrival.vpc, e.arrival.source) for e in out} == {("vpc-e1", None)}, "the lower metric"
    assert {(e.outcome, e.reason) for c, e in found.items() if c.source_vpc != "vpc-1"} == {("dropped", "no-inbound")}


def test_a_side_that_may_start_nothing_answers() -> None:
    found = expectations(objects(EXAMPLES / "stateful-rules.yaml"))
    assert {e.outcome for c, e in found.items() if (c.source_vpc, c.target_vpc) == ("app", "db")} == {"answered"}
    assert {e.outcome for c, e in found.items() if (c.source_vpc, c.target_vpc) == ("db", "app")} == {"dropped"}


def test_vpcs_that_do_not_peer_are_tried_too_and_nothing_passes(tmp_path: Path) -> None:
    file = tmp_path / "hub.yaml"
    file.write_text(
        """
        apiVersion: gateway.githedgehog.com/v1alpha1
        kind: Peering
        metadata: {name: a--hub}
        spec: {a: {ips: [{cidr: 10.1.1.0/24}]}, hub: {ips: [{cidr: 10.9.1.0/24}]}}
        ---
        apiVersion: gateway.githedgehog.com/v1alpha1
        kind: Peering
        metadata: {name: b--hub}
        spec: {b: {ips: [{cidr: 10.2.1.0/24}]}, hub: {ips: [{cidr: 10.9.1.0/24}]}}
        """.replace("        ---", "---")
    )
    strangers = [e for c, e in expectations(objects(file)).items() if {c.source_vpc, c.target_vpc} == {"a", "b"}]
    assert {(e.outcome, e.reason) for e in strangers} == {("dropped", "no-peering")}


def test_no_two_cases_at_one_time_look_alike_on_the_wire() -> None:
    found, _ = cases(objects(EXAMPLES / "2-external-transit.yaml", vpc_e1="1.2.3.4"), 1000)
    keys = [(case.proto, case.sport, case.dport, case.tick) for case in found]
    assert len(set(keys)) == len(keys)


def test_of_many_cases_an_even_choice_is_made() -> None:
    every, total = cases(objects(EXAMPLES / "5-overlapping-subnets.yaml"), 1000)
    some, still = cases(objects(EXAMPLES / "5-overlapping-subnets.yaml"), 4)
    assert (len(every), len(some), still) == (total, 4, total)
    assert {case.source_vpc for case in some} == {"vpc-1", "vpc-2"}


HERE, ELSEWHERE = Arrival("b", 1, 2), Arrival("c", 1, 2)
UNTRANSLATED = Arrival("b", 9, 2)
CASE = Case("a", "b", 4, 9, 2, "tcp", 20_000, 443, 0)


CHOSEN = Expected("answered", "", Arrival("b", None, 2), ((5, 9), (20, 20)))


@pytest.mark.parametrize(
    ("expected", "outcome", "arrivals", "same"),
    [
        (CHOSEN, "answered", [Arrival("b", 5, 2)], True),
        (CHOSEN, "answered", [Arrival("b", 20, 2)], True),
        (CHOSEN, "answered", [Arrival("b", 10, 2)], False),
        (CHOSEN, "answered", [Arrival("c", 5, 2)], False),
        (CHOSEN, "answered", [Arrival("b", 5, 3)], False),
        (CHOSEN, "answered", [Arrival("b", 5, 2), Arrival("b", 6, 2)], False),
        (CHOSEN, "answered", [], False),
        (Expected("answered", "", HERE), "answered", [HERE], True),
        (Expected("answered", "", HERE), "delivered", [HERE], False),
        (Expected("answered", "", HERE), "answered", [], False),
        (Expected("answered", "", HERE), "answered", [UNTRANSLATED], False),
        (Expected("answered", "", HERE), "answered", [HERE, ELSEWHERE], False),
        (Expected("delivered", "reply: not-allowed", HERE), "delivered", [HERE], True),
        (Expected("delivered", "reply: not-allowed", HERE), "answered", [HERE], False),
        (Expected("dropped", "not-allowed", None), "dropped", [], True),
        (Expected("dropped", "not-allowed", None), "delivered", [ELSEWHERE], False),
    ],
)
def test_what_counts_as_a_difference(expected: Expected, outcome: Outcome, arrivals: list[Arrival], same: bool) -> None:
    assert (difference(CASE, expected, Seen(outcome, tuple(arrivals), "")) == "") is same


ONE, OTHER = (CASE._replace(source=source, sport=port) for source, port in ((9, 20_000), (8, 20_001)))
SYN = Sighting(4, "tcp", 20_001, 443, 5, 2, b"")


def test_a_syn_is_of_the_case_with_its_ports_until_what_follows_shows_another() -> None:
    arrivals = Arrivals({ONE: b"one", OTHER: b"other"})
    arrivals.note("b", SYN)
    assert (arrivals.of(ONE), arrivals.of(OTHER)) == ((), (Arrival("b", 5, 2),))
    arrivals.note("b", SYN._replace(said=b"one"))
    assert (arrivals.of(ONE), arrivals.of(OTHER)) == ((Arrival("b", 5, 2),), ())


def test_an_answer_is_no_arrival_and_neither_is_what_others_say() -> None:
    arrivals = Arrivals({ONE: b"one"})
    arrivals.note("a", SYN._replace(sport=20_000, said=b"eno"))
    arrivals.note("b", SYN._replace(sport=30_000))
    arrivals.note("b", SYN._replace(proto="udp", sport=443, dport=20_000, said=b"eno"))
    assert arrivals.of(ONE) == ()


def test_a_datagram_is_known_by_what_it_says_whatever_its_ports() -> None:
    case = CASE._replace(proto="udp")
    arrivals = Arrivals({case: b"one"})
    arrivals.note("b", SYN._replace(proto="udp", sport=1024, said=b"one"))
    assert arrivals.of(case) == (Arrival("b", 5, 2),)
