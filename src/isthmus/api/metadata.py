"""What every object has: its version, its kind, its name."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from isthmus.api.fields import Label, Shape


class Metadata(Shape):
    """The object's name, and what Kubernetes keeps beside it, which means nothing here."""

    name: Label = Field(description="Unique among the objects of its kind.")
    namespace: str | None = None
    labels: dict[str, Any] | None = None
    annotations: dict[str, Any] | None = None
    uid: str | None = None
    generation: int | None = None
    resource_version: str | None = Field(None, alias="resourceVersion")
    creation_timestamp: Any = Field(None, alias="creationTimestamp")
    deletion_timestamp: Any = Field(None, alias="deletionTimestamp")
    finalizers: list[str] | None = None
    owner_references: list[Any] | None = Field(None, alias="ownerReferences")
    managed_fields: list[Any] | None = Field(None, alias="managedFields")


class ApiObject(Shape):
    """An object of this API. ``status`` is what a server wrote beside it, and is passed over."""

    api_version: Literal["gateway.githedgehog.com/v1alpha1"] = Field(alias="apiVersion")
    metadata: Metadata
    status: Any = Field(None, description="Written by servers; passed over.")
