"""The JSON schema of the objects, from the same models that read them."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from isthmus.api.names import API_VERSION
from isthmus.api.objects import KINDS

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _AsWritten(GenerateJsonSchema):
    """A field that may be left away may not be null: the reader refuses a key without a value."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        shown = super().default_schema(schema)
        if shown.get("default", ...) is None:
            del shown["default"]
        return shown

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        shown = super().dict_schema(schema)
        if "patternProperties" in shown:
            shown.pop("propertyNames", None)
            shown["additionalProperties"] = False
        return shown

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False


def json_schema() -> dict[str, Any]:
    """One schema for an object of any kind: ``oneOf`` the kinds, told apart by ``kind``."""
    models = [(model, "validation") for model in KINDS.values()]
    references, definitions = models_json_schema(models, schema_generator=_AsWritten)  # type: ignore[arg-type]
    kinds = [references[model, "validation"] for model in KINDS.values()]
    used = set(re.findall(r"#/\$defs/(\w+)", json.dumps([kinds, definitions])))
    parts = {name: part for name, part in definitions["$defs"].items() if name in used}
    return {"$schema": _DIALECT, "title": f"Objects of {API_VERSION}", "oneOf": kinds, "$defs": parts}
