"""Frames of the generator, and that a bounded number of them arrives through each baseline as it should.

source: generate --XDP_TX-- in [baseline] out ------- sink: verify
"""

import math
import os
import random
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet

from isthmus.bench import BenchError, conntrack
from isthmus.bench.baselines import KernelForward, KernelNftablesNat, KernelNftablesPool, LpmTrie, XdpRedirect
from isthmus.bench.configuration import PRIVATE, Conversation, learned_traffic, stateful_traffic, static_traffic
from isthmus.bench.gateway import StatefulNat, StaticNat, StaticNatTcp
from isthmus.bench.generator import Burst, Generator, destinations, require_delivery, template
from isthmus.bench.internet import prefixes
from isthmus.bench.learned import FEW, LearnedRoutes
from isthmus.bench.run import Effort, new_flow_rates
from isthmus.bench.subject import Arrival, FlowSubject, Subject
from isthmus.bench.tags import KINDS, Kind, Tag
from isthmus.bench.throughput import KernelForwardTcp, Stream, TcpSubject
from isthmus.bench.topology import PREFIX, Topology, sweep
from isthmus.datapath.netns import NAMED
from isthmus.tables.address import Family

SENT = 6_400
FLOWS = 64_000
ROUTES: dict[Family, list[int]] = {4: prefixes(4, 5000, random.Random(1))}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


OWN, ROUTER = "02:00:00:00:00:01", "02:00:00:00:00:09"
"""MAC addresses: the gateway's, and of who sends to it."""


