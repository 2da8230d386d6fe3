"""Twin and BPF program agree, packet for packet and byte for byte; a difference names seed, packet and stage's verdict.

The long run is ``scripts/fuzz``; this is the same with few packets and fixed seeds, each configuration applied over
the last.
"""

from __future__ import annotations

from collections import Counter

import pytest

from isthmus.datapath import Hook
from isthmus.tables.verdicts import Verdict
from tests.differential.place import bench
from tests.differential.session import run_seed

HOOKS: tuple[Hook, ...] = ("xdp", "tc")
LATER = {Verdict.AUDIT, Verdict.NOT_CARRIED, Verdict.PORT_DOWN, Verdict.INTERNAL}
"""Verdicts that random packets do not reach: of later versions, and of what must never be."""
ELSEWHERE = {Verdict.FLOW_TABLE_FULL, Verdict.FLOW_CONFLICT, Verdict.NAT_PROTOCOL}
"""Verdicts that ``test_flow_random`` reaches for sure."""


@pytest.mark.timeout(120)
def test_twin_and_bpf_agree_on_random_packets() -> None:
    """Fixed seeds, both hooks; every verdict that untagged packets can have is reached on the way."""
    verdicts: Counter[Verdict] = Counter()
    with bench() as place:
        for seed in range(1, 31):
            for hook in HOOKS:
                run_seed(place, seed, 200, hook)
        verdicts = place.verdicts
    assert sum(verdicts.values()) > 8_000
    assert set(Verdict) - set(verdicts) <= LATER | ELSEWHERE
