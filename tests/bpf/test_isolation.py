"""No tenant ever sees another's packet: not by a gap in the configuration, not over a change, not after a failure."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from isthmus.datapath import Bindings, BpfError, PacketPath, PortBinding, Wanted
from isthmus.tables.verdicts import Verdict
from tests.bpf.network import HOST_MAC, arp, bindings, key, learn, peering, tables, udp, vpc
from tests.differential.compare import Bench
from tests.differential.place import SMALL, XDP, bench

A = vpc("a", "p1", "10.1.0.0/24", own="10.1.0.254")
B = vpc("b", "p2", "10.2.0.0/24", own="10.2.0.254")
C = vpc("c", "p3", "10.2.0.0/24")


@pytest.fixture(scope="module")
def place() -> Iterator[Bench]:
    with bench() as made:
        yield made


def joined(place: Bench) -> None:
    """a and b, peered, all ports there, b's host known."""
    place.path.apply(tables([A, B], [peering(A, B)]), bindings(place.ifindex, [A, B]))
    assert learn(place.path, B, "10.2.0.9", HOST_MAC)


def test_a_peering_carries_and_without_it_nothing_does(place: Bench) -> None:
    joined(place)
    assert place.path.run(udp("p1", "10.1.0.5", "10.2.0.9"), place.ifindex["p1"], "xdp").verdict is Verdict.FORWARDED
    place.path.apply(tables([A, B], []), bindings(place.ifindex, [A, B]))
    assert place.path.run(udp("p1", "10.1.0.5", "10.2.0.9"), place.ifindex["p1"], "xdp").verdict is Verdict.NO_PEERING


def test_a_missing_namespace_is_not_another_tenants_port(place: Bench) -> None:
    """ARP and what is for the gateway, in a VPC whose namespace is not there: nowhere, on both hooks."""
    place.path.apply(tables([A, B], []), bindings(place.ifindex, [A, B], without=("n2",)))
    for frame in (arp("p2"), udp("p2", "10.2.0.9", "10.2.0.254")):
        for hook in ("xdp", "tc"):
            outcome = place.path.run(frame, place.ifindex["p2"], hook)
            assert (outcome.verdict, outcome.ifindex) == (Verdict.NO_ATTACHMENT, 0)


def test_a_missing_port_is_not_another_tenants_port(place: Bench) -> None:
    """What the gateway's kernel sends in a VPC whose port is not there."""
    place.path.apply(tables([A, B], []), bindings(place.ifindex, [A, B], without=("p2",)))
    outcome = place.path.run(arp("p2"), place.ifindex["n2"], "xdp")
    assert (outcome.verdict, outcome.ifindex) == (Verdict.NO_ATTACHMENT, 0)


def test_neighbours_do_not_outlive_their_link(place: Bench) -> None:
    """b goes, c comes with the same addresses and gets b's link number: b's MACs are not c's."""
    joined(place)
    place.path.apply(tables([A], []), bindings(place.ifindex, [A]))
    place.path.apply(tables([A, C], [peering(A, C)]), bindings(place.ifindex, [A, C]))
    outcome = place.path.run(udp("p1", "10.1.0.5", "10.2.0.9"), place.ifindex["p1"], "xdp")
    assert outcome.verdict is Verdict.NEXT_HOP_UNRESOLVED
    assert not place.path.set_neighbor(key(B), 4, 0, HOST_MAC), "b is gone: nothing is learned for it"


def test_failures_half_way_leave_the_running_tables_alone() -> None:
    """More tags than fit, then more nodes than fit, again and again: old packets pass, and nothing new is claimed."""
    with bench(replace(SMALL, classes=1, interfaces=1), hooks=XDP) as place:
        alone = bindings(place.ifindex, [A, B, C], without=("n1", "n2", "n3"))
        place.path.apply(tables([A], []), alone)
        before = place.path.dump()
        for _ in range(3):
            with pytest.raises(BpfError, match="classes"):
                place.path.apply(tables([A, B, C], []), alone)
            assert place.path.dump() == before
        place.path.apply(tables([B], []), alone)
        seen = [place.path.run(arp(p), place.ifindex[p], "xdp").verdict for p in ("p1", "p2", "p3")]
        assert seen == [Verdict.UNKNOWN_TAG, Verdict.NO_ATTACHMENT, Verdict.UNKNOWN_TAG]
    with bench(replace(SMALL, classes=1, interfaces=64, nodes=6), hooks=XDP) as place:
        joined(place)
        packet = udp("p1", "10.1.0.5", "10.2.0.9")
        crowd = [vpc(f"v{n}", f"p{n}", f"10.{n}.0.0/24", f"172.16.{n}.0/24") for n in range(1, 7)]
        for _ in range(3):
            with pytest.raises(Exception, match="full"):
                place.path.apply(
                    tables(crowd, [peering(crowd[0], v) for v in crowd[1:]]), bindings(place.ifindex, crowd)
                )
            assert place.path.run(packet, place.ifindex["p1"], "xdp").verdict is Verdict.FORWARDED
            assert place.path.run(arp("p5"), place.ifindex["p5"], "xdp").verdict is Verdict.UNKNOWN_TAG


