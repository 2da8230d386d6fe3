"""What a lab consists of: names, links, where hosts live, what is left out and said to be."""

from pathlib import Path

import pytest

from isthmus.cli.objects import load
from isthmus.compile import compile_tables
from isthmus.lab import names
from isthmus.lab.plan import LabPlan, WrongHost, plan
from isthmus.lab.wiring import ON_LINK, LinkRoute
from isthmus.tables.address import Family, Prefix, format_address, parse_address

OBJECTS = """
apiVersion: gateway.githedgehog.com/v1alpha1
kind: VPC
metadata: {name: app}
spec:
  subnets: {front: {cidr: 10.1.1.0/24}, back: {cidr: 10.1.2.0/24}}
  attachments:
    - {interface: eth1, addresses: [10.1.1.1/24]}
    - {interface: eth2, addresses: [10.1.2.254/24], mtu: 1400}
    - {interface: eth2, vlan: 100, addresses: [10.77.1.1/24]}
  routes:
    - {to: 10.9.0.0/16, via: 10.1.2.7}
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Gateway
metadata: {name: here}
spec: {asn: 65000, routerID: 10.0.0.1, ports: {eth2: {hook: tc}}}
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata: {name: app--db}
spec:
  app:
    ips: [{fromVPCSubnet: front}, {fromVPCSubnet: back}, {cidr: 10.9.0.0/24}]
    as: [192.168.0.0/23, 192.168.9.0/24]
  db:
    ips: [{cidr: 10.1.1.0/24}, {cidr: "2001:db8:2::/64"}]
    as: [172.16.0.0/28, "2001:db8:b::/64"]
    natType: stateful
"""
UNTAGGED = OBJECTS.replace("    - {interface: eth2, vlan: 100, addresses: [10.77.1.1/24]}\n", "")


def lab(tmp_path: Path, text: str = OBJECTS, hook: str = "auto", **hosts: str) -> LabPlan:
    file = tmp_path / "objects.yaml"
    file.write_text(text)
    loaded = load([str(file)])
    extra = {vpc: [parse_address(address)] for vpc, address in hosts.items()}
    return plan("lab", loaded.model, compile_tables(loaded.model), extra, hook)


def texts(found: dict[Family, int]) -> list[str]:
    return [format_address(family, address) for family, address in sorted(found.items())]


def test_a_namespace_for_the_ports_and_two_for_each_vpc(tmp_path: Path) -> None:
    assert lab(tmp_path, UNTAGGED).namespaces == ("lab.gw", "lab.gw.app", "lab-app", "lab.gw.db", "lab-db")


def test_and_one_for_the_fabric_where_something_is_tagged(tmp_path: Path) -> None:
    assert lab(tmp_path).namespaces[:2] == ("lab.gw", "lab.fabric")


def test_long_names_are_cut_and_stay_distinct() -> None:
    one, other = ("a" * 62 + end for end in "xy")
    cut = [names.vpc_namespace("lab", vpc) for vpc in (one, other)]
    assert all(len(name) == names.NAMESPACE_LIMIT for name in cut)
    assert cut[0] != cut[1]
    assert names.vpc_namespace("lab", "short") == "lab.gw.short"


def test_every_attachment_is_a_link_and_those_with_a_tag_meet_in_the_fabric(tmp_path: Path) -> None:
    planned = lab(tmp_path)
    app = planned.vpc("app")
    assert app is not None
    assert [(link.attachment.interface, link.inside, link.port, link.cable, link.mtu) for link in app.links] == [
        ("eth1", "eth0", "port0", "", 1500),
        ("eth2", "eth1", "port1", "host1", 1400),
        ("eth2", "eth2", "port1", "host2", 1500),
    ]
    assert [(port.interface, port.name, port.wire, port.mtu) for port in planned.ports][:2] == [
        ("eth1", "port0", "", 1500),
        ("eth2", "port1", "wire1", 1500),
    ]
    assert len({link.port_mac for link in app.links}) == 2, "it is the port's"


