"""Field types that several objects share: each a plain value for ``model``, a judge of what was written, and a schema.

A judge raises PydanticCustomError whose type is the problem code and whose context holds ``hint``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from isthmus.api.names import as_label, is_label
from isthmus.tables.address import BITS, Family, Prefix, format_address, parse_address


class Shape(BaseModel):
    """Base of every object and part: unknown fields are errors, and nothing is converted (``"5"`` is no number)."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)  # built when first used: start-up is short

    def keys_written(self) -> set[str]:
        """The keys that stand in the YAML, by the names they have there."""
        fields = type(self).model_fields
        return {fields[name].alias or name for name in self.model_fields_set}


def refuse(code: str, message: str, hint: str = "") -> PydanticCustomError:
    """The error to raise for a value: a problem code, what is wrong, and what to write instead."""
    return PydanticCustomError(code, "{said}", {"said": message, "hint": hint})


def text_of(value: Any, expected: str, example: str) -> str:
    """The value if it is text, else the refusal that says what is expected, with an example."""
    if isinstance(value, str):
        return value
    raise refuse("field-type", f"expected {expected}, found {kind_of(value)}", f"write it like {example}")


def kind_of(value: Any) -> str:
    """What a value of YAML is, in words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    return "text" if isinstance(value, str) else "a list" if isinstance(value, list) else "a mapping"


def _cidr(value: Any) -> Prefix:
    return parse_cidr(text_of(value, "a CIDR", "10.1.0.0/16"))


@lru_cache(maxsize=65536)
def parse_cidr(text: str) -> Prefix:
    """A CIDR, or an address for its host prefix; the refusal tells ``cidr-host-bits`` from ``cidr-invalid``."""
    try:
        return Prefix.parse(text)
    except ValueError as error:
        reason = str(error)
    try:
        family, host, length = split_cidr(text)
    except ValueError:
        raise refuse("cidr-invalid", f"this is no CIDR: {reason}", _cidr_hint(text)) from None
    network = Prefix(family, host & Prefix(family, 0, length).mask, length)
    single = Prefix(family, host, BITS[family])
    message = f"{text} has bits set beyond its prefix length {length}"
    raise refuse("cidr-host-bits", message, f"write {network} for the whole network, or {single} for the one address")


def split_cidr(text: str) -> tuple[Family, int, int]:
    """``10.1.1.7/24`` to (family, left-aligned address, 24), host bits kept; ValueError if it is no CIDR."""
    head, slash, tail = text.partition("/")
    family, host = parse_address(head)
    length = Prefix.parse(f"::/{tail}" if family == 6 else f"0.0.0.0/{tail}").length if slash else BITS[family]
    return family, host, length


def _cidr_hint(text: str) -> str:
    """What was probably meant: a netmask, a range, a wildcard."""
    head, _, tail = text.partition("/")
    try:
        family, mask = parse_address(tail)
        if Prefix(family, 0, mask.bit_count()).mask == mask:
            return f"write the length of the mask: {head}/{mask.bit_count()}"
    except ValueError:
        pass
    if "-" in text:
        return "a range is written as the CIDRs that make it up, one item each"
    return "write an address and a prefix length, such as 10.1.0.0/16 or 2001:db8::/32"


def _link_address(value: Any) -> tuple[Family, int, int]:
    text = text_of(value, "an address with the prefix length of its link", "10.1.0.1/24")
    try:
        return split_cidr(text)
    except ValueError as error:
        raise refuse("cidr-invalid", f"this is no address of a link: {error}", "write it like 10.1.0.1/24") from error


def _address(value: Any) -> tuple[Family, int]:
    text = text_of(value, "an IP address", "10.1.0.1")
    try:
        return parse_address(text)
    except ValueError as error:
        hint = "leave the prefix length away" if "/" in text else "write it like 10.1.0.1 or 2001:db8::1"
        raise refuse("field-value", str(error), hint) from error


def _ipv4(value: Any) -> tuple[Family, int]:
    family, address = _address(value)
    if family != 4:
        raise refuse("field-value", f"{format_address(6, address)} is IPv6", "write an IPv4 address, such as 10.0.0.1")
    return family, address


def _label(value: Any) -> str:
    text = text_of(value, "a name", f'"{value}"' if isinstance(value, int | float) else "vpc-1")
    if is_label(text):
        return text
    meant = as_label(text)
    said = f"{text[:80]!r} is no DNS label: 1 to 63 of a-z, 0-9 and '-', with no '-' at either end"
    raise refuse("name-invalid", said, f"write {meant}" if meant else "write a name such as vpc-1")


def _interface(value: Any) -> str:
    text = text_of(value, "the name of a port", "eth1")
    if 0 < len(text.encode()) < 16 and not re.search(r"[/:\s\0]", text) and text not in (".", ".."):
        return text
    raise refuse(
        "field-value", f"{text[:80]!r} cannot be a port's name in Linux", "write it as `ip link` prints it: eth1"
    )


_DURATION = re.compile(r"(?=.)(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?")


def _duration(value: Any) -> int:
    example = f"{value}s" if isinstance(value, int) and not isinstance(value, bool) else "5m"
    return parse_duration(text_of(value, "a duration with its unit", example))


def parse_duration(text: str) -> int:
    """``2h4m`` in seconds; the refusal says how to write one."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise refuse("field-value", f"{text[:80]!r} is no duration", "write hours, minutes and seconds: 60s, 5m, 2h4m")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return (hours * 60 + minutes) * 60 + seconds


