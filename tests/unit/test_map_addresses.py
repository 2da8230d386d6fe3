"""map: private to public and back on one side, with holes on both."""

import pytest

from isthmus.tables.address import parse_address
from isthmus.trace.mapping import Mapped, map_address
from tests.scenarios.packets.builder import Offer, side

STATIC = side(
    "p",
    "red",
    Offer("10.1.1.0/24", "192.168.1.0/24", holes=("10.1.1.42/32", "10.1.1.64/28")),
    Offer("2001:db8:a::/64", "2001:db8:1::/64", holes=("2001:db8:a::42/128",)),
)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("10.1.1.5", Mapped("10.1.1.5", "192.168.1.5")),
        ("10.1.1.0", Mapped("10.1.1.0", "192.168.1.0")),
        ("10.1.1.255", Mapped("10.1.1.255", "192.168.1.255")),
        ("192.168.1.5", Mapped("10.1.1.5", "192.168.1.5")),
        ("192.168.1.255", Mapped("10.1.1.255", "192.168.1.255")),
        ("10.1.1.42", Mapped("10.1.1.42", None, True)),
        ("10.1.1.79", Mapped("10.1.1.79", None, True)),
        ("192.168.1.42", Mapped(None, "192.168.1.42", True)),
        ("192.168.1.64", Mapped(None, "192.168.1.64", True)),
        ("10.1.2.0", Mapped(None, None)),
        ("192.168.0.255", Mapped(None, None)),
        ("2001:db8:a::5", Mapped("2001:db8:a::5", "2001:db8:1::5")),
        ("2001:db8:1:0::5", Mapped("2001:db8:a::5", "2001:db8:1::5")),
        ("2001:db8:a::42", Mapped("2001:db8:a::42", None, True)),
        ("2001:db8:1::42", Mapped(None, "2001:db8:1::42", True)),
        ("::1", Mapped(None, None)),
    ],
)
def test_a_static_side(asked: str, expected: Mapped) -> None:
    assert map_address(STATIC, *parse_address(asked)) == expected


def test_an_address_in_both_spaces_is_private_first() -> None:
    shifted = side(
        "p", "red", Offer("10.0.0.0/24", "10.0.1.0/24", holes=("10.0.0.7/32",)), Offer("10.0.1.0/24", "10.0.2.0/24")
    )
    assert map_address(shifted, *parse_address("10.0.1.7")) == Mapped("10.0.1.7", "10.0.2.7")
    holed = side(
        "p", "red", Offer("10.0.0.0/24", "10.0.1.0/24"), Offer("10.0.1.0/24", "10.0.2.0/24", holes=("10.0.1.7/32",))
    )
    assert map_address(holed, *parse_address("10.0.1.7")) == Mapped("10.0.1.7", None, True)


def test_a_plain_side_is_seen_as_it_is() -> None:
    plain = side("p", "red", Offer("10.0.0.0/24"))
    assert map_address(plain, *parse_address("10.0.0.7")) == Mapped("10.0.0.7", "10.0.0.7")
    assert map_address(plain, *parse_address("10.0.1.7")) == Mapped(None, None)
