"""`undertow list` and `undertow plugin list`: what is installed, without importing any of it but its hooks.

Only what has to be built to be known, such as a cell's parameters, imports torch: `--build`, `--width` and their like.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from cyclopts import Parameter

from undertow.api.spec import Lengths
from undertow.cli.options import Json, PluginFiles
from undertow.cli.output.console import emit, note, out
from undertow.cli.output.describe import describe, text
from undertow.cli.output.tables import facts, table
from undertow.errors import RequestError, did_you_mean
from undertow.plugins.host import load_plugins
from undertow.plugins.registry import Entry, Plugin, Registry

Kind = Literal["cells", "tasks", "probes"]

Markdown = Annotated[bool, Parameter(help="Write a table of Markdown.")]

Write = Annotated[
    Path | None,
    Parameter(help="Put that table into this file, between `<!-- cells: begin -->` and `end`, or whatever is listed."),
]


def list_command(
    kind: Annotated[Kind, Parameter(help="What to list.")],
    name: Annotated[str | None, Parameter(help="All about this one: equation, state, source, options.")] = None,
    /,
    *,
    source: Annotated[str | None, Parameter(name="--from", help="Only what this distribution offers.")] = None,
    build: Annotated[
        bool, Parameter(help="Build each, for what only the object knows: parameters, trivial loss. Imports torch.")
    ] = False,
    width: Annotated[int | None, Parameter(help="Build cells with so many units; else 128.")] = None,
    inputs: Annotated[int | None, Parameter(help="Build cells for inputs so wide; else 1.")] = None,
    length: Annotated[
        int | None, Parameter(help="Build for so many time steps; else 100, or the task's default.")
    ] = None,
    markdown: Markdown = False,
    write: Write = None,
    plugin: PluginFiles = None,
    json: Json = False,
) -> int:
    """List the cells, tasks or probes there are; with a name, all about one."""
    registry = load_plugins(files=plugin or ())
    sizes = {"width": width, "inputs": inputs, "length": length}
    given = {key: value for key, value in sizes.items() if value is not None}
    _require_buildable(kind, given, build)
    documents = _documents(registry, kind, name, source, given if build or given else None)
    if markdown or write:
        from undertow.cli.output.markdown import markdown as table_of

        return _markdown(kind, table_of(kind, documents), write, json)
    if name is not None:
        if json:
            emit(documents[0])
        else:
            _print_one(kind, documents[0])
        return 0
    if json:
        emit({kind: documents, "failures": len(registry.failures)})
        return 0
    extra = {"cells": ["state"], "tasks": ["shape"], "probes": []}[kind]
    columns = ["name", "summary", *extra, "from"]
    rows = [[text(document[column]) for column in columns] for document in documents]
    counted = "parameters" if any("parameters" in document.get("built", {}) for document in documents) else None
    if counted:
        columns.append(counted)
        for row, document in zip(rows, documents, strict=True):
            row.append(f"{document['built'][counted]:,}" if counted in document["built"] else "–")
    console = out()
    console.print(table(columns, rows, right=[counted] if counted else ()))
    if registry.failures:
        console.print(f"{len(registry.failures)} failed to load: see `undertow plugin list --failed`.")
    return 0


def plugin_list_command(
    *,
    failed: Annotated[bool, Parameter(help="Only what failed.")] = False,
    markdown: Markdown = False,
    write: Write = None,
    plugin: PluginFiles = None,
    json: Json = False,
) -> int:
    """List every plugin with what it offers, and whatever failed with its remedy."""
    registry = load_plugins(files=plugin or ())
    plugins = [] if failed else [_offers(each, registry) for each in registry.plugins]
    if markdown or write:
        from undertow.cli.output.markdown import markdown_of_plugins

        return _markdown("plugins", markdown_of_plugins(plugins), write, json)
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
        console.print(table(columns, [[text(each[column]) for column in columns] for each in plugins]))
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


def _require_buildable(kind: Kind, given: Mapping[str, int], build: bool) -> None:
    """Refuse sizes that mean nothing, before anything is imported for them."""
    means = {"cells": ("width", "inputs", "length"), "tasks": ("length",), "probes": ()}[kind]
    for key, value in given.items():
        if key not in means:
            raise RequestError(f"--{key} means nothing for {kind}: it is for {'cells' if means else 'cells or tasks'}.")
        if value < 1:
            raise RequestError(f"--{key} is {value}; allowed: 1 or more")
    if build and not means:
        raise RequestError("--build means nothing for probes: they show no more when built.")


def _documents(
    registry: Registry, kind: Kind, name: str | None, source: str | None, sizes: Mapping[str, int] | None
) -> list[dict[str, Any]]:
    """What is to be shown, each as JSON has it; built when there are sizes."""
    entries = _entries(registry, kind)
    if name is not None:
        find = {"cells": registry.cell, "tasks": registry.task, "probes": registry.probe}[kind]
        entries = {name: entries[find(name).name]}
    if source is not None:
        known = {plugin.distribution for plugin in registry.plugins}
        if source not in known:
            raise RequestError(f"--from {source}: no plugin of this name is loaded.{did_you_mean(source, known)}")
        entries = {each: entry for each, entry in entries.items() if entry.plugin.distribution == source}
        if name is not None and not entries:
            raise RequestError(f"{name} is not from {source}: leave out `--from`.")
    documents = [describe(entry) for entry in entries.values()]
    if sizes is None:
        return documents
    from undertow.cli.output.inspect import Sizes, build

    for document, entry in zip(documents, entries.values(), strict=True):
        try:
            document["built"] = build(registry, entry.spec, Sizes(**sizes))
        except RequestError as error:
            if name is not None:
                raise
            note(f"not built: {error}")  # of many, one that cannot be built so is no reason to hide the others
            document["built"] = {"error": str(error)}
    return documents


def _markdown(what: str, written: str, write: Path | None, json: bool) -> int:
    """Put a table into a file, or on standard output."""
    from undertow.cli.output.markdown import write_between_markers

    changed = write_between_markers(write, what, written) if write else False
    if json:
        emit({"markdown": written, **({"file": str(write), "changed": changed} if write else {})})
    elif write:
        out().print(f"{write}: the table of {what} is {'written' if changed else 'as it was'}", soft_wrap=True)
    else:
        print(written, flush=True)
    return 0


def _print_one(kind: Kind, document: Mapping[str, Any]) -> None:
    beside = ("options", "metrics", "lengths", "built")
    shown: dict[str, str] = {key: text(value) for key, value in document.items() if key not in beside}
    if kind == "tasks":
        lengths = Lengths(**document["lengths"])
        shown["lengths"] = f"{lengths}, {lengths.default} by default (time steps)"
        better = {"min": "less is better", "max": "more is better"}
        shown["metrics"] = ", ".join(f"{name} ({better[way]})" for name, way in document["metrics"].items())
    built = document.get("built", {})
    console = out()
    console.print(facts({key: value for key, value in {**shown, **_facts_of(kind, built)}.items() if value}))
    if built.get("tensors"):
        rows = [
            [each["name"], " × ".join(map(str, each["shape"])), f"{each['parameters']:,}"] for each in built["tensors"]
        ]
        console.print()
        console.print(table(["name", "shape", "parameters"], rows, title="parameters", right=["parameters"]))
    options: Sequence[Mapping[str, Any]] = document["options"]
    if not options:
        console.print("It has no options.")
        return
    columns = ["name", "type", "default", "range", "description"]
    console.print()
    console.print(table(columns, [[text(option[column]) for column in columns] for option in options], title="options"))


def _facts_of(kind: Kind, built: Mapping[str, Any]) -> dict[str, str]:
    """What a built cell or task says of itself, in words."""
    if not built:
        return {}
    if kind == "cells":
        inputs = "1 input" if built["inputs"] == 1 else f"{built['inputs']} inputs"
        return {
            "parameters": f"{built['parameters']:,} with {built['width']:,} units on {inputs}",
            "state size": f"{built['state_size']:,} numbers an example",
            "runs on": built["runs_on"],
        }
    examples = ", ".join(
        f"{split} {'endless' if size is None else f'{size:,}'}" for split, size in built["examples"].items()
    )
    trivial = built["trivial_loss"]
    return {
        "inputs": ", ".join(f"{what} {size:,}" for what, size in built["inputs"].items()),
        "outputs": f"{built['output_size']:,}",
        "examples": examples,
        "trivial loss": "" if trivial is None else f"{trivial:.4g} at {built['length']:,} steps",
        "solved": built["solved"],
    }
