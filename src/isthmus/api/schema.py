"""The JSON schema of the objects, from the same models that read them."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from isthmus.api.names import API_VERSION
from isthmus.api.objects import KINDS

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """One schema for an object of any kind: ``oneOf`` the kinds, told apart by ``kind``."""
    references, definitions = models_json_schema([(model, "validation") for model in KINDS.values()])
    kinds = [references[model, "validation"] for model in KINDS.values()]
    title = f"Objects of {API_VERSION}"
    return {"$schema": _DIALECT, "title": title, "oneOf": kinds, **definitions}
