"""Networks written as people write them: objects in YAML, on the ports of ``tests.differential.nat``."""

from __future__ import annotations

from isthmus.api.objects import read_objects
from isthmus.api.sources import Source
from isthmus.compile import compile_tables
from isthmus.model.build import build
from isthmus.tables.entries import Tables
from tests.differential.nat import NETWORKS, PLACES

VERSION = "apiVersion: gateway.githedgehog.com/v1alpha1"


def written(**peerings: str) -> Tables:
    """The tables of peerings between a, b, c and t, each of which has the address .254 of its network for the gateway:
    ``written(a="{ips: [{cidr: 10.0.0.0/24}]}", t="{...}")`` is one peering with its two sides."""
    sides = "".join(f"  {vpc}: {side}\n" for vpc, side in peerings.items())
    text = f"{VERSION}\nkind: Peering\nmetadata: {{name: one}}\nspec:\n{sides}"
    for vpc, port in PLACES.items():
        own = NETWORKS[vpc].replace(".0/24", ".254/24")
        text += (
            f"---\n{VERSION}\nkind: VPC\nmetadata: {{name: {vpc}}}\nspec:\n"
            f"  subnets: {{all: {{cidr: {NETWORKS[vpc]}}}}}\n"
            f"  attachments: [{{interface: {port}, addresses: [{own}]}}]\n"
        )
    model, problems = build(read_objects([Source("network.yaml", text.encode(), True)])[0])
    assert not problems, problems
    return compile_tables(model)
