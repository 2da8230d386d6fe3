"""What BIRD says of its sessions, as values. The texts are those of BIRD 2.0.12."""

import pytest

from isthmus.routing.bird.status import Event, State, change, neighbors

PROTOCOLS = """\
Name       Proto      Table      State  Since         Info
isthmus_direct4 Direct     isthmus_links4 up     1795529280.973
  Channel ipv4
    State:          UP
    Routes:         2 imported, 0 exported, 2 preferred

isthmus_agent BGP        ---        start  1795529280.973  Passive
  BGP state:          Passive
    Neighbor address: 127.0.0.2
    Neighbor AS:      65000

192.0.2.2  BGP        ---        up     1795529281.777  Established
  BGP state:          Established
    Neighbor address: 192.0.2.2
    Neighbor AS:      65001
    Local AS:         65000
    Neighbor graceful restart active
  Channel ipv4
    State:          UP
    Import limit:   100
      Action:       restart
    Routes:         3 imported, 2 exported, 1 preferred
    Route change stats:     received   rejected   filtered    ignored   accepted
      Import updates:              9          2          1          0          6
      Import withdraws:            0          0        ---          0          0
      Export updates:              4          0          1        ---          3
  Channel ipv6
    State:          UP
    Routes:         4 imported, 5 filtered, 1 exported, 4 preferred
      Import updates:              4          1          0          0          3

fe80::2-eth0 BGP        ---        down   1795529282.5  Automatic shutdown: Route limit exceeded
  BGP state:          Down
    Neighbor address: fe80::2%eth0
    Neighbor AS:      4200000000
    Last error:       Automatic shutdown: Route limit exceeded
  Channel ipv4
    State:          DOWN
""".splitlines()
BFD = """\
isthmus_bfd:
IP address                Interface  State      Since         Interval  Timeout
192.0.2.2                 eth1       Up         1795529281.9    0.050    0.150
fe80::2                   eth1       Up         1795529281.9    0.050    0.150
fe80::2                   eth0       Down       1795529281.9    1.000    0.000
""".splitlines()


def test_neighbours_are_told_apart_from_what_is_ours() -> None:
    assert set(neighbors(PROTOCOLS, BFD)) == {"192.0.2.2", "fe80::2-eth0"}


def test_counters_are_of_all_families() -> None:
    status = neighbors(PROTOCOLS, BFD)["192.0.2.2"]
    assert (status.address, status.interface, status.asn) == ("192.0.2.2", None, 65001)
    assert (status.state, status.since, status.error) == (State.ESTABLISHED, 1795529281.777, "")
    assert (status.imported, status.exported, status.refused) == (7, 3, 4)
    assert (status.bfd, status.restarting, status.over_limit) == (True, True, False)


def test_a_link_local_neighbour_is_one_of_its_interface() -> None:
    status = neighbors(PROTOCOLS, BFD)["fe80::2-eth0"]
    assert (status.address, status.interface, status.asn) == ("fe80::2", "eth0", 4_200_000_000)
    assert (status.state, status.bfd, status.over_limit) == (State.DOWN, False, True)
    assert status.error == "Automatic shutdown: Route limit exceeded"


def test_without_bfd_nothing_is_said_of_it() -> None:
    assert neighbors(PROTOCOLS, [])["192.0.2.2"].bfd is None


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("+192.0.2.2: State changed to up", Event.UP),
        ("+2001:db8::2: State changed to stop", Event.DOWN),
        ("+fe80::2-eth0: BFD session down", Event.BFD_DOWN),
        ("+192.0.2.2: Link down", Event.LINK_DOWN),
        ("+192.0.2.2: Neighbor graceful restart detected", Event.RESTARTING),
        ("+192.0.2.2: Neighbor graceful restart done", Event.RESTARTED),
        ("+192.0.2.2: Route limit exceeded, shutting down", Event.OVER_LIMIT),
        ("+192.0.2.2: Received: Administrative shutdown", Event.TOLD),
    ],
)
def test_a_line_is_an_event_of_a_neighbour(line: str, event: Event) -> None:
    found = change(line)
    assert found is not None
    assert found.event is event
    assert line == f"+{found.name}: {found.text}"


@pytest.mark.parametrize(
    "line",
    [
        "192.0.2.2: State changed to up",
        "+192.0.2.2.ipv4: State changed to up",
        "+isthmus_agent: State changed to up",
        "+192.0.2.2: State changed to start",
        "+192.0.2.2: Reconfigured",
        "+Reconfigured",
        "+BGP: Unexpected connect from unknown address 192.0.2.7 (port 4)",
        "<3 messages lost>",
        "",
    ],
)
def test_other_lines_are_no_events(line: str) -> None:
    assert change(line) is None
