"""Which addresses a lab's hosts have (docs of ``lab up``): the rule, item by item."""

from collections.abc import Collection
from pathlib import Path

import pytest

from isthmus.cli.objects import load
from isthmus.compile import compile_tables
from isthmus.lab.hosts import first_host, host_addresses
from isthmus.tables.address import Prefix, format_address, parse_address

EXAMPLES = Path(__file__).parents[2] / "examples"


def chosen(cidr: str, *, holes: Collection[str] = (), barred: Collection[str] = (), taken: Collection[str] = ()) -> str:
    prefix = Prefix.parse(cidr)
    offered = [(prefix.first, prefix.last)]
    for hole in map(Prefix.parse, holes):
        unit = 1 << (128 - (32 if prefix.family == 4 else 128))
        offered = [
            part
            for low, high in offered
            for part in ((low, min(high, hole.first - unit)), (max(low, hole.last + unit), high))
            if part[0] <= part[1]
        ]
    found = first_host(prefix, offered, *({parse_address(text)[1] for text in texts} for texts in (barred, taken)))
    return "" if found is None else format_address(prefix.family, found)


@pytest.mark.parametrize(
    ("cidr", "host"),
    [
        ("10.77.0.0/24", "10.77.0.1"),
        ("10.2.1.1/32", "10.2.1.1"),
        ("10.5.0.0/31", "10.5.0.0"),
        ("10.5.0.0/30", "10.5.0.1"),
        ("0.0.0.0/0", "1.0.0.0"),
        ("0.0.0.0/7", "1.0.0.0"),
        ("168.0.0.0/5", "168.0.0.1"),
        ("2001:db8:1::/64", "2001:db8:1::1"),
        ("2001:db8:1::/127", "2001:db8:1::"),
        ("2001:db8:1::7/128", "2001:db8:1::7"),
        ("::/0", "::2"),
        ("fe80::/9", "fec0::"),
    ],
)
def test_the_first_address_that_a_host_may_have(cidr: str, host: str) -> None:
    assert chosen(cidr) == host


def test_nothing_of_it_can_be_a_host() -> None:
    assert chosen("169.254.7.0/24") == ""
    assert chosen("10.1.1.7/32", barred=["10.1.1.7"]) == ""


def test_a_not_is_stepped_over() -> None:
    assert chosen("10.1.1.0/24", holes=["10.1.1.0/30"]) == "10.1.1.4"
    assert chosen("0.0.0.0/0", holes=["1.0.0.0/8", "2.0.0.0/16"]) == "2.1.0.0"


def test_the_gateway_s_own_address_is_stepped_over() -> None:
    assert chosen("10.1.1.0/24", barred=["10.1.1.1", "10.1.1.2"]) == "10.1.1.3"
    assert chosen("2001:db8::/64", barred=["2001:db8::1"]) == "2001:db8::2"


@pytest.mark.parametrize(
    ("cidr", "taken", "host"),
    [
        ("0.0.0.0/0", ["1.0.0.0"], "1.0.1.0"),
        ("0.0.0.0/0", ["1.0.0.0", "1.0.1.0"], "1.0.2.0"),
        ("10.0.0.0/16", ["10.0.0.1"], "10.0.1.0"),
        ("10.1.1.0/24", ["10.1.1.1"], "10.1.1.2"),  # there is no next /24 in it
        ("10.5.0.0/31", ["10.5.0.0"], "10.5.0.1"),
        ("10.2.1.1/32", ["10.2.1.1"], "10.2.1.1"),  # there is no other address at all
        ("2001:db8::/32", ["2001:db8::1"], "2001:db8:0:1::"),
        ("2001:db8::/64", ["2001:db8::1"], "2001:db8::2"),
    ],
)
def test_an_address_of_the_peer_s_host_moves_on_to_the_next_site(cidr: str, taken: list[str], host: str) -> None:
    assert chosen(cidr, taken=taken) == host


def of_example(name: str, **extra: str) -> dict[str, list[str]]:
    model = load([str(EXAMPLES / name)]).model
    asked = {vpc.replace("_", "-"): [parse_address(text)] for vpc, text in extra.items()}
    found = host_addresses(model, compile_tables(model), asked)
    return {vpc: [format_address(host.family, host.address) for host in hosts] for vpc, hosts in found.items()}


def test_example_1_has_one_host_a_side() -> None:
    assert of_example("1-static-nat.yaml") == {"vpc1": ["10.1.1.1"], "vpc2": ["10.2.1.1"]}


def test_example_2_between_plain_sides_has_no_address_twice() -> None:
    assert of_example("2-external-transit.yaml") == {"vpc-e1": ["1.0.0.0"], "vpc-e2": ["1.0.1.0"]}


def test_example_5_between_translated_sides_has_the_same_address_twice() -> None:
    assert of_example("5-overlapping-subnets.yaml") == {"vpc-1": ["10.1.1.1"], "vpc-2": ["10.1.1.1"]}


def test_what_is_asked_for_is_there_too_and_the_plain_peer_keeps_off_it() -> None:
    found = of_example("2-external-transit.yaml", vpc_e1="1.0.1.0")
    assert found == {"vpc-e1": ["1.0.0.0", "1.0.1.0"], "vpc-e2": ["1.0.2.0"]}


def test_a_not_in_the_public_space_is_a_hole_too(tmp_path: Path) -> None:
    file = tmp_path / "peering.yaml"
    file.write_text(
        """
        apiVersion: gateway.githedgehog.com/v1alpha1
        kind: Peering
        metadata: {name: a--b}
        spec:
          a: {ips: [{cidr: 10.1.1.0/24}], as: [{cidr: 192.168.1.0/24}, {not: 192.168.1.0/29}]}
          b: {ips: [{cidr: 10.2.1.0/24}, {cidr: 10.3.0.0/31}]}
        """
    )
    model = load([str(file)]).model
    found = host_addresses(model, compile_tables(model), {})
    texts = {vpc: [format_address(host.family, host.address) for host in hosts] for vpc, hosts in found.items()}
    assert texts == {"a": ["10.1.1.8"], "b": ["10.2.1.1", "10.3.0.0"]}
