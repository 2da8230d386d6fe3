"""Frames of the generator, and that a bounded number of them arrives through each baseline as it should.

source: generate --XDP_TX-- in [baseline] out ------- sink: verify
"""

import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from isthmus.bench import BenchError
from isthmus.bench.baselines import KernelForward, KernelNftablesNat, XdpRedirect
from isthmus.bench.configuration import PRIVATE, Conversation
from isthmus.bench.gateway import StaticNat, StaticNatTcp
from isthmus.bench.generator import Burst, Generator, checksums, require_delivery, template
from isthmus.bench.subject import Arrival, Subject
from isthmus.bench.throughput import KernelForwardTcp, Stream, TcpSubject
from isthmus.bench.topology import PREFIX, Port, Topology, sweep
from isthmus.datapath.netns import NAMED

SENT = 6_400


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_a_frame_is_64_bytes_of_udp_whose_checksums_scapy_agrees_with() -> None:
    conversation = Conversation(IPv4Address("10.1.0.5"), IPv4Address("100.64.32.77"))
    source, gateway = Port("", "wire", 1, "02:00:00:00:00:01"), Port("", "in", 2, "02:00:00:00:00:02")
    ip, udp = checksums(conversation)
    frame = bytearray(template(source, gateway))
    struct.pack_into("!H4s4s", frame, 24, ip, conversation.source.packed, conversation.dialled.packed)
    struct.pack_into("!H", frame, 40, udp)
    by_scapy = (
        Ether(src=source.mac, dst=gateway.mac)
        / IP(src="10.1.0.5", dst="100.64.32.77", flags="DF", id=0, ttl=64)
        / UDP(sport=40000, dport=9)
        / bytes(22)
    )
    assert bytes(frame) == bytes(by_scapy)
    assert len(frame) == 64


@pytest.mark.netns
@pytest.mark.bpf
@pytest.mark.parametrize(
    "subject",
    [XdpRedirect(), KernelForward(), KernelNftablesNat(), StaticNat(1), StaticNat(200)],
    ids=lambda subject: subject.name,
)
def test_a_subject_delivers_every_packet_whole_and_with_the_addresses_it_should(
    subject: Subject, stack: ExitStack
) -> None:
    topology = stack.enter_context(Topology(subject.name))
    stack.callback(subject.close)
    subject.prepare(topology)
    generator = stack.enter_context(Generator(topology, subject.conversations, subject.arrival))
    for burst in (generator.verify(SENT), generator.burst(SENT)):
        assert (burst.sent, burst.arrived, burst.damaged, burst.other) == (SENT, SENT, 0, 0)
        assert burst.seconds > 0


@pytest.mark.netns
@pytest.mark.bpf
def test_packets_that_arrive_untranslated_or_with_another_ttl_are_not_taken_for_good(stack: ExitStack) -> None:
    subject = XdpRedirect()
    topology = stack.enter_context(Topology("wrong"))
    stack.callback(subject.close)
    subject.prepare(topology)
    with Generator(topology, subject.conversations, Arrival(PRIVATE, PRIVATE, 64)) as generator:
        burst = generator.verify(SENT)
        assert (burst.arrived, burst.other) == (0, SENT)
    with Generator(topology, subject.conversations, subject.arrival._replace(ttl=63)) as generator:
        burst = generator.verify(SENT)
        assert (burst.arrived, burst.damaged) == (SENT, SENT)


@pytest.mark.netns
@pytest.mark.bpf
@pytest.mark.parametrize("subject", [KernelForwardTcp(), StaticNatTcp()], ids=lambda subject: subject.name)
def test_a_tcp_stream_reaches_the_server_that_the_client_dials(subject: TcpSubject, stack: ExitStack) -> None:
    assert Stream(subject, stack).rate(1, max(os.sched_getaffinity(0))) > 0


def test_a_subject_that_does_not_deliver_is_named_with_what_came() -> None:
    with pytest.raises(
        BenchError, match="static-1 delivered 3 of 64 packets as it should, 0 of them damaged, and 2 other"
    ):
        require_delivery("static-1", Burst(sent=64, arrived=3, damaged=0, other=2, seconds=0.1))
    with pytest.raises(BenchError, match="64 of 64 packets as it should, 1 of them damaged"):
        require_delivery("static-1", Burst(sent=64, arrived=64, damaged=1, other=0, seconds=0.1))


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
