"""The configuration of an FRR bgpd that plays an external. It runs alone: no zebra, so no kernel routes and no BFD."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from isthmus.lab.externals.speakers import External, Speaker
from isthmus.tables.address import FAMILIES, format_address

_Attributes = tuple[int | None, tuple[int, ...], tuple[tuple[int, ...], ...]]


def bgpd_config(external: External, passwords: Mapping[str, str]) -> str:
    """The text of bgpd.conf; ``passwords`` by the path of their file. Each AS among the speakers is an instance."""
    maps: dict[_Attributes, str] = {}
    for route in external.routes:
        maps.setdefault(route[1:], f"lab-{len(maps)}")
    lines = ["hostname lab", "log file bgpd.log"]
    for number, asn in enumerate(dict.fromkeys(speaker.asn for speaker in external.speakers)):
        lines += _instance(external, asn, number, maps, passwords)
    for attributes, name in maps.items():
        lines += _map(name, *attributes)
    return "\n".join([*lines, ""])


def _instance(
    external: External, asn: int, number: int, maps: Mapping[_Attributes, str], passwords: Mapping[str, str]
) -> Iterator[str]:
    mine = [speaker for speaker in external.speakers if speaker.asn == asn]
    yield f"router bgp {asn}" + (f" view lab{number}" if number else "")
    yield f" bgp router-id {external.router_id}"
    yield " no bgp network import-check"
    yield " no bgp ebgp-requires-policy"
    yield " no bgp default ipv4-unicast"
    for speaker in mine:
        yield from _neighbor(speaker, passwords)
    for family in FAMILIES:
        if any(speaker.family == family for speaker in mine):
            yield f" address-family ipv{family} unicast"
            for route in external.routes:
                if route.prefix.family == family:
                    yield f"  network {route.prefix} route-map {maps[route[1:]]}"
            for speaker in mine:
                if speaker.family == family:
                    yield f"  neighbor {format_address(family, speaker.gateway)} activate"
            yield " exit-address-family"
    yield "exit"


def _neighbor(speaker: Speaker, passwords: Mapping[str, str]) -> Iterator[str]:
    name = f" neighbor {format_address(speaker.family, speaker.gateway)}"
    yield f"{name} remote-as {speaker.gateway_asn}"
    yield f"{name} update-source {format_address(speaker.family, speaker.address)}"
    yield f"{name} timers connect 2"
    if speaker.multihop:
        yield f"{name} ebgp-multihop {speaker.multihop}"
    else:
        yield f"{name} disable-connected-check"  # it knows no interfaces
    if speaker.password_file:
        yield f"{name} password {passwords[speaker.password_file]}"


def _map(name: str, med: int | None, path: tuple[int, ...], communities: tuple[tuple[int, ...], ...]) -> Iterator[str]:
    yield f"route-map {name} permit 1"
    if med is not None:
        yield f" set metric {med}"
    if path:
        yield f" set as-path prepend {' '.join(map(str, path))}"
    for word, length in (("community", 2), ("large-community", 3)):
        texts = [":".join(map(str, each)) for each in communities if len(each) == length]
        if texts:
            yield f" set {word} {' '.join(texts)}"
