"""What BIRD says of its neighbours, as values: the answers of ``show protocols all`` and ``show bfd sessions``, and the
log messages of its sessions. Pure. Names are those of `Neighbor.name`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

OURS: Final = "isthmus_"
"""What all names start with that are not neighbours'."""

_ROUTES: Final = re.compile(r"(\d+) imported,(?: (\d+) filtered,)? (\d+) exported")
_OVER_LIMIT: Final = "Route limit exceeded"
_UP: Final = "Up"
_CHANNELS: Final = (".ipv4", ".ipv6")  # what BIRD adds to a name when it speaks of one family


class State(StrEnum):
    """The state of a session (RFC 4271 8.2.2); ``DOWN``: disabled, or ended and not to be tried again."""

    DOWN = "down"
    IDLE = "idle"
    CONNECT = "connect"
    ACTIVE = "active"
    OPEN_SENT = "opensent"
    OPEN_CONFIRM = "openconfirm"
    ESTABLISHED = "established"
    CLOSE = "close"
    PASSIVE = "passive"


class NeighborStatus(NamedTuple):
    """How it stands with a neighbour. ``since``: when the session came up or went, seconds since 1970.

    ``imported`` and ``exported`` count routes of all families; ``refused`` counts what was told and not taken since the
    session came up: AS loops, next hops that can't be. ``bfd``: up or not, None without BFD. ``restarting``: it is
    gone, and its routes are kept for now (RFC 4724). ``over_limit``: it sent more than ``max_prefixes``.
    """

    name: str
    address: str
    interface: str | None
    asn: int
    state: State
    since: float
    error: str
    imported: int
    exported: int
    refused: int
    bfd: bool | None
    restarting: bool
    over_limit: bool


class Event(StrEnum):
    """What became of a session."""

    UP = "up"
    DOWN = "down"  # its routes are gone
    RESTARTING = "restarting"  # it is gone, and its routes are kept: `UP` or `DOWN` follows (RFC 4724)
    RESTARTED = "restarted"  # all routes have been told again; those that were not are gone
    BFD_DOWN = "bfd-down"  # `DOWN` follows
    LINK_DOWN = "link-down"  # `DOWN` follows
    OVER_LIMIT = "over-limit"  # `DOWN` follows
    TOLD = "told"  # a NOTIFICATION was sent or received


class Change(NamedTuple):
    """Something that happened: to whom, what, and BIRD's words."""

    name: str
    event: Event
    text: str


_EVENTS: Final = (
    ("State changed to up", Event.UP),
    ("State changed to stop", Event.DOWN),
    ("Neighbor graceful restart detected", Event.RESTARTING),
    ("Neighbor graceful restart done", Event.RESTARTED),
    ("BFD session down", Event.BFD_DOWN),
    ("Link down", Event.LINK_DOWN),
    ("Neighbor lost", Event.LINK_DOWN),
    ("Route limit exceeded", Event.OVER_LIMIT),
    ("Received: ", Event.TOLD),
    ("Error: ", Event.TOLD),
)


def change(line: str) -> Change | None:
    """What a spontaneous line of the control socket says of a session, if it does."""
    name, colon, text = line.removeprefix("+").partition(": ")
    if not line.startswith("+") or not colon or not _is_neighbor(name):
        return None
    for start, event in _EVENTS:
        if text.startswith(start):
            return Change(name, event, text)
    return None


def neighbors(protocols: Sequence[str], sessions: Iterable[str]) -> dict[str, NeighborStatus]:
    """The status of every neighbour, by name. ``sessions``: the lines of ``show bfd sessions``."""
    bfd = _bfd(sessions)
    found = (_neighbor(block, bfd) for block in _blocks(protocols))
    return {status.name: status for status in found if status is not None}


def _is_neighbor(name: str) -> bool:
    """True for a neighbour's name, false for what is named by us, and for a message without a name."""
    return " " not in name and not name.startswith(OURS) and not name.endswith(_CHANNELS)


def _blocks(lines: Sequence[str]) -> Iterator[Sequence[str]]:
    """The lines of each protocol: what is not indented starts one."""
    starts = [at for at, line in enumerate(lines) if line and not line.startswith(" ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield lines[start:end]


def _neighbor(block: Sequence[str], bfd: dict[tuple[str, str | None], bool]) -> NeighborStatus | None:
    name, kind, _, _, since, *_ = [*block[0].split(), *[""] * 5]
    if kind != "BGP" or not _is_neighbor(name):
        return None
    fields: dict[str, str] = {}
    for line in block[1:]:
        key, _, value = line.strip().partition(":")
        fields.setdefault(key, value.strip())
    address, _, interface = fields["Neighbor address"].partition("%")
    error = fields.get("Last error", "")
    routes = [found.groups() for line in block if (found := _ROUTES.search(line))]
    return NeighborStatus(
        name=name,
        address=address,
        interface=interface or None,
        asn=int(fields["Neighbor AS"]),
        state=State(fields["BGP state"].lower()),
        since=float(since),
        error=error,
        imported=sum(int(imported) for imported, _, _ in routes),
        exported=sum(int(exported) for _, _, exported in routes),
        refused=sum(_refused(line) for line in block if line.strip().startswith("Import updates:")),
        bfd=bfd.get((address, interface or None)),
        restarting="Neighbor graceful restart active" in fields,
        over_limit=_OVER_LIMIT in error or any("[HIT]" in line for line in block),
    )


def _refused(line: str) -> int:
    """Of received, rejected, filtered, ignored, accepted: the second and third."""
    _, rejected, filtered, *_ = line.partition(":")[2].split()
    return sum(int(count) for count in (rejected, filtered) if count != "---")


def _bfd(lines: Iterable[str]) -> dict[tuple[str, str | None], bool]:
    """Address and interface to whether it is up; for who does not say which interface, also None."""
    found: dict[tuple[str, str | None], bool] = {}
    for line in lines:
        address, interface, state, *_ = [*line.split(), "", "", ""]
        if state and (":" in address or "." in address) and not line.endswith(":"):
            found[address, interface] = found[address, None] = state == _UP
    return found
