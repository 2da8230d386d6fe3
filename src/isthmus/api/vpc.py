"""The VPC: a routing domain, how its packets enter and leave, and where they go inside it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from isthmus.api.fields import (
    Address,
    Asn,
    Cidr,
    Duration,
    Interface,
    Label,
    LinkAddress,
    Mac,
    Metric,
    Shape,
    refuse,
)
from isthmus.api.metadata import ApiObject

_LATER: dict[str, Any] = {"x-carried": False}
_TAGS = ("vlan", "qinq", "vxlan", "mpls")

VlanId = Annotated[int, Field(ge=1, le=4094)]
Vni = Annotated[int, Field(ge=1, le=2**24 - 1)]
MplsLabel = Annotated[int, Field(ge=16, le=2**20 - 1)]


class Subnet(Shape):
    """A named subnet."""

    cidr: Cidr = Field(description="Its addresses.")


class QinQ(Shape):
    """Two VLAN tags (IEEE 802.1ad)."""

    outer: VlanId = Field(description="The service tag.")
    inner: VlanId = Field(description="The customer tag.")


class VxlanRemote(Shape):
    """Where packets to some addresses of the VPC are sent."""

    to: Cidr = Field(description="Destinations inside the VPC.")
    vtep: Address = Field(description="The remote tunnel end.")
    mac: Mac = Field(description="The inner destination.")


class Vxlan(Shape):
    """A VXLAN segment (RFC 7348)."""

    vni: Vni = Field(description="Its number.")
    remotes: list[VxlanRemote] = Field([], description="Its remote tunnel ends.")


class Mpls(Shape):
    """An MPLS label (RFC 3032)."""

    label: MplsLabel = Field(description="The label that packets arrive with.")
    push: list[MplsLabel] = Field([], description="The labels that packets leave with, outermost first.")
    ttl: Literal["uniform", "pipe"] = Field("uniform", description="RFC 3443.")


class Attachment(Shape):
    """A port, and at most one tag."""

    interface: Interface = Field(description="The name of the port.")
    vlan: VlanId | None = Field(None, description="A VLAN tag (IEEE 802.1Q).", json_schema_extra=_LATER)
    qinq: QinQ | None = Field(None, description="Two VLAN tags.", json_schema_extra=_LATER)
    vxlan: Vxlan | None = Field(None, description="A VXLAN segment.", json_schema_extra=_LATER)
    mpls: Mpls | None = Field(None, description="An MPLS label.", json_schema_extra=_LATER)
    addresses: list[LinkAddress] = Field([], description="The gateway's own addresses here, with the link's length.")
    mtu: Annotated[int, Field(ge=68, le=65535)] | None = Field(None, description="Absent: that of the port.")
    mss: Annotated[int, Field(ge=28, le=65535)] | None = Field(
        None, description="The largest segment that a TCP SYN may ask for here, in bytes. Absent: whatever it asks for."
    )

    @model_validator(mode="after")
    def _one_tag(self) -> Attachment:
        written = [tag for tag in _TAGS if tag in self.model_fields_set]
        if len(written) > 1:
            said = f"an attachment has at most one tag, found {' and '.join(written)}"
            raise refuse("field-value", said, "make an attachment of each")
        return self


class Route(Shape):
    """A static route."""

    to: Cidr = Field(description="Destinations.")
    via: Address | None = Field(None, description="The next router. Absent: the destinations are on the link.")
    attachment: Interface | Annotated[int, Field(ge=0)] | None = Field(
        None, description="The port of an attachment, or its place in `attachments`, from 0."
    )
    metric: Metric = Field(0, description="Lower wins.")


class Neighbor(Shape):
    """A BGP neighbour."""

    address: Address = Field(description="Its address.")
    asn: Asn = Field(description="Its AS.")
    password_file: str | None = Field(None, alias="passwordFile", description="A file with the TCP MD5 password.")
    bfd: bool | dict[str, Any] = Field(False, description="RFC 5880.")
    multihop: bool | int = Field(False, description="Not on the link; a number limits the hops.")
    max_prefixes: int | None = Field(None, alias="maxPrefixes", description="More end the session.")
    graceful_restart: bool | Duration = Field(True, alias="gracefulRestart", description="RFC 4724.")


class Bgp(Shape):
    """BGP with this VPC's routers."""

    asn: Asn | None = Field(None, description="Our AS here. Absent: the Gateway's.")
    neighbors: list[Neighbor] = Field([], description="Who to speak to.")
    communities: list[str] = Field([], description="Added to what is advertised.")
    advertise: Literal["routes", "summary"] | None = Field(
        None, description="Each route, or the exposed CIDRs. Absent: summary above 1,000 routes."
    )


class VpcSpec(Shape):
    """What the VPC is made of."""

    subnets: dict[Label, Subnet] = Field({}, description="Named subnets.")
    attachments: list[Attachment] = Field([], description="How packets enter and leave.")
    routes: list[Route] = Field([], description="Static routes.")
    bgp: Bgp | None = Field(None, description="Routes by BGP.", json_schema_extra=_LATER)


class Vpc(ApiObject):
    """A routing domain. Two VPCs may use the same addresses."""

    kind: Literal["VPC"]
    spec: VpcSpec
