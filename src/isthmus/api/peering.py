"""The Peering: the only connection between two VPCs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from isthmus.api.fields import Cidr, IcmpNumbers, Label, Metric, PoolPorts, Ports, Shape, Timeout, refuse
from isthmus.api.metadata import ApiObject

_ONE_KEY: dict[str, Any] = {"minProperties": 1, "maxProperties": 1}


def _exactly_one(part: Shape, names: tuple[str, ...]) -> None:
    """Refuses an item that has none of its keys, or several of them: a slip of indentation, mostly."""
    written = [name for name in names if name in part.keys_written()]
    if len(written) > 1:
        keys = " and ".join(f"`{name}`" for name in written)
        raise refuse("field-value", f"an item has one key, found {keys}", "begin each of them with its own `- `")
    if not written:
        raise refuse("field-missing", f"an item needs one of {', '.join(names)}", f"write `- {names[0]}: 10.1.0.0/16`")


class IpsItem(Shape):
    """One item of `ips`: exactly one of its keys."""

    model_config = ConfigDict(json_schema_extra=_ONE_KEY)

    cidr: Cidr | None = Field(None, description="Addresses that this side offers.")
    not_: Cidr | None = Field(None, alias="not", description="Addresses taken out of all that the list offers.")
    from_subnet: Label | None = Field(None, alias="fromVPCSubnet", description="Short for the CIDR of that VPC subnet.")

    @model_validator(mode="after")
    def _one_key(self) -> IpsItem:
        if len(self.model_fields_set) != 1:
            _exactly_one(self, ("cidr", "not", "fromVPCSubnet"))
        return self


class AsItem(Shape):
    """One item of `as`, where it is no bare CIDR: exactly one of its keys."""

    model_config = ConfigDict(json_schema_extra=_ONE_KEY)

    cidr: Cidr | None = Field(None, description="Public addresses of this side.")
    not_: Cidr | None = Field(None, alias="not", description="Public addresses that are not used.")

    @model_validator(mode="after")
    def _one_key(self) -> AsItem:
        if len(self.model_fields_set) != 1:
            _exactly_one(self, ("cidr", "not"))
        return self


def _spelled_out(item: Any) -> Any:
    """A bare CIDR is short for ``{cidr: …}``."""
    return {"cidr": item} if isinstance(item, str) else item


class PortMatch(Shape):
    """TCP or UDP packets; a port that is not written is any port."""

    src_port: Ports | None = Field(None, alias="srcPort", description="Source ports: a number, `a-b`, or a list.")
    dst_port: Ports | None = Field(None, alias="dstPort", description="Destination ports: a number, `a-b`, or a list.")


class IcmpMatch(Shape):
    """ICMP of the packet's own family; what is not written is any."""

    type: IcmpNumbers | None = Field(None, description="ICMP types: a number, `a-b`, or a list.")
    code: IcmpNumbers | None = Field(None, description="ICMP codes: a number, `a-b`, or a list.")


class Rule(Shape):
    """What may enter the gateway from this VPC. No protocol key: any protocol; several: any of them."""

    name: str | None = Field(None, description="For people: shown where the rule decides.")
    stateless: bool = Field(False, description="True: exactly these packets pass, replies need a rule of their own.")
    src: list[Cidr] | None = Field(None, description="Sources, as this VPC's hosts use them.")
    dst: list[Cidr] | None = Field(None, description="Destinations, as this VPC's hosts dial them.")
    tcp: PortMatch | None = Field(None, description="TCP; `{}` is all of it.")
    udp: PortMatch | None = Field(None, description="UDP; `{}` is all of it.")
    icmp: IcmpMatch | None = Field(None, description="ICMP or ICMPv6; `{}` is all of it.")


class Ingress(Shape):
    """One item of `ingress`."""

    allow: Rule = Field(description="What passes.")


def _shown(default: str) -> dict[str, Any]:
    """The default as one would write it, for the schema."""
    return {"default": default}


class NatTimeouts(Shape):
    """How long a silent conversation is remembered."""

    udp: Timeout = Field(
        300, description="UDP, and protocols that have none of their own. RFC 4787.", json_schema_extra=_shown("5m")
    )
    tcp_established: Timeout = Field(
        7440, alias="tcpEstablished", description="TCP after its handshake. RFC 5382.", json_schema_extra=_shown("2h4m")
    )
    tcp_transitory: Timeout = Field(
        240, alias="tcpTransitory", description="TCP that opens or closes. RFC 5382.", json_schema_extra=_shown("4m")
    )
    icmp: Timeout = Field(60, description="ICMP echo. RFC 5508.", json_schema_extra=_shown("60s"))


class Nat(Shape):
    """How a stateful side chooses ports."""

    ports: PoolPorts = Field(
        ((1024, 65535),),
        description="Public ports (and echo identifiers) to use: a number, `a-b`, or a list.",
        json_schema_extra=_shown("1024-65535"),
    )
    mapping: Literal["endpoint-independent", "per-destination"] = Field(
        "endpoint-independent", description="Whether a private port keeps its public port toward every destination."
    )
    timeouts: NatTimeouts = Field(
        default_factory=NatTimeouts, description="How long what is silent is remembered: 1s to 720h."
    )


class Side(Shape):
    """What one VPC offers in a peering."""

    ips: list[IpsItem] = Field(description="The addresses of this VPC that the peer may use.")
    as_: list[Annotated[AsItem, BeforeValidator(_spelled_out, json_schema_input_type=Cidr | AsItem)]] | None = Field(
        None, alias="as", description="How the peer sees these addresses. Absent: as they are."
    )
    nat_type: Literal["static", "stateful"] | None = Field(
        None, alias="natType", description="static: one to one, both directions. stateful: many to few, from here only."
    )
    nat: Nat | None = Field(None, description="Settings of a stateful side.")
    ingress: list[Ingress] | None = Field(
        None, description="What may enter from this VPC; the first match decides. Empty: nothing. Absent: everything."
    )
    metric: Metric = Field(0, description="Added to the metric of every route that this side offers; lower wins.")
    audit: bool | None = Field(
        None, description="Pass and count what the rules would drop.", json_schema_extra={"x-carried": False}
    )


class Peering(ApiObject):
    """Two VPCs, and what each shows the other."""

    kind: Literal["Peering"]
    spec: dict[Label, Side] = Field(
        description="Exactly two keys, the names of the VPCs.",
        json_schema_extra={"minProperties": 2, "maxProperties": 2},
    )