def test_ports_that_come_and_go_use_no_slot_up() -> None:
    """Slots for an old and a new port with their namespaces: ports may be made again as often as one likes."""
    with bench(replace(SMALL, ports=5), hooks=XDP) as place:
        for number in range(1, 7):
            lone = vpc("a", f"p{number}", "10.1.0.0/24")
            place.path.apply(tables([lone], []), bindings(place.ifindex, [lone]))
        assert place.path.run(arp("p6"), place.ifindex["p6"], "xdp").verdict is Verdict.LOCAL


def test_one_tenants_neighbours_do_not_crowd_out_anothers() -> None:
    """Each link has its share of the table; a link that fills its own is told so, others learn on."""
    with bench(replace(SMALL, neighbours=8), hooks=XDP) as place:
        joined(place)
        assert [learn(place.path, A, f"10.1.0.{n}", HOST_MAC) for n in range(1, 5)] == [True, True, False, False]
        assert learn(place.path, B, "10.2.0.10", HOST_MAC)


def test_a_flood_to_one_host_is_one_question(place: Bench) -> None:
    """Else the requests of other tenants drown in those of one."""
    joined(place)
    place.path.poll()
    for _ in range(500):
        place.path.run(udp("p1", "10.1.0.5", "10.2.0.77"), place.ifindex["p1"], "xdp")
    asked = place.path.poll()
    assert len(asked) <= 2
    assert isinstance(asked[0], Wanted)
    assert asked[0].attachment == key(B)


def test_one_tenants_errors_do_not_use_up_anothers_answers() -> None:
    """The budget of ICMP answers is each attachment's own."""
    with bench(icmp_rate=1, hooks=XDP) as place:
        joined(place)
        a, b = udp("p1", "10.1.0.5", "10.2.0.9", ttl=1), udp("p2", "10.2.0.9", "10.1.0.5", ttl=1)
        answered = [place.path.run(a, place.ifindex["p1"], "xdp").answered for _ in range(200)]
        assert answered[0]
        assert not answered[-1]
        assert place.path.run(b, place.ifindex["p2"], "xdp").answered


def test_binding_a_port_that_does_not_exist_is_refused(place: Bench) -> None:
    """The kernel says so before anything has changed."""
    joined(place)
    wrong = Bindings({"p1": PortBinding(4_000_000, bytes(6), 1500)})
    with pytest.raises(BpfError, match="ports"):
        place.path.apply(tables([A], []), wrong)
    assert place.path.run(udp("p1", "10.1.0.5", "10.2.0.9"), place.ifindex["p1"], "xdp").verdict is Verdict.FORWARDED


def test_an_xdp_port_leaves_tags_in_frames(place: Bench) -> None:
    """Else hardware takes a tag out, and the program reads the frame of another VPC as an untagged one."""

    def tags_beside() -> str:
        told = subprocess.run(["ethtool", "-k", "p6"], capture_output=True, text=True, check=True).stdout
        return next(line for line in told.splitlines() if line.startswith("rx-vlan-offload"))

    assert tags_beside() == "rx-vlan-offload: on"
    place.path.attach(place.ifindex["p6"], "tc")
    assert tags_beside() == "rx-vlan-offload: on", "TC sees tags beside frames"
    place.path.attach(place.ifindex["p6"], "xdp")
    assert tags_beside() == "rx-vlan-offload: off"
    place.path.detach(place.ifindex["p6"])


def test_a_packet_path_is_empty_until_it_is_given_tables() -> None:
    with PacketPath.load(capacity=SMALL, record=True, hooks=XDP) as path:
        assert path.run(arp("p1"), 1, "xdp").verdict is Verdict.UNKNOWN_TAG
