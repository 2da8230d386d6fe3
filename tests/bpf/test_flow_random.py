"""Twin and BPF program agree over state: conversations, expiry, reuse, changes of the configuration in between.

The long run is ``scripts/fuzz``; this is the same with few packets and fixed seeds. What random packets do not reach
they do not test, so each verdict of flows has to be reached.
"""

from __future__ import annotations

import pytest

from isthmus.datapath import Capacity, Hook
from isthmus.tables.verdicts import Verdict
from tests.differential.place import bench
from tests.differential.session import run_seed

HOOKS: tuple[Hook, ...] = ("xdp", "tc")
OF_FLOWS = {
    Verdict.NO_FLOW, Verdict.FLOW_CONFLICT, Verdict.FRAGMENT_NO_STATE, Verdict.NO_INBOUND, Verdict.NO_ROUTE,
    Verdict.NAT_EXHAUSTED, Verdict.NAT_PROTOCOL, Verdict.NOT_ALLOWED, Verdict.SOURCE_NOT_EXPOSED,
}  # fmt: skip
SEEDS = (*range(1001, 1009), 1054, 1068, 1078, 1085)
"""The last of them for what is rare: two conversations that need one key, a pool without an address left."""


@pytest.mark.timeout(120)
def test_twin_and_bpf_agree_on_conversations() -> None:
    """Long conversations, with room for all."""
    with bench() as place:
        for seed in SEEDS:
            run_seed(place, seed, 1500, HOOKS[seed % 2])
        verdicts = place.verdicts
    assert set(verdicts) >= OF_FLOWS
    assert verdicts[Verdict.FORWARDED] > sum(verdicts.values()) / 3, "most packets should come far"


@pytest.mark.timeout(120)
def test_twin_and_bpf_agree_when_there_is_little_room() -> None:
    """A table that is full again and again: who is refused, and who is not, is the same."""
    with bench(Capacity(flows=12)) as place:
        for seed in range(2001, 2009):
            run_seed(place, seed, 1000, HOOKS[seed % 2])
        verdicts = place.verdicts
    assert verdicts[Verdict.FLOW_TABLE_FULL] > 100