def raw(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def by_scapy(kind: Kind, packet: Packet) -> bytes:
    """A frame with this packet to the gateway, in the tag of VPC 1."""
    eth, inner = Ether(src=ROUTER, dst=OWN), Ether(src="02:00:00:00:00:02", dst=OWN)
    tunnel = UDP(sport=50000, dport=4789, chksum=0) / VXLAN(flags=8, vni=1001) / inner
    head: dict[Kind, Packet] = {
        "untagged": eth,
        "vlan": eth / Dot1Q(vlan=1001),
        "qinq": eth / Dot1AD(vlan=7) / Dot1Q(vlan=1001),
        "mpls": eth / MPLS(label=1001, s=1, ttl=64),
        "vxlan-ipv4": eth / IP(src="198.51.100.2", dst="198.51.100.1", flags="DF", id=0) / tunnel,
        "vxlan-ipv6": eth / IPv6(src="2001:db8::2", dst="2001:db8::1") / tunnel,
    }
    return bytes(head[kind] / packet)


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_is_64_bytes_of_udp_behind_its_tag_and_scapy_agrees_with_every_byte(kind: Kind) -> None:
    head = Tag(kind, 1).entering(raw(OWN), raw(ROUTER), 64)
    frame = bytearray(template(head))
    (row,) = destinations([Conversation(IPv4Address("10.1.0.5"), IPv4Address("100.64.32.77"))])
    struct.pack_into("!HII", frame, len(head) + 10, row["ip"], row["source"], row["address"])
    struct.pack_into("!H", frame, len(head) + 20, row["port"])
    struct.pack_into("!H", frame, len(head) + 26, row["udp"])
    packet = IP(src="10.1.0.5", dst="100.64.32.77", flags="DF", id=0, ttl=64) / UDP(sport=40000, dport=9) / bytes(22)
    assert bytes(frame) == by_scapy(kind, packet)
    assert len(frame) - len(head) + 14 == 64


def test_a_udp_checksum_of_zero_is_sent_as_all_ones() -> None:
    some = [Conversation(IPv4Address("10.1.0.1"), IPv4Address(number)) for number in range(1 << 17)]
    checks = destinations(some)["udp"]
    assert (checks == 0xFFFF).any()
    assert not (checks == 0).any()


@pytest.mark.netns
@pytest.mark.bpf
@pytest.mark.parametrize(
    "subject",
    [
        XdpRedirect(static_traffic(3)),
        KernelForward(),
        KernelNftablesNat(),
        StaticNat("static-1", 1),
        StaticNat("static-200", 200),
        *(StaticNat(kind, 1, kind) for kind in KINDS[1:]),  # untagged is static-1
        XdpRedirect(stateful_traffic(FLOWS)),
        KernelNftablesPool(stateful_traffic(FLOWS)),
        StatefulNat("flows-64000", stateful_traffic(FLOWS)),
        LearnedRoutes("lookups-10", {4: FEW}, learned_traffic(ROUTES[4])),
        LpmTrie(ROUTES, learned_traffic(ROUTES[4])),
    ],
    ids=lambda subject: f"{subject.name}-{subject.traffic.flows}",
)
def test_a_subject_delivers_every_packet_whole_and_with_the_addresses_it_should(
    subject: Subject, stack: ExitStack
) -> None:
    topology = stack.enter_context(Topology(subject.name))
    stack.callback(subject.close)
    subject.prepare(topology)
    generator = stack.enter_context(Generator(topology, subject.traffic, subject.arrival))
    for burst in (generator.verify(SENT), generator.burst(SENT), generator.in_order(SENT)):
        assert (burst.sent, burst.arrived, burst.damaged, burst.other) == (SENT, SENT, 0, 0)
        assert burst.seconds > 0


@pytest.mark.netns
@pytest.mark.bpf
def test_packets_that_arrive_untranslated_or_with_another_ttl_are_not_taken_for_good(stack: ExitStack) -> None:
    subject = XdpRedirect(static_traffic(1))
    topology = stack.enter_context(Topology("wrong"))
    stack.callback(subject.close)
    subject.prepare(topology)
    with Generator(topology, subject.traffic, Arrival(PRIVATE, PRIVATE, 64)) as generator:
        burst = generator.verify(SENT)
        assert (burst.arrived, burst.other) == (0, SENT)
    with Generator(topology, subject.traffic, subject.arrival._replace(ttl=63)) as generator:
        burst = generator.verify(SENT)
        assert (burst.arrived, burst.damaged) == (SENT, SENT)


@pytest.mark.netns
@pytest.mark.bpf
def test_in_order_every_flow_is_sent_once_and_at_random_none_but_these(stack: ExitStack) -> None:
    subject = KernelNftablesPool(stateful_traffic(FLOWS))
    topology = stack.enter_context(Topology("order"))
    stack.callback(subject.close)
    subject.prepare(topology)
    generator = stack.enter_context(Generator(topology, subject.traffic, subject.arrival))
    for sent in (FLOWS // 2, FLOWS):  # the kernel has one entry for each; a burst starts with the first
        assert generator.in_order(sent).arrived == sent
        assert conntrack.tracked(topology.gateway) == sent
    generator.burst(FLOWS)
    assert conntrack.tracked(topology.gateway) == FLOWS
    subject.forget()
    assert conntrack.tracked(topology.gateway) == 0
    generator.burst(FLOWS)  # of so many draws, 63 % of all are drawn at least once
    assert conntrack.tracked(topology.gateway) == pytest.approx((1 - 1 / math.e) * FLOWS, rel=0.02)


@pytest.mark.netns
@pytest.mark.bpf
@pytest.mark.parametrize(
    "subject",
    [KernelNftablesPool(stateful_traffic(FLOWS)), StatefulNat("flows-new", stateful_traffic(FLOWS))],
    ids=lambda subject: subject.name,
)
def test_a_subject_opens_all_flows_anew_in_each_round(subject: FlowSubject) -> None:
    warnings: list[str] = []
    effort = Effort(rounds=2, burst=0.01, tcp_rounds=1, stream=1, fills=1)
    rates = new_flow_rates([subject], effort, max(os.sched_getaffinity(0)), lambda _: None, warnings.append)
    assert len(rates[subject.name]) == 2
    assert min(rates[subject.name]) > 0
    assert not any("lost" in warning for warning in warnings)


@pytest.mark.netns
def test_room_for_flows_is_made_and_given_back() -> None:
    settings = [Path("/sys/module/nf_conntrack/parameters/hashsize"), Path("/proc/sys/net/netfilter/nf_conntrack_max")]
    before = [int(setting.read_text()) for setting in settings]
    flows = max(before) + 1
    with conntrack.room(flows):
        assert all(int(setting.read_text()) >= 2 * flows for setting in settings)
        with conntrack.room(1):
            assert int(settings[0].read_text()) >= 2 * flows
    assert [int(setting.read_text()) for setting in settings] == before


@pytest.mark.netns
@pytest.mark.bpf
@pytest.mark.parametrize("subject", [KernelForwardTcp(), StaticNatTcp()], ids=lambda subject: subject.name)
def test_a_tcp_stream_reaches_the_server_that_the_client_dials(subject: TcpSubject, stack: ExitStack) -> None:
    assert Stream(subject, stack).rate(1, max(os.sched_getaffinity(0))) > 0


def test_a_subject_that_does_not_deliver_is_named_with_what_came() -> None:
    with pytest.raises(
        BenchError, match="static-1 delivered 3 of 64 packets as it should, 0 of them damaged, and 2 other"
    ):
        require_delivery("static-1", Burst(sent=64, arrived=3, damaged=0, other=2, seconds=0.1, ended=1))
    with pytest.raises(BenchError, match="64 of 64 packets as it should, 1 of them damaged"):
        require_delivery("static-1", Burst(sent=64, arrived=64, damaged=1, other=0, seconds=0.1, ended=1))


@pytest.mark.netns
def test_a_topology_leaves_nothing_behind_and_takes_nothing_that_is_not_its_own() -> None:
    with Topology("first") as topology:
        assert sorted(path.name for path in NAMED.glob(f"{PREFIX}{os.getpid()}-first-*")) == sorted(
            [topology.source, topology.gateway, topology.sink]
        )
    assert not list(NAMED.glob(f"{PREFIX}{os.getpid()}-first-*"))
    with Topology("second") as topology:
        with pytest.raises(FileExistsError):
            Topology("second")
        assert (NAMED / topology.source).exists()


@pytest.mark.netns
def test_what_a_dead_bench_left_behind_is_swept_and_what_a_live_one_uses_is_not(stack: ExitStack) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = f"{PREFIX}{dead.pid}-static-1-sink"
    subprocess.run(["ip", "netns", "add", left], check=True)
    alive = stack.enter_context(Topology("alive"))
    assert left in sweep()
    assert not Path(NAMED, left).exists()
    assert Path(NAMED, alive.sink).exists()
