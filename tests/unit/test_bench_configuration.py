"""What the bench configures and sends is what its rows claim."""

from collections import Counter

import pytest
import yaml

from isthmus.bench import configuration
from isthmus.bench.configuration import PRIVATE, PUBLIC, conversations, objects, pairs, peers_of_sender, public_network
from isthmus.bench.gateway import tables_of


def by_kind(peerings: int) -> dict[str, list[dict[str, dict[str, object]]]]:
    documents = list(yaml.load_all(objects(peerings), yaml.CSafeLoader))
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
    sent = conversations(peerings)
    assert len({conversation.dialled for conversation in sent}) == 4_000
    assert all(conversation.source in PRIVATE for conversation in sent)
    networks = [public_network(number) for number in peers_of_sender(peerings)]
    hosts = Counter(next(network for network in networks if conversation.dialled in network) for conversation in sent)
    assert len(hosts) == peers
    assert max(hosts.values()) - min(hosts.values()) <= 1
    assert not any(dialled in (network[0], network[-1]) for _, dialled in sent for network in networks)


def test_more_than_there_is_is_refused() -> None:
    with pytest.raises(ValueError, match="1 to 10011 peerings, not 10012"):
        pairs(10_012)
    with pytest.raises(ValueError, match="have not 5000 destinations"):
        conversations(1, 5_000)


def test_the_objects_have_no_problem_and_compile_to_two_sides_a_peering() -> None:
    assert len(tables_of(300).sides) == 600
