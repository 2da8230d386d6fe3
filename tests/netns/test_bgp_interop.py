"""Our BIRD speaks with other people's daemons: sessions, attributes both ways, limits, passwords, BFD, restarts.

::

    agent ── (feed) ── BIRD, AS 65000 ─┬─ frr   AS 65001            192.0.2.2     2001:db8:f::2
                                       ├─ bird  AS 65002            198.51.100.2  fe80::2
                                       └─ gobgp AS 65003 and 65000  203.0.113.2   2001:db8:60::2
"""

from __future__ import annotations

import json
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest

from isthmus.datapath.netns import inside
from isthmus.routing.bird.config import bird_config
from isthmus.routing.bird.control import Watch
from isthmus.routing.bird.process import Daemon
from isthmus.routing.bird.speaker import Bfd, Neighbor, OverLimit, Speaker
from isthmus.routing.bird.status import Change, Event, NeighborStatus, State
from tests.netns.bgp_peers import Bird, Frr, Gobgp, Shown, bird_paths, until

GATEWAY, PEERS = "isthmus-test-bgp", ("frr", "bird", "gobgp")
SECRET = "it's#{a;secret}\\"
FAST = Bfd(interval_ms=50, multiplier=3)

FRR_4 = Neighbor(ip_address("192.0.2.2"), 65001, local=ip_address("192.0.2.1"), password=SECRET, bfd=FAST)
FRR_6 = Neighbor(ip_address("2001:db8:f::2"), 65001, local=ip_address("2001:db8:f::1"))
BIRD_4 = Neighbor(ip_address("198.51.100.2"), 65002, local=ip_address("198.51.100.1"), bfd=FAST, max_prefixes=100)
BIRD_6 = Neighbor(ip_address("fe80::2"), 65002, interface="bird")
GOBGP_4 = Neighbor(ip_address("203.0.113.2"), 65003, local=ip_address("203.0.113.1"), graceful_restart=False)
GOBGP_6 = Neighbor(ip_address("2001:db8:60::2"), 65000, local=ip_address("2001:db8:60::1"), graceful_restart=False)
SPEAKER = Speaker(65000, IPv4Address("10.255.0.1"), (FRR_4, FRR_6, BIRD_4, BIRD_6, GOBGP_4, GOBGP_6))
LINKS = {
    "frr": ("192.0.2.{}/30", "2001:db8:f::{}/64"),
    "bird": ("198.51.100.{}/30", "fe80::{}/64"),
    "gobgp": ("203.0.113.{}/30", "2001:db8:60::{}/64"),
}

