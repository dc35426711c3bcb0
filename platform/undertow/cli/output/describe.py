"""What the catalogue knows of a cell, a task or a probe before its class is imported: from its spec alone.

document = describe(registry.cells["lstm"])
document["equation"], document["options"][0]["range"]
"""

from collections.abc import Mapping
from typing import Any

from undertow.api.spec import CellSpec, Spec, TaskSpec
from undertow.plugins.registry import Entry


def describe(entry: Entry[Any]) -> dict[str, Any]:
    """All about one spec, as JSON has it."""
    spec: Spec = entry.spec
    document: dict[str, Any] = {"name": spec.name, "summary": spec.summary}
    if isinstance(spec, CellSpec):
        document |= {"equation": spec.equation, "state": list(spec.state)}
    if isinstance(spec, TaskSpec):
        lengths = spec.lengths
        document |= {
            "shape": spec.shape,
            "lengths": {"default": lengths.default, "minimum": lengths.minimum, "maximum": lengths.maximum},
            "metrics": dict(spec.metrics),
        }
    return document | {"paper": spec.paper, "options": options_of(spec), "from": str(entry.plugin)}


def options_of(spec: Spec) -> list[dict[str, Any]]:
    """The options of a plugin: name, type, default, range and description of each."""
    from pydantic.json_schema import GenerateJsonSchema

    schema = spec.options.model_json_schema(schema_generator=GenerateJsonSchema)
    return [
        {
            "name": name,
            "type": _type(field),
            "default": spec.options.model_fields[name].get_default(call_default_factory=True),
            "range": _range(field),
            "description": field.get("description", ""),
        }
        for name, field in schema.get("properties", {}).items()
    ]


def _type(field: Mapping[str, Any]) -> str:
    if "enum" in field or "const" in field:
        return " | ".join(map(str, field.get("enum", [field.get("const")])))
    if "anyOf" in field:
        return " | ".join(dict.fromkeys(_type(each) for each in field["anyOf"]))
    names = {"integer": "int", "number": "float", "boolean": "bool", "string": "str", "array": "list"}
    return names.get(str(field.get("type")), str(field.get("type", "any")))


def _range(field: Mapping[str, Any]) -> str:
    """The bounds of a number as people write them, such as ``>= 1, < 32``."""
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    variants = [field, *field.get("anyOf", ())]
    return ", ".join(f"{sign} {each[key]:g}" for each in variants for key, sign in signs.items() if key in each)


def text(value: object) -> str:
    """A value as a table has it."""
    if isinstance(value, list | tuple):
        return ", ".join(map(text, value))
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)
