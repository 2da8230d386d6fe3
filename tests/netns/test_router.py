"""The router between a real neighbour and a packet path that only notes what it is told: where next hops lead to after
another configuration, and how it starts where the gateway is to leave."""

from __future__ import annotations

import select
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast

import pytest

from isthmus.compile import compile_tables
from isthmus.datapath import PacketPath
from isthmus.datapath.fib.exact import Exact, Slots
from isthmus.model.types import Attachment, Bgp, Item, Model, Neighbor, Peering, Side, Vpc
from isthmus.routing.bird.control import Control
from isthmus.routing.router import Place, Router
from isthmus.tables.address import FAMILIES, Prefix, parse_address
from isthmus.tables.entries import Nat, NextHop, Tables, Tag
from isthmus.tables.prefixes import Prefixes
from tests.netns.bgp_peers import Bird, bird_paths

HERE, THERE, RED = "isthmus-test-router", "isthmus-test-router-peer", "isthmus-test-router-red"
WITHIN_S = 15.0
PEER = """
router id 192.0.2.2;
protocol device {}
protocol static { ipv4; route 8.0.0.0/8 blackhole; }
protocol bgp {
  local 192.0.2.2 as 65001; neighbor 192.0.2.1 as 64512; connect delay time 1;
  ipv4 { import all; export where source = RTS_STATIC; next hop self; };
}
"""


class Noting:
    """A packet path, and the table of its VPC: what packets to the learned prefix would follow."""

    def __init__(self) -> None:
        self.groups: list[tuple[NextHop, ...]] = [()]
        self.told: list[str] = []
        self.prefixes = {family: Exact(columns=2) for family in FAMILIES}
        self.notes = {family: table.columns[1] for family, table in self.prefixes.items()}

    def learned(self, _: str) -> Noting:
        return self

    def settle(self) -> None:
        return None

    def group(self, _: int, next_hops: tuple[NextHop, ...]) -> int:
        self.groups.append(next_hops)
        return len(self.groups) - 1

    def write(self, _: int, prefixes: Prefixes, slots: Slots, groups: Sequence[int]) -> None:
        self.told += [" ".join(hop.attachment.interface for hop in self.groups[group]) for group in groups]

    def clear(self) -> None:
        self.told += ["cleared"] if self.told else []


def model(interface: str) -> Model:
    neighbor = Neighbor(parse_address("192.0.2.2"), 65001, 0, "")
    link = Attachment(interface, Tag(), ((*parse_address("192.0.2.1"), 24),), 0, "")
    isp = Vpc("isp", True, Bgp(64512, 1, (neighbor,)), (), (link,), ())
    red = Vpc("red", True, None, (), (Attachment("eth3", Tag(), (), 0, ""),), ())
    items = [(Item(Prefix.parse(text), ""),) for text in ("10.0.0.0/24", "203.0.113.4/30", "0.0.0.0/0")]
    sides = (
        Side("p", "red", Nat.STATEFUL, items[0], (), items[1], (), None, 0, ""),
        Side("p", "isp", Nat.PLAIN, items[2], (), (), (), None, 0, ""),
    )
    return Model({"isp": isp, "red": red}, {"p": Peering("p", sides)}, None)


def compiled(model: Model) -> tuple[Tables, Mapping[str, Vpc], Mapping[str, Place]]:
    return compile_tables(model, assume=()), model.vpcs, {"isp": Place(HERE, ["eth1"])}


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bird]:
    for command in (
        f"netns add {HERE}",
        f"netns add {THERE}",
        f"netns add {RED}",
        f"-n {RED} link set lo up",
        f"-n {HERE} link add eth1 type veth peer name eth1 netns {THERE}",
        *(f"-n {name} addr add 192.0.2.{number}/24 dev eth1" for number, name in enumerate((HERE, THERE), 1)),
        *(f"-n {name} link set {link} up" for name in (HERE, THERE) for link in ("lo", "eth1")),
    ):
        subprocess.run(["ip", *command.split()], check=True)
    bird = Bird(tmp_path_factory.mktemp("peer") / "bird", THERE, PEER)
    try:
        yield bird
    finally:
        bird.stop()
        for name in (HERE, THERE, RED):
            subprocess.run(["ip", "netns", "del", name], check=True)


