"""Interval sets do what sets of numbers do; what a side exposes is what SPEC says, address by address."""

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from isthmus.model import sets
from isthmus.model.exposures import expose, to_private, to_public
from isthmus.model.types import Item, Side
from isthmus.tables.address import Prefix, format_address, parse_address, step
from isthmus.tables.entries import Nat

UNIT = step(4)
intervals = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda pair: (min(pair), max(pair))), max_size=8
)


def members(addresses: sets.Set) -> set[int]:
    return {number for start, stop in addresses for number in range(start, stop)}


def is_canonical(addresses: sets.Set) -> bool:
    flat = [end for pair in addresses for end in pair]
    return all(low < high for low, high in pairwise(flat))


@given(intervals, intervals)
@example([(5, 5), (7, 9)], [(6, 6)])
def test_union_intersection_and_difference_are_those_of_sets(
    one: list[sets.Interval], other: list[sets.Interval]
) -> None:
    left, right = sets.union(one), sets.union(other)
    assert members(left) == {number for start, stop in one for number in range(start, stop)}
    for got, wanted in (
        (sets.union([*one, *other]), members(left) | members(right)),
        (sets.intersection(left, right), members(left) & members(right)),
        (sets.difference(left, right), members(left) - members(right)),
    ):
        assert members(got) == wanted
        assert is_canonical(got)
    assert sets.meets(left, right) == bool(members(left) & members(right))


def addresses(*texts: str) -> sets.Set:
    return sets.of(Prefix.parse(text) for text in texts)


def test_a_set_is_told_in_few_words_and_exactly() -> None:
    assert sets.describe(4, addresses("10.0.0.0/25", "10.0.0.128/25")) == "10.0.0.0/24"
    assert sets.describe(4, addresses("10.0.0.1")) == "10.0.0.1"
    holes = addresses("10.0.0.0/8", "192.168.0.0/16")
    assert (
        sets.describe(4, sets.difference(addresses("0.0.0.0/0"), holes))
        == "0.0.0.0/0 except 10.0.0.0/8, 192.168.0.0/16"
    )
    some = addresses(*(f"10.0.{number}.0/25" for number in range(20)))
    assert sets.describe(4, some, 2) == "10.0.0.0/25, 10.0.1.0/25 and 18 more"
    assert sets.describe(6, addresses("::/0")) == "::/0"
    assert sets.describe(4, ()) == ""


def items(texts: list[str], key: str) -> tuple[Item, ...]:
    return tuple(Item(Prefix.parse(text), f"spec.a.{key}[{index}]") for index, text in enumerate(texts))


def side(nat: Nat, ips: list[str], ips_not: list[str], as_: list[str], as_not: list[str]) -> Side:
    lists = (items(ips, "ips"), items(ips_not, "ips"), items(as_, "as"), items(as_not, "as"))
    return Side("web", "a", nat, *lists, None, 0, "spec.a")


blocks = st.sampled_from(
    [["10.0.0.0/28"], ["10.0.0.0/29", "10.0.0.8/29"], ["10.0.0.8/29", "10.0.0.0/30", "10.0.0.4/30"]]
)
holes = st.lists(st.sampled_from(["10.0.0.0/30", "10.0.0.5", "10.0.0.8/31", "10.9.0.0/29", "10.0.0.0/28"]), max_size=3)


def listed(texts: list[str]) -> list[int]:
    return [address for text in texts for address in range(Prefix.parse(text).first, Prefix.parse(text).last + 1, UNIT)]


@given(blocks, holes, blocks, holes)
def test_the_kth_address_of_ips_is_the_kth_of_as_and_a_hole_is_one_in_both(
    ips: list[str], ips_not: list[str], as_: list[str], as_not: list[str]
) -> None:
    (exposure,) = expose(side(Nat.STATIC, ips, ips_not, as_, as_not)).values()
    gone, shown_gone = set(listed(ips_not)), set(listed(as_not))
    wanted = {
        public: private
        for private, public in zip(listed(ips), listed(as_), strict=True)
        if private not in gone and public not in shown_gone
    }
    got = {
        address: address + offer.shift for offer in exposure.offers for address in range(offer.start, offer.stop, UNIT)
    }
    assert got == wanted
    assert exposure.private == sets.union((private, private + UNIT) for private in wanted.values())
    assert exposure.public == sets.union((public, public + UNIT) for public in wanted)
    for public, private in wanted.items():
        assert to_private(exposure, ((public, public + UNIT),)) == ((private, private + UNIT),)
        assert to_public(exposure, ((private, private + UNIT),)) == ((public, public + UNIT),)


def test_an_offer_has_the_prefix_length_that_was_written() -> None:
    (exposure,) = expose(side(Nat.STATIC, ["10.0.0.0/28"], [], ["10.1.0.0/29", "10.2.0.0/29"], [])).values()
    assert [(offer.length, offer.path) for offer in exposure.offers] == [(29, "spec.a.as[0]"), (29, "spec.a.as[1]")]
    (exposure,) = expose(side(Nat.PLAIN, ["10.0.0.0/8"], ["10.1.0.0/16"], [], [])).values()
    assert [format_address(4, offer.start) for offer in exposure.offers] == ["10.0.0.0", "10.2.0.0"]
    assert {offer.length for offer in exposure.offers} == {8}


def test_a_stateful_side_shows_its_pool() -> None:
    (exposure,) = expose(
        side(Nat.STATEFUL, ["10.0.0.0/8"], ["10.1.0.0/16"], ["203.0.113.0/28"], ["203.0.113.0/31"])
    ).values()
    assert sets.describe(4, exposure.private) == "10.0.0.0/8 except 10.1.0.0/16"
    assert exposure.public[0][0] == parse_address("203.0.113.2")[1]
