"""Prefixes in many fields at once are those of each field alone, and so is what is wrong in them."""

from __future__ import annotations

import random

import numpy as np
import pytest

from isthmus.routing.bgp.nlri import PADDING, NotPrefixes, Places, decode, encode
from isthmus.tables.address import BITS, FAMILIES, Family

COUNTS = (0, 1, 2, 3, 7, 40, 200)


def field(rng: random.Random, family: Family, *, with_ids: bool) -> bytes:
    """Some prefixes."""
    parts: list[bytes] = []
    for _ in range(rng.choice(COUNTS)):
        length = rng.randrange(BITS[family] + 1)
        key = 1 << length | rng.getrandbits(length) if length else 1
        parts += encode([key], rng.getrandbits(32) if with_ids else None, 64)
    return b"".join(parts)


def joined(fields: list[bytes]) -> tuple[bytes, Places, Places]:
    """Behind one another, each with what must follow it; and where they are."""
    sizes = np.array([len(one) for one in fields])
    starts = np.cumsum(sizes + len(PADDING)) - sizes - len(PADDING)
    return b"".join(one + PADDING for one in fields), starts, starts + sizes


@pytest.mark.parametrize("with_ids", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_many_fields_are_read_as_each_alone(family: Family, with_ids: bool) -> None:
    rng = random.Random(family)
    data, starts, ends = joined([field(rng, family, with_ids=with_ids) for _ in range(300)])
    counts, ids, prefixes = decode(family, data, starts, ends, with_ids=with_ids)
    alone = [decode(family, data, starts[n : n + 1], ends[n : n + 1], with_ids=with_ids) for n in range(300)]
    assert counts.tolist() == [int(count[0]) for count, _, _ in alone]
    assert max(counts) == max(COUNTS)
    assert ids.tolist() == np.concatenate([one for _, one, _ in alone]).tolist()
    for part in ("hi", "lo", "length"):
        assert getattr(prefixes, part).tolist() == [one for _, _, of in alone for one in getattr(of, part).tolist()]


@pytest.mark.parametrize("wrong", [b"\xff", b"\x18\x0a"], ids=["too long a prefix", "the end of one is missing"])
@pytest.mark.parametrize("where", [0, 117, 299])
def test_of_many_fields_the_first_that_is_wrong_is_named(wrong: bytes, where: int) -> None:
    rng = random.Random(where)
    fields = [field(rng, 4, with_ids=False) for _ in range(300)]
    for each in {where, 299}:
        fields[each] += wrong
    data, starts, ends = joined(fields)
    with pytest.raises(NotPrefixes) as error:
        decode(4, data, starts, ends, with_ids=False)
    assert error.value.index == where