@contextmanager
def routed(folder: Path, path: Noting, *, drain: bool = False) -> Iterator[Router]:
    of = compiled(model("eth1"))
    with closing(Router(*of, cast(PacketPath, path), folder, lambda _: None, drain=drain)) as router:
        yield router


def serve(router: Router, until: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN_S
    with select.epoll() as epoll:
        epoll.register(router.fileno(), select.EPOLLIN)
        while not until():
            assert time.monotonic() < deadline, router.unsettled()
            wait = router.timeout()
            epoll.poll(0.05 if wait is None else min(wait, 0.05))
            router.serve()


def test_next_hops_lead_elsewhere_after_a_change_and_the_session_stays(peer: Bird, tmp_path: Path) -> None:
    path = Noting()
    with routed(tmp_path / "bgp", path) as router:
        serve(router, lambda: path.told and peer.path("203.0.113.4/30") and router.settled)
        (before,) = router.domains["isp"].neighbors().values()
        router.follow(*compiled(model("eth2")))
        serve(router, lambda: path.told[-1] == "eth2")
        assert path.told == ["eth1", "eth2"]
        router.follow(*compiled(model("eth2")))
        serve(router, lambda: router.settled)
        assert path.told == ["eth1", "eth2"]
        assert list(router.domains["isp"].neighbors().values()) == [before]


def test_what_a_vpc_had_learned_is_withdrawn_from_others_when_its_bgp_goes(peer: Bird, tmp_path: Path) -> None:
    path, (tables, vpcs, places) = Noting(), compiled(model("eth1"))
    nobody = Bgp(64512, 2, (Neighbor(parse_address("127.0.0.9"), 65009, None, "", multihop=2),))
    vpcs = {**vpcs, "red": vpcs["red"]._replace(bgp=nobody)}
    places = {**places, "red": Place(RED, ["eth1"])}
    router = Router(tables, vpcs, places, cast(PacketPath, path), tmp_path / "bgp", lambda _: None)
    with closing(router), closing(Control(tmp_path / "bgp" / "red" / "bird.ctl")) as red:
        serve(router, lambda: "8.0.0.0/8" in bird_paths(red, "isthmus_routes4"))
        router.follow(tables, {**vpcs, "isp": vpcs["isp"]._replace(bgp=None)}, places)
        assert path.told[-1] == "cleared"
        serve(router, lambda: "8.0.0.0/8" not in bird_paths(red, "isthmus_routes4"))
        assert list(router.domains) == ["red"]


def test_a_gateway_that_is_to_leave_says_so_from_the_start(peer: Bird, tmp_path: Path) -> None:
    with routed(tmp_path / "bgp", Noting(), drain=True) as router:
        serve(router, lambda: peer.path("203.0.113.4/30"))
        said = peer.path("203.0.113.4/30")
        assert said is not None
        assert (65535, 0) in said.communities
        assert router.draining


def test_what_refuses_the_tables_leaves_all_as_it_was(peer: Bird, tmp_path: Path) -> None:
    def refuse() -> None:
        raise OSError("no room")

    with routed(tmp_path / "bgp", Noting()) as router:
        serve(router, lambda: router.settled)
        tables, speaks = router.tables, router.domains["isp"].speaker
        other, vpcs, places = compiled(model("eth2"))
        red = vpcs["red"]._replace(bgp=vpcs["isp"].bgp, attachments=vpcs["isp"].attachments)
        with pytest.raises(OSError, match="no room"):
            router.follow(other, {**vpcs, "red": red}, {**places, "red": Place(HERE, ["eth1"])}, apply=refuse)
        assert (router.tables, list(router.domains), router.domains["isp"].speaker) == (tables, ["isp"], speaks)
        ended = subprocess.run(["ip", "netns", "pids", HERE], check=True, capture_output=True, text=True)
        assert len(ended.stdout.split()) == 1  # the daemon that red was to have is gone
