"""Which public addresses hosts look for on their own link."""

from pathlib import Path

import pytest

from isthmus.cli.objects import load
from isthmus.compile import compile_tables
from isthmus.routing.onlink import on_link

OBJECTS = """
apiVersion: gateway.githedgehog.com/v1alpha1
kind: VPC
metadata: {name: isp}
spec:
  attachments:
    - {interface: eth1, addresses: [203.0.113.1/29, 203.0.113.4/32, "2001:db8:ff::1/64", "fe80::9/64"]}
    - {interface: eth2, addresses: [198.51.100.1/24]}
  routes: [{to: 0.0.0.0/0, via: 203.0.113.2}]
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata: {name: red--isp}
spec:
  red: {ips: [{cidr: 10.1.1.0/24}, {cidr: "2001:db8:1::/64"}], as: [POOL4, POOL6], natType: stateful}
  isp: {ips: [{cidr: 8.8.8.0/24}, {cidr: "2001:db8:8::/48"}]}
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata: {name: blue--isp}
spec:
  blue: {ips: [{cidr: 10.1.1.0/30}, {cidr: 10.1.2.0/24}], as: [198.51.100.8/30, 192.0.2.0/24]}
  isp: {ips: [{cidr: 9.9.9.0/24}]}
---
apiVersion: gateway.githedgehog.com/v1alpha1
kind: Peering
metadata: {name: plain--isp}
spec:
  plain: {ips: [{cidr: 203.0.113.2/32}]}
  isp: {ips: [{cidr: 9.9.9.0/24}]}
"""


@pytest.mark.parametrize(
    ("pool4", "pool6", "expected"),
    [
        (
            "203.0.113.6/31",
            "2001:db8:ff::8/127",
            {"eth1": ["203.0.113.6/31", "2001:db8:ff::8/127"], "eth2": ["198.51.100.8/30"]},
        ),
        ("192.0.3.7/32", "2001:db8:fe::/64", {"eth2": ["198.51.100.8/30"]}),
        (
            "203.0.113.0/28",
            "2001:db8:ff::/127",
            {
                "eth1": [
                    *("203.0.113.0/32", "203.0.113.2/31", "203.0.113.5/32", "203.0.113.6/31"),
                    "2001:db8:ff::/128",
                ],
                "eth2": ["198.51.100.8/30"],
            },
        ),
    ],
    ids=["inside", "elsewhere", "around the gateway's own addresses"],
)
def test_translated_addresses_in_the_networks_of_attachments(
    tmp_path: Path, pool4: str, pool6: str, expected: dict[str, list[str]]
) -> None:
    file = tmp_path / "objects.yaml"
    file.write_text(OBJECTS.replace("POOL4", pool4).replace("POOL6", f'"{pool6}"'))
    found = on_link(compile_tables(load([str(file)]).model))
    assert {key.interface: [str(prefix) for prefix in prefixes] for key, prefixes in found.items()} == expected
    assert {key.vpc for key in found} == {"isp"}
