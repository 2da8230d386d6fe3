"""BGP with the routers of a VPC: who they are, and what is said to them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from isthmus.api.fields import Address, Asn, Shape, kind_of, parse_duration, refuse, text_of

WELL_KNOWN: dict[str, tuple[int, int]] = {
    "graceful-shutdown": (65535, 0),  # RFC 8326
    "blackhole": (65535, 666),  # RFC 7999
    "no-export": (65535, 65281),  # RFC 1997, as the next two
    "no-advertise": (65535, 65282),
    "no-export-subconfed": (65535, 65283),
    "no-peer": (65535, 65284),  # RFC 3765
}
"""Communities that have names (IANA, BGP Well-known Communities)."""
MOST_HOPS = 255
DEFAULT_RESTART, LONGEST_RESTART = 120, 4095
"""Seconds. The restart time has 12 bits (RFC 4724 3)."""
LONGEST_PATH = 4096
"""Bytes of a file's path (PATH_MAX of Linux)."""


def _community(value: Any) -> tuple[int, ...]:
    example = '"65000:100", "4200000000:1:2" or no-export'
    text = text_of(value, "a community", example)
    if text in WELL_KNOWN:
        return WELL_KNOWN[text]
    if re.fullmatch(r"\d{1,10}(:\d{1,10}){1,2}", text, re.ASCII) is None:
        names = ", ".join(sorted(WELL_KNOWN))
        raise refuse("field-value", f"{text[:80]!r} is no community", f"write it like {example}; the names are {names}")
    parts = tuple(int(part) for part in text.split(":"))
    largest = 0xFFFF if len(parts) == 2 else 0xFFFFFFFF
    if max(parts) > largest:
        hint = "write a large community, of three numbers" if len(parts) == 2 else f"write numbers up to {largest}"
        raise refuse("field-value", f"the numbers of {text} go beyond {largest}", hint)
    return parts


def _password_file(value: Any) -> str:
    text = text_of(value, "the path of a file", "/etc/isthmus/password")
    if text.startswith("/") and "\0" not in text and len(text.encode()) < LONGEST_PATH:
        return text
    raise refuse("field-value", "this is no absolute path of a file", "write it like /etc/isthmus/password")


def _interval(value: Any) -> int:
    example = f"{value}ms" if isinstance(value, int) and not isinstance(value, bool) else "300ms"
    text = text_of(value, "a duration with its unit", example)
    found = re.fullmatch(r"(\d{1,6})ms", text, re.ASCII)
    interval = int(found[1]) if found else parse_duration(text) * 1000
    if 10 <= interval <= 60_000:
        return interval
    raise refuse("field-value", f"an interval of {text} is not one that BFD can hold", "write 10ms to 60s")


def _switch(value: Any) -> Any:
    """``true`` is short for all defaults, ``false`` for nothing."""
    if isinstance(value, bool):
        return {} if value else None
    if not isinstance(value, dict):
        raise refuse("field-type", f"expected true, false or a mapping, found {kind_of(value)}", "write true or false")
    return value


def _hops(value: Any) -> int:
    if isinstance(value, bool):
        return MOST_HOPS if value else 0
    if isinstance(value, int) and 1 <= value <= MOST_HOPS:
        return value
    said = f"expected true, false or a number of hops, found {kind_of(value)}"
    raise refuse("field-value" if isinstance(value, int) else "field-type", said, f"write 1 to {MOST_HOPS}, or true")


def _restart(value: Any) -> int:
    if isinstance(value, bool):
        return DEFAULT_RESTART if value else 0
    seconds = parse_duration(text_of(value, "true, false or a duration with its unit", f"{DEFAULT_RESTART}s"))
    if 1 <= seconds <= LONGEST_RESTART:
        return seconds
    raise refuse(
        "field-value", f"a restart time of {value} can't be told (RFC 4724)", f"write 1s to {LONGEST_RESTART}s"
    )


def _one_of(*kinds: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "boolean"}, *kinds]})


_COMMUNITY_PATTERN = rf"^(\d{{1,10}}(:\d{{1,10}}){{1,2}}|{'|'.join(sorted(WELL_KNOWN))})$"

Community = Annotated[
    tuple[int, ...],
    PlainValidator(_community),
    WithJsonSchema({"type": "string", "pattern": _COMMUNITY_PATTERN, "examples": ["65000:100", "no-export"]}),
]
PasswordFile = Annotated[
    str, PlainValidator(_password_file), WithJsonSchema({"type": "string", "pattern": "^/", "examples": ["/etc/key"]})
]
Interval = Annotated[
    int,
    PlainValidator(_interval),
    WithJsonSchema({"type": "string", "pattern": r"^(\d+ms|(\d+m)?(\d+s)?)$", "examples": ["50ms", "1s"]}),
]
Hops = Annotated[int, PlainValidator(_hops), _one_of({"type": "integer", "minimum": 1, "maximum": MOST_HOPS})]
RestartTime = Annotated[int, PlainValidator(_restart), _one_of({"type": "string", "examples": ["120s", "5m"]})]


class Bfd(Shape):
    """How fast a neighbour that is gone is noticed (RFC 5880)."""

    interval: Interval = Field(
        300, description="Between two packets, both ways: 10ms to 60s.", json_schema_extra={"default": "300ms"}
    )
    multiplier: Annotated[int, Field(ge=1, le=255)] = Field(
        3, description="So many packets in a row have to be missing."
    )


class Neighbor(Shape):
    """A BGP neighbour."""

    address: Address = Field(description="Its address, on the link of an attachment unless it is `multihop`.")
    asn: Asn = Field(description="Its AS.")
    password_file: PasswordFile | None = Field(
        None, alias="passwordFile", description="The absolute path of a file with the TCP MD5 password (RFC 2385)."
    )
    bfd: Annotated[Bfd | None, BeforeValidator(_switch, json_schema_input_type=bool | Bfd)] = Field(
        None, description="RFC 5880: true, or its settings.", json_schema_extra={"default": False}
    )
    multihop: Hops = Field(
        0,
        description="Not on the link: true, or the most hops (RFC 4271, 5082).",
        json_schema_extra={"default": False},
    )
    max_prefixes: Annotated[int, Field(ge=1, le=2**32 - 1)] | None = Field(
        None, alias="maxPrefixes", description="More than these, in one family, end the session. Absent: any number."
    )
    graceful_restart: RestartTime = Field(
        DEFAULT_RESTART,
        alias="gracefulRestart",
        description="Routes are kept while the neighbour restarts: true (120s), false, or for how long (RFC 4724).",
        json_schema_extra={"default": True},
    )


class Bgp(Shape):
    """BGP with this VPC's routers."""

    asn: Asn | None = Field(None, description="Our AS here. Absent: the Gateway's.")
    neighbors: list[Neighbor] = Field([], description="Who to speak to.")
    communities: list[Community] = Field(
        [], description="Added to what is advertised: `a:b` (RFC 1997), `a:b:c` (RFC 8092), or a well-known name."
    )
    advertise: Literal["routes", "summary"] | None = Field(
        None, description="Each route, or the exposed CIDRs. Absent: summary above 1,000 routes."
    )