AGENT_CONFIG = """
router id 10.255.0.9;
protocol device {}
protocol static s4 { ipv4;
  route 172.16.1.0/24 blackhole {
    bgp_path.prepend(64999); bgp_med = 50; bgp_community.add((65000, 50));
    bgp_large_community.add((65000, 5, 0)); bgp_large_community.add((0, 9, 9)); };
  route 172.16.2.0/24 blackhole { bgp_community.add((65535, 65281)); };
  route 10.9.0.0/16 blackhole { bgp_med = 90; };
}
protocol static s6 { ipv6; route 2001:db8:aaaa::/48 blackhole { bgp_path.prepend(64999); bgp_med = 60; }; }
protocol bgp feed {
  local 127.0.0.2 port 1791 as 65000; neighbor 127.0.0.1 port 1790 as 65000; strict bind on; multihop;
  connect delay time 1; error wait time 1, 1; graceful restart on; enable extended messages on;
  ipv4 { add paths on; import all; export where source = RTS_STATIC; next hop self on; };
  ipv6 { add paths on; import all; export where source = RTS_STATIC; next hop address 2001:db8:ff::9; };
}
"""
BIRD_CONFIG = """
router id 10.255.0.3;
debug protocols { states, events };
protocol device {}
protocol bfd b1 { interface "gw" { interval 50 ms; multiplier 3; }; }
protocol static s4 { ipv4;
  route 10.2.0.0/16 blackhole {
    bgp_med = 7; bgp_community.add((65002, 7)); bgp_large_community.add((65002, 7, 7));
    bgp_large_community.add((0, 1, 2)); };
  route 10.9.0.0/16 blackhole { bgp_med = 20; };
  route 10.20.0.0/16 blackhole { bgp_community.add((65535, 65282)); };
}
protocol static s6 { ipv6; route 2001:db8:2::/48 blackhole; }
filter told { if source != RTS_STATIC then reject; if defined(bgp_med) then bgp_med = bgp_med + 0; accept; }
template bgp t_gw {
  local as 65002; connect delay time 1; connect retry time 1; error wait time 1, 1; graceful restart on;
  ipv4 { import all; export filter told; next hop self on; };
  ipv6 { import all; export filter told; next hop self on; };
}
protocol bgp g4 from t_gw { neighbor 198.51.100.1 as 65000; bfd on; }
protocol bgp g6 from t_gw { neighbor fe80::1 as 65000; interface "gw"; }
"""
FRR_BFDD = "bfd\n profile fast\n  receive-interval 50\n  transmit-interval 50\n"
FRR_BGPD = f"""
route-map told permit 10
 set metric 7
 set community 65001:7
 set large-community 0:1:2 65001:7:7
router bgp 65001
 bgp router-id 10.255.0.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
 neighbor 192.0.2.1 remote-as 65000
 neighbor 192.0.2.1 password {SECRET}
 neighbor 192.0.2.1 bfd profile fast
 neighbor 192.0.2.1 timers connect 1
 neighbor 2001:db8:f::1 remote-as 65000
 neighbor 2001:db8:f::1 timers connect 1
 address-family ipv4 unicast
  network 10.1.0.0/16 route-map told
  network 10.9.0.0/16
  neighbor 192.0.2.1 activate
 exit-address-family
 address-family ipv6 unicast
  network 2001:db8:1::/48 route-map told
  neighbor 2001:db8:f::1 activate
 exit-address-family
"""
GOBGP_CONFIG = """
[global.config]
  as = 65003
  router-id = "10.255.0.4"
"""
GOBGP_NEIGHBOR = """
[[neighbors]]
  [neighbors.config]
    neighbor-address = "{gateway}"
    peer-as = 65000
    local-as = {asn}
    auth-password = {password}
  [neighbors.timers.config]
    connect-retry = 1
    idle-hold-time-after-reset = 1
  [neighbors.graceful-restart.config]
    enabled = true
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "{family}-unicast"
"""


@dataclass
class Net:
    """All of it, up."""

    daemon: Daemon
    watch: Watch
    agent: Bird
    frr: Frr
    bird: Bird
    gobgp: Gobgp

    def neighbor(self, neighbor: Neighbor) -> NeighborStatus:
        return self.daemon.control.neighbors()[neighbor.name]

    def told(self, neighbor: Neighbor, event: Event) -> list[Change]:
        """What is told of this neighbour up to this event."""
        return [change for change in told(self.watch, neighbor.name, event) if change.name == neighbor.name]

    def settle(self, wait_s: float = 15.0) -> None:
        """All sessions are up, and nothing that was told before is still unread."""
        for neighbor in SPEAKER.neighbors:
            until(f"{neighbor.name} is up", partial(self.is_up, neighbor), wait_s)
        list(self.watch.changes())

    def is_up(self, neighbor: Neighbor) -> bool:
        return self.neighbor(neighbor).state is State.ESTABLISHED

    def seen(self, neighbor: Neighbor, prefix: str) -> Shown | None:
        """The path to a prefix that this neighbour told, as the agent sees it."""
        return next((path for path in self.agent.paths(prefix) if neighbor.marker in path.large), None)


