"""The configuration of BIRD, as text: a pure function of what is wanted. The same speaker gives the same bytes.

Into the table of a family go the routes of all neighbours, each with the marker of who told it, and ours, which are
preferred. The feed gets all paths (RFC 7911); a neighbour gets ours alone, never another neighbour's.
Numbers and addresses are all that comes from users, but for passwords and interfaces, which `speaker` has looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from isthmus.routing.bird.speaker import MARKER_AS, Feed, LogLevel, Neighbor, Speaker
from isthmus.tables.address import Family

AGENT: Final = "isthmus_agent"
"""The name of the feed's session."""

_LEVELS: Final = {
    LogLevel.ERROR: "error, fatal, bug, auth",
    LogLevel.WARNING: "warning, error, fatal, bug, auth",
    LogLevel.INFO: "info, remote, warning, error, fatal, bug, auth",
    LogLevel.TRACE: "trace, info, remote, warning, error, fatal, bug, auth",
}
_LOG_BYTES: Final = 1 << 20
_RECOVERY_S: Final = 30  # a restarted daemon announces after this, also where a neighbour did not come back
_OURS: Final = 200  # BGP's own preference is 100

_HEAD: Final = """\
log "bird.log" {bytes} "bird.log.1" {{ {levels} }};
router id {router};
graceful restart wait {wait};
timeformat base "%s.%3f";
timeformat protocol "%s.%3f";
protocol device {{ scan time 10; }}
protocol bfd isthmus_bfd {{ }}
"""

_TABLES: Final = """\
ipv{family} table isthmus_routes{family};
ipv{family} table isthmus_links{family};
protocol direct isthmus_direct{family} {{ ipv{family} {{ table isthmus_links{family}; }}; }}
"""
# A MED that the export filter does not assign is not sent to another AS.
_ANNOUNCE: Final = """\
filter isthmus_announce {{
  if proto != "{agent}" then reject;
  if defined(bgp_med) then bgp_med = bgp_med + 0;
  bgp_large_community.delete([({marker}, *, *)]);
  accept;
}}
"""


def bird_config(speaker: Speaker) -> str:
    """The text of bird.conf. The log is written to where BIRD is started."""
    neighbors = sorted(speaker.neighbors, key=lambda neighbor: neighbor.name)
    strict = {version for version in (4, 6) if all(n.local for n in neighbors if n.address.version == version)}
    sections = [
        _HEAD.format(bytes=_LOG_BYTES, levels=_LEVELS[speaker.log], router=speaker.router_id, wait=_RECOVERY_S),
        *(_TABLES.format(family=family) for family in speaker.families),
        _ANNOUNCE.format(agent=AGENT, marker=MARKER_AS),
        _block(f"protocol bgp {AGENT}", _feed(speaker, speaker.feed)),
        *(
            _block(f"protocol bgp '{n.name}'", _neighbor(speaker, n, strict=n.address.version in strict))
            for n in neighbors
        ),
    ]
    return "\n".join(sections)


def _feed(speaker: Speaker, feed: Feed) -> Iterator[str]:
    """Well-known communities mean nothing here: what a neighbour says not to export, we do not, and must know of."""
    yield f"local {feed.daemon} port {feed.port} as {speaker.asn};"
    yield f"neighbor {feed.agent} as {speaker.asn};"
    yield "strict bind on; passive on; multihop; rr client;"
    yield f"hold time {feed.hold_s}; error wait time 1, 1;"
    yield "graceful restart on; enable extended messages on; interpret communities off;"
    yield "debug { states, events };"
    for family in speaker.families:
        yield _channel(
            family,
            f"add paths on; next hop keep; preference {_OURS};",
            f'import all; export where source = RTS_BGP && proto != "{AGENT}";',
        )


def _neighbor(speaker: Speaker, neighbor: Neighbor, *, strict: bool) -> Iterator[str]:
    local = f"local {neighbor.local}" if neighbor.local else "local"
    yield f"{local} as {speaker.asn};"
    yield f"neighbor {neighbor.address} as {neighbor.asn};"
    if neighbor.address.is_link_local and neighbor.interface:
        yield f'interface "{neighbor.interface}";'
    if strict:
        yield "strict bind on; free bind on;"
    yield f"multihop {neighbor.hops};" if neighbor.hops else "direct;"
    if neighbor.password is not None:
        yield f'password "{neighbor.password}";'
    if bfd := neighbor.detection:
        yield f"bfd {{ interval {bfd.interval_ms} ms; multiplier {bfd.multiplier}; }};"
    yield f"hold time {neighbor.hold_s};"
    yield "connect delay time 1; connect retry time 5; error wait time 1, 30; error forget time 60;"
    if neighbor.restart_s:
        yield f"graceful restart on; graceful restart time {neighbor.restart_s}; long lived graceful restart off;"
    else:
        yield "graceful restart off;"
    yield "med metric on;"
    yield "debug { states, events };"
    for family in speaker.families:
        yield _channel(family, *_policy(speaker, neighbor))


def _policy(speaker: Speaker, neighbor: Neighbor) -> Iterator[str]:
    """What comes in is marked; what goes out is ours. A next hop may be off the link inside an AS, and from afar."""
    administrator, one, two = neighbor.marker
    recursive = neighbor.hops or neighbor.asn == speaker.asn
    yield f"next hop self on; gateway {'recursive' if recursive else 'direct'};"
    if neighbor.max_prefixes is not None:
        yield f"import limit {neighbor.max_prefixes} action {neighbor.over_limit};"
    yield (
        f"import filter {{ bgp_large_community.delete([({administrator}, *, *)]); "
        f"bgp_large_community.add(({administrator}, {one}, {two})); accept; }};"
    )
    yield "export filter isthmus_announce;"


def _channel(family: Family, *lines: str) -> str:
    table = f"table isthmus_routes{family}; igp table isthmus_links{family};"
    return _block(f"ipv{family}", (table, *lines)).rstrip() + ";"


def _block(head: str, lines: Iterable[str]) -> str:
    """Indented at line feeds alone: ``textwrap.indent`` would do it in a password that holds another line separator."""
    return "\n  ".join([f"{head} {{", *(part for line in lines for part in line.split("\n"))]) + "\n}\n"
