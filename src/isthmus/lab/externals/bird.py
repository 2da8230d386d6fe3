"""The configuration of a BIRD that plays an external: each neighbour announces all routes, and takes what comes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import indent
from typing import Final

from isthmus.lab.externals.routes import Announced
from isthmus.lab.externals.speakers import External, Speaker
from isthmus.tables.address import FAMILIES, format_address

_HEAD: Final = """\
log "bird.log" {{ info, remote, warning, error, fatal, bug, auth }};
router id {router_id};
protocol device {{ scan time 5; }}
protocol bfd lab_bfd {{ }}
filter lab_out {{
  if source != RTS_STATIC then reject;
  if defined(bgp_med) then bgp_med = bgp_med + 0; # what is not assigned here is not sent to another AS
  accept;
}}
"""


def bird_config(external: External, passwords: Mapping[str, str]) -> str:
    """The text of bird.conf; ``passwords`` by the path of their file. The log is written to where BIRD is started."""
    statics = (_block(f"protocol static lab_routes{family}", _routes(external, family)) for family in FAMILIES)
    sessions = (
        _block(f"protocol bgp lab_neighbor{number}", _session(speaker, passwords))
        for number, speaker in enumerate(external.speakers)
    )
    return "\n".join([_HEAD.format(router_id=external.router_id), *statics, *sessions])


def _routes(external: External, family: int) -> Iterator[str]:
    yield f"ipv{family} {{ import all; }};"
    yield from (_route(route) for route in external.routes if route.prefix.family == family)


def _route(route: Announced) -> str:
    what = [f"bgp_path.prepend({asn});" for asn in reversed(route.path)]
    if route.med is not None:
        what.append(f"bgp_med = {route.med};")
    for community in route.communities:
        large = "large_" if len(community) == 3 else ""
        what.append(f"bgp_{large}community.add(({','.join(map(str, community))}));")
    return f"route {route.prefix} blackhole" + (f" {{ {' '.join(what)} }};" if what else ";")


def _session(speaker: Speaker, passwords: Mapping[str, str]) -> Iterator[str]:
    yield f"local {format_address(speaker.family, speaker.address)} as {speaker.asn};"
    yield f"neighbor {format_address(speaker.family, speaker.gateway)} as {speaker.gateway_asn};"
    yield "strict bind on;"
    yield f"multihop {speaker.multihop};" if speaker.multihop else "direct;"
    if speaker.password_file:
        yield f'password "{passwords[speaker.password_file]}";'
    if speaker.bfd:
        yield f"bfd {{ interval {speaker.bfd.interval} ms; multiplier {speaker.bfd.multiplier}; }};"
    yield "connect delay time 1; connect retry time 2; error wait time 1, 3; graceful restart on;"
    yield f"ipv{speaker.family} {{ import all; export filter lab_out; next hop self; }};"


def _block(head: str, lines: Iterator[str]) -> str:
    return f"{head} {{\n{indent(chr(10).join(lines), '  ')}\n}}\n"
