"""How long another configuration keeps the gateway's loop from its work, where externals have told full tables.

``python -m tests.measure.follow [--scale S]``. A tenant with BGP is offered two externals of 1.05 million IPv4 and
230,000 IPv6 routes each, and is told of them as summaries. Then the metric of both peerings changes.
"""

from __future__ import annotations

import argparse
import json
import time

from isthmus.routing.advertise import Advertiser, Policy
from isthmus.routing.domain import heard
from tests.measure.ambiguous import ASN, rib, tables


def main() -> None:
    """Measure, and print one JSON object: seconds, and how many prefixes are told otherwise."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--scale", type=float, default=1.0, help="1.0 is a full table")
    scale = options.parse_args().scale
    learned = {vpc: heard(rib(vpc, scale), frozenset) for vpc in ASN}
    policies = {vpc: Policy() for vpc in ("tenant", *ASN)}
    began = time.perf_counter()
    advertiser = Advertiser(tables(), policies, learned)
    started = time.perf_counter()
    changes = advertiser.follow(tables(metric=5), policies)
    ended = time.perf_counter()
    told = {vpc: sum(map(len, by_family.values())) for vpc, by_family in changes.items()}
    print(json.dumps({"start_s": round(started - began, 4), "follow_s": round(ended - started, 4), "told": told}))


if __name__ == "__main__":
    main()
