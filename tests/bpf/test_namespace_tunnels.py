"""A VPC with several VXLAN segments: what the kernel of a namespace says leaves by the tunnel of its own segment.

The route to 10.6.0.0/16 (2001:db8:6::/48) has a remote in segments 5 and 6 each, and none in 7.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from isthmus.tables.address import FAMILIES, Family, Prefix, parse_address
from isthmus.tables.entries import Attachment, AttachmentKey, NextHop, Origin, Route, Tables, Tag, TagKind, Tunnel, Vpc
from isthmus.tables.entries import Vtep as OwnVtep
from isthmus.tables.verdicts import Verdict
from isthmus.trace.environment import Environment, PortInfo
from isthmus.trace.twin import Twin
from tests.differential.compare import Bench
from tests.differential.frames import ETHERTYPE, HOST_MAC, ICMP, REPLY, packet, summed
from tests.differential.place import bench

ORIGIN, PORT = Origin("test"), "p1"
SEGMENTS = (5, 6, 7)
OWN, REMOTE = (parse_address(text)[1] for text in ("192.0.2.1", "192.0.2.9"))
PORTS = {PORT: PortInfo(b"\x02\0\0\0\0\x01", 1500)}
TUNNELS: dict[tuple[Family, int], tuple[str, bytes]] = {(4, REMOTE): (PORT, b"\x02\xee\0\0\0\x01")}
TO: dict[Family, str] = {4: "10.6.0.0/16", 6: "2001:db8:6::/48"}


def key(vni: int) -> AttachmentKey:
    return AttachmentKey("far", PORT, Tag(TagKind.VXLAN, vni))


def inner_mac(vni: int) -> bytes:
    return bytes([2, 0xCC, 0, 0, 0, vni])


def route(family: Family) -> Route:
    hops = tuple(NextHop(key(vni), None, ORIGIN, Tunnel(4, REMOTE, inner_mac(vni))) for vni in SEGMENTS[:2])
    return Route(Prefix.parse(TO[family]), 0, False, hops, ORIGIN)


def segments() -> Tables:
    attachments = tuple(Attachment(key(vni), (), {4: None, 6: None}, 0, ORIGIN) for vni in SEGMENTS)
    far = Vpc("far", True, False, attachments, {}, {family: (route(family),) for family in FAMILIES}, ORIGIN)
    return Tables({"far": far}, {}, {}, None, OwnVtep(4, OWN, PORT))


@pytest.fixture(scope="module")
def place() -> Iterator[Bench]:
    with bench() as one:
        one.apply(segments(), PORTS, {}, judge_flows=True, tunnels=TUNNELS)
        yield one


def said(family: Family) -> bytes:
    """An echo reply from the gateway to a host behind the route."""
    to = Prefix.parse(TO[family]).first
    source, target = ((to + (host << (96 if family == 4 else 0))).to_bytes(16, "big") for host in (1, 5))
    source, target = (address[: 4 if family == 4 else 16] for address in (source, target))
    body = summed(family, source, target, ICMP[family], struct.pack("!BBHHH", REPLY[family], 0, 0, 1, 1) + bytes(30))
    ip = packet(family, source, target, ICMP[family], body)
    return HOST_MAC + PORTS[PORT].mac + ETHERTYPE[family].to_bytes(2, "big") + ip


def asked() -> bytes:
    """An ARP request for such a host."""
    own, host = (parse_address(text)[1].to_bytes(16, "big")[:4] for text in ("10.6.0.1", "10.6.0.5"))
    request = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + PORTS[PORT].mac + own + bytes(6) + host
    return b"\xff" * 6 + PORTS[PORT].mac + b"\x08\x06" + request + bytes(18)


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_what_a_namespace_says_goes_by_the_tunnel_of_its_own_segment(place: Bench, hook: str) -> None:
    twin = Twin(segments(), Environment(PORTS, hook="tc" if hook == "tc" else "xdp", tunnels=TUNNELS))
    for frame in (said(4), said(6), asked()):
        for vni in SEGMENTS:
            place.compare_said(twin, frame, key(vni), twin.environment.hook, f"segment {vni}")
            outcome = twin.process_from_namespace(frame, key(vni))
            if vni == 7:
                assert outcome.verdict is Verdict.NO_ROUTE
                continue
            assert outcome.verdict is Verdict.LOCAL
            ((_, sent),) = outcome.out
            assert (sent[46:49], sent[50:56]) == (vni.to_bytes(3, "big"), inner_mac(vni))
