"""The rows of the bench: names, medians and ratios as the command line promises. No time is taken here."""

import pytest

from isthmus.bench.run import (
    FLOW_COMPARISONS,
    LOOKUP_COMPARISONS,
    NEW_FLOW_COMPARISONS,
    PACKET_COMPARISONS,
    TAG_COMPARISONS,
    TCP_COMPARISONS,
    rows,
)
from isthmus.bench.tags import KINDS

MPPS = {
    "xdp-redirect": [4e6, 5e6, 6e6],
    "kernel-forward": [1e6, 1e6, 1e6],
    "kernel-nftables-nat": [5e5, 5e5, 7e5],
    "static-1": [3e6, 2e6, 9e6],
    "static-1000": [2e6, 2e6, 2e6],
    "static-10000": [1.5e6, 1.5e6, 1.5e6],
}


def test_every_subject_is_compared_with_its_baselines_one_row_each() -> None:
    names = [(row.name, row.baseline) for row in rows(MPPS, PACKET_COMPARISONS, "Mpps", 1e6)]
    kernel = ["xdp-redirect", "kernel-forward", "kernel-nftables-nat"]
    assert names == [
        *(("static-1", baseline) for baseline in kernel),
        *(("static-1000", baseline) for baseline in [*kernel, "static-1"]),
        *(("static-10000", baseline) for baseline in [*kernel, "static-1"]),
    ]


def test_a_row_holds_medians_in_its_unit_and_their_ratio() -> None:
    (row,) = rows({"tcp-tc": [15e9, 16e9, 1e9], "kernel-forward": [10e9, 12e9, 14e9]}, TCP_COMPARISONS, "Gb/s", 1e9)
    assert row.as_json() == {
        "name": "tcp-tc",
        "value": 15.0,
        "unit": "Gb/s",
        "baseline": "kernel-forward",
        "baselineValue": 12.0,
        "ratio": 1.25,
        "low": 1.0,
        "high": 16.0,
    }


def test_the_ratio_is_that_of_the_figures_shown() -> None:
    for row in rows(MPPS, PACKET_COMPARISONS, "Mpps", 1e6):
        assert row.ratio == pytest.approx(row.value / row.baseline_value, abs=1e-4)


def test_what_was_not_measured_has_no_row() -> None:
    assert rows({"static-1": [1e6]}, PACKET_COMPARISONS, "Mpps", 1e6) == []


def test_flows_are_compared_with_the_kernel_and_the_ceiling_at_the_same_number_of_flows() -> None:
    assert FLOW_COMPARISONS == {
        "flows-1": ("xdp-redirect", "kernel-nftables-nat"),
        "flows-100000": ("xdp-redirect", "kernel-nftables-nat"),
        "flows-1000000": ("xdp-redirect", "kernel-nftables-nat"),
    }
    rates = {"xdp-redirect": [4e6], "kernel-nftables-nat": [5e5], "flows-100000": [2e6]}
    found = [(row.name, row.baseline, row.ratio) for row in rows(rates, FLOW_COMPARISONS, "Mpps", 1e6)]
    assert found == [("flows-100000", "xdp-redirect", 0.5), ("flows-100000", "kernel-nftables-nat", 4.0)]


def test_new_flows_are_counted_in_millions_a_second() -> None:
    rates = {"kernel-nftables-nat": [3e5, 2e5, 4e5], "flows-new": [9e5, 6e5, 3e5]}
    (row,) = rows(rates, NEW_FLOW_COMPARISONS, "Mflows/s", 1e6)
    assert (row.name, row.value, row.unit, row.baseline_value, row.ratio) == ("flows-new", 0.6, "Mflows/s", 0.3, 2.0)


def test_each_kind_of_tag_is_compared_with_the_bare_redirect_and_with_untagged() -> None:
    assert list(TAG_COMPARISONS) == ["untagged", "vlan", "qinq", "mpls", "vxlan-ipv4", "vxlan-ipv6"]
    assert TAG_COMPARISONS["untagged"] == ("xdp-redirect",)
    assert all(TAG_COMPARISONS[kind] == ("xdp-redirect", "untagged") for kind in KINDS[1:])


def test_look_ups_in_a_full_table_are_compared_with_ten_routes_and_with_the_kernels_trie() -> None:
    rates = {"xdp-redirect": [5e6], "lpm-trie": [5e5], "lookups-10": [3e6], "lookups-full": [2e6]}
    found = [(row.name, row.baseline, row.ratio) for row in rows(rates, LOOKUP_COMPARISONS, "Mpps", 1e6)]
    assert found == [
        ("lookups-full", "xdp-redirect", 0.4),
        ("lookups-full", "lpm-trie", 4.0),
        ("lookups-full", "lookups-10", 0.6667),
    ]