TAGGED = """
apiVersion: gateway.githedgehog.com/v1alpha1
kind: VPC
metadata: {name: app}
spec:
  attachments:
    - {interface: eth1, qinq: {outer: 100, inner: 7}, addresses: [10.1.3.254/24]}
    - {interface: eth1, mpls: {label: 200, push: [16, 17]}, addresses: [10.1.4.254/24]}
    - interface: eth9
      mtu: 9000
      addresses: [10.1.1.254/24]
      vxlan: {vni: 5001, remotes: [{to: 10.1.1.0/24, vtep: "2001:db8::2", mac: "02:00:00:00:00:01"}]}
  routes: [{to: 10.1.2.0/24, via: 10.1.1.7}]
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Gateway
metadata: {name: here}
spec: {vtep: {address: "2001:db8::1", interface: eth9}}
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata: {name: app--db}
spec:
  app: {ips: [{cidr: 10.1.1.0/24}, {cidr: 10.1.2.0/24}, {cidr: 10.1.3.0/24}], as: [192.168.0.0/23, 192.168.2.0/24]}
  db: {ips: [{cidr: 10.2.1.0/24}]}
"""


def test_a_tag_takes_its_bytes_from_the_port_s_mtu_and_a_tunnel_s_port_has_room_for_what_is_asked(
    tmp_path: Path,
) -> None:
    planned = lab(tmp_path, TAGGED)
    app = planned.vpc("app")
    assert app is not None
    assert [link.mtu for link in app.links] == [1496, 1492, 9000]
    assert [port.mtu for port in planned.ports][:2] == [1500, 9070]


def test_through_a_tunnel_no_neighbour_is_looked_for_but_the_vtep(tmp_path: Path) -> None:
    planned = lab(tmp_path, TAGGED)
    app = planned.vpc("app")
    assert app is not None
    vxlan = app.links[2]
    assert {str(route.prefix): route.tunnel is not None for route in vxlan.routes} == {
        "10.1.1.0/24": True,
        "10.1.2.0/24": True,
    }
    assert not [hop for link, *hop in app.next_hops() if link is vxlan]
    assert [format_address(*end) for end in planned.remote_vteps] == ["2001:db8::2"]
    assert planned.vtep_port is not None
    assert planned.vtep_port.interface == "eth9"
    assert [sorted(link.told) for link in app.links] == [[], [6], [4, 6]]


def test_hosts_live_where_their_vpc_s_routes_lead(tmp_path: Path) -> None:
    app = lab(tmp_path).vpc("app")
    assert app is not None
    assert [(format_address(h.family, h.address), h.links) for h in app.hosts] == [
        ("10.1.1.2", ("eth0",)),
        ("10.1.2.1", ("eth1",)),
        ("10.9.0.1", ("eth1",)),
    ]


def test_a_router_stands_for_the_hosts_behind_it(tmp_path: Path) -> None:
    app = lab(tmp_path).vpc("app")
    assert app is not None
    _, back, _ = app.links
    router = parse_address("10.1.2.7")
    assert back.routers == (router,)
    assert LinkRoute(Prefix.parse("10.9.0.0/16"), router[1]) in back.routes
    hops = {format_address(family, address) for _, family, address in app.next_hops()}
    assert hops == {"10.1.1.2", "10.1.2.1", "10.1.2.7"}


def test_the_gateway_is_known_by_its_address_or_else_by_its_link_local_one(tmp_path: Path) -> None:
    planned = lab(tmp_path)
    app, db = planned.vpc("app"), planned.vpc("db")
    assert app is not None
    assert db is not None
    assert texts(app.links[0].gateway) == ["10.1.1.1", "fe80::1"]
    assert texts(db.links[0].gateway) == ["169.254.0.1", "fe80::1"] == texts(ON_LINK)


def test_the_hook_asked_for_wins_over_the_objects(tmp_path: Path) -> None:
    assert [link.hook for _, link in lab(tmp_path).links()] == ["auto", "tc", "tc", "auto"]
    assert {link.hook for _, link in lab(tmp_path, hook="xdp").links()} == {"xdp"}


def test_mac_addresses_are_local_and_distinct_but_for_the_port_s(tmp_path: Path) -> None:
    links = [link for _, link in lab(tmp_path, UNTAGGED).links()]
    every = [mac for link in links for mac in (link.host_mac, link.port_mac, link.kernel_mac)]
    assert len(set(every)) == len(every)
    assert all(int(mac[:2], 16) & 3 == 2 for mac in every)


@pytest.mark.parametrize(
    ("vpc", "address", "why"),
    [("nobody", "10.1.1.7", "no peering names"), ("app", "10.1.1.1", "own address"), ("app", "127.0.0.1", "martian")],
)
def test_a_host_that_can_t_be(tmp_path: Path, vpc: str, address: str, why: str) -> None:
    with pytest.raises(WrongHost, match=why):
        lab(tmp_path, **{vpc: address})