def told(watch: Watch, name: str, event: Event, wait_s: float = 15.0) -> list[Change]:
    """What is told up to this event. It fails if that does not come."""
    changes: list[Change] = []
    deadline = time.monotonic() + wait_s
    while select.select([watch], [], [], max(0.0, deadline - time.monotonic()))[0] and not watch.ended:
        for change in watch.changes():
            changes.append(change)
            if change[:2] == (name, event):
                return changes
    raise AssertionError(f"{name} {event} is not told: {changes}")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    at = tmp_path_factory.mktemp("bgp")
    with ExitStack() as stack:
        for name in (GATEWAY, *(f"{GATEWAY}-{peer}" for peer in PEERS)):
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
            ip("-n", name, "link", "set", "lo", "up")
        for peer, addresses in LINKS.items():
            theirs = f"{GATEWAY}-{peer}"
            ip("-n", GATEWAY, "link", "add", peer, "type", "veth", "peer", "name", "gw", "netns", theirs)
            for namespace, link, number in ((GATEWAY, peer, 1), (theirs, "gw", 2)):
                if any(address.startswith("fe80:") for address in addresses):
                    # else the kernel makes another, and a BIRD that starts speaks from either
                    ip("-n", namespace, "link", "set", link, "addrgenmode", "none")
                for address in addresses:
                    ip("-n", namespace, "addr", "add", address.format(number), "dev", link, "nodad")
                ip("-n", namespace, "link", "set", link, "up")
        yield _up(stack, at)


def _up(stack: ExitStack, at: Path) -> Net:
    gobgp_config = GOBGP_CONFIG + "".join(
        GOBGP_NEIGHBOR.format(
            gateway=n.local, asn=n.asn, password=json.dumps(n.password or ""), family=f"ipv{n.address.version}"
        )
        for n in (GOBGP_4, GOBGP_6)
    )
    frr = Frr(f"{GATEWAY}-frr", FRR_BGPD, FRR_BFDD)
    stack.callback(frr.stop)
    gobgp = Gobgp(at / "gobgp", f"{GATEWAY}-gobgp", gobgp_config)
    stack.callback(gobgp.stop)
    gobgp.announce("10.3.0.0/16", "med", "7", "community", "65003:7", "large-community", "0:1:2,65003:7:7")
    gobgp.announce("2001:db8:3::/48", "med", "7", "community", "65003:7", "large-community", "0:1:2,65003:7:7")
    bird = Bird(at / "bird", f"{GATEWAY}-bird", BIRD_CONFIG)
    stack.callback(bird.stop)
    with inside(GATEWAY):
        daemon = Daemon(at / "gateway", bird_config(SPEAKER))
    stack.callback(daemon.stop)
    watch = Watch(daemon.control_socket)
    stack.callback(watch.close)
    agent = Bird(at / "agent", GATEWAY, AGENT_CONFIG)
    stack.callback(agent.stop)
    net = Net(daemon, watch, agent, frr, bird, gobgp)
    net.settle()
    return net


TOLD = {
    FRR_4: "10.1.0.0/16",
    FRR_6: "2001:db8:1::/48",
    BIRD_4: "10.2.0.0/16",
    BIRD_6: "10.2.0.0/16",
    GOBGP_4: "10.3.0.0/16",
    GOBGP_6: "2001:db8:3::/48",
}
NAMED = {neighbor.name: neighbor for neighbor in SPEAKER.neighbors}


@pytest.mark.parametrize("name", NAMED)
def test_what_a_neighbour_tells_comes_with_its_attributes_and_its_marker(net: Net, name: str) -> None:
    neighbor = NAMED[name]
    path = until(f"the path of {name}", lambda: net.seen(neighbor, TOLD[neighbor]))
    asn = 65003 if neighbor is GOBGP_6 else neighbor.asn
    assert path.as_path == (() if neighbor is GOBGP_6 else (asn,))
    assert path.med == 7
    assert path.communities == {(asn, 7)}
    assert path.large == {(asn, 7, 7), neighbor.marker}, "what it sent in the markers' place is gone"