LONGEST_TIMEOUT = 30 * 24 * 3600
"""Seconds. What is silent for longer is not coming back, and its record would be lost to others."""


def _timeout(value: Any) -> int:
    seconds = _duration(value)
    if 0 < seconds <= LONGEST_TIMEOUT:
        return seconds
    why = "forgets a conversation at once" if seconds == 0 else "is longer than 30 days"
    raise refuse("field-value", f"a timeout of {value} {why}", f"write 1s to {LONGEST_TIMEOUT // 3600}h, such as 5m")


PortRanges = tuple[tuple[int, int], ...]


class Numbers(NamedTuple):
    """A sort of numbers that are written alone, as ``"a-b"``, or as a list; ``absent``: what no value stands for."""

    what: str
    smallest: int
    largest: int
    example: str
    absent: str = "any"

    def judge(self, value: Any) -> PortRanges:
        """What was written, as inclusive ranges."""
        if value == []:
            hint = f"leave it away for {self.absent}, or write {self.example}"
            raise refuse("field-value", f"an empty list of {self.what}s means none of them", hint)
        return tuple(self._range(item) for item in (value if isinstance(value, list) else [value]))

    def _range(self, value: Any) -> tuple[int, int]:
        if isinstance(value, int) and not isinstance(value, bool):
            first = last = value
        else:
            text = text_of(value, f"a {self.what}", self.example)
            found = re.fullmatch(r"(\d{1,6})(?:\s*-\s*(\d{1,6}))?", text, re.ASCII)
            if found is None:
                said = f"{text[:80]!r} is no {self.what}, nor a range of them"
                raise refuse("field-value", said, f"write it like {self.example}")
            first, last = int(found[1]), int(found[2] or found[1])
        if first < self.smallest or last > self.largest:
            said = f"a {self.what} is {self.smallest} to {self.largest}, found {value}"
            raise refuse("field-value", said, f"write it like {self.example}")
        if first > last:
            raise refuse("field-value", f"the range {value} runs backwards", f'write "{last}-{first}"')
        return first, last

    def schema(self) -> dict[str, Any]:
        """The JSON schema of what ``judge`` takes."""
        number = {"type": "integer", "minimum": self.smallest, "maximum": self.largest}
        one = [number, {"type": "string", "pattern": r"^\d{1,6}(\s*-\s*\d{1,6})?$"}]
        return {"anyOf": [*one, {"type": "array", "items": {"anyOf": one}, "minItems": 1}]}


def _mac(value: Any) -> str:
    text = text_of(value, "a MAC address", '"02:00:00:00:00:01"')
    if re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", text):
        return text.lower()
    raise refuse("field-value", f"{text[:80]!r} is no MAC address", 'write it like "02:00:00:00:00:01"')


def _unicast_mac(value: Any) -> str:
    mac = _mac(value)
    if int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
        raise refuse("field-value", f"{mac} is of no single host", "write the MAC address of the host or router")
    return mac


def _text(judge: Any, *examples: str, **more: Any) -> tuple[PlainValidator, WithJsonSchema]:
    return PlainValidator(judge), WithJsonSchema({"type": "string", "examples": list(examples), **more})


def _numbers(numbers: Numbers) -> tuple[PlainValidator, WithJsonSchema]:
    return PlainValidator(numbers.judge), WithJsonSchema(numbers.schema())


_DURATION_PATTERN = r"^(\d+h)?(\d+m)?(\d+s)?$"
LABEL_PATTERN = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"

Cidr = Annotated[Prefix, *_text(_cidr, "10.1.0.0/16", "2001:db8::/32")]
Address = Annotated[tuple[Family, int], *_text(_address, "10.1.0.1", "2001:db8::1")]
AddressV4 = Annotated[tuple[Family, int], *_text(_ipv4, "10.1.0.1")]
LinkAddress = Annotated[tuple[Family, int, int], *_text(_link_address, "10.1.0.1/24")]
Label = Annotated[str, *_text(_label, "vpc-1", pattern=LABEL_PATTERN)]
Interface = Annotated[str, *_text(_interface, "eth1", maxLength=15)]
Timeout = Annotated[int, *_text(_timeout, "60s", "5m", "2h4m", pattern=_DURATION_PATTERN)]
UnicastMac = Annotated[str, *_text(_unicast_mac, "02:00:00:00:00:01")]
Ports = Annotated[PortRanges, *_numbers(Numbers("port", 0, 65535, '443, "8000-8999" or [80, 443]'))]
PoolPorts = Annotated[PortRanges, *_numbers(Numbers("port", 1, 65535, '"20000-29999"', '"1024-65535"'))]
IcmpNumbers = Annotated[PortRanges, *_numbers(Numbers("ICMP number", 0, 255, "8"))]
Metric = Annotated[int, Field(ge=0, le=2**31 - 1)]
Asn = Annotated[int, Field(ge=1, le=2**32 - 1)]
