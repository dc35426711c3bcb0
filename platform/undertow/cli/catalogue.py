"""`undertow list` and `undertow plugin list`: what is installed, without importing any of it but its hooks."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from cyclopts import Parameter

from undertow.cli.console import emit, out
from undertow.cli.options import Json, PluginFiles
from undertow.cli.tables import facts, table
from undertow.plugins import load_plugins
from undertow.registry import Entry, Plugin, Registry
from undertow.spec import CellSpec, Spec, TaskSpec

Kind = Literal["cells", "tasks", "probes"]


def list_command(
    kind: Annotated[Kind, Parameter(help="What to list.")],
    name: Annotated[str | None, Parameter(help="All about this one: state, source, options, defaults.")] = None,
    /,
    *,
    plugin: PluginFiles = None,
    json: Json = False,
) -> int:
    """List the cells, tasks or probes there are; with a name, all about one."""
    registry = load_plugins(files=plugin or ())
    entries = _entries(registry, kind)
    if name is not None:
        spec = {"cells": registry.cell, "tasks": registry.task, "probes": registry.probe}[kind](name)
        document = _document(entries[spec.name])
        if json:
            emit(document)
        else:
            _print_one(spec, document)
        return 0
    documents = [_document(entry) for entry in entries.values()]
    if json:
        emit({kind: documents, "failures": len(registry.failures)})
        return 0
    extra = {"cells": "state", "tasks": "shape"}.get(kind)
    columns = ["name", "summary", *([extra] if extra else []), "from"]
    rows = [[_text(document[column]) for column in columns] for document in documents]
    console = out()
    console.print(table(columns, rows))
    if registry.failures:
        console.print(f"{len(registry.failures)} failed to load: see `undertow plugin list --failed`.")
    return 0


def plugin_list_command(
    *,
    failed: Annotated[bool, Parameter(help="Only what failed.")] = False,
    plugin: PluginFiles = None,
    json: Json = False,
) -> int:
    """List every plugin with what it offers, and whatever failed with its remedy."""
    registry = load_plugins(files=plugin or ())
    plugins = [] if failed else [_offers(each, registry) for each in registry.plugins]
    failures = [
        {
            "plugin": failure.plugin,
            "distribution": failure.distribution,
            "version": failure.version,
            "stage": failure.stage,
            "reason": failure.reason,
            "remedy": failure.remedy,
        }
        for failure in registry.failures
    ]
    if json:
        emit({"failures": failures} if failed else {"plugins": plugins, "failures": failures})
        return 0
    console = out()
    if plugins:
        columns = ["distribution", "version", "cells", "tasks", "probes"]
        console.print(table(columns, [[_text(each[column]) for column in columns] for each in plugins]))
    for failure in failures:
        console.print(
            f"{failure['plugin']} {failure['version']} failed ({failure['stage']}): {failure['reason']}\n"
            f"  {failure['remedy']}",
            soft_wrap=True,
        )
    if not failures:
        console.print("Nothing failed to load." if registry.plugins else "No plugin is installed.")
    return 0


def _entries(registry: Registry, kind: Kind) -> Mapping[str, Entry[Any]]:
    found: Mapping[str, Entry[Any]] = getattr(registry, kind)
    return dict(sorted(found.items()))


def _offers(plugin: Plugin, registry: Registry) -> dict[str, Any]:
    offered: dict[str, list[str]] = {
        kind: [name for name, entry in _entries(registry, kind).items() if entry.plugin == plugin]
        for kind in get_args(Kind)
    }
    return {"name": plugin.name, "distribution": plugin.distribution, "version": plugin.version, **offered}


def _document(entry: Entry[Any]) -> dict[str, Any]:
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


def _print_one(spec: Spec, document: Mapping[str, Any]) -> None:
    shown: dict[str, str] = {key: _text(value) for key, value in document.items() if key not in ("options", "metrics")}
    if isinstance(spec, TaskSpec):
        shown["lengths"] = f"{spec.lengths}, {spec.lengths.default} by default (time steps)"
        better = {"min": "less is better", "max": "more is better"}
        shown["metrics"] = ", ".join(f"{name} ({better[way]})" for name, way in spec.metrics.items())
    console = out()
    console.print(facts({key: value for key, value in shown.items() if value}))
    options: Sequence[Mapping[str, Any]] = document["options"]
    if not options:
        console.print("It has no options.")
        return
    columns = ["name", "type", "default", "range", "description"]
    console.print()
    console.print(
        table(columns, [[_text(option[column]) for column in columns] for option in options], title="options")
    )


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)