def test_a_link_local_next_hop_is_taken(net: Net) -> None:
    """The agent's BIRD would refuse it, because it is not on that link; so the daemon itself is asked."""
    paths = bird_paths(net.daemon.control, "isthmus_routes6")["2001:db8:2::/48"]
    assert [path.large for path in paths] == [{BIRD_6.marker}]


@pytest.mark.parametrize("peer", PEERS)
def test_what_we_announce_comes_with_its_attributes_and_without_a_marker(net: Net, peer: str) -> None:
    daemon: Frr | Bird | Gobgp = getattr(net, peer)
    four = until("the announced path", lambda: daemon.path("172.16.1.0/24"))
    assert (four.as_path, four.med) == ((65000, 64999), 50)
    assert four.communities == {(65000, 50)}
    assert four.large == {(65000, 5, 0)}, "(0, 9, 9) is taken off"
    six = until("the announced path", lambda: daemon.path("2001:db8:aaaa::/48"))
    assert six[:2] == ((64999,) if peer == "gobgp" else (65000, 64999), 60), "inside an AS nothing is prepended"


@pytest.mark.parametrize("peer", PEERS)
def test_what_is_not_for_export_and_what_other_neighbours_tell_stays_here(net: Net, peer: str) -> None:
    daemon: Frr | Bird | Gobgp = getattr(net, peer)
    until("the announced path", lambda: daemon.path("172.16.1.0/24"))
    assert net.seen(BIRD_4, "10.20.0.0/16") is not None, "no-advertise is for us to honour, so we hear of it"
    for prefix in {"172.16.2.0/24", "10.20.0.0/16", *TOLD.values()}:
        path = daemon.path(prefix)
        assert path is None or 65000 not in path.as_path


def test_two_neighbours_with_one_prefix_are_two_paths_and_ours_is_the_one_announced(net: Net) -> None:
    one, other = (until("a path", lambda n=n: net.seen(n, "10.9.0.0/16")) for n in (FRR_4, BIRD_4))  # type: ignore[misc]
    assert (one.as_path, other.as_path, other.med) == ((65001,), (65002,), 20)
    path = until("our path", lambda: net.gobgp.path("10.9.0.0/16"))
    assert (path.as_path, path.med) == ((65000,), 90)


def test_bfd_sees_a_frozen_neighbour_and_its_return(net: Net) -> None:
    for neighbor in (FRR_4, BIRD_4):
        until(f"BFD of {neighbor.name}", lambda n=neighbor: net.neighbor(n).bfd)  # type: ignore[misc]
    start = time.monotonic()
    net.frr.signal(signal.SIGSTOP, "bfdd", "bgpd")
    try:
        events = [change.event for change in net.told(FRR_4, Event.DOWN)]
        assert time.monotonic() - start < 1, "150 ms, and room for a busy machine; the hold time is 90 s"
        assert events == [Event.BFD_DOWN, Event.DOWN]
        assert net.neighbor(FRR_4).error == "Error: BFD session down"
        until("the path is gone", lambda: net.seen(FRR_4, TOLD[FRR_4]) is None)
    finally:
        net.frr.signal(signal.SIGCONT, "bfdd", "bgpd")
    net.told(FRR_4, Event.UP)


def test_a_wrong_password_keeps_one_session_down_and_no_other(net: Net) -> None:
    net.settle()
    before = net.daemon.control.neighbors()
    failures = md5_failures()
    wrong = replace(FRR_4, password="wrong")
    net.daemon.reconfigure(bird_config(replace(SPEAKER, neighbors=(*others(FRR_4), wrong))))
    try:
        net.told(FRR_4, Event.DOWN)
        until("the kernel refuses a segment", lambda: md5_failures() > failures)
        after = net.daemon.control.neighbors()
        assert after[FRR_4.name].state is not State.ESTABLISHED
        for neighbor in others(FRR_4):  # BIRD works the moment out anew each time it is asked: to a millisecond
            assert after[neighbor.name].since == pytest.approx(before[neighbor.name].since, rel=0, abs=0.1)
    finally:
        net.daemon.reconfigure(bird_config(SPEAKER))
    net.told(FRR_4, Event.UP)


