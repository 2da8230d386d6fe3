"""The Gateway: what one node is told about itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from isthmus.api.fields import Address, AddressV4, Asn, Interface, Shape
from isthmus.api.metadata import ApiObject


class Vtep(Shape):
    """The node's own VXLAN tunnel end."""

    address: Address = Field(description="Its address.")
    interface: Interface = Field(description="The port toward the underlay.")


class Port(Shape):
    """Settings of one port."""

    hook: Literal["auto", "xdp", "tc"] = Field("auto", description="Where packets are taken from the kernel.")
    unclaimed: Literal["drop", "pass"] = Field("drop", description="What becomes of tags that no attachment claims.")


class Capacities(Shape):
    """What the node has room for."""

    flows: Annotated[int, Field(ge=1024, le=2**27)] | None = Field(
        None, description="Conversations that are remembered at a time. Absent: the gateway chooses."
    )


class GatewaySpec(Shape):
    """What the node is told."""

    asn: Asn | None = Field(None, description="Its AS.")
    router_id: AddressV4 | None = Field(None, alias="routerID", description="Its BGP identifier.")
    vtep: Vtep | None = Field(None, description="Its VXLAN tunnel end.")
    ports: dict[Interface, Port] = Field({}, description="Settings by port.")
    drain: bool = Field(False, description="Withdraw everything, and keep forwarding.")
    tables: Capacities = Field(default_factory=Capacities, description="What it has room for.")


class Gateway(ApiObject):
    """One node."""

    kind: Literal["Gateway"]
    spec: GatewaySpec
