"""What a gateway that runs has learned, as the twin finds it: the gateway is asked, and BGP's decision is made anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from isthmus.compile import compile_tables
from isthmus.lab.live import live_routes
from isthmus.lab.routes.answers import RouteAnswers
from isthmus.lab.service.questions import Questions
from isthmus.model.types import Attachment, Model, Vpc
from isthmus.tables.address import Prefix, format_address, parse_address
from isthmus.tables.entries import AttachmentKey, Peer, Tag
from isthmus.tables.learned import Down, prefix_key
from tests.unit.test_lab_routes import ONE, OTHER, Router, path

LINK = Attachment("eth1", Tag(), ((*parse_address("192.0.2.254"), 24),), 0, "")
TABLES = compile_tables(Model({"isp": Vpc("isp", True, None, (), (LINK,), ())}, {}, None))


class Gateway:
    """Answers as the keeper does, and counts how often it is asked."""

    def __init__(self) -> None:
        self.router, self.asked = Router(), 0

    def ask(self, request: Mapping[str, object]) -> dict[str, Any]:
        self.asked += 1
        answer: dict[str, Any] = json.loads(b"".join(Questions(RouteAnswers(self.router).kinds).answer(dict(request))))
        return answer

    def found(self, address: str) -> tuple[str, list[str]] | None:
        route = live_routes(TABLES, self.ask).find("isp", *parse_address(address))
        return route and (str(route.prefix), [format_address(4, hop.gateway or 0) for hop in route.next_hops])


def test_the_longest_route_that_leads_somewhere_is_found_by_one_question() -> None:
    gateway = Gateway()
    assert gateway.found("8.8.8.8") == ("8.8.8.0/24", [ONE])
    assert gateway.asked == 2  # and for what is down
    nowhere = path("203.0.113.9")
    gateway.router.isp[4][prefix_key(Prefix.parse("8.8.8.0/24"))] = [nowhere]
    assert gateway.found("8.8.8.8") == ("8.8.0.0/16", [ONE])
    assert gateway.found("9.9.9.9") == ("0.0.0.0/0", [OTHER])
    assert gateway.found("2001:db8:5::9") is None  # nothing leads to its next hop
    learned = live_routes(TABLES, gateway.ask)
    assert learned.find("red", *parse_address("8.8.8.8")) is None
    before = gateway.asked
    assert learned.find("isp", *parse_address("9.9.9.9")) is learned.find("isp", *parse_address("9.9.9.9"))
    assert gateway.asked == before + 1


def test_a_set_in_an_as_path_is_one_hop_and_a_confederation_none() -> None:
    gateway = Gateway()
    where = prefix_key(Prefix.parse("8.8.8.0/24"))
    for one, other, best in (
        ("65001 {1 2 3}", "65002 2 3", [ONE]),
        ("(7 8 9) 65001 2", "65002 2 3", [ONE]),
        ("65001 2 3", "65002 {1 2 3}", [OTHER]),
        ("65001 2", "65002 3", [ONE, OTHER]),
    ):
        gateway.router.isp[4][where] = [path(ONE, as_path=one), path(OTHER, as_path=other)]
        assert gateway.found("8.8.8.8") == ("8.8.8.0/24", best)


def test_what_is_down_comes_along() -> None:
    gateway = Gateway()
    down: frozenset[Down] = frozenset({Peer("isp", ONE), AttachmentKey("isp", "eth1")})
    gateway.router.down = down
    assert live_routes(TABLES, gateway.ask).down == down