def test_too_many_prefixes_end_the_session_until_it_is_enabled(net: Net) -> None:
    net.settle()
    until("three prefixes", lambda: net.neighbor(BIRD_4).imported >= 3)
    low = replace(BIRD_4, max_prefixes=2, over_limit=OverLimit.DISABLE)
    net.daemon.reconfigure(bird_config(replace(SPEAKER, neighbors=(*others(BIRD_4), low))))
    net.told(BIRD_4, Event.OVER_LIMIT)
    status = until("it is down", lambda: found if (found := net.neighbor(BIRD_4)).state is State.DOWN else None)
    assert status.over_limit
    assert status.error == "Automatic shutdown: Route limit exceeded"
    until("its paths are gone", lambda: net.seen(BIRD_4, TOLD[BIRD_4]) is None)
    assert net.seen(BIRD_6, TOLD[BIRD_4]) is not None
    net.daemon.reconfigure(bird_config(SPEAKER))
    net.daemon.control.enable(BIRD_4.name)
    net.told(BIRD_4, Event.UP)
    assert not net.neighbor(BIRD_4).over_limit


def test_a_neighbour_that_restarts_gracefully_keeps_its_routes(net: Net) -> None:
    net.settle()
    until("the path", lambda: net.seen(FRR_6, TOLD[FRR_6]))
    net.frr.kill("bgpd")
    assert [change.event for change in net.told(FRR_6, Event.RESTARTING)] == [Event.RESTARTING]
    assert net.neighbor(FRR_6).restarting
    assert net.seen(FRR_6, TOLD[FRR_6]) is not None
    net.frr.start("bgpd")
    events = [change.event for change in net.told(FRR_6, Event.RESTARTED)]
    assert Event.DOWN not in events
    assert net.seen(FRR_6, TOLD[FRR_6]) is not None


def test_neighbours_keep_what_we_announced_while_our_daemon_restarts(net: Net) -> None:
    net.settle()
    watch = Watch(net.bird.daemon.control_socket)
    try:
        pid = net.daemon.pid
        with inside(GATEWAY):
            net.daemon.restart(bird_config(SPEAKER))
        assert net.daemon.pid != pid
        changes = [change for change in told(watch, "g6", Event.RESTARTED, 40) if change.name == "g6"]
    finally:
        watch.close()
    assert [change.event for change in changes if change.event is not Event.TOLD] == [
        Event.RESTARTING,
        Event.UP,
        Event.RESTARTED,
    ]
    assert any(path.teller == "g6" for path in net.bird.paths("172.16.1.0/24"))
    net.watch = Watch(net.daemon.control_socket)


def test_a_link_that_goes_down_is_known_at_once(net: Net) -> None:
    """Last: the neighbour loses its IPv6 addresses with its link. One without BFD, which might be first."""
    net.settle(40)
    start = time.monotonic()
    ip("-n", f"{GATEWAY}-frr", "link", "set", "gw", "down")
    assert [change.event for change in net.told(FRR_6, Event.DOWN)] == [Event.LINK_DOWN, Event.DOWN]
    assert time.monotonic() - start < 2, "the kernel tells of links once a second at most"
    net.watch.close()


def others(neighbor: Neighbor) -> list[Neighbor]:
    return [other for other in SPEAKER.neighbors if other is not neighbor]


def md5_failures() -> int:
    """Segments that the gateway's kernel refused for a wrong signature (TcpExt of netstat)."""
    with inside(GATEWAY):
        lines = Path("/proc/thread-self/net/netstat").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith("TcpExt:"))
    return int(dict(zip(names, values, strict=True))["TCPMD5Failure"])
