"""Error messages for a configuration: where, which key, the value, and what is allowed.

    explain(error, ExperimentConfig, source)
    # ["x.yaml:4: cell.hidden_size: 'abc' is not a whole number; allowed: a whole number >= 1"]

What is wrong comes from pydantic's error; what is allowed comes from the JSON schema of the model.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, PydanticInvalidForJsonSchema, ValidationError

from undertow.config.source import Source, shown
from undertow.config.study_schema import RENAMED
from undertow.config.yaml12 import Keys
from undertow.errors import did_you_mean

_NOT = {
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "int_parsing": "is not a whole number",
    "float_type": "is not a number",
    "float_parsing": "is not a number",
    "finite_number": "is not a finite number",
    "bool_type": "is neither true nor false",
    "string_type": "is not text",
    "path_type": "is not a path",
    "list_type": "is not a list",
    "tuple_type": "is not a list",
    "set_type": "is not a list",
    "dict_type": "is not a section",
    "model_type": "is not a section",
    "model_attributes_type": "is not a section",
    "literal_error": "is not among the choices",
    "enum": "is not among the choices",
    "greater_than": "is too small",
    "greater_than_equal": "is too small",
    "less_than": "is too large",
    "less_than_equal": "is too large",
    "string_too_short": "is too short",
    "string_too_long": "is too long",
    "too_short": "has too few entries",
    "too_long": "has too many entries",
}
"""Message by type of pydantic's error; it follows the value."""


def explain(error: ValidationError, model: type[BaseModel], source: Source, prefix: Keys = ()) -> list[str]:
    """Describe every error of a validation, one line each.

    Args:
        error: What pydantic raised.
        model: The model that was validated.
        source: Where the values were written.
        prefix: The keys from the top of `source` to what was validated.

    Returns:
        Lines ``place: key: what is wrong``, in the order of the model's fields; one for each key.
    """
    try:
        schema = model.model_json_schema()
    except PydanticInvalidForJsonSchema:  # a type in a plugin's options that JSON schema cannot express
        schema = {}
    lines: dict[Keys, str] = {}
    for each in error.errors(include_url=False):
        inner, node = _walk(schema, each["loc"])
        keys = (*prefix, *inner)
        if keys not in lines:
            name = ".".join(map(str, keys))
            lines[keys] = (
                f"{source.place(*keys)}: {name}{': ' if name else ''}{_message(each, keys, inner, node, schema)}"
            )
    return list(lines.values())


def _walk(schema: dict[str, Any], loc: Keys) -> tuple[Keys, dict[str, Any]]:
    """Follow an error's location into the schema, up to the first union or an error of a key itself."""
    node = schema
    keys: Keys = ()
    for step in loc:
        node = _resolve(node, schema)
        branches = [each for each in node.get("anyOf", []) if each.get("type") != "null"]
        if len(branches) > 1:  # the rest of the location are pydantic's names of the branches
            break
        node = _resolve(branches[0], schema) if branches else node
        if step == "[key]" and node.get("type") != "object":  # pydantic's mark for an error in a key of a mapping
            break
        keys = (*keys, step)
        if isinstance(step, int):
            among = node.get("prefixItems", [])
            node = among[step] if step < len(among) else node.get("items", {})
        else:
            rest = node.get("additionalProperties")
            known = node.get("properties", {})
            # an unknown key has no node of its own: keep the section, whose keys are what is allowed
            node = known.get(step, rest if isinstance(rest, dict) else node)
    return keys, node


def _resolve(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Replace a reference by what it refers to; a description beside the reference is kept."""
    if "$ref" not in node:
        return node
    found: dict[str, Any] = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return {**found, **{key: value for key, value in node.items() if key != "$ref"}}


def _message(error: Mapping[str, Any], keys: Keys, inner: Keys, node: dict[str, Any], schema: dict[str, Any]) -> str:
    """What is wrong at `keys`; `inner` are those below the model that was validated."""
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        if renamed := RENAMED.get(".".join(map(str, keys))):
            return f"renamed to `{renamed}`"
        known = _resolve(node, schema).get("properties", {})
        command = "" if "options" in keys else "undertow show --schema"
        return f"unknown key.{did_you_mean(str(keys[-1]), known, command)}"
    if kind in ("value_error", "assertion_error"):
        return str(error["ctx"]["error"])
    may = allowed(node, schema)
    if kind == "missing":
        describe = node.get("type") != "object" and "description" in node
        meaning = f" ({node['description'].rstrip('.')})" if describe else ""
        return f"required, but missing; allowed: {may}{meaning}"
    union = len(error["loc"]) > len(inner)
    wrong = "is not among the choices" if union else _NOT.get(kind)
    if wrong is None:
        return f"{shown(value)}: {error['msg']}"
    near = did_you_mean(value, _choices(node, schema)) if isinstance(value, str) else ""
    near = near if near.startswith(" Did") else ""
    return f"{shown(value)} {wrong}{f'; allowed: {may}' if may else ''}{'.' if near else ''}{near}"


def allowed(node: dict[str, Any], schema: dict[str, Any]) -> str:
    """What a node of a JSON schema allows, such as ``a whole number >= 1``; empty for a node without a type."""
    node = _resolve(node, schema)
    if "anyOf" in node:
        return " or ".join(filter(None, (allowed(each, schema) for each in node["anyOf"])))
    if "enum" in node or "const" in node:
        return ", ".join(str(choice) for choice in node.get("enum", [node.get("const")]))
    match node.get("type"):
        case "integer":
            return f"a whole number{_bounds(node)}"
        case "number":
            return f"a number{_bounds(node)}"
        case "boolean":
            return "true or false"
        case "string":
            return "text that is not empty" if node.get("minLength") else "text"
        case "null":
            return "null"
        case "array" if "prefixItems" in node:
            return f"a list [{', '.join(allowed(each, schema) for each in node['prefixItems'])}]"
        case "array":
            each = allowed(node.get("items", {}), schema)
            return f"a list{f', each entry {each}' if each else ''}"
        case "object":
            keys = ", ".join(node.get("properties", ()))
            return f"a section with the keys {keys}" if keys else "a section"
    return ""


def _choices(node: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    node = _resolve(node, schema)
    branches = [choice for each in node.get("anyOf", ()) for choice in _choices(each, schema)]
    own = node.get("enum", [node["const"]] if "const" in node else [])
    return [*branches, *(choice for choice in own if isinstance(choice, str))]


def _bounds(node: dict[str, Any]) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = [
        f"{sign} {node[key]:g}" if node[key] < 1e6 else f"{sign} {node[key]}"
        for key, sign in signs.items()
        if key in node
    ]
    return f" {' and '.join(bounds)}" if bounds else ""
