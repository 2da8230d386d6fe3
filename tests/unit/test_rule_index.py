"""An index loses no rule that could match, keeps their order, and leaves few where rules can be told apart."""

from __future__ import annotations

from random import Random

from isthmus.datapath.rule_index import FEW, Index, index
from isthmus.tables.address import FAMILIES, Family, Prefix
from isthmus.tables.entries import Origin, Range, RuleEntry
from isthmus.tables.layout import DIMENSIONS, RULE_CLASSES

PROTOS = {"TCP": 6, "UDP": 17, "ICMP": 1, "OTHER": 47}
SOMEWHERE = Origin("Peering/p", "spec.a.ingress[0]")


def rule(proto: int | None, sport: tuple[int, int], dport: tuple[int, int], src: Prefix | None = None) -> RuleEntry:
    ranges: dict[Family, tuple[Range, ...]] | None = None
    if src is not None:
        ranges = {4: (), 6: ()}
        ranges[src.family] = (Range(src.first, src.last),)
    return RuleEntry(proto, sport, dport, True, ranges, None, True, SOMEWHERE)


def random_rule(rng: Random) -> RuleEntry:
    def ports() -> tuple[int, int]:
        low = rng.randint(0, 8)
        return rng.choice([(0, 65535), (low, low), (low, low + rng.randint(0, 4))])

    src = Prefix(4, rng.randint(0, 7) << 125, rng.choice([3, 8, 32])) if rng.random() < 0.5 else None
    return rule(rng.choice([None, 6, 17, 1]), ports(), ports(), src)


def found_in(made: list[Index], family: Family, name: str, sport: int, dport: int, src: int) -> tuple[int, ...]:
    """As bpf/stages/rules.h does it: the last cut that starts at or before the packet."""
    which = made[FAMILIES.index(family) * RULE_CLASSES["COUNT"] + RULE_CLASSES[name]]
    at = {DIMENSIONS["SPORT"]: sport, DIMENSIONS["DPORT"]: dport, DIMENSIONS["SRC"]: src}.get(which.dimension, 0)
    return [cut for cut in which.cuts if cut.first <= at][-1].rules


def matches(entry: RuleEntry, family: Family, proto: int, sport: int, dport: int, src: int) -> bool:
    inside = entry.src is None or any(r.first <= src <= r.last for r in entry.src[family])
    ports = entry.sport[0] <= sport <= entry.sport[1] and entry.dport[0] <= dport <= entry.dport[1]
    return entry.proto in (None, proto) and inside and ports


def test_no_rule_that_matches_is_lost_or_moved() -> None:
    rng = Random(7)
    for _ in range(60):
        rules = [random_rule(rng) for _ in range(rng.randint(FEW + 1, 40))]
        made = index(rules)
        for _ in range(60):
            family, name = rng.choice(FAMILIES), rng.choice(list(PROTOS))
            at = rng.randint(0, 13), rng.randint(0, 13), rng.randint(0, 7) << 125
            proto = PROTOS[name]
            kept = found_in(made, family, name, *at)
            assert list(kept) == sorted(kept)
            assert [n for n in kept if matches(rules[n], family, proto, *at)] == [
                n for n, entry in enumerate(rules) if matches(entry, family, proto, *at)
            ]


def test_rules_that_differ_in_one_thing_are_told_apart_by_it() -> None:
    """A thousand ports, or a thousand sources: one rule is left to look at."""
    by_port = index([rule(6, (0, 65535), (n, n)) for n in range(1000)])
    assert max(len(cut.rules) for cut in by_port[0].cuts) == 1
    assert by_port[0].dimension == DIMENSIONS["DPORT"]
    hosts = [Prefix(4, n << 96, 32) for n in range(1000)]
    by_source = index([rule(6, (0, 65535), (443, 443), host) for host in hosts])
    assert max(len(cut.rules) for cut in by_source[0].cuts) == 1
    assert by_source[0].dimension == DIMENSIONS["SRC"]


def test_few_rules_have_no_index() -> None:
    assert index([rule(6, (0, 65535), (80, 80))] * FEW) == []


def test_rules_that_nothing_tells_apart_are_not_copied() -> None:
    """Nested ranges would be copied a thousand times over: they stay one list."""
    made = index([rule(6, (0, 65535), (n, 2000 - n)) for n in range(1000)])
    assert sum(len(cut.rules) for cut in made[0].cuts) <= 9000
