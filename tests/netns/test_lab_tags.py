"""A frame with a VLAN tag is of no untagged attachment, wherever the tag travels: it reaches no peer."""

import ctypes
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Final

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from isthmus.datapath.libbpf import abi
from isthmus.datapath.netns import inside
from isthmus.lab.plan import LabVpc
from isthmus.lab.state import Objects
from isthmus.lab.wiring import Link
from tests.netns.labs import EXAMPLES, lab, of_files

NAME = "isthmus-test-tags"
VLAN, PROVIDER_VLAN = 0x8100, 0x88A8
EVERY_PROTOCOL = 3  # ETH_P_ALL
ARRIVES_WITHIN_S = 5.0
TAGGED, UNTAGGED = b"tagged: of no attachment here", b"untagged: as it should be"


@pytest.fixture(scope="module", params=["xdp", "tc"])
def overlapping(request: pytest.FixtureRequest) -> Iterator[Objects]:
    """A lab of example 5: vpc-1's 10.1.1.1 reaches vpc-2's as 192.168.2.1."""
    objects = of_files(EXAMPLES / "5-overlapping-subnets.yaml", name=f"{NAME}-{request.param}", hook=request.param)
    with lab(objects):
        yield objects


@pytest.mark.parametrize(
    "tags",
    [
        struct.pack("!HH", VLAN, 100),
        struct.pack("!HH", PROVIDER_VLAN, 100),
        struct.pack("!HHHH", PROVIDER_VLAN, 100, VLAN, 7),
        struct.pack("!HH", VLAN, 5 << 13),
    ],
    ids=["802.1Q", "802.1ad", "both", "priority alone"],
)
def test_a_tag_in_the_frame(overlapping: Objects, tags: bytes) -> None:
    here = vpc(overlapping, "vpc-1")
    with arrivals(overlapping) as arrived, sender(here) as send:
        frame = of(here.links[0], TAGGED)
        send(frame[:12] + tags + frame[12:])
        send(of(here.links[0], UNTAGGED))
        assert arrived() == [UNTAGGED]


@pytest.mark.parametrize("protocol", [VLAN, PROVIDER_VLAN], ids=["802.1Q", "802.1ad"])
def test_a_tag_that_the_sender_s_kernel_keeps_beside_the_frame(overlapping: Objects, protocol: int) -> None:
    """As a VLAN interface of the host does: the device is asked to put it in, and a veth would just hand it on."""
    here = vpc(overlapping, "vpc-1")
    with arrivals(overlapping) as arrived, sender(here) as send:
        with tag_beside_every_frame(here, protocol):
            send(of(here.links[0], TAGGED))
        send(of(here.links[0], UNTAGGED))
        assert arrived() == [UNTAGGED]


def vpc(objects: Objects, name: str) -> LabVpc:
    found = objects.plan.vpc(name)
    assert found is not None
    return found


def of(link: Link, says: bytes) -> bytes:
    """From vpc-1's host to vpc-2's, with a checksum that is complete."""
    packet = IP(src="10.1.1.1", dst="192.168.2.1") / UDP(sport=4000, dport=4000) / Raw(says)
    return bytes(Ether(src=link.host_mac, dst=link.port_mac) / packet)


@contextmanager
def sender(here: LabVpc) -> Iterator[Callable[[bytes], int]]:
    with inside(here.host_namespace):
        one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        one.bind((here.links[0].inside, 0))
    with closing(one):
        yield one.send


@contextmanager
def arrivals(objects: Objects) -> Iterator[Callable[[], list[bytes]]]:
    """What of ours has arrived at vpc-2's host up to and including what is untagged, whatever is around it."""
    there = vpc(objects, "vpc-2")
    with inside(there.host_namespace):
        one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY_PROTOCOL))
        one.bind((there.links[0].inside, EVERY_PROTOCOL))
    one.settimeout(ARRIVES_WITHIN_S)

    def arrived() -> list[bytes]:
        found: list[bytes] = []
        while UNTAGGED not in found:
            frame = one.recv(2048)
            found += [mine for mine in (TAGGED, UNTAGGED) if mine in frame]
        return found

    with closing(one):
        yield arrived


TCX_EGRESS: Final = 47  # BPF_TCX_EGRESS
SCHED_CLS: Final = 3  # BPF_PROG_TYPE_SCHED_CLS
VLAN_PUSH: Final = 18  # bpf_skb_vlan_push: the first tag goes into skb->vlan_tci


def instruction(code: int, register: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, register, 0, value)


@contextmanager
def tag_beside_every_frame(here: LabVpc, protocol: int) -> Iterator[None]:
    """Have the host's kernel tag all that the host sends, in what it knows of a frame and not in the frame."""
    set_register, call, leave = 0xB7, 0x85, 0x95
    program = (
        instruction(set_register, 2, socket.htons(protocol))
        + instruction(set_register, 3, 100)
        + instruction(call, 0, VLAN_PUSH)
        + instruction(set_register, 0, -1)  # TCX_NEXT
        + instruction(leave)
    )
    libbpf = ctypes.CDLL(abi.LIBRARY, use_errno=True)
    loaded = libbpf.bpf_prog_load(SCHED_CLS, b"tag", b"Dual BSD/GPL", program, len(program) // 8, None)
    assert loaded >= 0, os.strerror(ctypes.get_errno())
    try:
        with inside(here.host_namespace):
            index = socket.if_nametoindex(here.links[0].inside)
            link = libbpf.bpf_link_create(loaded, index, TCX_EGRESS, None)
        assert link >= 0, os.strerror(ctypes.get_errno())
        try:
            yield
        finally:
            os.close(link)
    finally:
        os.close(loaded)
