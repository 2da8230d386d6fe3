"""What the bench configures and sends is what its rows claim."""

from collections import Counter

import pytest
import yaml

from isthmus.bench import configuration
from isthmus.bench.configuration import (
    POOL,
    POOL_PORTS,
    PRIVATE,
    PUBLIC,
    SERVERS,
    pairs,
    peers_of_sender,
    public_network,
    stateful_objects,
    stateful_traffic,
    static_objects,
    static_traffic,
)
from isthmus.bench.gateway import tables_of
from isthmus.bench.run import FLOWS, NEW_FLOWS
from isthmus.bench.tags import KINDS, Kind


def by_kind(peerings: int) -> dict[str, list[dict[str, dict[str, object]]]]:
    documents = list(yaml.load_all(static_objects(peerings), yaml.CSafeLoader))
    return {kind: [doc for doc in documents if doc["kind"] == kind] for kind in ("VPC", "Peering")}


def test_142_vpcs_peered_all_to_all_are_10011_peerings() -> None:
    assert configuration.PEERINGS == 10_011
    assert len(set(pairs(10_011))) == 10_011


@pytest.mark.parametrize(("peerings", "vpcs"), [(1, 2), (1_000, 142), (10_000, 142)])
def test_so_many_peerings_are_loaded_as_the_row_says_and_the_vpcs_that_they_name(peerings: int, vpcs: int) -> None:
    found = by_kind(peerings)
    assert (len(found["Peering"]), len(found["VPC"])) == (peerings, vpcs)
    sides = {name for peering in found["Peering"] for name in peering["spec"]}
    assert sides == {vpc["metadata"]["name"] for vpc in found["VPC"]}


def test_every_side_is_static_nat_of_the_same_private_addresses() -> None:
    for peering in by_kind(1_000)["Peering"]:
        for side in peering["spec"].values():
            assert isinstance(side, dict)
            assert side["ips"] == [{"cidr": str(PRIVATE)}]
            assert len(side["as"]) == 1


def test_public_networks_are_one_for_each_vpc_in_one_range() -> None:
    networks = [public_network(number) for number in range(1, configuration.VPCS + 1)]
    assert all(network.subnet_of(PUBLIC) and network.num_addresses == PRIVATE.num_addresses for network in networks)
    assert len(set(networks)) == len(networks)


def test_every_vpc_has_an_interface_of_its_own_and_a_route_to_its_hosts() -> None:
    vpcs = by_kind(10_000)["VPC"]
    specs = [vpc["spec"] for vpc in vpcs]
    attachments = [attachment for spec in specs for attachment in spec["attachments"]]  # type: ignore[attr-defined] # YAML
    assert len({attachment["interface"] for attachment in attachments}) == len(vpcs)
    assert all(spec["routes"] == [{"to": str(PRIVATE), "via": str(configuration.NEXT_HOP)}] for spec in specs)


@pytest.mark.parametrize(("peerings", "peers"), [(1, 1), (3, 3), (1_000, 141), (10_000, 141)])
def test_4000_destinations_are_spread_over_all_peers_of_the_sender(peerings: int, peers: int) -> None:
    sent, sources, destinations, *_ = static_traffic(peerings)
    assert (sources, destinations) == (PRIVATE, PUBLIC)
    assert len({conversation.dialled for conversation in sent}) == 4_000
    assert all(conversation.source in PRIVATE for conversation in sent)
    networks = [public_network(number) for number in peers_of_sender(peerings)]
    hosts = Counter(next(network for network in networks if conversation.dialled in network) for conversation in sent)
    assert len(hosts) == peers
    assert max(hosts.values()) - min(hosts.values()) <= 1
    assert not any(sent_to.dialled in (network[0], network[-1]) for sent_to in sent for network in networks)


def test_more_than_there_is_is_refused() -> None:
    with pytest.raises(ValueError, match="1 to 10011 peerings, not 10012"):
        pairs(10_012)
    with pytest.raises(ValueError, match="have not 5000 destinations"):
        static_traffic(1, 5_000)


def test_the_objects_have_no_problem_and_compile_to_two_sides_a_peering() -> None:
    assert len(tables_of(static_objects(300)).sides) == 600


@pytest.mark.parametrize("kind", KINDS)
def test_both_vpcs_are_attached_by_the_tag_that_says_their_number(kind: Kind) -> None:
    tables = tables_of(static_objects(1, kind))
    tags = {name: vpc.attachments[0].key.tag for name, vpc in tables.vpcs.items()}
    said = {"untagged": (0, 0), "qinq": (7, 1001)}.get(kind, (1001, 0))
    assert (tags["vpc-1"].outer, tags["vpc-1"].inner) == said
    assert tags["vpc-1"].kind.name.lower() == kind.partition("-")[0]
    assert len(set(tags.values())) == (1 if kind == "untagged" else 2)


def test_the_objects_of_stateful_nat_have_no_problem_and_one_side_behind_the_pool() -> None:
    tables = tables_of(stateful_objects())
    pools = {key.vpc: side.pool for key, side in tables.sides.items()}
    assert len(pools) == 2
    assert pools["vpc-2"] is None
    assert pools["vpc-1"] is not None
    ((first, last),) = pools["vpc-1"].addresses[4]
    assert (first, last) == (int(POOL[0]) << 96, int(POOL[-1]) << 96)
    assert pools["vpc-1"].ports == (POOL_PORTS,)
    assert not pools["vpc-1"].per_destination


@pytest.mark.parametrize("flows", [*FLOWS, NEW_FLOWS])
def test_so_many_flows_are_sent_as_the_row_says_and_no_two_from_the_same_address_and_port(flows: int) -> None:
    sent = stateful_traffic(flows)
    assert sent.flows == flows
    assert len({source for source, _, _ in sent.conversations}) * sent.ports == flows
    lowest, highest = POOL_PORTS
    assert all(lowest <= port <= highest + 1 - sent.ports for _, _, port in sent.conversations)
    assert all(source in PRIVATE and server in SERVERS for source, server, _ in sent.conversations)


def test_each_of_4000_hosts_talks_to_a_server_of_its_own() -> None:
    sent = stateful_traffic(100_000).conversations
    assert len({source for source, _, _ in sent}) == len({server for _, server, _ in sent}) == 4_000
    assert not {source for source, _, _ in sent} & {PRIVATE[0], PRIVATE[-1]}
    assert not {server for _, server, _ in sent} & {SERVERS[0], SERVERS[-1]}


def test_a_million_flows_would_fit_in_the_pool_sixteen_times_and_few_hosts_use_the_same_ports() -> None:
    sent = stateful_traffic(1_000_000).conversations
    assert POOL.num_addresses * (POOL_PORTS[1] - POOL_PORTS[0] + 1) // 1_000_000 == 16
    assert max(Counter(port for _, _, port in sent).values()) <= 16


@pytest.mark.parametrize("flows", [4_001, 4_000 * 64_513])
def test_flows_that_can_not_be_dealt_out_evenly_are_refused(flows: int) -> None:
    with pytest.raises(ValueError, match=f"4000 hosts can not have {flows} flows"):
        stateful_traffic(flows)
