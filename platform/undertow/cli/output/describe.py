"""Descriptions of what plugins offer from the specs; their classes are not imported.

    document = describe(registry.cells["lstm"])
    document["equation"], document["options"][0]["range"]

`inspect` adds what only a built object can show.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from undertow.api.spec import (
    BlockSpec,
    CallbackSpec,
    CellSpec,
    Lengths,
    OptimizerSpec,
    ProbeSpec,
    Spec,
    TaskSpec,
)
from undertow.cli.output.console import out
from undertow.cli.output.tables import format_value, key_values, print_table
from undertow.plugins.kinds import BY_PLURAL, Plural
from undertow.plugins.registry import Entry, Registry


def entries_of(registry: Registry, kind: Plural) -> Mapping[str, Entry[Any]]:
    """Return the entries of one kind, sorted by name."""
    return dict(sorted(registry.entries(BY_PLURAL[kind]).items()))


def describe(entry: Entry[Any]) -> dict[str, Any]:
    """Return the JSON object that describes one spec."""
    spec: Spec = entry.spec
    document: dict[str, Any] = {"name": spec.name, "summary": spec.summary}
    if isinstance(spec, CellSpec):
        document |= {"equation": spec.equation, "state": list(spec.state)}
    if isinstance(spec, BlockSpec):
        document["equation"] = spec.equation
    if isinstance(spec, TaskSpec):
        lengths = spec.lengths
        document |= {
            "shape": spec.shape,
            "lengths": {"default": lengths.default, "minimum": lengths.minimum, "maximum": lengths.maximum},
            "metrics": dict(spec.metrics),
        }
    if isinstance(spec, ProbeSpec | CallbackSpec):
        document["measures"] = dict(spec.measures)
    if isinstance(spec, CallbackSpec):
        document |= {"files": list(spec.files), "changes_training": spec.changes_training}
    if isinstance(spec, OptimizerSpec):
        document |= {"equation": spec.equation, "elementwise": spec.elementwise}
    return document | {"paper": spec.paper, "options": describe_options(spec), "from": str(entry.plugin)}


def describe_options(spec: Spec) -> list[dict[str, Any]]:
    """Return the name, type, default, range and description of each option of a plugin."""
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


def print_description(kind: Plural, document: Mapping[str, Any]) -> None:
    """Print one entry: its properties, the parameters if it was built, what a probe measures, and its options.

    Args:
        kind: What the entry is.
        document: From `describe`, with ``built`` from `inspect.describe_built` if it was built.
    """
    separate = ("options", "metrics", "lengths", "measures", "built")
    shown = {key: format_value(value) for key, value in document.items() if key not in separate}
    if kind == "tasks":
        lengths = Lengths(**document["lengths"])
        shown["lengths"] = f"{lengths}, {lengths.default} by default (time steps)"
        better = {"min": "less is better", "max": "more is better"}
        metrics = document["metrics"].items()
        shown["metrics"] = ", ".join(f"{name} ({better[direction]})" for name, direction in metrics)
    built = document.get("built")
    if built:
        shown |= _cell_properties(built) if kind == "cells" else _task_properties(built)
    console = out()
    console.print(key_values({key: value for key, value in shown.items() if value}))
    if built and built.get("tensors"):
        rows = [
            [each["name"], " × ".join(map(str, each["shape"])), f"{each['parameters']:,}"] for each in built["tensors"]
        ]
        console.print()
        print_table(["name", "shape", "parameters"], rows, title="parameters", right=["parameters"])
        name = built["tensors"][-1]["name"].rpartition(".")[2]
        note = f"cell.lr_scale: {{{name}: 0.1}} multiplies the learning rate of one of them, named by its last part."
        console.print(note, markup=False, highlight=False)
    if document.get("measures"):
        console.print()
        print_table(["number", "what it is"], document["measures"].items())
    options: Sequence[Mapping[str, Any]] = document["options"]
    if not options:
        console.print("It has no options.")
        return
    columns = ["name", "type", "default", "range", "description"]
    rows = [[format_value(option[column]) for column in columns] for option in options]
    console.print()
    print_table(columns, rows, title="options")


def inputs_of(built: Mapping[str, Any]) -> str:
    """Return ``1 input``, or how many inputs a cell was built for."""
    return "1 input" if built["inputs"] == 1 else f"{built['inputs']} inputs"


def _cell_properties(built: Mapping[str, Any]) -> dict[str, str]:
    return {
        "parameters": f"{built['parameters']:,} with {built['width']:,} units on {inputs_of(built)}",
        "state size": f"{built['state_size']:,} numbers an example",
        "runs on": built["runs_on"],
    }


def _task_properties(built: Mapping[str, Any]) -> dict[str, str]:
    examples = built["examples"].items()
    trivial = built["trivial_loss"]
    return {
        "inputs": ", ".join(f"{name} {size:,}" for name, size in built["inputs"].items()),
        "outputs": f"{built['output_size']:,}",
        "examples": ", ".join(f"{split} {'endless' if size is None else f'{size:,}'}" for split, size in examples),
        "trivial loss": "" if trivial is None else f"{trivial:.4g} at {built['length']:,} steps",
        "trivial scores": trivial_scores_of(built),
        "solved": built["solved"],
    }


def trivial_scores_of(built: Mapping[str, Any]) -> str:
    """Return ``accuracy 0.5``: the scores of the best answer that ignores the input, where the task states them."""
    return ", ".join(f"{name} {score:.4g}" for name, score in built.get("trivial_scores", {}).items())


def _type(field: Mapping[str, Any]) -> str:
    if "enum" in field or "const" in field:
        return " | ".join(map(str, field.get("enum", [field.get("const")])))
    if "anyOf" in field:
        return " | ".join(dict.fromkeys(_type(each) for each in field["anyOf"]))
    names = {"integer": "int", "number": "float", "boolean": "bool", "string": "str", "array": "list"}
    return names.get(str(field.get("type")), str(field.get("type", "any")))


def _range(field: Mapping[str, Any]) -> str:
    """Return the bounds of a number, such as ``>= 1, < 32``."""
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    variants = [field, *field.get("anyOf", ())]
    return ", ".join(f"{sign} {each[key]:g}" for each in variants for key, sign in signs.items() if key in each)
