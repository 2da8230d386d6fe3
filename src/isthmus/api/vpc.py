"""The VPC: a routing domain, how its packets enter and leave, and where they go inside it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from isthmus.api.bgp import Bgp
from isthmus.api.fields import Address, Cidr, Interface, Label, LinkAddress, Metric, Shape, UnicastMac, refuse
from isthmus.api.metadata import ApiObject

_TAGS = ("vlan", "qinq", "vxlan", "mpls")

VlanId = Annotated[int, Field(ge=1, le=4094)]
Vni = Annotated[int, Field(ge=1, le=2**24 - 1)]
MplsLabel = Annotated[int, Field(ge=16, le=2**20 - 1)]
MOST_LABELS = 4


class Subnet(Shape):
    """A named subnet."""

    cidr: Cidr = Field(description="Its addresses.")


class QinQ(Shape):
    """Two VLAN tags (IEEE 802.1ad)."""

    outer: VlanId = Field(description="The service tag.")
    inner: VlanId = Field(description="The customer tag.")
    outer_type: Literal["802.1ad", "802.1q"] = Field(
        "802.1ad",
        alias="outerType",
        description="How the service tag is marked on the way out: EtherType 0x88a8, or 0x8100. Both are understood.",
    )


class VxlanRemote(Shape):
    """Where packets to some addresses of the VPC are sent: a route of the VPC."""

    to: Cidr = Field(description="Destinations inside the VPC.")
    vtep: Address = Field(description="The remote tunnel end, of the family of the Gateway's own.")
    mac: UnicastMac = Field(description="The inner destination: the host's or router's MAC.")


class Vxlan(Shape):
    """A VXLAN segment (RFC 7348)."""

    vni: Vni = Field(description="Its number.")
    remotes: list[VxlanRemote] = Field([], description="What is behind its remote tunnel ends.")


class Mpls(Shape):
    """An MPLS label (RFC 3032)."""

    label: MplsLabel = Field(description="The label that packets arrive with.")
    push: list[MplsLabel] = Field(
        [],
        description="The labels that packets leave with, outermost first. Empty: they leave without.",
        json_schema_extra={"maxItems": MOST_LABELS},
    )
    ttl: Literal["uniform", "pipe"] = Field(
        "uniform", description="Whether the labels' TTL goes on in the IP packet, and back (RFC 3443)."
    )

    @field_validator("push", mode="after")
    @classmethod
    def _few_labels(cls, push: list[int]) -> list[int]:
        if len(push) > MOST_LABELS:
            said = f"packets leave with {MOST_LABELS} labels at most, found {len(push)}"
            raise refuse("field-value", said, "leave labels to the next router")
        return push


class Attachment(Shape):
    """A port, and at most one tag."""

    interface: Interface = Field(description="The name of the port.")
    vlan: VlanId | None = Field(None, description="A VLAN tag (IEEE 802.1Q).")
    qinq: QinQ | None = Field(None, description="Two VLAN tags.")
    vxlan: Vxlan | None = Field(None, description="A VXLAN segment, on the Gateway's tunnel end.")
    mpls: Mpls | None = Field(None, description="An MPLS label.")
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


class VpcSpec(Shape):
    """What the VPC is made of."""

    subnets: dict[Label, Subnet] = Field({}, description="Named subnets.")
    attachments: list[Attachment] = Field([], description="How packets enter and leave.")
    routes: list[Route] = Field([], description="Static routes.")
    bgp: Bgp | None = Field(None, description="Routes by BGP.")


class Vpc(ApiObject):
    """A routing domain. Two VPCs may use the same addresses."""

    kind: Literal["VPC"]
    spec: VpcSpec
